//! The progress of a run: a bar on a terminal, plain lines, a line per minute where nobody may be looking, or
//! nothing.
//!
//! Workers publish a few numbers about four times a second, and a separate thread shows them. None of this is part of
//! the measurement.

mod run_state;
mod snapshot;

use std::io::{IsTerminal as _, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use self::run_state::{Phase, RunState, Timetable};
pub use self::snapshot::{Joined, Snapshot};
use crate::plan::Stop;
use crate::units::{show_count, show_rate, show_time_ns, show_typed_time_ns};

/// How often workers publish, and the bar is drawn.
pub const PUBLISH_INTERVAL_NS: u64 = 250_000_000;

/// Plain lines come at most this often,
const LINE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// and about this many in a run.
const LINES_OF_A_RUN: u32 = 20;

/// How often a run without other progress prints a line.
const SIGN_OF_LIFE_INTERVAL: Duration = Duration::from_mins(1);

/// How long the server must be silent before the progress mentions it.
const SILENCE_MIN: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// A bar on standard error.
    Bar,
    /// Lines on standard error.
    Lines,
    /// A line on standard error every minute.
    SignsOfLife,
    /// Nothing.
    Silent,
}

impl Display {
    /// Chooses: nothing or lines if the flags say so, a bar on a terminal, else a line per minute.
    pub fn choose(quiet: bool, plain: bool) -> Self {
        if quiet {
            Self::Silent
        } else if plain {
            Self::Lines
        } else if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Self::Bar
        } else {
            Self::SignsOfLife
        }
    }
}

/// A running display. Dropping it removes the bar and ends its thread.
#[derive(Debug)]
pub struct Progress {
    /// Dropped to end the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows the run that is watched, until the returned value is dropped.
    pub fn start(display: Display, watch: RunState) -> Self {
        if display == Display::Silent {
            return Self { running: None, thread: None };
        }
        Self::of(View::new(display, watch), std::io::stderr())
    }

    /// Lines go to `out`.
    fn of(mut view: View, mut out: impl Write + Send + 'static) -> Self {
        let (running, ended) = channel::<()>();
        let shown = move || {
            while ended.recv_timeout(view.interval) == Err(RecvTimeoutError::Timeout) {
                view.show(&mut out);
            }
            if let Some(bar) = view.bar {
                bar.finish_and_clear();
            }
        };
        // If the system has no thread left, the run goes on without a display.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(shown).ok();
        Self { running: Some(running), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A display that panicked has printed why; the run goes on without it.
            let _ = thread.join();
        }
    }
}

struct View {
    watch: RunState,
    /// Each worker's snapshot as last shown: its time and its completed requests.
    shown: Vec<(u64, u64)>,
    rate: f64,
    display: Display,
    interval: Duration,
    bar: Option<ProgressBar>,
}

