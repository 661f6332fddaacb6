//! The task of one connection: draws requests, sends them, reads the answers, and reconnects when the connection is
//! gone.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use ringtide::error::LastResponse;
use ringtide::limits::CLOSE_AFTER_PEER_MAX;
use ringtide::runtime::{self, Timer};
use ringtide::{Aborted, CompletedExchange, Connection, Error};
use smallvec::SmallVec;

use super::connect::ConnectFailure;
use super::phase::wake_main;
use super::shared::{ConnectPermit, Shared};
use super::source::{ConnectionNumber, Draw};
use crate::metrics::{ErrorKind, Recorder, Sample, Unfinished};
use crate::tls::explain;

/// After a failed connect the next one waits this long,
const RECONNECT_WAIT_MS_MIN: u32 = 1;
/// and twice as long after each further failure, up to this. So a server that is down is not hammered, and one that
/// comes back is found soon.
const RECONNECT_WAIT_MS_MAX: u32 = 250;

/// What a TLS alert begins with (RFC 8446 §5.1): its content type, and the first byte of the version.
const TLS_ALERT: &[u8] = &[21, 3];

/// One of a worker's connections, with its successors.
pub(super) struct ConnectionTask {
    shared: Rc<Shared>,
    number: ConnectionNumber,
    connection: Option<Connection>,
    /// Requests in flight, oldest first.
    tickets: SmallVec<[Ticket; 1]>,
    /// Fires at the time limit of the oldest request in flight, or slightly earlier.
    timeout: Timer,
    /// With it the task connects before its first request.
    permit: Option<Box<ConnectPermit>>,
    reconnect_wait_ms: u32,
    /// When the last answer arrived and made room for the next request.
    free_since_ns: u64,
}

/// A request drawn from the source.
#[derive(Clone, Copy)]
struct Ticket {
    /// When it was due. A closed loop's request is due when it is sent, or, if it needs a new connection, when the
    /// connect begins.
    scheduled_ns: u64,
    /// When it was due and a connection was free for it.
    ready_ns: u64,
}

impl Ticket {
    /// Whether it is due only when it is sent: in a closed loop, over an open connection.
    fn is_due_when_sent(self, closed: bool) -> bool {
        closed && self.ready_ns <= self.scheduled_ns
    }
}

/// Why a connection stops carrying requests.
enum Over {
    /// The run has ended.
    Run,
    /// It cannot carry another request; nothing is in flight.
    Connection,
    /// It failed, with requests in flight.
    Failed(ErrorKind),
}

