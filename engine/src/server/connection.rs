//! One connection of a server: its exchanges one after the other, with their time limits.
//!
//! There is one timer, set when the connection has to wait and only then: a request that is answered at once costs one
//! store, for the idle time that follows.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;

use super::ServiceOptions;
use super::connections::{Connections, Lifecycle, Registration};
use super::failure::{FailureHook, FailureKind, HandlerFailure, report};
use crate::conn::{Answered, Exchange, ServerConnection, Waiting, Wire};
use crate::error::Error;
use crate::proto::h1::Limits;
use crate::runtime::Timer;
use crate::stream::Stream;

/// How long a connection keeps the buffer of its last answer for the next one.
const KEEP_BUFFER_NS: u64 = 1_000_000_000;

/// How long a connection that has been ended here may take to end there.
const LINGER_NS: u64 = 2_000_000_000;

/// What the connections of a listener share.
pub(super) struct Service<H> {
    handler: H,
    connections: Rc<Connections>,
    limits: Limits,
    head_timeout_ns: u64,
    idle_timeout_ns: u64,
    stall_timeout_ns: u64,
    request_timeout_ns: u64,
    half_close: bool,
    on_error: Option<FailureHook>,
}

impl<H> Service<H> {
    pub(super) fn new(handler: H, options: &ServiceOptions, connections: Rc<Connections>) -> Self {
        Self {
            handler,
            connections,
            limits: options.limits,
            head_timeout_ns: nanoseconds(options.head_timeout),
            idle_timeout_ns: nanoseconds(options.idle_timeout),
            stall_timeout_ns: nanoseconds(options.stall_timeout),
            request_timeout_ns: options.request_timeout.map_or(u64::MAX, nanoseconds),
            half_close: options.half_close,
            on_error: options.on_error.clone(),
        }
    }

    /// Tells the operator of `kind` on `connection`, answered with `status`.
    fn report(&self, connection: &ServerConnection, kind: FailureKind<'_>, status: Option<StatusCode>) {
        report(self.on_error.as_ref(), connection, kind, status);
    }

    /// Answers with `status`, if no answer has begun, and tells the operator.
    #[cold]
    fn fail(&self, connection: &mut ServerConnection, status: StatusCode, reason: &str) {
        let begun = connection.wire().progress().has_begun();
        self.report(connection, FailureKind::Refused(reason), (!begun).then_some(status));
        connection.fail(status, reason);
    }

    /// Answers a request that could not be read, and tells the operator; or does neither, if nobody is taken to be there any more.
    #[cold]
    fn refuse(&self, connection: &mut ServerConnection) {
        let Some(fault) = connection.fault() else { return };
        if fault.is_incomplete() && !self.half_close {
            return connection.finish();
        }
        self.fail(connection, fault.status, &fault.error.to_string());
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Serves one connection, accepted at `accepted_ns`, to its end.
pub(super) async fn serve_connection<H, E>(
    stream: Stream,
    accepted_ns: u64,
    registration: Registration,
    service: Rc<Service<H>>,
) where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E>,
    E: Display + 'static,
{
    let mut connection = ServerConnection::new(stream, service.limits);
    let wire = connection.wire();
    let mut timer = Timer::new();
    poll_fn(|context| {
        registration.set_waker(context.waker());
        Poll::Ready(())
    })
    .await;
    let mut is_first = true;
    loop {
        let since_ns = if is_first { accepted_ns } else { wire.turn_time_ns() };
        let mut patience = Patience::new(is_first, since_ns);
        let next = poll_fn(|context| match connection.poll_request(context) {
            Poll::Ready(found) => Poll::Ready(Next::Found(found)),
            Poll::Pending => patience.check(connection.waiting(), &wire, &service, &mut timer, context),
        })
        .await;
        match next {
            Next::Found(Ok(true)) => {}
            Next::Found(Ok(false)) => break,
            // Earlier answers are still to be sent, whatever has gone wrong since.
            Next::Found(Err(_)) => {
                service.refuse(&mut connection);
                break;
            }
            Next::Gone => return,
            Next::HeadTooLate => {
                let reason = "the head of the request did not come in time";
                service.fail(&mut connection, StatusCode::REQUEST_TIMEOUT, reason);
                break;
            }
            Next::Idle => {
                connection.finish();
                break;
            }
        }
        is_first = false;
        if service.connections.lifecycle() != Lifecycle::Serving {
            wire.set_last();
        }
        // RFC 9110 §9.3.6: most servers do not implement CONNECT, and whoever gets 2xx to it takes what follows for the tunnel's.
        if connection.exchange().head().bytes().starts_with(b"CONNECT ") {
            service.fail(&mut connection, StatusCode::NOT_IMPLEMENTED, "this server is no proxy");
            break;
        }
        // As for a handler that waits: what is queued is not sent either.
        if !service.half_close && wire.has_ended() {
            return;
        }
        let held_size = connection.held_size();
        let outcome = {
            let mut supervision = Supervision::new(held_size);
            // The handler's code runs in the call, in each poll and in the drop, and all of that happens inside of this future.
            let mut handling = pin!(async {
                let mut future = pin!((service.handler)(connection.exchange()));
                poll_fn(|context| {
                    wire.note(|progress| progress.waits = false);
                    // Caught in here, so that the drop does not come while the panic unwinds: a second one would end the process.
                    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
                        Ok(Poll::Ready(Ok(Answered { .. }))) => Poll::Ready(Outcome::Answered),
                        Ok(Poll::Ready(Err(error))) => {
                            Poll::Ready(Outcome::Failed(HandlerFailure::Error(error)))
                        }
                        Err(payload) => Poll::Ready(Outcome::Failed(HandlerFailure::Panic(payload))),
                        Ok(Poll::Pending) => supervision.check(&wire, &service, &mut timer, context),
                    }
                })
                .await
            });
            poll_fn(|context| {
                catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context)))
                    .unwrap_or_else(|payload| Poll::Ready(Outcome::Failed(HandlerFailure::Panic(payload))))
            })
            .await
        };
        if let Outcome::Answered = outcome {
            continue;
        }
        if settle(&mut connection, &service, outcome).is_break() {
            return;
        }
        break;
    }
    close(connection, &service, timer).await;
}

