//! A worker's side of the series: what it sends once a second.

use std::sync::mpsc::{Receiver, SyncSender};

use super::INTERVAL_NS;
use crate::metrics::{Counters, ErrorKind, Interval, Recorder, StatusClass};

/// What a worker has counted since the start of the measured part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) completed: u64,
    /// Of these, how many were answered after the end (`--drain`).
    pub(super) after_end: u64,
    pub(super) failed: u64,
    pub(super) censored: u64,
    pub(super) sent: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) connects: u64,
    pub(super) descriptors_ran_out: u64,
    pub(super) ports_ran_out: u64,
    pub(super) errors: [u64; ErrorKind::ALL.len()],
    pub(super) status: [u64; 5],
}

/// What a worker has at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    /// Open connections.
    pub(crate) connections: u64,
    /// Requests in flight.
    pub(crate) in_flight: u64,
    /// Due requests without a connection.
    pub(crate) waiting: u64,
    /// CPU time spent spinning, since the worker was set up.
    pub(crate) spin_ns: u64,
}

/// What a worker sends.
pub(super) struct Tick {
    pub(super) worker: usize,
    /// When the measured part began, on the clock of all workers,
    pub(super) start_ns: u64,
    /// and how long that is ago.
    pub(super) elapsed_ns: u64,
    /// Nothing follows.
    pub(super) is_last: bool,
    pub(super) counts: Counts,
    pub(super) gauges: Gauges,
    /// The response times since the last tick. The collector empties it and gives it back.
    pub(super) interval: Box<Interval>,
}

/// Sends a worker's part of each second to the collector.
#[derive(Debug)]
pub(crate) struct Reporter {
    worker: usize,
    ticks: SyncSender<Tick>,
    /// An empty interval at the start, then those that the collector has emptied.
    empty: Receiver<Box<Interval>>,
    start_ns: u64,
    next_ns: u64,
}

impl Reporter {
    pub(super) fn new(worker: usize, ticks: SyncSender<Tick>, empty: Receiver<Box<Interval>>) -> Self {
        Self { worker, ticks, empty, start_ns: u64::MAX, next_ns: u64::MAX }
    }

    /// The measured part begins at `now_ns`.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        self.start_ns = now_ns;
        self.next_ns = now_ns.saturating_add(INTERVAL_NS);
    }

    /// Whether a second is over.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// Sends what happened since the last call. If the collector is behind, it returns false, and the next call sends
    /// both seconds.
    pub(crate) fn report(&mut self, recorder: &mut Recorder, gauges: Gauges, now_ns: u64) -> bool {
        let elapsed_ns = now_ns.saturating_sub(self.start_ns);
        self.next_ns = self.start_ns + (elapsed_ns / INTERVAL_NS + 1) * INTERVAL_NS;
        let Ok(interval) = self.empty.try_recv() else { return false };
        self.send(recorder, gauges, elapsed_ns, interval, false);
        true
    }

    /// Sends the rest at the end of the measured part. May wait for the collector.
    pub(crate) fn end(self, recorder: &mut Recorder, gauges: Gauges, ended_ns: u64) {
        if self.start_ns == u64::MAX {
            return;
        }
        // Without a collector, which has panicked then, its measurements are lost, and the run fails.
        if let Ok(interval) = self.empty.recv() {
            self.send(recorder, gauges, ended_ns.saturating_sub(self.start_ns), interval, true);
        }
    }

    fn send(
        &self,
        recorder: &mut Recorder,
        gauges: Gauges,
        elapsed_ns: u64,
        mut interval: Box<Interval>,
        is_last: bool,
    ) {
        recorder.swap(&mut interval);
        let after_end = recorder.after_end().completed;
        let counts = Counts { after_end, ..Counts::of(recorder.counters()) };
        let Self { worker, start_ns, .. } = *self;
        let tick = Tick { worker, start_ns, elapsed_ns, is_last, counts, gauges, interval };
        // There is room for every interval that exists, so this does not wait.
        let _ = self.ticks.send(tick);
    }
}

impl Counts {
    fn of(counters: &Counters) -> Self {
        let class = |class: StatusClass| -> u64 {
            let codes = match class {
                StatusClass::Informational => 0..200,
                StatusClass::Successful => 200..300,
                StatusClass::Redirection => 300..400,
                StatusClass::ClientError => 400..500,
                StatusClass::ServerError => 500..counters.status.len(),
            };
            counters.status[codes].iter().sum()
        };
        Self {
            completed: counters.completed,
            after_end: 0,
            failed: counters.failed,
            censored: counters.censored,
            sent: counters.sent,
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            connects: counters.connects,
            descriptors_ran_out: counters.descriptors_ran_out,
            ports_ran_out: counters.ports_ran_out,
            errors: counters.errors,
            status: StatusClass::ALL.map(class),
        }
    }

    /// Adds what came between `before` and `after`.
    pub(super) fn add_difference(&mut self, before: &Self, after: &Self) {
        fn add(to: &mut u64, before: u64, after: u64) {
            *to += after.saturating_sub(before);
        }
        add(&mut self.completed, before.completed, after.completed);
        add(&mut self.after_end, before.after_end, after.after_end);
        add(&mut self.failed, before.failed, after.failed);
        add(&mut self.censored, before.censored, after.censored);
        add(&mut self.sent, before.sent, after.sent);
        add(&mut self.bytes_received, before.bytes_received, after.bytes_received);
        add(&mut self.bytes_sent, before.bytes_sent, after.bytes_sent);
        add(&mut self.connects, before.connects, after.connects);
        add(&mut self.descriptors_ran_out, before.descriptors_ran_out, after.descriptors_ran_out);
        add(&mut self.ports_ran_out, before.ports_ran_out, after.ports_ran_out);
        for (to, (before, after)) in self.errors.iter_mut().zip(before.errors.iter().zip(after.errors)) {
            add(to, *before, after);
        }
        for (to, (before, after)) in self.status.iter_mut().zip(before.status.iter().zip(after.status)) {
            add(to, *before, after);
        }
    }
}
