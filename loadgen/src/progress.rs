//! The progress of a run: a bar on a terminal, plain lines, a line per minute where nobody may be looking, or
//! nothing.
//!
//! Workers publish a few numbers about four times a second, and a separate thread shows them. None of this is part of
//! the measurement.

use std::io::{IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::Counters;
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

/// What one worker has done so far in the measured part. The worker writes it, the progress display reads it; it may
/// be a moment old.
// One cache line each, so that workers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Snapshot {
    completed: AtomicU64,
    failed: AtomicU64,
    /// Completed with a status from 400 to 499, and with 500 or more.
    client_errors: AtomicU64,
    server_errors: AtomicU64,
    /// 0 without any.
    response_p99_ns: AtomicU64,
    /// When the last answer came, on the workers' clock; 0 if none came.
    last_done_ns: AtomicU64,
    /// When this was published, on the same clock.
    at_ns: AtomicU64,
}

impl Snapshot {
    /// Publishes the counts as of `now_ns`. Without a percentile the previous one stays.
    pub fn publish(&self, counters: &Counters, response_p99_ns: Option<u64>, now_ns: u64) {
        let sum = |statuses: &[u64]| statuses.iter().sum();
        self.at_ns.store(now_ns, Relaxed);
        self.client_errors.store(sum(&counters.status[400..500]), Relaxed);
        self.server_errors.store(sum(&counters.status[500..]), Relaxed);
        self.publish_p99(response_p99_ns);
        self.last_done_ns.store(counters.last_done_ns, Relaxed);
        self.count(counters);
    }

    /// Publishes a percentile that somebody else than the worker knows.
    pub fn publish_p99(&self, response_p99_ns: Option<u64>) {
        if let Some(response_p99_ns) = response_p99_ns {
            self.response_p99_ns.store(response_p99_ns, Relaxed);
        }
    }

    /// Publishes only how many requests have ended.
    #[inline]
    pub fn count(&self, counters: &Counters) {
        self.completed.store(counters.completed, Relaxed);
        self.failed.store(counters.failed, Relaxed);
    }

    /// How many requests of all workers have failed, and how many have ended.
    pub fn failed_and_ended(snapshots: &[Self]) -> (u64, u64) {
        let failed = sum(snapshots, |snapshot| &snapshot.failed);
        (failed, failed + sum(snapshots, |snapshot| &snapshot.completed))
    }
}

fn sum(snapshots: &[Snapshot], counter: fn(&Snapshot) -> &AtomicU64) -> u64 {
    snapshots.iter().map(|snapshot| counter(snapshot).load(Relaxed)).sum()
}

