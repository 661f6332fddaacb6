//! One worker's part of the measurement: a few additions and one to four histogram entries per request.

use hdrhistogram::Histogram;

use super::backlog::{Backlog, Course, Half, Moment};
use super::counters::{Counters, STATUS_CODES};
use super::error_kind::ErrorKind;
use super::keyed::{Keyed, StatusClass};
use super::times::{Times, histogram, reset};

/// The moments of a completed request, in nanoseconds on one clock, not decreasing in this order.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was due. In a closed loop: as `sent_ns`, or when the connect began that it needed.
    pub scheduled_ns: u64,
    /// When it was due and a connection was free for it. In a closed loop: as `sent_ns`, or when it was connected.
    pub ready_ns: u64,
    /// Right before the call that hands it to the kernel.
    pub sent_ns: u64,
    /// When the first bytes of the answer were here.
    pub first_byte_ns: u64,
    /// When the last bytes of the answer were here. Equals `first_byte_ns` when they came in one piece.
    pub done_ns: u64,
    /// The status code.
    pub status: u16,
}

/// The moments of a request that did not complete.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished {
    /// When it was due.
    pub scheduled_ns: u64,
    /// When a connection was free for it, if that came.
    pub ready_ns: Option<u64>,
    /// Right before the call that handed it to the kernel, if the kernel took a byte of it.
    pub sent_ns: Option<u64>,
    /// When it failed, or when the run ended.
    pub ended_ns: u64,
}

/// Counts and times the requests of one worker. Recording never allocates, but for the text of the first error of each kind.
///
/// Each request that was due is told exactly once: [`completed`](Self::completed), [`failed`](Self::failed) or
/// [`censored`](Self::censored).
///
/// What enters which histogram:
/// - completed requests enter all, with times that are exact;
/// - timeouts and those that the end cut off enter `response` and `service` with the time that they had waited, as times that would have
///   been longer. A server cannot improve its percentiles by not answering;
/// - requests that failed otherwise (refused, reset, …) enter neither: they are in the errors;
/// - `queue_wait` is over the same requests as `response`; `schedule_lag`, the generator's own, over all that were sent.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(super) open_loop: bool,
    pub(super) counters: Counters,
    /// Exact ones: in an open loop all; in a closed one those of requests that needed a connection, as all others equal their service.
    pub(super) response: Times,
    /// Service times of answers that came in one piece. They are times to the first byte as well, and their transfer
    /// took none, so one entry tells all three.
    pub(super) service_one_piece: Histogram<u64>,
    /// Other service times, and those that were cut short.
    pub(super) service: Times,
    /// In a closed loop: those of requests that needed a connection, in one piece or not.
    pub(super) service_connected: Histogram<u64>,
    /// Waits for a connection, but for those of 0.
    pub(super) queue_wait: Times,
    pub(super) queue_wait_none: u64,
    /// The longest service time of an answer when the run ended.
    slowest_ns: u64,
    pub(super) schedule_lag: Histogram<u64>,
    pub(super) dns: Histogram<u64>,
    pub(super) connect: Histogram<u64>,
    /// Times to the first byte, but for those in `service_one_piece`,
    pub(super) first_byte: Histogram<u64>,
    /// and from there to the last.
    pub(super) transfer: Histogram<u64>,
    /// Response times of answers by the class of their status.
    pub(super) by_status: Keyed,
    course: Course,
    /// How it stood at half-time, known at the end.
    half: Moment,
    /// Requests from the second half that the end cut off, and those from both that no connection was free for.
    late_unanswered: u64,
    overdue: u64,
}

impl Recorder {
    /// An empty one, for an open or a closed loop. All of its memory is allocated here.
    pub fn new(open_loop: bool) -> Self {
        Self {
            open_loop,
            counters: Counters::default(),
            response: Times::new(),
            service_one_piece: histogram(),
            service: Times::new(),
            service_connected: histogram(),
            queue_wait: Times::new(),
            queue_wait_none: 0,
            slowest_ns: 0,
            schedule_lag: histogram(),
            dns: histogram(),
            connect: histogram(),
            first_byte: histogram(),
            transfer: histogram(),
            by_status: Keyed::new(StatusClass::ALL.len(), StatusClass::Successful as usize),
            course: Course::new(),
            half: Moment::default(),
            late_unanswered: 0,
            overdue: 0,
        }
    }