/// Ends an exchange that its handler has not ended; `Break` if nothing more can be sent.
#[cold]
fn settle<H, E: Display + 'static>(
    connection: &mut ServerConnection,
    service: &Service<H>,
    outcome: Outcome<E>,
) -> ControlFlow<()> {
    let has_begun = connection.wire().progress().has_begun();
    match outcome {
        Outcome::Answered => {}
        // Nobody waits for this answer; earlier ones may still be on their way.
        Outcome::Gone => connection.finish(),
        // It is the request that failed, and the handler gave up over it.
        Outcome::Failed(HandlerFailure::Error(_)) if connection.fault().is_some() && !has_begun => {
            service.refuse(connection);
        }
        Outcome::Failed(failure) => {
            let status = (!has_begun).then_some(StatusCode::INTERNAL_SERVER_ERROR);
            service.report(connection, failure.kind(), status);
            match status {
                Some(status) => connection.fail(status, "the request could not be handled"),
                // Part of an answer cannot be taken back; that its end is missing tells the client.
                None => connection.finish(),
            }
        }
        Outcome::TooLate(status) => {
            service.fail(connection, status, "the request took too long");
            if has_begun {
                return ControlFlow::Break(());
            }
        }
    }
    ControlFlow::Continue(())
}

/// Ends a connection so that the client can read all that it was sent, within limits.
async fn close<H>(mut connection: ServerConnection, service: &Service<H>, mut timer: Timer) {
    let wire = connection.wire();
    let mut lingers = false;
    let mut deadline_ns = wire.turn_time_ns().saturating_add(service.stall_timeout_ns);
    poll_fn(|context| {
        if connection.poll_close(context).is_ready() || service.connections.lifecycle() == Lifecycle::Aborting
        {
            return Poll::Ready(());
        }
        let now_ns = wire.turn_time_ns();
        if connection.has_shut_down() && !lingers {
            lingers = true;
            deadline_ns = now_ns.saturating_add(LINGER_NS);
        }
        poll_deadline(&mut timer, deadline_ns, now_ns, context)
    })
    .await;
}

/// What came of the wait for a request.
enum Next {
    Found(Result<bool, Error>),
    /// Nothing has come that an answer could be given to.
    Idle,
    HeadTooLate,
    Gone,
}

/// The time limits of the wait for a request.
struct Patience {
    is_first: bool,
    waiting: Waiting,
    since_ns: u64,
    /// The buffer of the last answer has been given back.
    tidied: bool,
}

impl Patience {
    fn new(is_first: bool, now_ns: u64) -> Self {
        Self { is_first, waiting: Waiting::Request, since_ns: now_ns, tidied: is_first }
    }

