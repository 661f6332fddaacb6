//! How requests are booked: answered, failed with or without their connection, or cut off by the end of the run.

use ringtide::error::{Error, ProtocolError};
use ringtide::limits::CLOSE_AFTER_PEER_MAX;
use ringtide::proto::h2::{self, ResetCause};
use ringtide::runtime;
use ringtide::{Aborted, CompletedExchange, Connection};

use super::connect::ConnectFailure;
use super::connection::ConnectionTask;
use super::shared::Shared;
use super::source::Due;
use super::tickets::Ticket;
use crate::metrics::{ErrorKind, Recorder, Sample, Unfinished};
use crate::tls::explain;

/// What a TLS alert begins with (RFC 8446 §5.1): its content type, and the first byte of the version.
const TLS_ALERT: &[u8] = &[21, 3];

impl Shared {
    /// Books the answer to a measured request of `sent_size` bytes.
    #[inline]
    pub(super) fn book_completed(&self, ticket: Ticket, exchange: &CompletedExchange, sent_size: usize) {
        let sample = Sample {
            scheduled_ns: ticket.due.scheduled_ns,
            ready_ns: ticket.ready_ns,
            sent_ns: exchange.timing.sent_ns,
            first_byte_ns: exchange.timing.first_byte_ns,
            done_ns: exchange.end_ns,
            status: exchange.status.as_u16(),
        };
        let is_due_when_sent = ticket.is_due_when_sent(self.plan.open_loop().is_none());
        let mut recorder = self.recorder.borrow_mut();
        if is_due_when_sent {
            recorder.completed_at_once(sample);
        } else {
            recorder.completed(sample);
        }
        recorder.sent_bytes(sent_size as u64);
        if self.counts_answers {
            self.snapshots[self.index].count(recorder.counters());
        }
        if !self.names.is_empty() {
            self.names.completed(self.request_of(ticket.due.request), is_due_when_sent, sample);
        }
    }

    /// Whether a request that failed as `kind` counts.
    fn counts_failed(&self, scheduled_ns: u64, kind: ErrorKind) -> bool {
        match kind {
            // It counts like a request that the end cuts off.
            ErrorKind::Timeout => self.counts_unanswered(scheduled_ns),
            _ => self.is_measured(scheduled_ns),
        }
    }

    /// The kind of an error. The text of the first error of a kind is kept as an example.
    #[cold]
    pub(super) fn failure(&self, error: &Error) -> ErrorKind {
        let kind = error_kind(error);
        if let Error::Tls(error) = error {
            if !self.warming_up.get() {
                let text = || explain(error, &self.plan.tls);
                self.recorder.borrow_mut().tls_error_said(error.kind(), text);
            }
            return kind;
        }
        // The other errors say no more than their kind.
        let says_more = matches!(error, Error::Unanswered(_))
            || (!matches!(kind, ErrorKind::Closed | ErrorKind::Timeout) && !error.is_reset());
        if says_more && !self.warming_up.get() {
            self.recorder.borrow_mut().error_said(kind, || error.to_string());
        }
        kind
    }
}

impl ConnectionTask {
    /// Books a request for which no connection was made.
    pub(super) fn fail_unconnected(&self, due: Due, failure: ConnectFailure) {
        let scheduled_ns = due.scheduled_ns;
        let ConnectFailure { text, kind, tls_kind, timed_out } = failure;
        let shared = &self.shared;
        // A timeout counts like a request that the end cuts off.
        let counts =
            if timed_out { shared.counts_unanswered(scheduled_ns) } else { shared.is_measured(scheduled_ns) };
        if counts {
            let ended_ns = runtime::now_ns();
            let request = Unfinished { scheduled_ns, ready_ns: None, sent_ns: None, ended_ns };
            shared.record(due.request, |recorder| {
                if timed_out {
                    recorder.connect_timed_out(request, kind);
                } else {
                    recorder.failed(request, kind);
                }
            });
            let mut recorder = shared.recorder.borrow_mut();
            match tls_kind {
                Some(tls_kind) => recorder.tls_error_said(tls_kind, || text.clone()),
                None => recorder.error_said(kind, || text),
            }
            drop(recorder);
            shared.count_errors();
        } else if timed_out && shared.is_measuring() {
            shared.recorder.borrow_mut().unanswered_since_warmup(1);
        }
        shared.user_fails(due.request);
    }

