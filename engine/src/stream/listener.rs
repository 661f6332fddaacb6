//! Listening sockets.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use ringtide_driver::Address;

use super::Stream;
use crate::runtime;

/// A listening socket on a worker. Dropping it closes it, together with its connections that were not accepted yet.
///
/// # Panics
/// Waiting for a connection panics on another worker of the same thread. Its own worker does not run meanwhile, so the
/// wait would never end.
#[derive(Debug)]
pub struct Listener {
    listener: runtime::Listener,
}

impl Listener {
    /// Listens at `address`. With `reuse_port`, other workers can listen there too, and the kernel distributes the
    /// connections.
    ///
    /// # Errors
    /// The errors of bind(2) and listen(2).
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn bind(address: &Address, reuse_port: bool) -> io::Result<Self> {
        Ok(Self { listener: runtime::Listener::bind(address, reuse_port)? })
    }

    /// Accepts the next connection.
    ///
    /// For TLS, let the task of the connection do the handshake with [`Stream::accept_tls`], within a time limit. A slow
    /// client then delays nobody else. A [`Semaphore`](runtime::sync::Semaphore) limits how many there are at a time.
    ///
    /// ```no_run
    /// use std::io;
    /// use std::rc::Rc;
    /// use std::time::Duration;
    ///
    /// use ringtide::runtime::{self, sync::Semaphore};
    /// use ringtide::stream::{Listener, Stream};
    /// use ringtide::tls::ServerTls;
    ///
    /// async fn serve(mut listener: Listener, tls: ServerTls) -> io::Result<()> {
    ///     let connections = Rc::new(Semaphore::new(10_000));
    ///     loop {
    ///         let permit = Rc::clone(&connections).acquire_owned().await.expect("nobody closes the semaphore");
    ///         let stream = listener.accept().await?;
    ///         let tls = tls.clone();
    ///         runtime::spawn(async move {
    ///             match runtime::timeout(Duration::from_secs(10), stream.accept_tls(&tls)).await {
    ///                 Some(Ok(stream)) => drop(greet(stream).await),
    ///                 Some(Err(error)) => eprintln!("handshake: {error}"),
    ///                 None => eprintln!("handshake: it took too long"),
    ///             }
    ///             drop(permit);
    ///         });
    ///     }
    /// }
    ///
    /// async fn greet(mut stream: Stream) -> io::Result<()> {
    ///     stream.write_all(b"hello\n").await?;
    ///     stream.close().await
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// Cancel-safe.
    ///
    /// # Errors
    /// If no connection can be accepted now, for example because there are no descriptors left (`EMFILE`). The listener
    /// remains usable. The caller decides how long to wait before the next call.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        let socket = poll_fn(|context| self.listener.poll_accept(context)).await?;
        Ok(Stream::new(socket))
    }

    /// Polls for a connection that was accepted before [`pause`](Self::pause). If there is none, wakes the task when
    /// there is one.
    pub(crate) fn poll_accepted(&mut self, context: &mut Context<'_>) -> Poll<Stream> {
        self.listener.poll_accepted(context).map(Stream::new)
    }

    /// Stops accepting. Further connections stay in the kernel's queue, until [`accept`](Self::accept) is called and
    /// none of the already accepted connections is left.
    pub fn pause(&mut self) {
        self.listener.pause();
    }

    /// Returns the bound address. If the listener was bound to port 0, it contains the port that the system chose.
    ///
    /// # Errors
    /// The errors of getsockname(2).
    pub fn local_address(&self) -> io::Result<Address> {
        self.listener.local_address()
    }
}