impl ConnectionTask {
    /// Starts a task. It connects at once if it gets a permit for that. `scheduled_ns` is a request that already waits
    /// for it.
    pub(super) fn spawn(shared: &Rc<Shared>, permit: Option<Box<ConnectPermit>>, scheduled_ns: Option<u64>) {
        let number = shared.source.borrow_mut().add_connection();
        shared.tasks_left.set(shared.tasks_left.get() + 1);
        let task = Self {
            shared: Rc::clone(shared),
            number,
            connection: None,
            tickets: SmallVec::new(),
            timeout: Timer::new(),
            permit,
            reconnect_wait_ms: 0,
            free_since_ns: 0,
        };
        // The handle is not needed: the task reports its own end.
        drop(runtime::spawn(task.into_task(scheduled_ns)));
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn would have room for the task twice")]
    fn into_task(mut self, scheduled_ns: Option<u64>) -> impl Future<Output = ()> {
        // The inner future borrows the task. Moving it would reserve room for it twice.
        async move { self.run(scheduled_ns).await }
    }

    async fn run(&mut self, scheduled_ns: Option<u64>) {
        poll_fn(|context| {
            self.shared.source.borrow_mut().set_connection_waker(self.number, context.waker());
            Poll::Ready(())
        })
        .await;
        let mut waiting = scheduled_ns;
        // Connecting is rare and its state is large, so it is boxed.
        if let Some(permit) = self.permit.take() {
            Box::pin(self.connect_before_the_run(permit)).await;
        }
        while !self.shared.ended.get() {
            if self.connection.is_none() {
                let scheduled_ns = match waiting.take() {
                    Some(scheduled_ns) => scheduled_ns,
                    None => match self.draw().await {
                        Some(scheduled_ns) => scheduled_ns,
                        None => break,
                    },
                };
                if !Box::pin(self.connect_for(scheduled_ns)).await {
                    continue;
                }
            }
            match poll_fn(|context| self.poll_exchanges(context)).await {
                Over::Run => break,
                Over::Connection => self.retire(),
                Over::Failed(kind) => Box::pin(self.fail(kind)).await,
            }
        }
        Box::pin(self.censor()).await;
    }

    /// Waits for a request; `None` at the end of the run.
    async fn draw(&mut self) -> Option<u64> {
        poll_fn(|_| {
            if self.shared.ended.get() {
                return Poll::Ready(None);
            }
            let mut source = self.shared.source.borrow_mut();
            match source.draw(self.number, runtime::turn_time_ns()) {
                Draw::Now(scheduled_ns) | Draw::Assigned(scheduled_ns) => Poll::Ready(Some(scheduled_ns)),
                Draw::Wait => Poll::Pending,
            }
        })
        .await
    }

    async fn connect_before_the_run(&mut self, permit: Box<ConnectPermit>) {
        let connects = &permit.shared.connects;
        match self.shared.connect_or_end().await {
            Some(Ok(connection)) => {
                self.connection = Some(connection);
                connects.connected.set(connects.connected.get() + 1);
            }
            Some(Err(failure)) => {
                connects.first_error.borrow_mut().get_or_insert(failure.text);
            }
            None => {}
        }
    }

    /// Connects for a due request and sends it; false if that failed, and with it the request.
    ///
    /// Connecting counts as waiting for a free connection. Delay before the connect is the generator's own lag: to
    /// keep it in the lag, the request counts as ready that much earlier.
    async fn connect_for(&mut self, mut scheduled_ns: u64) -> bool {
        let closed = self.shared.plan.open_loop().is_none();
        let mut late_ns = runtime::now_ns().saturating_sub(scheduled_ns.max(self.free_since_ns));
        if self.reconnect_wait_ms > 0 {
            let wait = Duration::from_millis(self.reconnect_wait_ms.into());
            let ended = self.sleep_or_end(wait).await;
            if ended {
                // In a closed loop it would have been due only when its connect begins.
                if !closed {
                    self.censor_unstarted(scheduled_ns);
                }
                return false;
            }
        }
        // In a closed loop a request that needs a connection is due when its connect begins. A request drawn in the
        // warm-up keeps its time.
        if closed && self.shared.is_measured(scheduled_ns) {
            scheduled_ns = runtime::now_ns();
            late_ns = 0;
        }
        match self.shared.connect_or_end().await {
            None => {
                self.censor_unstarted(scheduled_ns);
                false
            }
            Some(Ok(connection)) => {
                self.reconnect_wait_ms = 0;
                self.connection = Some(connection);
                let ready_ns = runtime::now_ns().saturating_sub(late_ns).max(scheduled_ns);
                if let Err(kind) = self.start(Ticket { scheduled_ns, ready_ns }, runtime::turn_time_ns()) {
                    self.fail(kind).await;
                    return false;
                }
                true
            }
            Some(Err(failure)) => {
                self.free_since_ns = runtime::now_ns();
                self.reconnect_wait_ms =
                    (self.reconnect_wait_ms * 2).clamp(RECONNECT_WAIT_MS_MIN, RECONNECT_WAIT_MS_MAX);
                self.fail_unconnected(scheduled_ns, failure);
                false
            }
        }
    }

    /// Books a request for which no connection was made.
    fn fail_unconnected(&self, scheduled_ns: u64, failure: ConnectFailure) {
        let ConnectFailure { text, kind, tls_kind, timed_out } = failure;
        let shared = &self.shared;
        // A timeout counts like a request that the end cuts off.
        let counts =
            if timed_out { shared.counts_unanswered(scheduled_ns) } else { shared.is_measured(scheduled_ns) };
        let mut recorder = shared.recorder.borrow_mut();
        if counts {
            let ended_ns = runtime::now_ns();
            let request = Unfinished { scheduled_ns, ready_ns: None, sent_ns: None, ended_ns };
            if timed_out {
                recorder.connect_timed_out(request, kind);
            } else {
                recorder.failed(request, kind);
            }
            match tls_kind {
                Some(tls_kind) => recorder.tls_error_said(tls_kind, || text.clone()),
                None => recorder.error_said(kind, || text),
            }
            drop(recorder);
            shared.count_errors();
        } else if timed_out && shared.is_measuring() {
            recorder.unanswered_since_warmup(1);
        }
    }

    /// Waits; true if the run ended in the meantime.
    async fn sleep_or_end(&mut self, duration: Duration) -> bool {
        let mut timer = Timer::new();
        timer.set(runtime::now_ns() + duration.as_nanos() as u64);
        poll_fn(|context| {
            if self.shared.ended.get() {
                return Poll::Ready(true);
            }
            timer.poll_elapsed(context).map(|()| false)
        })
        .await
    }

    /// Starts a request. Even if the connection refuses it, it counts as in flight until [`fail`](Self::fail) books
    /// it. `now_ns` is the time of the turn.
    #[inline]
    fn start(&mut self, ticket: Ticket, now_ns: u64) -> Result<(), ErrorKind> {
        self.tickets.push(ticket);
        self.shared.sent_one();
        let Some(connection) = &mut self.connection else { return Err(ErrorKind::Closed) };
        let _ = connection.start(&self.shared.request).map_err(|error| self.shared.failure(&error))?;
        if self.tickets.len() == 1 {
            self.timeout.set(now_ns.saturating_add(self.shared.plan.timeout_ns));
        }
        Ok(())
    }

    /// Keeps the connection busy until the connection or the run is over.
    fn poll_exchanges(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        let now_ns = runtime::turn_time_ns();
        loop {
            if self.shared.ended.get() {
                return Poll::Ready(Over::Run);
            }
            if let Some(over) = self.fill(now_ns) {
                return Poll::Ready(over);
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(Over::Connection) };
            if self.tickets.is_empty() {
                return Poll::Pending;
            }
            let received_before = connection.received_size();
            let polled = connection.poll_completion(context);
            let received = connection.received_size() - received_before;
            // Bytes that answer a request of the warm-up do not count.
            if received > 0
                && (self.shared.plan.warmup_ns == 0 || self.shared.is_measured(self.tickets[0].scheduled_ns))
            {
                self.shared.recorder.borrow_mut().received_bytes(received);
            }
            match polled {
                Poll::Ready(Ok(completion)) => match completion.result {
                    Ok(exchange) => self.complete(exchange),
                    Err(error) => return Poll::Ready(Over::Failed(self.shared.failure(&error))),
                },
                Poll::Ready(Err(error)) => {
                    if let Error::Unanswered(LastResponse::Announced) = error {
                        self.note_ruled_out();
                    }
                    if let Error::Protocol(_) = error {
                        self.note_tls();
                    }
                    return Poll::Ready(Over::Failed(self.shared.failure(&error)));
                }
                Poll::Pending if self.timeout.poll_elapsed(context).is_pending() => return Poll::Pending,
                Poll::Pending => {
                    // The timer was set when the request was drawn, but the limit counts from the send, which came
                    // later.
                    match self.limit_ns() {
                        Some(limit_ns) if limit_ns > runtime::now_ns() => self.timeout.set(limit_ns),
                        _ => return Poll::Ready(Over::Failed(ErrorKind::Timeout)),
                    }
                }
            }
        }
    }

    /// When the oldest request in flight times out, counted from its own send; `None` before it is sent.
    fn limit_ns(&self) -> Option<u64> {
        let sent_ns = self.connection.as_ref()?.in_flight_sent_ns().next()?.1?;
        Some(sent_ns.saturating_add(self.shared.plan.timeout_ns))
    }

    /// Starts as many requests as are due at `now_ns`, the time of the turn, and the connection may have in flight.
    #[inline]
    fn fill(&mut self, now_ns: u64) -> Option<Over> {
        let parallel = self.shared.plan.parallel;
        // A closed loop pipelines in batches. Otherwise a batch that the network has cut would stay cut, and the pieces
        // would become ever smaller: each costs both sides a send and a receive.
        if !self.tickets.is_empty() && self.shared.plan.open_loop().is_none() {
            return None;
        }
        while self.tickets.len() < parallel {
            let reusable = self.connection.as_mut().is_some_and(Connection::is_reusable);
            let spoke_first = self.connection.as_mut().is_some_and(Connection::has_peer_spoken_first);
            if !reusable && !spoke_first {
                // Requests in flight may still be answered.
                return self.tickets.is_empty().then_some(Over::Connection);
            }
            let drawn = self.shared.source.borrow_mut().draw(self.number, now_ns);
            let ticket = match drawn {
                // The connection was free before the request was due.
                Draw::Assigned(scheduled_ns) => Ticket { scheduled_ns, ready_ns: scheduled_ns },
                Draw::Now(scheduled_ns) => {
                    Ticket { scheduled_ns, ready_ns: scheduled_ns.max(self.free_since_ns) }
                }
                Draw::Wait => return None,
            };
            if spoke_first {
                // The server's bytes would be taken for an answer to this request.
                self.tickets.push(ticket);
                self.shared.sent_one();
                let kind = ErrorKind::Protocol;
                let text = || "the server sent something before it was asked".to_owned();
                self.shared.recorder.borrow_mut().error_said(kind, text);
                return Some(Over::Failed(kind));
            }
            if let Err(kind) = self.start(ticket, now_ns) {
                return Some(Over::Failed(kind));
            }
        }
        None
    }

    #[inline]
    fn complete(&mut self, exchange: CompletedExchange) {
        let Some(&ticket) = self.tickets.first() else { return };
        // The list is short: the requests in flight on one connection. If there is only one, `remove` would call
        // memmove for nothing.
        if self.tickets.len() == 1 {
            self.tickets.clear();
        } else {
            self.tickets.remove(0);
        }
        self.shared.landed(1);
        self.free_since_ns = exchange.end_ns;
        if !self.tickets.is_empty() {
            let from_now_ns = exchange.end_ns.saturating_add(self.shared.plan.timeout_ns);
            self.timeout.set(self.limit_ns().unwrap_or(from_now_ns));
        }
        if !self.shared.is_measured(ticket.scheduled_ns) {
            self.count_what_came_behind();
            return;
        }
        let sent_ns = exchange.timing.sent_ns;
        let sample = Sample {
            scheduled_ns: ticket.scheduled_ns,
            ready_ns: ticket.ready_ns,
            sent_ns,
            first_byte_ns: exchange.timing.first_byte_ns,
            done_ns: exchange.end_ns,
            status: exchange.status.as_u16(),
        };
        let mut recorder = self.shared.recorder.borrow_mut();
        if ticket.is_due_when_sent(self.shared.plan.open_loop().is_none()) {
            recorder.completed_at_once(sample);
        } else {
            recorder.completed(sample);
        }
        recorder.sent_bytes(self.shared.request.bytes().len() as u64);
        if self.shared.counts_answers {
            self.shared.snapshots[self.shared.index].count(recorder.counters());
        }
    }

    /// Bytes that arrived behind an answer of the warm-up count if they belong to a measured request.
    #[cold]
    fn count_what_came_behind(&self) {
        if let (Some(connection), Some(next)) = (&self.connection, self.tickets.first())
            && self.shared.is_measured(next.scheduled_ns)
        {
            self.shared.recorder.borrow_mut().received_bytes(connection.unread_size() as u64);
        }
    }

    /// Notes the requests in flight, which are about to fail, as ones that the server has announced not to process.
    #[cold]
    fn note_ruled_out(&self) {
        let count = self.tickets.iter().filter(|ticket| self.shared.is_measured(ticket.scheduled_ns)).count();
        self.shared.recorder.borrow_mut().ruled_out(count as u64);
    }

    /// If the server answered plain HTTP with a TLS alert, says so instead of that it is not HTTP.
    #[cold]
    fn note_tls(&self) {
        let is_alert = |connection: &Connection| connection.unread().starts_with(TLS_ALERT);
        if !self.shared.plan.url.is_https
            && !self.shared.warming_up.get()
            && self.connection.as_ref().is_some_and(is_alert)
        {
            let text = || "the server speaks TLS at this port: write https:// instead of http://".to_owned();
            self.shared.recorder.borrow_mut().error_said(ErrorKind::Protocol, text);
        }
    }

    /// Closes a connection that has nothing in flight.
    fn retire(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            if connection.has_unexpected_bytes() && self.shared.is_measuring() {
                self.shared.recorder.borrow_mut().unexpected_bytes();
            }
            connection.close_after_peer();
        }
    }

