//! A server's connection: handles its exchanges one after the other and applies the time limits.
//!
//! There is one timer. It is set only when the connection has to wait, so a request with an immediate response costs a
//! single store, for the idle timeout that follows.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;

use super::connections::{Lifecycle, Registration};
use super::failure::{FailureKind, HandlerFailure, report, report_unserved};
use super::http2;
use super::service::{KEEP_BUFFER_NS, LINGER_NS, Service, poll_deadline};
use crate::conn::{Answered, Exchange, Found, ServerConnection, Takeover, Waiting, Wire};
use crate::error::Error;
use crate::runtime::{Timer, turn_time_ns};
use crate::stream::{Reader, Stream, Transport};
use crate::tls::{self, ServerTls};

/// What concerns connections of HTTP/1.1.
impl<H> Service<H> {
    /// Reports a failure of `kind` on `connection`. `status` is the status that the client gets.
    fn report(&self, connection: &ServerConnection, kind: FailureKind<'_>, status: Option<StatusCode>) {
        report(self.hook(), connection, kind, status);
    }

    /// Responds with `status`, unless a response has begun, and reports the failure.
    #[cold]
    fn fail(&self, connection: &mut ServerConnection, status: StatusCode, reason: &str) {
        let begun = connection.wire().progress().has_begun();
        self.report(connection, FailureKind::Refused(reason), (!begun).then_some(status));
        connection.fail(status, reason);
    }

    /// Responds to a request that could not be read, and reports the failure.
    #[cold]
    fn refuse(&self, connection: &mut ServerConnection) {
        let Some(fault) = connection.fault() else { return };
        self.fail(connection, fault.status, &fault.error.to_string());
    }
}

/// Serves one connection to its end. `accepted_ns` is the time of the accept.
#[expect(clippy::manual_async_fn, reason = "an async fn would have room for its arguments twice")]
pub(super) fn serve_connection<H, E>(
    mut stream: Stream,
    accepted_ns: u64,
    registration: Registration,
    service: Rc<Service<H>>,
) -> impl Future<Output = ()>
where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E>,
    E: Display + 'static,
{
    async move {
        let mut timer = Timer::new();
        poll_fn(|context| {
            registration.set_waker(context.waker());
            Poll::Ready(())
        })
        .await;
        if let Some(tls) = &service.tls
            && !handshake(&mut stream, tls, accepted_ns, &service, &mut timer).await
        {
            return;
        }
        let speaks = match stream.tls() {
            Some(tls) if tls.alpn() == Some(b"h2") => Speaks::Http2,
            // RFC 9113 §3.2: HTTP/2 over TLS is agreed on by ALPN alone.
            Some(_) => Speaks::Http1,
            None => Speaks::Either,
        };
        let (transport, input) = if speaks == Speaks::Http2 {
            stream.into_parts()
        } else {
            let mut connection = ServerConnection::new(stream, service.limits);
            if speaks == Speaks::Either {
                connection.expect_preface();
            }
            match serve_http1(connection, accepted_ns, &service, &mut timer).await {
                Some(parts) => parts,
                None => return,
            }
        };
        // Boxed, as most connections would carry its size for nothing.
        Box::pin(http2::serve(transport, input, &service, timer, accepted_ns)).await;
    }
}

/// Which versions of HTTP a connection may speak.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    /// What the client begins with.
    Either,
}