impl View {
    fn new(display: Display, watch: RunState) -> Self {
        let Timetable { warmup_ns, stop, .. } = watch.timetable();
        let bar = (display == Display::Bar).then(|| {
            let length = stop.requests().or(stop.duration_ns());
            let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{wide_bar} {msg}")
                    .expect("the template is valid")
                    .progress_chars("━━╌"),
            );
            bar
        });
        let interval = match (display, stop) {
            (Display::Lines, Stop::Duration { ns }) => {
                (Duration::from_nanos(warmup_ns.saturating_add(ns)) / LINES_OF_A_RUN).max(LINE_INTERVAL_MIN)
            }
            (Display::Lines, Stop::Requests { .. }) => LINE_INTERVAL_MIN,
            (Display::SignsOfLife, _) => SIGN_OF_LIFE_INTERVAL,
            (Display::Bar | Display::Silent, _) => Duration::from_nanos(PUBLISH_INTERVAL_NS),
        };
        Self { watch, shown: Vec::new(), rate: 0.0, display, interval, bar }
    }

    fn show(&mut self, out: &mut impl Write) {
        let phase = self.watch.phase();
        if let Phase::Measuring(elapsed) = phase {
            self.measure(elapsed);
        }
        let joined = self.watch.joined();
        let (position, line) = describe(self.watch.timetable(), phase, self.rate, &joined);
        // Named, as it stands among the lines of other programs.
        let prefix = if self.display == Display::SignsOfLife { "ringtide: " } else { "" };
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.set_position(position);
            }
            // If standard error is gone, there is nobody to tell. In one piece, so that no other line gets in between.
            None => drop(out.write_all(format!("{prefix}{line}\n").as_bytes())),
        }
    }

    /// The rate since the last look, per worker by the times of its snapshots; for a worker's first snapshot over
    /// `elapsed`, the time since the start. It stays if no worker has published since.
    fn measure(&mut self, elapsed: Duration) {
        let snapshots = self.watch.snapshots();
        self.shown.resize(snapshots.len(), (0, 0));
        let (mut any, mut sum) = (false, 0.0);
        for (shown, snapshot) in self.shown.iter_mut().zip(&**snapshots) {
            let (at_ns, completed) = snapshot.completed_at();
            if at_ns > shown.0 {
                let time = if shown.0 == 0 { elapsed } else { Duration::from_nanos(at_ns - shown.0) };
                sum += completed.saturating_sub(shown.1) as f64 / time.as_secs_f64().max(1e-9);
                any = true;
                *shown = (at_ns, completed);
            }
        }
        if any {
            self.rate = sum;
        }
    }
}

/// How far the run is, in nanoseconds or requests, and the same in words.
fn describe(timetable: Timetable, phase: Phase, rate: f64, joined: &Joined) -> (u64, String) {
    let ended = joined.completed + joined.failed;
    let of_requests = timetable.stop.requests();
    let length_ns = timetable.stop.duration_ns().unwrap_or(0);
    let (elapsed_ns, mut parts) = match phase {
        Phase::Connecting => (0, vec![format!("connecting, {} open", show_count(joined.connections))]),
        Phase::WarmingUp(elapsed) => {
            let all = show_typed_time_ns(timetable.warmup_ns);
            (0, vec![format!("warming up, {} of {all}", show_seconds(elapsed))])
        }
        Phase::Measuring(elapsed) => {
            let time = match timetable.stop.duration_ns() {
                Some(ns) => format!("{} of {}", show_seconds(elapsed), show_typed_time_ns(ns)),
                None => show_seconds(elapsed),
            };
            let far = match of_requests {
                None => time,
                Some(count) => format!("{} of {} in {time}", show_count(ended), show_count(count)),
            };
            let mut parts = vec![far, format!("{} req/s", show_rate(rate))];
            if joined.response_p99_ns > 0 {
                parts.push(format!("p99 {}", show_time_ns(joined.response_p99_ns as f64)));
            }
            (elapsed.as_nanos() as u64, parts)
        }
        Phase::Draining(elapsed) => {
            let all = show_typed_time_ns(timetable.drain_ns);
            let far = format!("draining, {} of {all}", show_seconds(elapsed));
            (length_ns, vec![far, format!("{} in flight", show_count(joined.in_flight))])
        }
        Phase::Ending => (length_ns, vec!["ending, connections are closed".to_owned()]),
    };
    if let Phase::Measuring(_) | Phase::Draining(_) = phase {
        let failed = joined.failed;
        parts.push(format!("{} {}", show_count(failed), if failed == 1 { "error" } else { "errors" }));
        for (class, count) in [("4xx", joined.client_errors), ("5xx", joined.server_errors)] {
            if count > 0 {
                parts.push(format!("{class}: {}", show_count(count)));
            }
        }
    }
    if let Phase::Measuring(elapsed) = phase {
        let silence = joined.silent_ns.map_or(elapsed, Duration::from_nanos);
        if silence >= SILENCE_MIN {
            parts.push(format!("no response for {}", show_seconds(silence)));
        }
    }
    (if of_requests.is_some() { ended } else { elapsed_ns }, parts.join(" · "))
}

