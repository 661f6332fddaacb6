//! The accept loop of one listener.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::connection::{Service, serve_connection};
use super::hub::{Hub, Stage};
use super::{ServiceOptions, Shutdown};
use crate::conn::{Answered, Exchange};
use crate::runtime;
use crate::stream::{Listener, Stream};

/// How long the accept loop waits when the system cannot give it a connection (`EMFILE`, `ENOBUFS`): others have to end first.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections at `listener` and serves each of them, on the current worker, until `shutdown`; returns when the last connection has
/// ended. Each connection is a task of its own. Not to be cancelled: the connections of a dropped future stay until they end by themselves.
///
/// ```
/// use http::StatusCode;
/// use ringtide::runtime::{self, Worker, WorkerOptions};
/// use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
/// use ringtide::stream::Listener;
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let listener = Listener::bind(&"127.0.0.1:0".parse()?, false)?;
///     let shutdown = Shutdown::new();
///     let server = runtime::spawn(serve(listener, ServiceOptions::default(), shutdown.clone(), {
///         async |exchange: Exchange<'_>| exchange.answer(StatusCode::OK, [("Server", "mine")], "hello world\n")
///     }));
///     shutdown.begin();
///     server.await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn serve<H, E>(mut listener: Listener, options: ServiceOptions, shutdown: Shutdown, handler: H)
where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + 'static,
    E: 'static,
{
    let hub = Rc::new(Hub::default());
    let shutdown_timeout = options.shutdown_timeout;
    let connections_max = options.connections_max.max(1);
    let service = Rc::new(Service::new(handler, &options, Rc::clone(&hub)));
    loop {
        let next = {
            let mut accepting = pin!(accept(&mut listener, &hub, connections_max));
            poll_fn(|context| {
                if shutdown.poll_begun(context).is_ready() {
                    return Poll::Ready(None);
                }
                accepting.as_mut().poll(context).map(Some)
            })
            .await
        };
        let Some(stream) = next else { break };
        runtime::spawn(serve_connection(stream, hub.register(), Rc::clone(&service)));
    }
    drop(listener);
    hub.enter(Stage::Finishing);
    let all_ended = || poll_fn(|context| hub.poll_fewer_than(1, context));
    if runtime::timeout(shutdown_timeout, all_ended()).await.is_none() {
        hub.enter(Stage::Abandoning);
        all_ended().await;
    }
}

/// The next connection. Cancel-safe.
async fn accept(listener: &mut Listener, hub: &Hub, connections_max: usize) -> Stream {
    loop {
        let mut has_room = pin!(poll_fn(|context| hub.poll_fewer_than(connections_max, context)));
        if poll_fn(|context| Poll::Ready(has_room.as_mut().poll(context))).await.is_pending() {
            listener.pause();
            has_room.await;
        }
        match listener.accept().await {
            Ok(stream) => return stream,
            // accept(2): the client has given up, or the network has failed; the next one may be fine.
            Err(error) if is_the_clients(&error) => {}
            Err(_) => runtime::sleep(BACK_OFF).await,
        }
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
