//! One worker's measurements: a few additions and one to four histogram entries per request.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use super::backlog::{Backlog, Course, Half, Moment};
use super::counters::{AfterEnd, Counters, STATUS_CODES};
use super::error_kind::ErrorKind;
use super::handshakes::{Handshake, Handshakes};
use super::http2::Http2;
use super::keyed::{Keyed, StatusClass};
use super::times::{Times, histogram, reset};

/// The times of a completed request, in nanoseconds on one clock, never decreasing in this order.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was due. In a closed loop: `sent_ns`, or when the connect that it needed began.
    pub scheduled_ns: u64,
    /// When it was due and a connection was free for it. In a closed loop: `sent_ns`, or when its connection was
    /// open.
    pub ready_ns: u64,
    /// Right before the call that hands it to the kernel.
    pub sent_ns: u64,
    /// When the first bytes of the answer arrived.
    pub first_byte_ns: u64,
    /// When the last bytes of the answer arrived. Equals `first_byte_ns` if it came in one piece.
    pub done_ns: u64,
    /// The status code.
    pub status: u16,
}

/// The times of a request that did not complete.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished {
    /// When it was due.
    pub scheduled_ns: u64,
    /// When a connection was free for it, if one ever was.
    pub ready_ns: Option<u64>,
    /// Right before the call that handed it to the kernel, if the kernel took any of it.
    pub sent_ns: Option<u64>,
    /// When it failed, or when the run ended.
    pub ended_ns: u64,
}

/// Counts and times the requests of one worker. Recording allocates only for the text of the first error of each
/// kind.
///
/// Each due request must be recorded exactly once: [`completed`](Self::completed), [`failed`](Self::failed) or
/// [`censored`](Self::censored).
///
/// What enters which histogram:
/// - completed requests enter all, with exact times;
/// - requests that timed out or were cut off by the end enter `response` with the time waited, marked as cut short,
///   and so do those whose connect timed out. If they were sent, they enter `service` in the same way. So a server
///   cannot improve its percentiles by not answering;
/// - requests that failed otherwise (refused, reset, …) enter neither: they count as errors;
/// - `queue_wait` covers the same requests as `response`; `schedule_lag`, the generator's own, covers all that were
///   sent.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(super) open_loop: bool,
    pub(super) counters: Counters,
    /// Exact response times: in an open loop all; in a closed loop only those of requests that needed a connection,
    /// as the others equal their service times.
    pub(super) response: Times,
    /// Service times of answers that came in one piece. They equal the times to the first byte, and the transfer took
    /// no time, so one entry records all three.
    pub(super) service_one_piece: Histogram<u64>,
    /// Other service times, including those cut short.
    pub(super) service: Times,
    /// In a closed loop: service times of requests that needed a connection, in one piece or not.
    pub(super) service_connected: Histogram<u64>,
    /// Waits for a connection, except those of 0.
    pub(super) queue_wait: Times,
    pub(super) queue_wait_none: u64,
    /// How long each request that the end cut off had waited since it was due. These waits are in `response` as well.
    pub(super) cut_off: Histogram<u64>,
    pub(super) schedule_lag: Histogram<u64>,
    pub(super) dns: Histogram<u64>,
    /// Attempts to connect. Cut short are those that timed out and those that the end cut off.
    pub(super) connect: Times,
    /// TLS handshakes, cut short in the same way.
    pub(super) tls: Times,
    pub(super) handshakes: Handshakes,
    /// The versions of HTTP that connections have spoken, such as `1.1`.
    pub(super) versions: BTreeSet<&'static str>,
    pub(super) http2: Http2,
    /// Times to the first byte, except those in `service_one_piece`,
    pub(super) first_byte: Histogram<u64>,
    /// and from there to the last byte.
    pub(super) transfer: Histogram<u64>,
    /// Response times of answers by the class of their status.
    pub(super) by_status: Keyed,
    course: Course,
    /// The state at half-time, which is known only at the end.
    half: Moment,
    /// What had been counted when the measured part ended; `None` before that.
    at_end: Option<AfterEnd>,
    /// Requests from the second half that the end cut off, and requests from both halves for which no connection was
    /// free.
    late_unanswered: u64,
    overdue: u64,
}

