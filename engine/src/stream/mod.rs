//! Byte streams and listeners on a worker: what a connection of any protocol stands on.
//!
//! This is the seam for TLS: a protocol sees bytes in, bytes out and an end, and does not ask what carries them.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringtide_driver::{Address, SendBuffer};

pub use ringtide_driver::Lease;

use crate::runtime;

/// A connected stream over TCP or a Unix socket. It belongs to the worker it was made on; dropping it closes it, in the
/// middle of anything.
#[derive(Debug)]
pub struct Stream {
    socket: runtime::Socket,
}

impl Stream {
    /// Connects to `address`. Cancel-safe: dropping the future gives the attempt up and closes the socket.
    ///
    /// There is no timeout of its own; wrap it in [`runtime::timeout`].
    ///
    /// # Errors
    /// As connect(2), or when no socket can be made. Nothing is left open.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        let mut socket = runtime::Socket::connect(address)?;
        poll_fn(|context| socket.poll_connected(context)).await?;
        Ok(Self { socket })
    }

    /// Takes over a connected stream socket that was made elsewhere, for example one of a pair. Drivers set its
    /// blocking mode as they need it.
    ///
    /// # Errors
    /// When the driver cannot use it. It is closed.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: runtime::Socket::adopt(socket)? })
    }

    /// The next bytes to arrive, never zero of them, or `None` when the peer has sent its last. Cancel-safe: what is not taken
    /// stays.
    ///
    /// # Errors
    /// When the connection has failed; every further call says so again.
    pub async fn receive(&mut self) -> io::Result<Option<Lease>> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// As [`receive`](Self::receive), for futures written by hand.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    #[inline]
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        self.socket.poll_receive(context)
    }

    /// Sends all of `bytes`, and returns when the kernel has taken them. Not cancel-safe in the sense that
    /// a dropped future does not take the bytes back: the send goes on, and the next one waits for it.
    ///
    /// The memory is dropped when it has been sent, between two steps of the worker. Should the stream be closed before, an owner of it
    /// (`Bytes::from_owner`) is dropped inside of one, and must not use the worker in its `Drop`.
    ///
    /// # Errors
    /// When the connection has failed. How many bytes were taken is not known then, as with any stream.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let buffer = SendBuffer::Shared(bytes.into());
        poll_fn(|context| self.poll_sent(context)).await?;
        self.socket.send(buffer)?;
        poll_fn(|context| self.poll_sent(context)).await?;
        Ok(())
    }

    /// Ends the sending half after everything sent before; the peer sees the end of the stream, and can still answer.
    ///
    /// # Errors
    /// When a send is still under way (`ResourceBusy`), or as shutdown(2).
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shutdown()
    }

    /// The address at this end.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_address(&self) -> io::Result<Address> {
        self.socket.local_address()
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.socket.peer_address()
    }

    /// Starts to send all of `buffer`. One at a time: [`poll_sent`](Self::poll_sent) tells when the next may start.
    #[inline]
    pub(crate) fn start_send(&mut self, buffer: SendBuffer) -> io::Result<()> {
        self.socket.send(buffer)
    }

    /// Starts a send whose success the peer's answer will tell.
    #[inline]
    pub(crate) fn start_send_skip_success(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        self.socket.send_skip_success(bytes)
    }

    /// Ready when no send is under way, with the memory of the one that has just ended, if it was an owned one.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.socket.poll_sent(context)
    }

    /// The buffer of a send that has ended; nobody is woken for one that has not.
    #[inline]
    pub(crate) fn take_sent(&mut self) -> Option<Vec<u8>> {
        self.socket.take_sent()
    }

    /// Ready when the peer has sent its last byte, or the connection has failed, whatever has not been read yet.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ended(context)
    }

    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.socket.is_sending()
    }

    /// Ends the send under way early; [`poll_sent`](Self::poll_sent) tells when it has ended.
    pub(crate) fn cancel_send(&mut self) {
        self.socket.cancel_send();
    }

    /// So many bytes of the last send the kernel took, if it has failed.
    pub(crate) fn failed_send_size(&self) -> Option<usize> {
        self.socket.failed_send_size()
    }

    /// When the last send was handed to the kernel, on the worker's clock.
    #[inline]
    pub(crate) fn sent_at_ns(&self) -> u64 {
        self.socket.sent_at_ns()
    }

    /// The worker's [`runtime::turn_time_ns`].
    #[inline]
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.socket.turn_time_ns()
    }

    /// Whether the peer has ended, failed, or sent something that nobody has read yet.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.socket.has_news()
    }

    /// Whether the peer is known to have sent its last byte, whatever has not been read yet.
    pub(crate) fn has_ended(&self) -> bool {
        self.socket.has_ended()
    }

    /// Closes when the peer has, or after a second, or when more than `count_max` of this worker wait so.
    pub(crate) fn close_after_peer(self, count_max: usize) {
        self.socket.close_after_peer(count_max);
    }

    /// Whether a send has been started and not been handed to the kernel, which the worker's next turn does.
    pub(crate) fn is_unsent(&self) -> bool {
        self.socket.is_unsent()
    }

    /// Whether something has arrived that nobody has read, and more may come.
    pub(crate) fn has_unread(&self) -> bool {
        self.socket.has_unread()
    }

    /// Pieces that have arrived and that nobody has read.
    pub(crate) fn unread_count(&self) -> usize {
        self.socket.unread_count()
    }

    /// Says that the reader has `size` bytes in hand that it cannot work on now: they count as unread.
    pub(crate) fn hold(&mut self, size: u32) {
        self.socket.hold(size);
    }

    /// Has the peer's end noticed although nobody reads.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.socket.watch()
    }
}

/// A listening socket on a worker. Dropping it closes it, and the connections that nobody has taken.
#[derive(Debug)]
pub struct Listener {
    listener: runtime::Listener,
}

impl Listener {
    /// Listens at `address`. With `reuse_port` other workers can listen there too, and the kernel spreads the connections.
    ///
    /// # Errors
    /// As bind(2) and listen(2).
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn bind(address: &Address, reuse_port: bool) -> io::Result<Self> {
        Ok(Self { listener: runtime::Listener::bind(address, reuse_port)? })
    }

    /// The next connection. Cancel-safe.
    ///
    /// # Errors
    /// When connections cannot be accepted now, for instance for want of descriptors (`EMFILE`). The listener stays usable; waiting a
    /// little before the next call is up to the caller.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        let socket = poll_fn(|context| self.listener.poll_accept(context)).await?;
        Ok(Stream { socket })
    }

    /// A connection that was accepted before [`pause`](Self::pause). The task is woken when there is another.
    pub(crate) fn poll_accepted(&mut self, context: &mut Context<'_>) -> Poll<Stream> {
        self.listener.poll_accepted(context).map(|socket| Stream { socket })
    }

    /// Leaves further connections in the kernel's queue until [`accept`](Self::accept) has none left and is called again.
    pub fn pause(&mut self) {
        self.listener.pause();
    }

    /// The address that it is bound to, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_address(&self) -> io::Result<Address> {
        self.listener.local_address()
    }
}
