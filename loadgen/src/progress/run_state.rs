//! Where a run is, as displays see it from their own threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ringtide_driver::monotonic_ns;

use super::snapshot::{Joined, Snapshot};
use crate::plan::{Plan, Stop};

/// How long the parts of a run take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timetable {
    /// The warm-up.
    pub warmup_ns: u64,
    /// The measured part.
    pub stop: Stop,
    /// The drain, at most.
    pub drain_ns: u64,
}

/// A phase of a run, with the time that has passed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first connections are opened.
    Connecting,
    /// Requests are sent, and not measured yet.
    WarmingUp(Duration),
    /// The measured part.
    Measuring(Duration),
    /// It is over, and what is in flight may still be answered.
    Draining(Duration),
    /// Connections are closed.
    Ending,
}

impl Timetable {
    /// That of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self { warmup_ns: plan.warmup_ns, stop: plan.stop, drain_ns: plan.drain_ns }
    }

    /// The phase at this time after the start, if the run is not ended early.
    pub fn phase(&self, elapsed: Duration) -> Phase {
        let Some(elapsed) = elapsed.checked_sub(Duration::from_nanos(self.warmup_ns)) else {
            return Phase::WarmingUp(elapsed);
        };
        let length = self.stop.duration_ns().map_or(Duration::MAX, Duration::from_nanos);
        match elapsed.checked_sub(length) {
            None => Phase::Measuring(elapsed),
            Some(after) if after < Duration::from_nanos(self.drain_ns) => Phase::Draining(after),
            Some(_) => Phase::Ending,
        }
    }
}

/// Looks at a run, from any thread, before it starts and while it goes on. Looking costs its workers nothing.
#[derive(Clone, Debug)]
pub struct RunState {
    timetable: Timetable,
    snapshots: Arc<[Snapshot]>,
    /// When requests began, on the workers' clock; `u64::MAX` before that.
    start_ns: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
}

impl RunState {
    /// The state of a run of `plan`, which tells it what happens.
    pub fn new(plan: &Plan) -> Self {
        Self {
            timetable: Timetable::of(plan),
            snapshots: (0..plan.threads).map(|_| Snapshot::default()).collect(),
            start_ns: Arc::new(AtomicU64::new(u64::MAX)),
            is_stopped: Arc::default(),
        }
    }

    /// Where the workers publish, one entry each.
    pub(crate) fn snapshots(&self) -> &Arc<[Snapshot]> {
        &self.snapshots
    }

    /// The requests begin at `start_ns` on the workers' clock.
    pub(crate) fn starts(&self, start_ns: u64) {
        self.start_ns.store(start_ns, Relaxed);
    }

    /// The run is ended early.
    pub(crate) fn stops(&self) {
        self.is_stopped.store(true, Relaxed);
    }

    /// How long the parts of the run take.
    pub fn timetable(&self) -> Timetable {
        self.timetable
    }

    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        let start_ns = self.start_ns.load(Relaxed);
        if self.is_stopped.load(Relaxed) {
            Phase::Ending
        } else if start_ns == u64::MAX {
            Phase::Connecting
        } else {
            self.timetable.phase(Duration::from_nanos(monotonic_ns().saturating_sub(start_ns)))
        }
    }

    /// What the workers have published.
    pub fn joined(&self) -> Joined {
        Snapshot::join(&self.snapshots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other() {
        let seconds = Duration::from_secs;
        let stop = Stop::Duration { ns: 10_000_000_000 };
        let timetable = Timetable { warmup_ns: 5_000_000_000, stop, drain_ns: 2_000_000_000 };
        for (at_s, phase) in [
            (0, Phase::WarmingUp(seconds(0))),
            (4, Phase::WarmingUp(seconds(4))),
            (5, Phase::Measuring(seconds(0))),
            (14, Phase::Measuring(seconds(9))),
            (15, Phase::Draining(seconds(0))),
            (16, Phase::Draining(seconds(1))),
            (17, Phase::Ending),
        ] {
            assert_eq!(timetable.phase(seconds(at_s)), phase, "{at_s}");
        }
        let endless = Timetable { stop: Stop::Requests { count: 1, within_ns: None }, ..timetable };
        assert_eq!(endless.phase(seconds(1_000_000)), Phase::Measuring(seconds(999_995)));
    }

    #[test]
    fn a_watch_is_told_of_the_start_and_of_an_early_end() {
        let watch = RunState::new(&Plan::for_url("http://127.0.0.1:1/").expect("valid"));
        assert_eq!(watch.phase(), Phase::Connecting);
        watch.starts(monotonic_ns());
        assert!(matches!(watch.clone().phase(), Phase::Measuring(_)));
        watch.stops();
        assert_eq!(watch.phase(), Phase::Ending);
    }
}
