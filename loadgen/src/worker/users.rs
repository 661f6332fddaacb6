//! The users of a connection: each draws a request, waits for its answer and draws the next. In HTTP/2 each has a stream;
//! in HTTP/1.1 there is one, unless the connection pipelines.

use std::task::{Context, Poll};

use ringtide::error::LastResponse;
use ringtide::runtime;
use ringtide::{CompletedExchange, Completion, Error, RequestId};

use super::connection::{ConnectionTask, Over};
use super::observer::Observer;
use super::seen::Seen;
use super::source::Draw;
use super::tickets::Ticket;
use crate::metrics::ErrorKind;

impl ConnectionTask {
    /// Keeps the connection busy until the connection or the run is over.
    pub(super) fn poll_requests(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        let now_ns = runtime::turn_time_ns();
        let number = self.number();
        loop {
            if self.shared.ended.get() {
                return Poll::Ready(Over::Run);
            }
            if !self.shared.sending_ended.get()
                && let Some(over) = self.fill(now_ns)
            {
                return Poll::Ready(over);
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(Over::Connection) };
            // In HTTP/2 the server has something to say at any time.
            if self.tickets.is_empty() && !self.is_http2 {
                return Poll::Pending;
            }
            let received_before = connection.received_size();
            let polled = if self.shared.rules.observes {
                let mut seen = self.shared.seen.borrow_mut();
                let seen = seen.of_connection(number);
                let observer = &mut Observer { shared: &self.shared, tickets: &self.tickets, seen };
                connection.poll_completion_with(context, observer)
            } else {
                connection.poll_completion(context)
            };
            let received = connection.received_size() - received_before;
            if received > 0 && (self.shared.plan.warmup_ns == 0 || self.counts_received(&polled)) {
                self.shared.recorder.borrow_mut().received_bytes(received);
            }
            match polled {
                Poll::Ready(Ok(Completion { id, result: Ok(exchange) })) => self.complete(id, exchange),
                Poll::Ready(Ok(Completion { id, result: Err(error) })) => self.complete_without(id, &error),
                Poll::Ready(Err(error)) => {
                    if let Error::Unanswered(LastResponse::Announced) = error {
                        self.note_ruled_out();
                    }
                    if let Error::Protocol(_) = error {
                        self.note_tls();
                    }
                    return Poll::Ready(Over::Failed(self.shared.failure(&error)));
                }
                Poll::Pending if self.has_new_places() => {}
                Poll::Pending if !self.shared.deadlines.has_passed(number, now_ns) => {
                    if self.is_http2 || self.shared.counts_sends {
                        self.count_sent();
                    }
                    return Poll::Pending;
                }
                Poll::Pending if self.is_http2 => self.end_late_streams(),
                Poll::Pending => {
                    // The deadline was set when the request was drawn, but the limit counts from the send, which came
                    // later.
                    match self.limit_ns() {
                        Some(limit_ns) if limit_ns > runtime::now_ns() => self.set_deadline(limit_ns),
                        _ => return Poll::Ready(Over::Failed(ErrorKind::Timeout)),
                    }
                }
            }
        }
    }

    /// Whether the server has made room since no place was free, without the end of a request: it has allowed more
    /// streams, or let go of one that we had given up.
    #[inline]
    fn has_new_places(&mut self) -> bool {
        if !self.is_http2 || !self.is_full || self.is_spent || self.tickets.len() >= self.shared.plan.parallel
        {
            return false;
        }
        let has_some = self.connection.as_mut().is_some_and(|connection| connection.free_places() > 0);
        if has_some {
            self.is_full = false;
            self.free_since_ns = runtime::now_ns();
        }
        has_some
    }

    /// Has the task woken at the time limit of the request in flight that was sent first, or earlier.
    #[inline]
    fn set_deadline(&self, deadline_ns: u64) {
        self.shared.deadlines.set(self.number(), deadline_ns);
    }

    /// When the oldest request in flight times out, counted from its own send; `None` before it is sent.
    fn limit_ns(&self) -> Option<u64> {
        let (_, sent_ns) = self.connection.as_ref()?.in_flight_sent_ns().next()?;
        Some(sent_ns?.saturating_add(self.shared.plan.timeout_ns))
    }

    /// Whether what was just received belongs to the measured part. In HTTP/1.1 the bytes that answer a request of the
    /// warm-up do not count; in HTTP/2, where answers mix, those that come before the measured part.
    #[cold]
    fn counts_received(&self, polled: &Poll<Result<Completion, Error>>) -> bool {
        if self.is_http2 {
            return self.shared.is_measuring();
        }
        let oldest = || Some(self.connection.as_ref()?.in_flight_sent_ns().next()?.0);
        let id = match polled {
            Poll::Ready(Ok(completion)) => Some(completion.id),
            Poll::Ready(Err(_)) | Poll::Pending => oldest(),
        };
        let ticket = id.and_then(|id| self.tickets.get(id.slot()));
        ticket.is_some_and(|ticket| self.shared.is_measured(ticket.due.scheduled_ns))
    }