    /// Books a request that the connection did not take. What is in flight on it fails next.
    #[cold]
    pub(super) fn fail_unstarted(&self, ticket: Ticket, kind: ErrorKind) {
        self.fail_one(ticket, None, kind);
    }

    /// Books a request as failed by itself. `sent_ns` is when it was sent, if it was.
    #[cold]
    pub(super) fn fail_one(&self, ticket: Ticket, sent_ns: Option<u64>, kind: ErrorKind) {
        let Ticket { due, ready_ns } = ticket;
        if self.shared.counts_failed(due.scheduled_ns, kind) {
            let closed = self.shared.plan.open_loop().is_none();
            let due_ns = due_ns(ticket, sent_ns, closed);
            let request = Unfinished {
                scheduled_ns: due_ns,
                ready_ns: Some(ready_ns.max(due_ns)),
                sent_ns,
                ended_ns: runtime::now_ns(),
            };
            if sent_ns.is_some() {
                self.shared.recorder.borrow_mut().sent_bytes(self.request_size() as u64);
            }
            self.shared.record(due.request, |recorder| recorder.failed(request, kind));
            self.shared.count_errors();
        } else if kind == ErrorKind::Timeout && self.shared.is_measuring() {
            self.shared.recorder.borrow_mut().unanswered_since_warmup(1);
        }
        self.shared.user_fails(due.request);
    }

    /// How many sent bytes to count for a request. Where that differs from one to the next, in HTTP/2 and with several
    /// requests, all bytes are counted when they are sent.
    #[inline]
    pub(super) fn request_size(&self) -> usize {
        match &*self.shared.requests {
            [request] if !self.is_http2 => request.bytes().len(),
            _ => 0,
        }
    }

    /// Counts what was sent since the last call.
    #[inline]
    pub(super) fn count_sent(&mut self) {
        let Some(connection) = &self.connection else { return };
        let sent_size = connection.sent_size();
        if self.shared.is_measuring() {
            self.shared.recorder.borrow_mut().sent_bytes(sent_size - self.sent_size);
        }
        self.sent_size = sent_size;
    }

    /// Notes that a request is sent again.
    #[cold]
    pub(super) fn note_replayed(&self) {
        if self.shared.is_measuring() {
            self.shared.recorder.borrow_mut().replayed();
        }
    }

    /// Books the requests in flight as failed and drops the connection.
    pub(super) async fn fail(&mut self, kind: ErrorKind) {
        if kind == ErrorKind::Timeout {
            self.note_unanswered_since_warmup();
        }
        // In HTTP/1.1 only the first answer was wrong; the others had not begun. With pipelining, the requests behind one
        // that timed out have waited too, so they time out with it.
        let is_first_alone = !self.is_http2 && matches!(kind, ErrorKind::Incomplete | ErrorKind::Protocol);
        // In HTTP/2 each has a response of its own, of which a part may have arrived.
        let depends = self.is_http2 && matches!(kind, ErrorKind::Incomplete | ErrorKind::Closed);
        let counts = |shared: &Shared, scheduled_ns| shared.counts_failed(scheduled_ns, kind);
        self.abandon(CLOSE_AFTER_PEER_MAX, counts, |recorder, place, request| match place {
            Place { index: 1.., .. } if is_first_alone => recorder.failed(request, ErrorKind::Closed),
            Place { has_begun: true, .. } if depends => recorder.failed(request, ErrorKind::Incomplete),
            Place { has_begun: false, .. } if depends => recorder.failed(request, ErrorKind::Closed),
            _ => recorder.failed(request, kind),
        })
        .await;
        self.shared.count_errors();
    }

