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