    /// Starts as many requests as are due at `now_ns`, the time of the turn, and the connection has places for.
    #[inline]
    fn fill(&mut self, now_ns: u64) -> Option<Over> {
        if self.is_http2 {
            return self.fill_streams(now_ns);
        }
        let parallel = self.shared.plan.parallel;
        // A closed loop pipelines in batches. Otherwise a batch that the network has cut would stay cut, and the pieces
        // would become ever smaller: each costs both sides a send and a receive.
        if !self.tickets.is_empty() && self.shared.plan.open_loop().is_none() {
            return None;
        }
        loop {
            let Some(connection) = &mut self.connection else { return Some(Over::Connection) };
            let free = parallel - self.tickets.len();
            if free == 0 {
                self.is_full = true;
                return None;
            }
            let reusable = connection.is_reusable();
            let spoke_first = !reusable && connection.has_peer_spoken_first();
            if !reusable && !spoke_first {
                if self.tickets.is_empty() {
                    return Some(Over::Connection);
                }
                // Requests in flight may still be answered.
                self.shared.source.borrow_mut().withdraw(self.number());
                return None;
            }
            let ticket = self.draw_ticket(now_ns, free)?;
            if spoke_first {
                // The server's bytes would be taken for an answer to this request.
                let kind = ErrorKind::Protocol;
                let text = || "the server sent something before it was asked".to_owned();
                self.shared.recorder.borrow_mut().error_said(kind, text);
                self.fail_unstarted(ticket, kind);
                return Some(Over::Failed(kind));
            }
            if let Err(kind) = self.start(ticket, now_ns) {
                return Some(Over::Failed(kind));
            }
        }
    }

    /// Does the same over HTTP/2. The frames of a turn are gathered by the connection.
    #[inline]
    fn fill_streams(&mut self, now_ns: u64) -> Option<Over> {
        // The end of a request clears this, and so does the server when it makes room.
        if self.is_full && !self.tickets.is_empty() {
            return None;
        }
        let Some(connection) = &mut self.connection else { return Some(Over::Connection) };
        // The server may allow fewer streams than are wanted.
        let places = if self.is_spent { 0 } else { connection.free_places() };
        let mut free = places.min(self.shared.plan.parallel - self.tickets.len());
        if free == 0 {
            return self.without_place();
        }
        while free > 0 {
            let ticket = self.draw_ticket(now_ns, free)?;
            if let Err(kind) = self.start(ticket, now_ns) {
                return Some(Over::Failed(kind));
            }
            free -= 1;
        }
        self.is_full = true;
        None
    }

    /// What to do if a connection of HTTP/2 takes no request now.
    #[cold]
    #[inline(never)]
    fn without_place(&mut self) -> Option<Over> {
        let connection = self.connection.as_mut()?;
        let is_over = self.is_spent || !connection.is_reusable();
        if is_over && self.tickets.is_empty() {
            return Some(Over::Connection);
        }
        self.is_full = true;
        self.shared.source.borrow_mut().withdraw(self.number());
        None
    }

    /// Draws a request for one of `free` places.
    #[inline]
    fn draw_ticket(&self, now_ns: u64, free: usize) -> Option<Ticket> {
        let drawn = self.shared.source.borrow_mut().draw(self.number(), now_ns, free);
        let mut ticket = match drawn {
            // A place was free before the request was due.
            Draw::Assigned(due) => Ticket { due, ready_ns: due.scheduled_ns },
            Draw::Now(due) => Ticket { due, ready_ns: due.scheduled_ns.max(self.free_since_ns) },
            Draw::Wait => return None,
        };
        if ticket.due.is_again() {
            // All that came before was the server's doing.
            ticket.ready_ns = now_ns;
            self.note_replayed();
        }
        Some(ticket)
    }

    /// Starts a request. If the connection refuses it, it has failed, and the connection with it. `now_ns` is the time of
    /// the turn.
    #[inline]
    pub(super) fn start(&mut self, ticket: Ticket, now_ns: u64) -> Result<(), ErrorKind> {
        let Some(connection) = &mut self.connection else { return Err(ErrorKind::Closed) };
        let started = match &self.shared.walkers {
            None => connection.start(&self.shared.requests[ticket.due.request as usize]),
            Some(walkers) => {
                let mut walkers = walkers.borrow_mut();
                let (like, bytes, head_size) = walkers.render(ticket.due.request);
                connection.start_like(like, bytes, head_size)
            }
        };
        match started {
            Ok(id) => self.tickets.put(id.slot(), ticket),
            Err(error) => {
                let kind = self.shared.failure(&error);
                self.fail_unstarted(ticket, kind);
                return Err(kind);
            }
        }
        self.shared.sent_one();
        if self.tickets.len() == 1 {
            self.set_deadline(now_ns.saturating_add(self.shared.plan.timeout_ns));
        }
        Ok(())
    }