    /// A request was answered completely.
    #[inline]
    pub fn completed(&mut self, sample: Sample) {
        if !self.open_loop && sample.scheduled_ns >= sample.sent_ns {
            return self.completed_at_once(sample);
        }
        let Sample { scheduled_ns, ready_ns, sent_ns, first_byte_ns, done_ns, status } = sample;
        self.answered(done_ns, status, scheduled_ns);
        if self.open_loop {
            self.served(sent_ns, first_byte_ns, done_ns);
        } else {
            self.service_connected.saturating_record(done_ns.saturating_sub(sent_ns));
            self.in_pieces(sent_ns, first_byte_ns, done_ns);
        }
        self.response.exact.saturating_record(done_ns.saturating_sub(scheduled_ns));
        self.waited(scheduled_ns, ready_ns);
        self.schedule_lag.saturating_record(sent_ns.saturating_sub(ready_ns.max(scheduled_ns)));
    }

    /// The same of a closed loop's request that was due when it was sent, as a connection was there: its service is its response, and it waited
    /// for nothing. When it was due and ready is not looked at.
    #[inline]
    pub fn completed_at_once(&mut self, sample: Sample) {
        let Sample { sent_ns, first_byte_ns, done_ns, status, .. } = sample;
        self.answered(done_ns, status, sent_ns);
        self.served(sent_ns, first_byte_ns, done_ns);
    }

    /// A request failed.
    pub fn failed(&mut self, request: Unfinished, kind: ErrorKind) {
        self.counters.failed += 1;
        self.counters.errors[kind as usize] += 1;
        self.unfinished(request, kind == ErrorKind::Timeout);
    }

    /// What an error of this kind says. The first of each kind is kept.
    #[cold]
    pub fn error_said(&mut self, kind: ErrorKind, text: impl FnOnce() -> String) {
        self.counters.error_examples[kind as usize].get_or_insert_with(|| text().into());
    }

    /// Requests of the warm-up had no answer in the measured part either, and are not to be counted among those measured.
    pub fn unanswered_since_warmup(&mut self, count: usize) {
        self.counters.warmup_unanswered += count as u64;
    }

    /// In an open loop: how far the worker is, [`next_moment_ns`](Self::next_moment_ns) after the last time.
    pub fn passed(&mut self, moment: Moment) {
        self.course.tell(moment);
    }

    /// How long after the start, or the last time, [`passed`](Self::passed) is to be told.
    pub fn next_moment_ns(&self) -> u64 {
        self.course.interval_ns()
    }

    /// How often it was told.
    pub fn moments(&self) -> u64 {
        self.course.told()
    }

    /// The measured part, from `from_ns` on, ends now; what is told from here on is what its end has cut off.
    pub fn ends(&mut self, from_ns: u64, now_ns: u64) {
        self.slowest_ns =
            self.service.exact.max().max(self.service_one_piece.max()).max(self.service_connected.max());
        self.half = self.course.nearest(u64::midpoint(from_ns, now_ns));
    }

    /// The run ended before a request that was due had an answer. It enters with the time that it has waited.
    pub fn censored(&mut self, request: Unfinished) {
        self.counters.censored += 1;
        let in_time = |sent_ns| request.ended_ns.saturating_sub(sent_ns) <= self.slowest_ns;
        self.counters.under_way += u64::from(request.sent_ns.is_some_and(in_time));
        self.late_unanswered += u64::from(request.scheduled_ns >= self.half.at_ns);
        self.unfinished(request, true);
    }

    /// The run ended before `count` requests, which were due at `scheduled_ns` or nearly so, had found a connection.
    pub fn overdue(&mut self, scheduled_ns: u64, ended_ns: u64, count: u64) {
        let waited_ns = ended_ns.saturating_sub(scheduled_ns);
        self.counters.censored += count;
        self.overdue += count;
        if scheduled_ns >= self.half.at_ns {
            self.late_unanswered += count;
        }
        self.response.censored.saturating_record_n(waited_ns, count);
        self.queue_wait.censored.saturating_record_n(waited_ns, count);
    }

    /// Bytes that arrived, of answers complete or not.
    #[inline]
    pub fn received_bytes(&mut self, count: u64) {
        self.counters.bytes_received += count;
    }

    /// Bytes that the kernel took.
    #[inline]
    pub fn sent_bytes(&mut self, count: u64) {
        self.counters.bytes_sent += count;
    }

    /// A name was resolved.
    pub fn resolved(&mut self, time_ns: u64) {
        self.dns.saturating_record(time_ns);
    }

    /// A connection was made.
    #[inline]
    pub fn connected(&mut self, time_ns: u64) {
        self.counters.connects += 1;
        self.connect.saturating_record(time_ns);
    }

    /// The generator could not open a socket: its own descriptors ran out (`EMFILE`, `ENFILE`).
    pub fn descriptors_ran_out(&mut self) {
        self.counters.descriptors_ran_out += 1;
    }

    /// The generator could not open a connection: its own ports ran out (`EADDRNOTAVAIL`).
    pub fn ports_ran_out(&mut self) {
        self.counters.ports_ran_out += 1;
    }