    /// Books the requests in flight as failed and drops the connection.
    async fn fail(&mut self, kind: ErrorKind) {
        // A timeout counts like a request that the end cuts off.
        let counts = |shared: &Shared, scheduled_ns| match kind {
            ErrorKind::Timeout => shared.counts_unanswered(scheduled_ns),
            _ => shared.is_measured(scheduled_ns),
        };
        if kind == ErrorKind::Timeout {
            self.note_unanswered_since_warmup();
        }
        self.abandon(CLOSE_AFTER_PEER_MAX, counts, |recorder, index, request| match (index, kind) {
            // Only the first answer was wrong; the others had not begun.
            (1.., ErrorKind::Incomplete | ErrorKind::Protocol) => recorder.failed(request, ErrorKind::Closed),
            // With pipelining, the requests behind one that timed out have waited too, so they time out with it.
            _ => recorder.failed(request, kind),
        })
        .await;
        self.shared.count_errors();
    }

    /// Books the requests in flight, and one that was drawn but not started, as cut off by the end of the run.
    async fn censor(&mut self) {
        self.note_unanswered_since_warmup();
        // No limit: no new connection takes the place of these.
        self.abandon(usize::MAX, Shared::counts_unanswered, |recorder, _, request| {
            recorder.censored(request);
        })
        .await;
        let drawn = self.shared.source.borrow_mut().leave(self.number);
        if let Some(scheduled_ns) = drawn
            && self.shared.plan.open_loop().is_some()
        {
            self.censor_unstarted(scheduled_ns);
        }
    }