    /// A request was answered.
    #[inline]
    fn complete(&mut self, id: RequestId, exchange: CompletedExchange) {
        let Some(ticket) = self.take(id, exchange.end_ns) else { return };
        if !self.is_http2 && !self.tickets.is_empty() {
            let from_now_ns = exchange.end_ns.saturating_add(self.shared.plan.timeout_ns);
            self.set_deadline(self.limit_ns().unwrap_or(from_now_ns));
        }
        if self.shared.rules.checks && !self.is_as_expected(ticket, id, &exchange) {
            let sent_ns = exchange.timing.sent_ns;
            return self.fail_one(ticket, Some(sent_ns), ErrorKind::Expect);
        }
        if self.shared.is_measured(ticket.due.scheduled_ns) {
            self.shared.book_completed(ticket, &exchange, self.request_size());
        } else {
            self.count_what_came_behind();
        }
        self.shared.user_goes_on(ticket.due.request, exchange.end_ns);
    }

    /// Whether a response is as it should be. If not, the error gets an example.
    #[inline(never)]
    fn is_as_expected(&self, ticket: Ticket, id: RequestId, exchange: &CompletedExchange) -> bool {
        let status = exchange.status.as_u16();
        let nothing = Seen::default();
        let mut seen = self.shared.seen.borrow_mut();
        let seen = seen.of_connection(self.number()).get(id.slot()).unwrap_or(&nothing);
        let rules = self.shared.judged_by(ticket.due.request).and_then(|step| self.shared.rules.of(step));
        let failure = match rules.and_then(|rules| rules.expect.as_ref()) {
            None => None,
            Some(expect) => expect
                .check_status(status)
                .or(seen.failed)
                .or_else(|| expect.check_body(&seen.body, seen.size))
                .map(|check| expect.failure(check, status, seen.size)),
        };
        let failure = failure.or_else(|| {
            let walkers = self.shared.walkers.as_ref()?;
            walkers.borrow_mut().capture(ticket.due.request, &seen.body).err()
        });
        let Some(failure) = failure else { return true };
        if self.shared.is_measured(ticket.due.scheduled_ns) {
            self.shared.recorder.borrow_mut().error_said(ErrorKind::Expect, || failure);
        }
        false
    }

    /// A request has failed, and its connection has not.
    #[cold]
    #[inline(never)]
    fn complete_without(&mut self, id: RequestId, error: &Error) {
        let Some(ticket) = self.take(id, runtime::now_ns()) else { return };
        self.note_reset(error);
        if is_excluded(error)
            && let Some(due) = ticket.due.again()
        {
            self.shared.source.borrow_mut().hand_back(due);
            return;
        }
        let kind = self.shared.failure(error);
        self.fail_one(ticket, Some(ticket.ready_ns), kind);
    }

    /// Ends the requests of HTTP/2 whose time is over, each by itself, and sets the deadline of the next.
    #[cold]
    #[inline(never)]
    fn end_late_streams(&mut self) {
        let now_ns = runtime::now_ns();
        let mut oldest = self.oldest.take().unwrap_or_default();
        loop {
            let Some(connection) = &mut self.connection else { return };
            let Some(&(id, seen_ns)) = oldest.front() else {
                oldest.extend(connection.in_flight_sent_ns().map(|(id, _)| (id, now_ns)));
                if oldest.is_empty() {
                    return self.shared.deadlines.unset(self.number());
                }
                continue;
            };
            if connection.is_in_flight(id) {
                let sent_ns = connection.sent_ns(id);
                let limit_ns = sent_ns.unwrap_or(seen_ns).saturating_add(self.shared.plan.timeout_ns);
                if limit_ns > now_ns {
                    self.oldest = Some(oldest);
                    return self.set_deadline(limit_ns);
                }
                connection.cancel(id);
                if let Some(ticket) = self.take(id, now_ns) {
                    self.fail_one(ticket, sent_ns, ErrorKind::Timeout);
                }
            }
            oldest.pop_front();
        }
    }

    /// Takes the ticket of a request that ended at `end_ns`. Its place is free.
    #[inline]
    fn take(&mut self, id: RequestId, end_ns: u64) -> Option<Ticket> {
        let ticket = self.tickets.take(id.slot())?;
        self.shared.landed(1);
        self.is_spent = self.is_http2 && !self.shared.plan.keepalive;
        if self.is_full || self.tickets.is_empty() {
            self.is_full = false;
            self.free_since_ns = end_ns;
        }
        Some(ticket)
    }

    /// Bytes that arrived behind an answer of the warm-up count if they belong to a measured request. (In HTTP/2 they are
    /// counted when they arrive.)
    #[cold]
    fn count_what_came_behind(&self) {
        if let (Some(connection), false) = (&self.connection, self.is_http2)
            && let Some((next, _)) = connection.in_flight_sent_ns().next()
            && let Some(ticket) = self.tickets.get(next.slot())
            && self.shared.is_measured(ticket.due.scheduled_ns)
        {
            self.shared.recorder.borrow_mut().received_bytes(connection.unread_size() as u64);
        }
    }
}

/// Whether the server has announced not to process the request, so that sending it again does nothing twice.
fn is_excluded(error: &Error) -> bool {
    match error {
        Error::Stream(reset) => reset.is_unprocessed(),
        Error::Unanswered(last) => *last == LastResponse::Announced,
        _ => false,
    }
}