impl Recorder {
    /// An empty recorder for an open or a closed loop. Allocates all of its memory.
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
            cut_off: histogram(),
            schedule_lag: histogram(),
            dns: histogram(),
            connect: Times::new(),
            tls: Times::new(),
            handshakes: Handshakes::default(),
            versions: BTreeSet::new(),
            http2: Http2::default(),
            first_byte: histogram(),
            transfer: histogram(),
            by_status: Keyed::new(StatusClass::ALL.len(), StatusClass::Successful as usize),
            course: Course::new(),
            half: Moment::default(),
            at_end: None,
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

    /// The same for a closed loop's request that was due when it was sent, over an open connection: its response time
    /// is its service time, and it did not wait. Ignores `scheduled_ns` and `ready_ns`.
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

    /// A request failed because no connection was made for it within the connect timeout: in the connect or in the TLS
    /// handshake, as `kind` says.
    pub fn connect_timed_out(&mut self, request: Unfinished, kind: ErrorKind) {
        self.counters.failed += 1;
        self.counters.errors[kind as usize] += 1;
        self.unfinished(request, true);
    }

    /// So many of the failed requests were pipelined behind a response with `Connection: close`.
    #[cold]
    pub fn ruled_out(&mut self, count: u64) {
        self.counters.ruled_out += count;
    }

    /// A connection was closed because bytes followed a response.
    #[cold]
    pub fn unexpected_bytes(&mut self) {
        self.counters.unexpected_bytes += 1;
    }

    /// The message of an error of this kind. Only the first of each kind is kept.
    #[cold]
    pub fn error_said(&mut self, kind: ErrorKind, text: impl FnOnce() -> String) {
        self.counters.error_examples[kind as usize].get_or_insert_with(|| text().into());
    }

    /// The message of a TLS error. Only the first of each kind is kept.
    #[cold]
    pub fn tls_error_said(&mut self, kind: &'static str, text: impl Fn() -> String) {
        self.error_said(ErrorKind::Tls, &text);
        self.counters.tls_examples.entry(kind).or_insert_with(|| text().into());
    }

    /// Requests of the warm-up had no response in the measured part either. They do not count as measured.
    pub fn unanswered_since_warmup(&mut self, count: usize) {
        self.counters.warmup_unanswered += count as u64;
    }

    /// In an open loop: the worker's progress. To be called [`next_moment_ns`](Self::next_moment_ns) after the last
    /// call.
    pub fn passed(&mut self, moment: Moment) {
        self.course.tell(moment);
    }

    /// How long after the start or the last call to call [`passed`](Self::passed).
    pub fn next_moment_ns(&self) -> u64 {
        self.course.interval_ns()
    }

    /// How often `passed` was called.
    pub fn moments(&self) -> u64 {
        self.course.told()
    }

    /// The measured part, which began at `from_ns`, ends now. What is recorded after this was answered while the end waited
    /// for it, or was cut off.
    pub fn ends(&mut self, from_ns: u64, now_ns: u64) {
        let Counters { completed, failed, bytes_received, .. } = self.counters;
        self.at_end = Some(AfterEnd { completed, failed, bytes_received });
        self.half = self.course.nearest(u64::midpoint(from_ns, now_ns));
    }

    /// The run ended before a due request had an answer. It enters with the time waited.
    pub fn censored(&mut self, request: Unfinished) {
        self.counters.censored += 1;
        self.cut_off.saturating_record(request.ended_ns.saturating_sub(request.scheduled_ns));
        self.late_unanswered += u64::from(request.scheduled_ns >= self.half.at_ns);
        self.unfinished(request, true);
    }

    /// The run ended before `count` requests, due at about `scheduled_ns`, had found a connection.
    pub fn overdue(&mut self, scheduled_ns: u64, ended_ns: u64, count: u64) {
        let waited_ns = ended_ns.saturating_sub(scheduled_ns);
        self.counters.censored += count;
        self.overdue += count;
        if scheduled_ns >= self.half.at_ns {
            self.late_unanswered += count;
        }
        self.cut_off.saturating_record_n(waited_ns, count);
        self.response.censored.saturating_record_n(waited_ns, count);
        self.queue_wait.censored.saturating_record_n(waited_ns, count);
    }