    /// Books the requests in flight, and one that was drawn but not started, as cut off by the end of the run.
    pub(super) async fn censor(&mut self) {
        self.note_unanswered_since_warmup();
        if let Some(connection) = &self.connection {
            self.shared.ask_of_queues(connection);
        }
        // No limit: no new connection takes the place of these.
        self.abandon(usize::MAX, Shared::counts_unanswered, |recorder, _, request| {
            recorder.censored(request);
        })
        .await;
        let assigned = self.shared.source.borrow_mut().leave(self.number());
        for due in assigned.into_iter().chain(self.take_waiting()) {
            self.shared.censor_undelivered(due);
        }
    }

    /// Notes the requests in flight that do not count without an answer.
    fn note_unanswered_since_warmup(&self) {
        let left_out = |ticket: &Ticket| !self.shared.counts_unanswered(ticket.due.scheduled_ns);
        if self.shared.is_measuring() {
            let count = self.tickets.iter().filter(left_out).count();
            self.shared.recorder.borrow_mut().unanswered_since_warmup(count);
        }
    }

    /// Notes the requests in flight, which are about to fail, as ones that the server has announced not to process.
    #[cold]
    pub(super) fn note_ruled_out(&self) {
        let is_measured = |ticket: &Ticket| self.shared.is_measured(ticket.due.scheduled_ns);
        let count = self.tickets.iter().filter(is_measured).count();
        self.shared.recorder.borrow_mut().ruled_out(count as u64);
    }

    /// If the server answered plain HTTP with a TLS alert, says so instead of that it is not HTTP.
    #[cold]
    pub(super) fn note_tls(&self) {
        let is_alert = |connection: &Connection| connection.unread().starts_with(TLS_ALERT);
        if !self.shared.plan.url.is_https
            && !self.shared.warming_up.get()
            && self.connection.as_ref().is_some_and(is_alert)
        {
            let text = || "the server speaks TLS at this port: write https:// instead of http://".to_owned();
            self.shared.recorder.borrow_mut().error_said(ErrorKind::Protocol, text);
        }
    }

    /// Drops the connection and books those requests in flight that count, in the order of their sends.
    async fn abandon(
        &mut self,
        closing_max: usize,
        counts: impl Fn(&Shared, u64) -> bool,
        book: impl Fn(&mut Recorder, Place, Unfinished),
    ) {
        let ended_ns = runtime::now_ns();
        self.free_since_ns = ended_ns;
        let mut begun = Vec::new();
        let Aborted { sent_ns, cut_size } = match self.take_connection() {
            Some(connection) => {
                if self.is_http2 {
                    self.note_http2(&connection);
                    let in_flight = connection.in_flight_sent_ns().map(|(id, _)| id);
                    begun = in_flight.filter(|id| connection.has_begun(*id)).collect();
                }
                connection.abort(closing_max).await
            }
            None => Aborted::default(),
        };
        let sent_count = sent_ns.iter().filter(|(_, sent_ns)| sent_ns.is_some()).count();
        let request_size = self.request_size();
        let closed = self.shared.plan.open_loop().is_none();
        let mut begun = begun.into_iter().peekable();
        self.shared.landed(self.tickets.len());
        for (index, (id, sent_ns)) in sent_ns.into_iter().enumerate() {
            // Both are in the order of the starts.
            let has_begun = begun.next_if_eq(&id).is_some();
            let Some(ticket) = self.tickets.take(id.slot()) else { continue };
            if !counts(&self.shared, ticket.due.scheduled_ns) {
                self.shared.user_fails(ticket.due.request);
                continue;
            }
            if sent_ns.is_some() {
                let cut_size = cut_size.filter(|_| index + 1 == sent_count).unwrap_or(usize::MAX);
                self.shared.recorder.borrow_mut().sent_bytes(request_size.min(cut_size) as u64);
            }
            let due_ns = due_ns(ticket, sent_ns, closed);
            let ready_ns = Some(ticket.ready_ns.max(due_ns));
            let request = Unfinished { scheduled_ns: due_ns, ready_ns, sent_ns, ended_ns };
            self.shared.record(ticket.due.request, |recorder| {
                book(recorder, Place { index, has_begun }, request);
            });
            self.shared.user_fails(ticket.due.request);
        }
    }