fn show_seconds(time: Duration) -> String {
    show_typed_time_ns(time.as_secs() * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringtide_driver::monotonic_ns;

    use super::*;
    use crate::metrics::Counters;
    use crate::plan::Plan;

    const SECOND_NS: u64 = 1_000_000_000;
    const TEN_SECONDS: Stop = Stop::Duration { ns: 10 * SECOND_NS };

    /// What is told of a run that drains for 20 seconds.
    fn line(stop: Stop, warmup_s: u64, elapsed_s: u64, snapshots: &[Snapshot]) -> String {
        let timetable = Timetable { warmup_ns: warmup_s * SECOND_NS, stop, drain_ns: 20 * SECOND_NS };
        let phase = timetable.phase(Duration::from_secs(elapsed_s));
        describe(timetable, phase, 1000.0, &Snapshot::join(snapshots)).1
    }

    fn counters(completed: u64, failed: u64) -> Counters {
        Counters { completed, failed, last_done_ns: u64::from(completed > 0), ..Counters::default() }
    }

    fn watch(stop: Stop, warmup_ns: u64) -> RunState {
        let plan = Plan::for_url("http://127.0.0.1:1/").expect("valid");
        let watch = RunState::new(&Plan { stop, warmup_ns, threads: 2, ..plan });
        watch.starts(monotonic_ns());
        watch
    }

    #[test]
    fn a_line_tells_how_far_and_how_fast() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        assert_eq!(line(TEN_SECONDS, 0, 2, &snapshots), "2s of 10s · 1,000 req/s · 0 errors");
        snapshots[0].publish(&counters(1500, 0), Some(1_250_000), 1);
        snapshots[1].publish(&counters(500, 1), Some(83_000), 1);
        let rest = "1,000 req/s · p99 1.25 ms · 1 error";
        assert_eq!(line(TEN_SECONDS, 0, 2, &snapshots), format!("2s of 10s · {rest}"));
        snapshots[1].publish_open(9, 7);
        assert_eq!(line(TEN_SECONDS, 0, 11, &snapshots), "draining, 1s of 20s · 7 in flight · 1 error");
        assert_eq!(line(TEN_SECONDS, 0, 30, &snapshots), "ending, connections are closed");
        assert_eq!(line(TEN_SECONDS, 5, 2, &snapshots), "warming up, 2s of 5s");
        assert_eq!(line(TEN_SECONDS, 5, 7, &snapshots), format!("2s of 10s · {rest}"));
        let requests = |within_ns| Stop::Requests { count: 10_000, within_ns };
        assert_eq!(line(requests(None), 0, 62, &snapshots), format!("2,001 of 10,000 in 1m2s · {rest}"));
        let capped = requests(Some(90 * SECOND_NS));
        assert_eq!(line(capped, 0, 2, &snapshots), format!("2,001 of 10,000 in 2s of 1m30s · {rest}"));
    }

    #[test]
    fn a_line_tells_of_answers_that_are_no_success() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        let mut counters = counters(2003, 0);
        counters.status[200] = 1;
        counters.status[404] = 2;
        counters.status[500] = 1999;
        counters.status[999] = 1;
        snapshots[1].publish(&counters, None, 1);
        let line = line(TEN_SECONDS, 0, 2, &snapshots);
        assert!(line.ends_with(" · 0 errors · 4xx: 2 · 5xx: 2,000"), "{line}");
    }

    #[test]
    fn a_line_tells_of_a_server_that_is_silent() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        let ends = |elapsed_s, end: &str| {
            let line = line(Stop::Requests { count: 9, within_ns: None }, 0, elapsed_s, &snapshots);
            assert!(line.ends_with(end), "{line}");
        };
        ends(4, "0 errors");
        ends(65, "0 errors · no response for 1m5s");
        let answered = Counters { last_done_ns: 50 * SECOND_NS, ..counters(1, 0) };
        snapshots[1].publish(&answered, None, 52 * SECOND_NS);
        ends(65, "0 errors");
        snapshots[0].publish(&counters(0, 7), None, 60 * SECOND_NS);
        ends(65, "7 errors · no response for 10s");
    }

    #[test]
    fn the_rate_is_that_since_the_last_line() {
        let watch = watch(TEN_SECONDS, 0);
        let snapshots = watch.snapshots();
        let mut view = View::new(Display::Lines, watch.clone());
        let mut look = |publish: &dyn Fn()| {
            publish();
            view.measure(Duration::from_secs(1));
            view.rate
        };
        assert!(look(&|| ()).abs() < 1e-9);
        let publish =
            |index: usize, completed, at_ns| snapshots[index].publish(&counters(completed, 0), None, at_ns);
        let first = look(&|| (0..2).for_each(|index| publish(index, 500, SECOND_NS)));
        assert!((first - 1000.0).abs() < 1e-9, "{first}");
        let later = look(&|| {
            publish(0, 1500, 2 * SECOND_NS);
            publish(1, 2500, 3 * SECOND_NS);
        });
        assert!((later - 2000.0).abs() < 1e-9, "{later}");
        // Nothing new is known,
        assert!((look(&|| ()) - 2000.0).abs() < 1e-9);
        // and then the server is dead.
        let dead = look(&|| {
            publish(0, 1500, 4 * SECOND_NS);
            publish(1, 2500, 4 * SECOND_NS);
        });
        assert!(dead.abs() < 1e-9, "{dead}");
    }

    #[test]
    fn quiet_goes_before_plain_and_a_pipe_is_told_once_a_minute() {
        assert_eq!(Display::choose(true, true), Display::Silent);
        assert_eq!(Display::choose(false, true), Display::Lines);
        let requests = Stop::Requests { count: 1_000_000, within_ns: None };
        for (display, stop, warmup_ns, interval_s) in [
            (Display::SignsOfLife, requests, 0, 60),
            (Display::SignsOfLife, TEN_SECONDS, 0, 60),
            (Display::Lines, requests, 0, 1),
            (Display::Lines, TEN_SECONDS, 0, 1),
            (Display::Lines, TEN_SECONDS, 90 * SECOND_NS, 5),
        ] {
            let view = View::new(display, watch(stop, warmup_ns));
            assert_eq!(view.interval, Duration::from_secs(interval_s), "{display:?} {stop:?}");
        }
    }

    /// Sends what is written to it.
    struct Written(Sender<String>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // The test may have seen enough.
            let _ = self.0.send(String::from_utf8(bytes.to_vec()).expect("text"));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sign_of_life_comes_again_and_again_and_names_who_gives_it() {
        let (sender, written) = channel();
        let watch = watch(Stop::Duration { ns: 1000 * SECOND_NS }, 0);
        watch.snapshots()[0].publish(&counters(2000, 1), None, SECOND_NS);
        let mut view = View::new(Display::SignsOfLife, watch);
        view.interval = Duration::from_millis(1);
        let progress = Progress::of(view, Written(sender));
        for _ in 0..3 {
            let line = written.recv_timeout(Duration::from_secs(20)).expect("a line comes");
            assert!(line.starts_with("ringtide: ") && line.contains("s of 16m40s · "), "{line}");
            assert!(line.ends_with(" · 1 error\n"), "{line}");
        }
        drop(progress);
        // Its thread held the other end, and is gone.
        assert!(written.iter().all(|line| line.starts_with("ringtide: ")));
    }

    #[test]
    fn a_display_ends_when_it_is_dropped() {
        for display in [Display::Lines, Display::SignsOfLife] {
            let watch = watch(Stop::Duration { ns: u64::MAX }, 0);
            let watched = Arc::downgrade(watch.snapshots());
            drop(Progress::start(display, watch));
            // Its thread held the snapshots, and is gone.
            assert!(watched.upgrade().is_none());
        }
    }
}