fn max(snapshots: &[Snapshot], value: fn(&Snapshot) -> &AtomicU64) -> u64 {
    snapshots.iter().map(|snapshot| value(snapshot).load(Relaxed)).max().unwrap_or(0)
}

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
    /// Shows `snapshots`, one per worker, until the returned value is dropped. The run starts now, warms up for
    /// `warmup_ns` and ends by `stop`.
    pub fn start(display: Display, stop: Stop, warmup_ns: u64, snapshots: Arc<[Snapshot]>) -> Self {
        if display == Display::Silent {
            return Self { running: None, thread: None };
        }
        Self::of(View::new(display, stop, warmup_ns), snapshots, std::io::stderr())
    }

    /// Lines go to `out`.
    fn of(mut view: View, snapshots: Arc<[Snapshot]>, mut out: impl Write + Send + 'static) -> Self {
        let (running, ended) = channel::<()>();
        let shown = move || {
            while ended.recv_timeout(view.interval) == Err(RecvTimeoutError::Timeout) {
                view.show(&snapshots, &mut out);
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
    /// Each worker's snapshot as last shown: its time and its completed requests.
    shown: Vec<(u64, u64)>,
    rate: f64,
    display: Display,
    stop: Stop,
    warmup: Duration,
    started: Instant,
    interval: Duration,
    bar: Option<ProgressBar>,
}

impl View {
    fn new(display: Display, stop: Stop, warmup_ns: u64) -> Self {
        let warmup = Duration::from_nanos(warmup_ns);
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
                ((warmup + Duration::from_nanos(ns)) / LINES_OF_A_RUN).max(LINE_INTERVAL_MIN)
            }
            (Display::Lines, Stop::Requests { .. }) => LINE_INTERVAL_MIN,
            (Display::SignsOfLife, _) => SIGN_OF_LIFE_INTERVAL,
            (Display::Bar | Display::Silent, _) => Duration::from_nanos(PUBLISH_INTERVAL_NS),
        };
        Self { shown: Vec::new(), rate: 0.0, display, stop, warmup, started: Instant::now(), interval, bar }
    }

    fn show(&mut self, snapshots: &[Snapshot], out: &mut impl Write) {
        let elapsed = self.started.elapsed();
        self.measure(elapsed.saturating_sub(self.warmup), snapshots);
        let (position, line) = describe(self.stop, self.warmup, elapsed, self.rate, snapshots);
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
    fn measure(&mut self, elapsed: Duration, snapshots: &[Snapshot]) {
        self.shown.resize(snapshots.len(), (0, 0));
        let (mut any, mut sum) = (false, 0.0);
        for (shown, snapshot) in self.shown.iter_mut().zip(snapshots) {
            let (at_ns, completed) = (snapshot.at_ns.load(Relaxed), snapshot.completed.load(Relaxed));
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
fn describe(
    stop: Stop,
    warmup: Duration,
    elapsed: Duration,
    rate: f64,
    snapshots: &[Snapshot],
) -> (u64, String) {
    let Some(elapsed) = elapsed.checked_sub(warmup) else {
        let all = show_typed_time_ns(warmup.as_nanos() as u64);
        return (0, format!("warming up, {} of {all}", show_seconds(elapsed)));
    };
    let (failed, ended) = Snapshot::failed_and_ended(snapshots);
    let time = match stop.duration_ns() {
        Some(ns) => {
            let so_far = show_seconds(elapsed.min(Duration::from_nanos(ns)));
            format!("{so_far} of {}", show_typed_time_ns(ns))
        }
        None => show_seconds(elapsed),
    };
    let (position, far) = match stop {
        Stop::Duration { ns } => ((elapsed.as_nanos() as u64).min(ns), time),
        Stop::Requests { count, .. } => {
            (ended, format!("{} of {} in {time}", show_count(ended), show_count(count)))
        }
    };
    let mut parts = vec![far, format!("{} req/s", show_rate(rate))];
    // The highest of all workers: that of all requests together is not higher.
    let p99_ns = max(snapshots, |snapshot| &snapshot.response_p99_ns);
    if p99_ns > 0 {
        parts.push(format!("p99 {}", show_time_ns(p99_ns as f64)));
    }
    parts.push(format!("{} {}", show_count(failed), if failed == 1 { "error" } else { "errors" }));
    for (class, count) in [
        ("4xx", sum(snapshots, |snapshot| &snapshot.client_errors)),
        ("5xx", sum(snapshots, |snapshot| &snapshot.server_errors)),
    ] {
        if count > 0 {
            parts.push(format!("{class}: {}", show_count(count)));
        }
    }
    let (at_ns, done_ns) =
        (max(snapshots, |snapshot| &snapshot.at_ns), max(snapshots, |snapshot| &snapshot.last_done_ns));
    let silence = if done_ns == 0 { elapsed } else { Duration::from_nanos(at_ns.saturating_sub(done_ns)) };
    if silence >= SILENCE_MIN {
        parts.push(format!("no response for {}", show_seconds(silence)));
    }
    (position, parts.join(" · "))
}

fn show_seconds(time: Duration) -> String {
    show_typed_time_ns(time.as_secs() * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const TEN_SECONDS: Stop = Stop::Duration { ns: 10 * SECOND_NS };

    fn line(stop: Stop, warmup_s: u64, elapsed_s: u64, snapshots: &[Snapshot]) -> String {
        describe(stop, Duration::from_secs(warmup_s), Duration::from_secs(elapsed_s), 1000.0, snapshots).1
    }

    fn counters(completed: u64, failed: u64) -> Counters {
        Counters { completed, failed, last_done_ns: u64::from(completed > 0), ..Counters::default() }
    }

    #[test]
    fn a_line_tells_how_far_and_how_fast() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        assert_eq!(line(TEN_SECONDS, 0, 2, &snapshots), "2s of 10s · 1,000 req/s · 0 errors");
        snapshots[0].publish(&counters(1500, 0), Some(1_250_000), 1);
        snapshots[1].publish(&counters(500, 1), Some(83_000), 1);
        let rest = "1,000 req/s · p99 1.25 ms · 1 error";
        assert_eq!(line(TEN_SECONDS, 0, 2, &snapshots), format!("2s of 10s · {rest}"));
        assert_eq!(line(TEN_SECONDS, 0, 11, &snapshots), format!("10s of 10s · {rest}"));
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
    fn all_workers_count_together() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        snapshots[0].count(&counters(5, 1));
        snapshots[1].publish(&counters(7, 2), None, 1);
        assert_eq!(Snapshot::failed_and_ended(&snapshots), (3, 15));
    }

    #[test]
    fn the_rate_is_that_since_the_last_line() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        let mut view = View::new(Display::Lines, TEN_SECONDS, 0);
        let mut look = |publish: &dyn Fn()| {
            publish();
            view.measure(Duration::from_secs(1), &snapshots);
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
            let view = View::new(display, stop, warmup_ns);
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
        let snapshots: Arc<[Snapshot]> = Arc::from([Snapshot::default()]);
        snapshots[0].publish(&counters(2000, 1), None, SECOND_NS);
        let mut view = View::new(Display::SignsOfLife, TEN_SECONDS, 0);
        view.interval = Duration::from_millis(1);
        let progress = Progress::of(view, snapshots, Written(sender));
        for _ in 0..3 {
            let line = written.recv_timeout(Duration::from_secs(20)).expect("a line comes");
            assert!(line.starts_with("ringtide: ") && line.contains("s of 10s · "), "{line}");
            assert!(line.ends_with(" · 1 error\n"), "{line}");
        }
        drop(progress);
        // Its thread held the other end, and is gone.
        assert!(written.iter().all(|line| line.starts_with("ringtide: ")));
    }

    #[test]
    fn a_display_ends_when_it_is_dropped() {
        for display in [Display::Lines, Display::SignsOfLife] {
            let snapshots: Arc<[Snapshot]> = Arc::from([Snapshot::default()]);
            let watched = Arc::downgrade(&snapshots);
            drop(Progress::start(display, Stop::Duration { ns: u64::MAX }, 0, snapshots));
            // Its thread held the snapshots, and is gone.
            assert!(watched.upgrade().is_none());
        }
    }
}