    /// Bytes of answers that arrived, complete or not.
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
        self.connect.exact.saturating_record(time_ns);
    }

    /// An attempt to connect was given up after this time: it timed out, or the end cut it off.
    pub fn connect_cut_short(&mut self, time_ns: u64) {
        self.connect.censored.saturating_record(time_ns);
    }

    /// A TLS handshake ended well.
    pub fn shook_hands(&mut self, time_ns: u64, handshake: Handshake) {
        self.tls.exact.saturating_record(time_ns);
        self.handshakes.count(handshake);
    }

    /// A TLS handshake was given up after this time: it timed out, or the end cut it off.
    pub fn handshake_cut_short(&mut self, time_ns: u64) {
        self.tls.censored.saturating_record(time_ns);
    }

    /// A connection speaks this version of HTTP, such as `1.1`.
    pub fn speaks(&mut self, version: &'static str) {
        self.versions.insert(version);
    }

    /// A request is sent again, as the server had announced not to process it.
    #[cold]
    pub fn replayed(&mut self) {
        self.http2.replayed += 1;
    }

    /// The server reset a stream of HTTP/2 before its response was complete, with this error code.
    #[cold]
    pub fn stream_reset(&mut self, code: &str) {
        *self.http2.resets.entry(code.to_owned()).or_default() += 1;
    }

    /// The server announced the end of a connection of HTTP/2, with this error code.
    #[cold]
    pub fn went_away(&mut self, code: &str) {
        *self.http2.goaways.entry(code.to_owned()).or_default() += 1;
    }

    /// The server allows so many concurrent streams on a connection of HTTP/2.
    #[cold]
    pub fn allows_streams(&mut self, max: u32) {
        self.http2.allows_streams(max);
    }

    /// The generator could not open a socket: its own descriptors ran out (`EMFILE`, `ENFILE`).
    pub fn descriptors_ran_out(&mut self) {
        self.counters.descriptors_ran_out += 1;
    }

    /// The generator could not open a connection: its own ports ran out (`EADDRNOTAVAIL`).
    pub fn ports_ran_out(&mut self) {
        self.counters.ports_ran_out += 1;
    }

    /// Roughly the 99th percentile of the response times so far, too high rather than too low; `None` if there are
    /// none. It scans the histograms (some ten microseconds each), so call it rarely.
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

    /// Forgets all requests as the measured part begins, without allocating or freeing. The times of the connects and
    /// handshakes of the open connections stay, as the next requests use the same connections.
    pub fn reset(&mut self) {
        self.counters = Counters::default();
        self.queue_wait_none = 0;
        for times in [&mut self.response, &mut self.service, &mut self.queue_wait] {
            times.reset();
        }
        for histogram in [
            &mut self.service_one_piece,
            &mut self.service_connected,
            &mut self.cut_off,
            &mut self.schedule_lag,
            &mut self.first_byte,
            &mut self.transfer,
        ] {
            reset(histogram);
        }
        self.http2.reset();
        self.by_status.reset();
        self.course.reset();
    }

    pub(super) fn after_end(&self) -> AfterEnd {
        let Counters { completed, failed, bytes_received, .. } = self.counters;
        self.at_end.map_or_else(AfterEnd::default, |at_end| AfterEnd {
            completed: completed - at_end.completed,
            failed: failed - at_end.failed,
            bytes_received: bytes_received - at_end.bytes_received,
        })
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

    /// Records an answer with an unusual status.
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

/// The highest 99th percentile of those `parts` that hold at least 1 % of all times: the others are too small to
/// raise it.
pub(super) fn highest_p99_ns(parts: &[&Histogram<u64>]) -> Option<u64> {
    let all: u64 = parts.iter().map(|part| part.len()).sum();
    let parts = parts.iter().filter(|part| part.len() * 100 >= all.max(1));
    parts.map(|part| part.value_at_quantile(0.99)).max()
}