    /// About the 99th percentile of the response times so far, rather too high than too low; `None` without any. It goes through the
    /// histograms (some ten microseconds each), so it is for a look now and then.
    pub fn response_p99_ns(&self) -> Option<u64> {
        if self.open_loop {
            highest_p99_ns(&[&self.response.exact, &self.response.censored])
        } else {
            highest_p99_ns(&[
                &self.service.exact,
                &self.service_one_piece,
                &self.response.exact,
                &self.response.censored,
            ])
        }
    }

    /// What has been counted so far.
    #[inline]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Forgets all requests, without giving memory back or taking any: the measured part begins. How the connections came up that they
    /// went over stays, as those that follow go over the same.
    pub fn reset(&mut self) {
        self.counters = Counters::default();
        self.queue_wait_none = 0;
        for times in [&mut self.response, &mut self.service, &mut self.queue_wait] {
            times.reset();
        }
        for histogram in [
            &mut self.service_one_piece,
            &mut self.service_connected,
            &mut self.schedule_lag,
            &mut self.first_byte,
            &mut self.transfer,
        ] {
            reset(histogram);
        }
        self.by_status.reset();
        self.course.reset();
    }

    pub(super) fn backlog(&self) -> Backlog {
        let Moment { due, ended, waiting, .. } = self.half;
        Backlog {
            first: Half { due, unanswered: due.saturating_sub(ended), waiting },
            second: Half {
                due: self.counters.scheduled().saturating_sub(due),
                unanswered: self.late_unanswered,
                waiting: self.overdue,
            },
        }
    }

    #[inline]
    fn answered(&mut self, done_ns: u64, status: u16, due_ns: u64) {
        self.counters.completed += 1;
        self.counters.sent += 1;
        self.counters.last_done_ns = done_ns;
        self.counters.status[usize::from(status).min(STATUS_CODES - 1)] += 1;
        if !StatusClass::Successful.contains(status) {
            self.unusual(status, done_ns.saturating_sub(due_ns));
        }
    }

    /// An answer with a status that is not the usual one.
    #[cold]
    fn unusual(&mut self, status: u16, response_ns: u64) {
        self.by_status.record(StatusClass::of(status) as usize, response_ns);
    }

    #[inline]
    fn served(&mut self, sent_ns: u64, first_byte_ns: u64, done_ns: u64) {
        let service_ns = done_ns.saturating_sub(sent_ns);
        if first_byte_ns == done_ns {
            self.service_one_piece.saturating_record(service_ns);
        } else {
            self.service.exact.saturating_record(service_ns);
            self.in_pieces(sent_ns, first_byte_ns, done_ns);
        }
    }

    fn in_pieces(&mut self, sent_ns: u64, first_byte_ns: u64, done_ns: u64) {
        self.first_byte.saturating_record(first_byte_ns.saturating_sub(sent_ns));
        self.transfer.saturating_record(done_ns.saturating_sub(first_byte_ns));
    }

    fn unfinished(&mut self, request: Unfinished, waited_for: bool) {
        let Unfinished { scheduled_ns, ready_ns, sent_ns, ended_ns } = request;
        if let Some(sent_ns) = sent_ns {
            self.counters.sent += 1;
            let due_ns = ready_ns.unwrap_or(sent_ns).max(scheduled_ns);
            self.schedule_lag.saturating_record(sent_ns.saturating_sub(due_ns));
        }
        if !waited_for {
            return;
        }
        self.response.censored.saturating_record(ended_ns.saturating_sub(scheduled_ns));
        if let Some(sent_ns) = sent_ns {
            self.service.censored.saturating_record(ended_ns.saturating_sub(sent_ns));
        }
        match ready_ns {
            Some(ready_ns) => self.waited(scheduled_ns, ready_ns),
            None => self.queue_wait.censored.saturating_record(ended_ns.saturating_sub(scheduled_ns)),
        }
    }

    #[inline]
    fn waited(&mut self, scheduled_ns: u64, ready_ns: u64) {
        if ready_ns > scheduled_ns {
            self.queue_wait.exact.saturating_record(ready_ns - scheduled_ns);
        } else {
            self.queue_wait_none += 1;
        }
    }
}

/// The highest 99th percentile of those `parts` that have at least one in a hundred of all: what is in the others does not reach it.
fn highest_p99_ns(parts: &[&Histogram<u64>]) -> Option<u64> {
    let all: u64 = parts.iter().map(|part| part.len()).sum();
    let parts = parts.iter().filter(|part| part.len() * 100 >= all.max(1));
    parts.map(|part| part.value_at_quantile(0.99)).max()
}