    #[inline]
    fn check<H>(
        &mut self,
        waiting: Waiting,
        wire: &Wire,
        service: &Service<H>,
        timer: &mut Timer,
        context: &mut Context<'_>,
    ) -> Poll<Next> {
        let now_ns = wire.turn_time_ns();
        match service.connections.lifecycle() {
            Lifecycle::Draining if waiting == Waiting::Request => return Poll::Ready(Next::Idle),
            Lifecycle::Serving | Lifecycle::Draining => {}
            Lifecycle::Aborting => return Poll::Ready(Next::Gone),
        }
        let moved = wire.progress().moved;
        if waiting != self.waiting || (moved && waiting == Waiting::Peer) {
            wire.note(|progress| progress.moved = false);
            // The first head has its time from the accept on.
            if !(self.is_first && waiting == Waiting::Head) {
                self.since_ns = now_ns;
            }
            self.waiting = waiting;
        }
        let timeout_ns = match waiting {
            Waiting::Request if self.is_first => service.head_timeout_ns,
            Waiting::Request => service.idle_timeout_ns,
            Waiting::Head => service.head_timeout_ns,
            Waiting::Peer => service.stall_timeout_ns,
        };
        let mut deadline_ns = self.since_ns.saturating_add(timeout_ns);
        if waiting == Waiting::Request && !self.tidied {
            let tidy_ns = self.since_ns.saturating_add(KEEP_BUFFER_NS);
            if now_ns < tidy_ns {
                deadline_ns = deadline_ns.min(tidy_ns);
            } else {
                self.tidied = true;
                wire.tidy();
            }
        }
        if poll_deadline(timer, deadline_ns, now_ns, context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match waiting {
            Waiting::Request => Next::Idle,
            Waiting::Head => Next::HeadTooLate,
            Waiting::Peer => Next::Gone,
        })
    }
}

/// What came of a handler.
enum Outcome<E> {
    Answered,
    /// It gave an error, or panicked.
    Failed(HandlerFailure<E>),
    /// It was dropped, as nobody waits for the answer.
    Gone,
    TooLate(StatusCode),
}

/// What is looked after while a handler waits for something.
struct Supervision {
    /// Received bytes that wait with the connection.
    held_size: usize,
    begun_ns: Option<u64>,
    /// Since when the handler waits for the peer.
    stalled_ns: Option<u64>,
}

impl Supervision {
    fn new(held_size: usize) -> Self {
        Self { held_size, begun_ns: None, stalled_ns: None }
    }

    fn check<H, E>(
        &mut self,
        wire: &Wire,
        service: &Service<H>,
        timer: &mut Timer,
        context: &mut Context<'_>,
    ) -> Poll<Outcome<E>> {
        match service.connections.lifecycle() {
            Lifecycle::Serving => {}
            Lifecycle::Draining => wire.set_last(),
            Lifecycle::Aborting => return Poll::Ready(Outcome::Gone),
        }
        wire.hold(self.held_size);
        // Earlier answers, and what the handler has queued of this one, do not wait for the handler.
        if let Poll::Ready(Err(_)) = wire.poll_push(context) {
            return Poll::Ready(Outcome::Gone);
        }
        let progress = wire.progress();
        match wire.poll_ended(context) {
            // A client that has closed and one that has only ended its sending half look the same until the first is sent something.
            Poll::Ready(Ok(())) if service.half_close => {}
            Poll::Ready(_) => return Poll::Ready(Outcome::Gone),
            Poll::Pending => {}
        }
        let now_ns = wire.turn_time_ns();
        let begun_ns = *self.begun_ns.get_or_insert(now_ns);
        if !progress.waits {
            self.stalled_ns = None;
        } else if progress.moved || self.stalled_ns.is_none() {
            self.stalled_ns = Some(now_ns);
        }
        wire.note(|progress| progress.moved = false);
        let stall_ns =
            self.stalled_ns.map_or(u64::MAX, |since_ns| since_ns.saturating_add(service.stall_timeout_ns));
        let request_ns = match (progress.has_begun(), progress.received) {
            (true, true) => u64::MAX,
            _ => begun_ns.saturating_add(service.request_timeout_ns),
        };
        if poll_deadline(timer, stall_ns.min(request_ns), now_ns, context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Outcome::TooLate(if progress.received {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::REQUEST_TIMEOUT
        }))
    }
}

/// Ready when `deadline_ns` has come; otherwise the task is woken then.
#[inline]
fn poll_deadline(timer: &mut Timer, deadline_ns: u64, now_ns: u64, context: &mut Context<'_>) -> Poll<()> {
    // The worker's time is never before that of a timer that it has fired, so the clock is as good as the timer.
    if now_ns >= deadline_ns {
        return Poll::Ready(());
    }
    timer.set(deadline_ns);
    timer.poll_elapsed(context)
}
