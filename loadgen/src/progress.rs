//! What a run shows while it runs: a bar on a terminal, plain lines, or nothing.
//!
//! Workers publish a few numbers about four times a second; a thread of its own shows them. Nothing of it is measured.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Stop;
use crate::units::{show_count, show_rate, show_typed_time_ns};

/// How often workers publish, and the bar is drawn.
pub const PUBLISH_INTERVAL_NS: u64 = 250_000_000;

/// Plain lines come at most this often,
const LINE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// and about so many in a run.
const LINES_OF_A_RUN: u32 = 20;

/// What one worker has done so far. Written by the worker, read by the progress display; a moment old, never wrong.
// A cache line each, so that one worker's writing does not slow down another's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Snapshot {
    completed: AtomicU64,
    failed: AtomicU64,
    /// When that was, on the workers' clock.
    at_ns: AtomicU64,
}

impl Snapshot {
    /// Publishes the counts since the start of the measured part, as they are at `now_ns`.
    #[inline]
    pub fn publish(&self, completed: u64, failed: u64, now_ns: u64) {
        self.at_ns.store(now_ns, Relaxed);
        self.completed.store(completed, Relaxed);
        self.failed.store(failed, Relaxed);
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// A bar on standard error.
    Bar,
    /// Lines on standard error.
    Lines,
    /// Nothing.
    Silent,
}

impl Display {
    /// What suits: nothing when asked for, lines when asked for, a bar when a person is looking on.
    pub fn choose(quiet: bool, plain: bool) -> Self {
        if quiet {
            Self::Silent
        } else if plain {
            Self::Lines
        } else if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Self::Bar
        } else {
            Self::Silent
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
    /// Starts to show `snapshots`, one of each worker, until the returned value is dropped. The run starts now, warms up
    /// for `warmup_ns`, and ends by `stop`.
    pub fn start(display: Display, stop: Stop, warmup_ns: u64, snapshots: Arc<[Snapshot]>) -> Self {
        if display == Display::Silent {
            return Self { running: None, thread: None };
        }
        let (running, ended) = channel::<()>();
        let shown = move || {
            let mut view = View::new(display, stop, warmup_ns);
            while ended.recv_timeout(view.interval) == Err(RecvTimeoutError::Timeout) {
                view.show(&snapshots);
            }
            if let Some(bar) = view.bar {
                bar.finish_and_clear();
            }
        };
        // A system that has no thread left for it can do without.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(shown).ok();
        Self { running: Some(running), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A display that panicked has said so already; the run goes on without it.
            let _ = thread.join();
        }
    }
}

struct View {
    /// What was shown last of each worker: its time, and how many it had completed.
    shown: Vec<(u64, u64)>,
    rate: f64,
    stop: Stop,
    warmup: Duration,
    started: Instant,
    interval: Duration,
    bar: Option<ProgressBar>,
}

impl View {
    fn new(display: Display, stop: Stop, warmup_ns: u64) -> Self {
        let warmup = Duration::from_nanos(warmup_ns);
        let (length, lines_interval) = match stop {
            Stop::Duration { ns } => (ns, (warmup + Duration::from_nanos(ns)) / LINES_OF_A_RUN),
            Stop::Requests { count } => (count, LINE_INTERVAL_MIN),
        };
        let bar = (display == Display::Bar).then(|| {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{bar:30} {msg}")
                    .expect("the template is valid")
                    .progress_chars("━━╌"),
            );
            bar
        });
        let interval = match display {
            Display::Lines => lines_interval.max(LINE_INTERVAL_MIN),
            _ => Duration::from_nanos(PUBLISH_INTERVAL_NS),
        };
        Self { shown: Vec::new(), rate: 0.0, stop, warmup, started: Instant::now(), interval, bar }
    }