    /// Notes what the server has said about an HTTP/2 connection, which ends.
    pub(super) fn note_http2(&self, connection: &Connection) {
        let mut recorder = self.shared.recorder.borrow_mut();
        if let Some(max) = connection.streams_max() {
            recorder.allows_streams(max);
        }
        if let Some(code) = connection.go_away()
            && self.shared.is_measuring()
        {
            recorder.went_away(&code.to_string());
        }
    }

    /// Notes that the server has reset a stream.
    #[cold]
    pub(super) fn note_reset(&self, error: &Error) {
        if let Error::Stream(reset) = error
            && reset.cause == ResetCause::Peer
            && self.shared.is_measuring()
        {
            self.shared.recorder.borrow_mut().stream_reset(&reset.code.to_string());
        }
    }
}

/// Which of the requests in flight on a connection that ends.
#[derive(Clone, Copy)]
struct Place {
    /// Its position among them.
    index: usize,
    /// Over HTTP/2: a part of its response has arrived.
    has_begun: bool,
}

impl Shared {
    /// Books a request that was drawn and not started before the end. In a closed loop it would have been due only when
    /// its connect began, unless it was sent before.
    pub(super) fn censor_undelivered(&self, due: Due) {
        if self.plan.open_loop().is_some() || due.is_again() {
            self.censor_unstarted(due);
        }
    }

    /// Books a due request that was not started before the end.
    pub(super) fn censor_unstarted(&self, due: Due) {
        let scheduled_ns = due.scheduled_ns;
        if self.counts_unanswered(scheduled_ns) {
            // One that is to be sent again was sent before, though it is not known any more when exactly.
            let sent_ns = due.is_again().then_some(scheduled_ns);
            let request =
                Unfinished { scheduled_ns, ready_ns: sent_ns, sent_ns, ended_ns: runtime::now_ns() };
            self.record(due.request, |recorder| recorder.censored(request));
        } else if self.is_measuring() {
            self.recorder.borrow_mut().unanswered_since_warmup(1);
        }
    }
}

/// When a request that did not complete was due.
fn due_ns(ticket: Ticket, sent_ns: Option<u64>, closed: bool) -> u64 {
    match sent_ns {
        Some(sent_ns) if ticket.is_due_when_sent(closed) => sent_ns,
        _ => ticket.due.scheduled_ns,
    }
}

fn error_kind(error: &Error) -> ErrorKind {
    match error {
        Error::Resolve { .. } => ErrorKind::Dns,
        Error::Connect { .. } => ErrorKind::Connect,
        Error::Tls(_) => ErrorKind::Tls,
        Error::Timeout(_) => ErrorKind::Timeout,
        Error::Incomplete(_) | Error::Protocol(ProtocolError::H2(h2::Error::Incomplete)) => {
            ErrorKind::Incomplete
        }
        Error::Protocol(_) => ErrorKind::Protocol,
        Error::Network(_) => ErrorKind::Reset,
        Error::Stream(reset) => match reset.cause {
            ResetCause::Peer => ErrorKind::Reset,
            ResetCause::Fault(_) => ErrorKind::Protocol,
            ResetCause::GoAway => ErrorKind::Closed,
        },
        // In all other cases the connection ended before it could be used.
        _ => ErrorKind::Closed,
    }
}