/// Serves a connection of HTTP/1.1 to its end. Returns its parts if the client begins to speak HTTP/2 instead.
#[expect(clippy::manual_async_fn, reason = "an async fn would have room for its arguments twice")]
fn serve_http1<H, E>(
    mut connection: ServerConnection,
    accepted_ns: u64,
    service: &Service<H>,
    timer: &mut Timer,
) -> impl Future<Output = Option<(Transport, Reader)>>
where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E>,
    E: Display + 'static,
{
    async move {
        let wire = connection.wire();
        let mut is_first = true;
        loop {
            let since_ns = if is_first { accepted_ns } else { wire.turn_time_ns() };
            let mut patience = Patience::new(is_first, since_ns);
            let next = poll_fn(|context| match connection.poll_request(context) {
                Poll::Ready(found) => Poll::Ready(Next::Found(found)),
                Poll::Pending => patience.check(connection.waiting(), &wire, service, timer, context),
            })
            .await;
            match next {
                Next::Found(Ok(Found::Request)) => {}
                Next::Found(Ok(Found::End)) => {
                    let Some(takeover) = connection.take_takeover() else { break };
                    drop(wire);
                    // Boxed, as most connections would carry its size for nothing.
                    Box::pin(hand_over(connection, takeover, service, timer)).await;
                    return None;
                }
                Next::Found(Ok(Found::Http2)) => {
                    drop(wire);
                    return connection.into_parts();
                }
                // Earlier responses still have to be sent, even after an error.
                Next::Found(Err(_)) => {
                    service.refuse(&mut connection);
                    break;
                }
                Next::Gone => return None,
                Next::HeadTooLate => {
                    let reason = "the head of the request did not arrive in time";
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
            // RFC 9110 §9.3.6: most servers do not implement CONNECT. A client that gets a 2xx response treats what follows
            // as the tunnel's data.
            if connection.head().is_some_and(|head| head.method() == "CONNECT") {
                if !service.accept_connect {
                    service.fail(&mut connection, StatusCode::NOT_IMPLEMENTED, "this server is not a proxy");
                    break;
                }
                wire.set_last();
            }
            let held_size = connection.held_size();
            let outcome = {
                let mut supervision = Supervision::new(held_size);
                // The code of the handler runs in the call, in each poll and in the drop. All of that happens in this future.
                let mut handling = pin!(async {
                    let mut future = pin!((service.handler)(connection.exchange()));
                    poll_fn(|context| {
                        wire.note(|progress| progress.waits = false);
                        // Catches the panic here, so that the drop does not happen while the panic unwinds: a second panic would
                        // abort the process.
                        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
                            Ok(Poll::Ready(Ok(Answered { .. }))) => Poll::Ready(Outcome::Answered),
                            Ok(Poll::Ready(Err(error))) => {
                                Poll::Ready(Outcome::Failed(HandlerFailure::Error(error)))
                            }
                            Err(payload) => Poll::Ready(Outcome::Failed(HandlerFailure::Panic(payload))),
                            Ok(Poll::Pending) => supervision.check(&wire, service, timer, context),
                        }
                    })
                    .await
                });
                poll_fn(|context| {
                    // Unwind-safe: after a panic the future is dropped and never polled again, so no code sees the state it
                    // was left in.
                    catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context))).unwrap_or_else(
                        |payload| Poll::Ready(Outcome::Failed(HandlerFailure::Panic(payload))),
                    )
                })
                .await
            };
            if let Outcome::Answered = outcome {
                continue;
            }
            if settle(&mut connection, service, outcome).is_break() {
                return None;
            }
            break;
        }
        close(&mut connection, service, timer).await;
        None
    }
}

/// Sends what is queued, then runs the code that goes on with the connection's stream.
async fn hand_over<H>(
    connection: ServerConnection,
    takeover: Takeover,
    service: &Service<H>,
    timer: &mut Timer,
) {
    let wire = connection.wire();
    let deadline_ns = wire.turn_time_ns().saturating_add(service.stall_timeout_ns);
    let is_sent = poll_fn(|context| match wire.poll_push(context) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending if service.connections.lifecycle() == Lifecycle::Aborting => Poll::Ready(false),
        Poll::Pending => poll_deadline(timer, deadline_ns, wire.turn_time_ns(), context).map(|()| false),
    })
    .await;
    drop(wire);
    let peer = connection.peer_address().ok();
    let Some((transport, input)) = connection.into_parts().filter(|_| is_sent) else { return };
    let mut running = pin!(takeover.run(Stream::from_parts(transport, input)));
    let ended = poll_fn(|context| {
        if service.connections.lifecycle() == Lifecycle::Aborting {
            return Poll::Ready(Ok(()));
        }
        // Unwind-safe: after a panic the future is dropped and never polled again.
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await;
    if let Err(payload) = ended {
        let failure = HandlerFailure::<Infallible>::Panic(payload);
        report_unserved(service.hook(), failure.kind(), peer);
    }
}

/// Performs the TLS handshake within the time limit of a head. Returns whether it succeeded.
async fn handshake<H>(
    stream: &mut Stream,
    tls: &ServerTls,
    accepted_ns: u64,
    service: &Service<H>,
    timer: &mut Timer,
) -> bool {
    let deadline_ns = accepted_ns.saturating_add(service.head_timeout_ns);
    let outcome = match stream.begin_accept_tls(tls) {
        Err(error) => Err(error),
        Ok(()) => poll_fn(|context| match stream.poll_handshake(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if service.connections.lifecycle() != Lifecycle::Serving => Poll::Ready(None),
            Poll::Pending => poll_deadline(timer, deadline_ns, turn_time_ns(), context).map(|()| None),
        })
        .await
        .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())),
    };
    if let Err(error) = &outcome
        && let Some(error) = tls::Error::of_io(error)
    {
        report_unserved(service.hook(), FailureKind::Tls(error), stream.peer_address().ok());
    }
    outcome.is_ok()
}

