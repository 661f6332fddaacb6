//! The accept loop of one listener.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::connection::serve_connection;
use super::connections::{Connections, Lifecycle};
use super::failure::{FailureHook, FailureKind, report_unserved};
use super::service::{Service, nanoseconds};
use super::{ServiceOptions, Shutdown};
use crate::conn::{Answered, Exchange};
use crate::runtime::{self, Timer};
use crate::stream::{Listener, Stream};

/// How long the accept loop waits when the system has no resources for another connection (`EMFILE`, `ENOBUFS`). Other
/// connections have to end first.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The shortest interval between two reports of a reached connection limit. Without it, connections that come and go at
/// the limit would cause a report each.
const LIMIT_REPORT_INTERVAL_NS: u64 = 1_000_000_000;

/// Accepts connections from `listener` and serves them on the current worker, until `shutdown` begins. Returns when the
/// last connection has ended.
///
/// Each connection is a task of its own.
///
/// ```
/// use ringtide::http::StatusCode;
/// use ringtide::runtime::{self, Worker, WorkerOptions};
/// use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
/// use ringtide::stream::Listener;
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let listener = Listener::bind(&"127.0.0.1:0".parse()?, false)?;
///     let shutdown = Shutdown::new();
///     let server = runtime::spawn(serve(listener, ServiceOptions::default(), shutdown.clone(), {
///         async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &[("Server", "mine")], "hello world\n")
///     }));
///     shutdown.begin();
///     server.await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
/// Not cancel-safe. If the future is dropped, the server stops accepting, but its open connections continue until they
/// end by themselves.
pub async fn serve<H, E>(listener: Listener, options: ServiceOptions, shutdown: Shutdown, handler: H)
where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + 'static,
    E: Display + 'static,
{
    let connections = Rc::new(Connections::default());
    let shutdown_timeout = options.shutdown_timeout;
    let mut accepting = Accepting {
        listener,
        connections: Rc::clone(&connections),
        connections_max: options.connections_max.max(1),
        waiting: VecDeque::new(),
        wait_ns: nanoseconds(options.head_timeout),
        timer: Timer::new(),
        on_error: options.on_error.clone(),
        next_report_ns: 0,
    };
    let service = Rc::new(Service::new(handler, &options, Rc::clone(&connections)));
    loop {
        let next = {
            let mut accepted = pin!(accepting.next());
            poll_fn(|context| {
                if shutdown.poll_begun(context).is_ready() {
                    return Poll::Ready(None);
                }
                accepted.as_mut().poll(context).map(Some)
            })
            .await
        };
        let Some(Accepted { stream, at_ns }) = next else { break };
        runtime::spawn(serve_connection(stream, at_ns, connections.register(), Rc::clone(&service)));
    }
    drop(accepting);
    connections.enter(Lifecycle::Draining);
    let all_ended = || poll_fn(|context| connections.poll_fewer_than(1, context));
    if runtime::timeout(shutdown_timeout, all_ended()).await.is_none() {
        connections.enter(Lifecycle::Aborting);
        all_ended().await;
    }
}

/// A listener, with the connections that it accepted before it could be paused.
struct Accepting {
    listener: Listener,
    connections: Rc<Connections>,
    connections_max: usize,
    /// Accepted connections that wait for room, oldest first.
    waiting: VecDeque<Accepted>,
    /// How long a connection may wait in `waiting`.
    wait_ns: u64,
    timer: Timer,
    on_error: Option<FailureHook>,
    /// The earliest time of the next report that the limit is reached.
    next_report_ns: u64,
}

struct Accepted {
    stream: Stream,
    /// The time of the accept, on the worker's clock.
    at_ns: u64,
}

impl Accepting {
    /// Returns the next connection to serve. Cancel-safe.
    async fn next(&mut self) -> Accepted {
        loop {
            if !poll_fn(|context| Poll::Ready(self.poll_room(context).is_ready())).await {
                self.listener.pause();
                self.report_limit();
                poll_fn(|context| self.poll_room_or_close(context)).await;
            }
            if let Some(accepted) = self.waiting.pop_front() {
                return accepted;
            }
            match self.listener.accept().await {
                Ok(stream) => return Accepted { stream, at_ns: runtime::turn_time_ns() },
                // accept(2): the client has given up, or the network has failed. The next accept may succeed.
                Err(error) if is_the_clients(&error) => {}
                Err(_) => runtime::sleep(BACK_OFF).await,
            }
        }
    }

    fn report_limit(&mut self) {
        let now_ns = runtime::turn_time_ns();
        if now_ns >= self.next_report_ns {
            self.next_report_ns = now_ns + LIMIT_REPORT_INTERVAL_NS;
            report_unserved(self.on_error.as_ref(), FailureKind::ConnectionLimit(self.connections_max), None);
        }
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        self.connections.poll_fewer_than(self.connections_max, context)
    }

    /// Returns ready when there is room for a connection. Until then, closes those that have waited too long.
    fn poll_room_or_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now_ns = runtime::turn_time_ns();
        // Connections that the listener accepted before it paused.
        while let Poll::Ready(stream) = self.listener.poll_accepted(context) {
            self.waiting.push_back(Accepted { stream, at_ns: now_ns });
        }
        if self.poll_room(context).is_ready() {
            return Poll::Ready(());
        }
        while let Some(Accepted { stream, at_ns }) = self.waiting.front() {
            let deadline_ns = at_ns.saturating_add(self.wait_ns);
            if deadline_ns > now_ns {
                self.timer.set(deadline_ns);
                // The timer wakes the task at the deadline. If the deadline has passed in the meantime, the task runs
                // again in the next turn.
                if self.timer.poll_elapsed(context).is_ready() {
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            report_unserved(self.on_error.as_ref(), FailureKind::NotServed, stream.peer_address().ok());
            self.waiting.pop_front();
        }
        Poll::Pending
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}