    fn show(&mut self, snapshots: &[Snapshot]) {
        self.measure(self.started.elapsed().saturating_sub(self.warmup), snapshots);
        let (position, line) = describe(self.stop, self.warmup, self.started.elapsed(), self.rate, snapshots);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.set_position(position);
            }
            // Nobody is left to tell when standard error is gone.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}

impl View {
    /// The rate since the last look, each worker's by its own clock; `elapsed` since the start for the first look at a worker that has
    /// something to show. It stays when no worker has published since.
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

/// How far the run is, in nanoseconds or requests, and that in words.
fn describe(
    stop: Stop,
    warmup: Duration,
    elapsed: Duration,
    rate: f64,
    snapshots: &[Snapshot],
) -> (u64, String) {
    if elapsed < warmup {
        let (so_far, all) = (elapsed.as_secs(), show_typed_time_ns(warmup.as_nanos() as u64));
        return (0, format!("warming up, {so_far}s of {all}"));
    }
    let elapsed = elapsed.saturating_sub(warmup);
    let sum = |counter: fn(&Snapshot) -> &AtomicU64| -> u64 {
        snapshots.iter().map(|snapshot| counter(snapshot).load(Relaxed)).sum()
    };
    let (completed, failed) = (sum(|snapshot| &snapshot.completed), sum(|snapshot| &snapshot.failed));
    let (position, far) = match stop {
        Stop::Duration { ns } => (
            (elapsed.as_nanos() as u64).min(ns),
            format!("{}s of {}", elapsed.as_secs().min(ns / 1_000_000_000), show_typed_time_ns(ns)),
        ),
        Stop::Requests { count } => {
            (completed + failed, format!("{} of {}", show_count(completed + failed), show_count(count)))
        }
    };
    let errors = if failed == 1 { "error" } else { "errors" };
    (position, format!("{far} · {} req/s · {} {errors}", show_rate(rate), show_count(failed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stop: Stop, warmup_s: u64, elapsed_s: u64, snapshots: &[Snapshot]) -> String {
        describe(stop, Duration::from_secs(warmup_s), Duration::from_secs(elapsed_s), 1000.0, snapshots).1
    }

    #[test]
    fn a_line_tells_how_far_and_how_fast() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        snapshots[0].publish(1500, 0, 1);
        snapshots[1].publish(500, 1, 1);
        let duration = Stop::Duration { ns: 10_000_000_000 };
        assert_eq!(line(duration, 0, 2, &snapshots), "2s of 10s · 1,000 req/s · 1 error");
        assert_eq!(line(duration, 0, 11, &snapshots), "10s of 10s · 1,000 req/s · 1 error");
        assert_eq!(line(duration, 5, 2, &snapshots), "warming up, 2s of 5s");
        assert_eq!(line(duration, 5, 7, &snapshots), "2s of 10s · 1,000 req/s · 1 error");
        let requests = Stop::Requests { count: 10_000 };
        assert_eq!(line(requests, 0, 2, &snapshots), "2,001 of 10,000 · 1,000 req/s · 1 error");
    }

    #[test]
    fn the_rate_is_that_since_the_last_line() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        let mut view = View::new(Display::Lines, Stop::Duration { ns: 10_000_000_000 }, 0);
        let mut look = |publish: &dyn Fn()| {
            publish();
            view.measure(Duration::from_secs(1), &snapshots);
            view.rate
        };
        assert!(look(&|| ()).abs() < 1e-9);
        let first = look(&|| snapshots.iter().for_each(|it| it.publish(500, 0, 1_000_000_000)));
        assert!((first - 1000.0).abs() < 1e-9, "{first}");
        let later = look(&|| {
            snapshots[0].publish(1500, 0, 2_000_000_000);
            snapshots[1].publish(2500, 0, 3_000_000_000);
        });
        assert!((later - 2000.0).abs() < 1e-9, "{later}");
        // Nothing new is known,
        assert!((look(&|| ()) - 2000.0).abs() < 1e-9);
        // and then the server is dead.
        let dead = look(&|| {
            snapshots[0].publish(1500, 0, 4_000_000_000);
            snapshots[1].publish(2500, 0, 4_000_000_000);
        });
        assert!(dead.abs() < 1e-9, "{dead}");
    }

    #[test]
    fn quiet_goes_before_plain() {
        assert_eq!(Display::choose(true, true), Display::Silent);
        assert_eq!(Display::choose(false, true), Display::Lines);
    }

    #[test]
    fn a_display_ends_when_it_is_dropped() {
        let snapshots: Arc<[Snapshot]> = Arc::from([Snapshot::default()]);
        let watched = Arc::downgrade(&snapshots);
        drop(Progress::start(Display::Lines, Stop::Duration { ns: u64::MAX }, 0, snapshots));
        // Its thread held the snapshots, and is gone.
        assert!(watched.upgrade().is_none());
    }
}