    /// Books a request that was drawn but not started before the end.
    fn censor_unstarted(&self, scheduled_ns: u64) {
        if self.shared.counts_unanswered(scheduled_ns) {
            let ended_ns = runtime::now_ns();
            let request = Unfinished { scheduled_ns, ready_ns: None, sent_ns: None, ended_ns };
            self.shared.recorder.borrow_mut().censored(request);
        } else if self.shared.is_measuring() {
            self.shared.recorder.borrow_mut().unanswered_since_warmup(1);
        }
    }

    /// Notes the requests in flight that do not count without an answer.
    fn note_unanswered_since_warmup(&self) {
        let left_out = |ticket: &&Ticket| !self.shared.counts_unanswered(ticket.scheduled_ns);
        if self.shared.is_measuring() {
            let count = self.tickets.iter().filter(left_out).count();
            self.shared.recorder.borrow_mut().unanswered_since_warmup(count);
        }
    }

    /// Drops the connection and books those requests in flight that count.
    async fn abandon(
        &mut self,
        closing_max: usize,
        counts: impl Fn(&Shared, u64) -> bool,
        book: impl Fn(&mut Recorder, usize, Unfinished),
    ) {
        let ended_ns = runtime::now_ns();
        self.free_since_ns = ended_ns;
        let Aborted { sent_ns, cut_size } = match self.connection.take() {
            Some(connection) => connection.abort(closing_max).await,
            None => Aborted::default(),
        };
        let sent_count = sent_ns.iter().filter(|(_, sent_ns)| sent_ns.is_some()).count();
        let request_size = self.shared.request.bytes().len();
        let closed = self.shared.plan.open_loop().is_none();
        let mut recorder = self.shared.recorder.borrow_mut();
        self.shared.landed(self.tickets.len());
        for (index, ticket) in self.tickets.drain(..).enumerate() {
            let Ticket { scheduled_ns, ready_ns } = ticket;
            let sent_ns = sent_ns.get(index).and_then(|(_, sent_ns)| *sent_ns);
            if !counts(&self.shared, scheduled_ns) {
                continue;
            }
            if sent_ns.is_some() {
                let cut_size = cut_size.filter(|_| index + 1 == sent_count).unwrap_or(usize::MAX);
                recorder.sent_bytes(request_size.min(cut_size) as u64);
            }
            let due_ns =
                if ticket.is_due_when_sent(closed) { sent_ns.unwrap_or(scheduled_ns) } else { scheduled_ns };
            let ready_ns = Some(ready_ns.max(due_ns));
            book(&mut recorder, index, Unfinished { scheduled_ns: due_ns, ready_ns, sent_ns, ended_ns });
        }
    }
}