/// Ends an exchange whose handler did not complete it. Returns `Break` if nothing more can be sent.
#[cold]
fn settle<H, E: Display + 'static>(
    connection: &mut ServerConnection,
    service: &Service<H>,
    outcome: Outcome<E>,
) -> ControlFlow<()> {
    let has_begun = connection.wire().progress().has_begun();
    match outcome {
        Outcome::Answered => {}
        // This response has no receiver any more, but earlier responses may still be in flight.
        Outcome::Gone => connection.finish(),
        // The request itself failed, and the handler returned that error.
        Outcome::Failed(HandlerFailure::Error(_)) if connection.fault().is_some() && !has_begun => {
            service.refuse(connection);
        }
        Outcome::Failed(failure) => {
            let status = (!has_begun).then_some(StatusCode::INTERNAL_SERVER_ERROR);
            service.report(connection, failure.kind(), status);
            match status {
                Some(status) => connection.fail(status, "the request could not be handled"),
                // The server cannot take back a partial response. Its missing end tells the client.
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

/// Closes a connection so that the client can still read everything sent to it, within the time limits.
async fn close<H>(connection: &mut ServerConnection, service: &Service<H>, timer: &mut Timer) {
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
        poll_deadline(timer, deadline_ns, now_ns, context)
    })
    .await;
}

/// The result of waiting for a request.
enum Next {
    Found(Result<Found, Error>),
    /// The connection may end without a response: there is no part of a request.
    Idle,
    HeadTooLate,
    Gone,
}

/// The time limits that apply while waiting for a request.
struct Patience {
    is_first: bool,
    waiting: Waiting,
    since_ns: u64,
    /// The buffer of the last response was freed.
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
            // The time limit of the first head runs from the accept.
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

/// The result of a handler.
enum Outcome<E> {
    Answered,
    /// The handler returned an error or panicked.
    Failed(HandlerFailure<E>),
    /// The handler is dropped, because its response cannot be delivered or the server aborts.
    Gone,
    TooLate(StatusCode),
}

/// Supervises a connection while its handler waits.
struct Supervision {
    /// The received bytes that the connection holds unread.
    held_size: usize,
    begun_ns: Option<u64>,
    /// Since when the handler has been waiting for the peer.
    stalled_ns: Option<u64>,
    /// Since when the handler has been waiting for something else, after the peer has closed its sending half.
    ended_ns: Option<u64>,
}

impl Supervision {
    fn new(held_size: usize) -> Self {
        Self { held_size, begun_ns: None, stalled_ns: None, ended_ns: None }
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
        // Earlier responses, and the queued part of this one, are sent while the handler waits.
        if let Poll::Ready(Err(_)) = wire.poll_push(context) {
            return Poll::Ready(Outcome::Gone);
        }
        let progress = wire.progress();
        let now_ns = wire.turn_time_ns();
        match wire.poll_ended(context) {
            // A client that closed the connection and one that only ended its sending half look the same until the
            // server sends something. While it does, `stall_timeout` applies.
            Poll::Ready(Ok(())) if progress.waits => self.ended_ns = None,
            Poll::Ready(Ok(())) if progress.moved || self.ended_ns.is_none() => self.ended_ns = Some(now_ns),
            Poll::Ready(Ok(())) | Poll::Pending => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Outcome::Gone),
        }
        let gone_ns =
            self.ended_ns.map_or(u64::MAX, |ended_ns| ended_ns.saturating_add(service.half_close_timeout_ns));
        if now_ns >= gone_ns {
            return Poll::Ready(Outcome::Gone);
        }
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
        if poll_deadline(timer, stall_ns.min(request_ns).min(gone_ns), now_ns, context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Outcome::TooLate(if progress.received {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::REQUEST_TIMEOUT
        }))
    }
}
