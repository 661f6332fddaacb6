//! What the workers publish about four times a second, for displays. It may be a moment old.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::Counters;

/// What one worker has done so far in the measured part, and what it has at this moment. The worker writes it, displays
/// read it.
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
    connections: AtomicU64,
    in_flight: AtomicU64,
}

/// The snapshots of all workers, joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Requests with a complete answer.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Of those completed: with a status from 400 to 499,
    pub client_errors: u64,
    /// and with 500 or more.
    pub server_errors: u64,
    /// The highest of all workers, as that of all requests together is not higher; 0 without any.
    pub response_p99_ns: u64,
    /// How long no answer has come; `None` before the first one.
    pub silent_ns: Option<u64>,
    /// Open connections.
    pub connections: u64,
    /// Requests in flight.
    pub in_flight: u64,
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

    /// Publishes how many connections are open, and how many requests are in flight.
    pub fn publish_open(&self, connections: usize, in_flight: usize) {
        self.connections.store(connections as u64, Relaxed);
        self.in_flight.store(in_flight as u64, Relaxed);
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

    /// All of them together.
    pub fn join(snapshots: &[Self]) -> Joined {
        let (at_ns, done_ns) =
            (max(snapshots, |snapshot| &snapshot.at_ns), max(snapshots, |snapshot| &snapshot.last_done_ns));
        Joined {
            completed: sum(snapshots, |snapshot| &snapshot.completed),
            failed: sum(snapshots, |snapshot| &snapshot.failed),
            client_errors: sum(snapshots, |snapshot| &snapshot.client_errors),
            server_errors: sum(snapshots, |snapshot| &snapshot.server_errors),
            response_p99_ns: max(snapshots, |snapshot| &snapshot.response_p99_ns),
            silent_ns: (done_ns > 0).then(|| at_ns.saturating_sub(done_ns)),
            connections: sum(snapshots, |snapshot| &snapshot.connections),
            in_flight: sum(snapshots, |snapshot| &snapshot.in_flight),
        }
    }

    /// When it was published, on the workers' clock, and how many requests were complete; 0 before the first time.
    pub(super) fn completed_at(&self) -> (u64, u64) {
        (self.at_ns.load(Relaxed), self.completed.load(Relaxed))
    }
}

fn sum(snapshots: &[Snapshot], counter: fn(&Snapshot) -> &AtomicU64) -> u64 {
    snapshots.iter().map(|snapshot| counter(snapshot).load(Relaxed)).sum()
}

fn max(snapshots: &[Snapshot], value: fn(&Snapshot) -> &AtomicU64) -> u64 {
    snapshots.iter().map(|snapshot| value(snapshot).load(Relaxed)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_count_together() {
        let snapshots = [Snapshot::default(), Snapshot::default()];
        let counters = |completed, failed, last_done_ns| Counters {
            completed,
            failed,
            last_done_ns,
            ..Counters::default()
        };
        assert_eq!(Snapshot::join(&snapshots), Joined::default());
        snapshots[0].count(&counters(5, 1, 0));
        snapshots[1].publish(&counters(7, 2, 30), Some(9), 50);
        snapshots[0].publish_open(3, 2);
        snapshots[1].publish_open(4, 0);
        assert_eq!(Snapshot::failed_and_ended(&snapshots), (3, 15));
        let joined = Snapshot::join(&snapshots);
        assert_eq!((joined.completed, joined.failed, joined.connections, joined.in_flight), (12, 3, 7, 2));
        assert_eq!((joined.response_p99_ns, joined.silent_ns), (9, Some(20)));
    }
}