/// However the task ends, it gives its place back. A panic ends the run as well: its figures could not be trusted,
/// and an unbooked request would keep it from ending.
impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.in_flight.set(shared.in_flight.get().saturating_sub(self.tickets.len()));
        shared.tasks_left.set(shared.tasks_left.get() - 1);
        if thread::panicking() {
            // The code that panicked may still have borrowed it.
            if let Ok(mut source) = shared.source.try_borrow_mut() {
                source.leave(self.number);
            }
            shared.fail();
        }
        wake_main();
    }
}

impl Shared {
    /// The kind of an error. The text of the first error of a kind is kept as an example.
    #[cold]
    fn failure(&self, error: &Error) -> ErrorKind {
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

fn error_kind(error: &Error) -> ErrorKind {
    match error {
        Error::Resolve { .. } => ErrorKind::Dns,
        Error::Connect { .. } => ErrorKind::Connect,
        Error::Tls(_) => ErrorKind::Tls,
        Error::Timeout(_) => ErrorKind::Timeout,
        Error::Incomplete(_) => ErrorKind::Incomplete,
        Error::Protocol(_) => ErrorKind::Protocol,
        Error::Network(_) => ErrorKind::Reset,
        // In all other cases the connection ended before it could be used.
        _ => ErrorKind::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_task_is_small() {
        fn size_of_future<F>(_: impl Fn(ConnectionTask) -> F) -> usize {
            size_of::<F>()
        }
        // There is one per connection, and there may be tens of thousands of them. The published figure is 1 KiB for
        // everything that a connection needs.
        let size = size_of_future(|task: ConnectionTask| task.into_task(None));
        assert!(size <= 512, "{size} bytes");
    }
}
