//! One connection of a server: its exchanges one after the other, with their time limits.
//!
//! There is one timer, set when the connection has to wait and only then: a request that is answered at once costs one
//! store, for the idle time that follows.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;

use super::ServiceOptions;
use super::hub::{Hub, Registration, Stage};
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
    hub: Rc<Hub>,
    limits: Limits,
    head_timeout_ns: u64,
    idle_timeout_ns: u64,
    stall_timeout_ns: u64,
    request_timeout_ns: u64,
}

impl<H> Service<H> {
    pub(super) fn new(handler: H, options: &ServiceOptions, hub: Rc<Hub>) -> Self {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            handler,
            hub,
            limits: options.limits,
            head_timeout_ns: nanoseconds(options.head_timeout),
            idle_timeout_ns: nanoseconds(options.idle_timeout),
            stall_timeout_ns: nanoseconds(options.stall_timeout),
            request_timeout_ns: options.request_timeout.map_or(u64::MAX, nanoseconds),
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve_connection<H, E>(
    stream: Stream,
    registration: Registration,
    service: Rc<Service<H>>,
) where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E>,
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
        let mut patience = Patience::new(is_first, wire.turn_time_ns());
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
                connection.refuse();
                break;
            }
            Next::Gone => return,
            Next::HeadTooLate => {
                connection.fail(StatusCode::REQUEST_TIMEOUT, "the head of the request did not come in time");
                break;
            }
            Next::Idle => {
                connection.finish();
                break;
            }
        }
        is_first = false;
        if service.hub.stage() != Stage::Serving {
            wire.set_last();
        }
        // RFC 9110 §9.3.6: most servers do not implement CONNECT, and whoever gets 2xx to it takes what follows for the tunnel's.
        if connection.exchange().head().method() == b"CONNECT" {
            connection.fail(StatusCode::NOT_IMPLEMENTED, "this server is no proxy");
            break;
        }
        let held_size = connection.held_size();
        let outcome = {
            let mut handling = pin!((service.handler)(connection.exchange()));
            let mut supervision = Supervision::new(held_size);
            poll_fn(|context| {
                wire.note(|progress| progress.waits = false);
                // The future is dropped after a panic, unpolled, so nobody sees what state it was left in.
                match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context))) {
                    Ok(Poll::Ready(Ok(Answered { .. }))) => Poll::Ready(Outcome::Answered),
                    Ok(Poll::Ready(Err(_))) | Err(_) => Poll::Ready(Outcome::Failed),
                    Ok(Poll::Pending) => supervision.check(&wire, &service, &mut timer, context),
                }
            })
            .await
        };
        match outcome {
            Outcome::Answered => {}
            // Nobody waits for this answer; earlier ones may still be on their way.
            Outcome::Gone => {
                connection.finish();
                break;
            }
            // Part of an answer cannot be taken back; that its end is missing tells the client.
            Outcome::Failed if wire.progress().has_begun() => {
                connection.finish();
                break;
            }
            Outcome::TooLate(_) if wire.progress().has_begun() => return,
            Outcome::Failed => {
                if connection.fault().is_some() {
                    connection.refuse();
                } else {
                    connection.fail(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be handled");
                }
                break;
            }
            Outcome::TooLate(status) => {
                connection.fail(status, "the request took too long");
                break;
            }
        }
    }
    close(connection, &service, timer).await;
}

/// Ends a connection so that the client can read all that it was sent, within limits.
async fn close<H>(mut connection: ServerConnection, service: &Service<H>, mut timer: Timer) {
    let wire = connection.wire();
    let mut lingers = false;
    let mut deadline_ns = wire.turn_time_ns().saturating_add(service.stall_timeout_ns);
    poll_fn(|context| {
        if connection.poll_close(context).is_ready() || service.hub.stage() == Stage::Abandoning {
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
        match service.hub.stage() {
            Stage::Finishing if waiting == Waiting::Request => return Poll::Ready(Next::Idle),
            Stage::Serving | Stage::Finishing => {}
            Stage::Abandoning => return Poll::Ready(Next::Gone),
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
enum Outcome {
    Answered,
    /// It gave an error, or panicked.
    Failed,
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

    fn check<H>(
        &mut self,
        wire: &Wire,
        service: &Service<H>,
        timer: &mut Timer,
        context: &mut Context<'_>,
    ) -> Poll<Outcome> {
        match service.hub.stage() {
            Stage::Serving => {}
            Stage::Finishing => wire.set_last(),
            Stage::Abandoning => return Poll::Ready(Outcome::Gone),
        }
        wire.hold(self.held_size);
        // Earlier answers, and what the handler has queued of this one, do not wait for the handler.
        if let Poll::Ready(Err(_)) = wire.poll_push(context) {
            return Poll::Ready(Outcome::Gone);
        }
        let progress = wire.progress();
        match wire.poll_ended(context) {
            // A client that has closed and one that has only ended its sending half look the same until the first is sent something.
            Poll::Ready(Ok(())) if progress.has_begun() => {}
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
