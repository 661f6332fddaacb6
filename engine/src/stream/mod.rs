//! Byte streams and listeners on a worker: the transport below a connection of any protocol.
//!
//! TLS would be added here: a protocol only sees received bytes, sent bytes and the end of the stream, whatever
//! transports them.

mod send_queue;

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringtide_driver::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use ringtide_driver::{Address, SendBuffer};

pub use ringtide_driver::Lease;

use self::send_queue::SendQueue;
use crate::runtime;

/// A connected stream over TCP or a Unix socket. It belongs to the worker that created it. Dropping it closes it at any
/// time, even while operations are in flight.
///
/// # Panics
/// Waiting for a stream panics on another worker of the same thread. Its own worker does not run meanwhile, so the wait
/// would never end.
#[derive(Debug)]
pub struct Stream {
    socket: runtime::Socket,
    queue: SendQueue,
}

impl Stream {
    /// Connects to `address`.
    ///
    /// There is no timeout. Use [`runtime::timeout`] to add one.
    ///
    /// # Cancel safety
    /// Cancel-safe. Dropping the future cancels the attempt and closes the socket.
    ///
    /// # Errors
    /// The errors of socket(2) and connect(2). The socket has been closed.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    pub async fn connect(address: &Address) -> io::Result<Self> {
        let mut socket = runtime::Socket::connect(address)?;
        poll_fn(|context| socket.poll_connected(context)).await?;
        Ok(Self::new(socket))
    }

    /// Creates a stream from a connected stream socket, for example one end of a socket pair. The driver sets the
    /// blocking mode that it needs.
    ///
    /// # Errors
    /// If the driver cannot use the socket. The socket has been closed.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(runtime::Socket::adopt(socket)?))
    }

    /// Receives the next bytes, at least one. Returns `None` at the end of the stream.
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future loses no bytes.
    ///
    /// # Errors
    /// If the connection has failed. Every further call returns the error again.
    pub async fn receive(&mut self) -> io::Result<Option<Lease>> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// Polls for the next bytes. This is [`receive`](Self::receive) for futures written by hand.
    ///
    /// # Errors
    /// See [`receive`](Self::receive).
    #[inline]
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        self.socket.poll_receive(context)
    }

    /// Sends all of `bytes`. Returns when the kernel has accepted them.
    ///
    /// The memory of `bytes` is dropped after the send, between two steps of the worker. If the stream is dropped
    /// before that, the memory may be dropped inside such a step. So the owner of a `Bytes::from_owner` must not use
    /// the worker in its `Drop`.
    ///
    /// # Cancel safety
    /// Not cancel-safe. If the future is dropped after the send has begun, the send continues and the next one waits
    /// for it. If the future is dropped while it waits for an earlier send, it sends nothing.
    ///
    /// # Errors
    /// If the connection has failed. It is then not known how many bytes the peer received.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let bytes = SendBuffer::Shared(bytes.into());
        poll_fn(|context| self.poll_flushed(context)).await?;
        self.push(bytes);
        poll_fn(|context| self.poll_flushed(context)).await
    }

    /// Closes the sending side after all bytes sent before. The peer sees the end of the stream, and can still send.
    ///
    /// # Errors
    /// `ResourceBusy` if a send is in flight; otherwise the errors of shutdown(2).
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shutdown()
    }

    /// Returns the local address.
    ///
    /// # Errors
    /// The errors of getsockname(2).
    pub fn local_address(&self) -> io::Result<Address> {
        self.socket.local_address()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// The errors of getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.socket.peer_address()
    }

    fn new(socket: runtime::Socket) -> Self {
        Self { socket, queue: SendQueue::default() }
    }

    /// Appends to the bytes that wait to be sent. Nothing is sent before [`start_next`](Self::start_next).
    #[inline]
    pub(crate) fn write<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.queue.wants_memory()
            && let Some(memory) = self.socket.take_sent()
        {
            self.queue.reuse(memory);
        }
        write(self.queue.open())
    }

    /// Appends `bytes` to what waits to be sent: a copy if they are few and not alone.
    #[inline]
    pub(crate) fn push(&mut self, bytes: SendBuffer) {
        self.queue.push(bytes);
    }

    /// Returns how many bytes wait to be sent. A send in flight does not count.
    #[inline]
    pub(crate) fn queued_size(&self) -> usize {
        self.queue.size()
    }

    /// Returns the position in the stream after all bytes that were sent or wait to be sent.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.queue.end()
    }

    /// Drops the bytes from `position` on, as far as they still wait to be sent.
    pub(crate) fn truncate(&mut self, position: u64) {
        self.queue.truncate(position);
    }

    /// Returns whether a send that contains the byte at `position` has started.
    #[inline]
    pub(crate) fn has_started(&self, position: u64) -> bool {
        position < self.queue.taken()
    }

    /// Returns the offset of `position` in the last send that was started, or `None` if it is in an earlier one.
    #[inline]
    pub(crate) fn offset_in_last_send(&self, position: u64) -> Option<u64> {
        position.checked_sub(self.queue.taken_last_from())
    }

    /// Starts to send what waits, up to the size of one send. Returns whether anything waited. No send may be in
    /// flight; [`poll_sent`](Self::poll_sent) reports when the last one has ended.
    #[inline]
    pub(crate) fn start_next(&mut self) -> io::Result<bool> {
        match self.queue.take() {
            Some(bytes) => self.socket.send(bytes).map(|()| true),
            None => Ok(false),
        }
    }

    /// Waits until the kernel has accepted everything that was queued.
    pub(crate) fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_sent(context))?;
            if !self.start_next()? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Frees the memory that is kept for the next send, unless bytes wait in it.
    #[inline]
    pub(crate) fn free_memory(&mut self) {
        self.queue.free_memory();
    }

    /// Frees the memory of the last send as well, if that send has ended.
    pub(crate) fn free_sent_memory(&mut self) {
        drop(self.socket.take_sent());
        self.free_memory();
    }

    /// Starts to send `bytes` without a completion on success. Returns false, and does nothing, if this stream cannot:
    /// they are too many, or others wait or are in flight before them.
    #[inline]
    pub(crate) fn start_skip_success(&mut self, bytes: &'static [u8]) -> io::Result<bool> {
        if bytes.len() > SKIP_SUCCESS_SEND_SIZE_MAX || !self.queue.is_empty() || self.socket.is_sending() {
            return Ok(false);
        }
        self.socket.send_skip_success(bytes)?;
        self.queue.pass(bytes.len());
        Ok(true)
    }

    /// Returns whether no send is in flight, without a wake-up when one ends.
    ///
    /// # Errors
    /// If the last send has failed.
    #[inline]
    pub(crate) fn is_ready_to_send(&mut self) -> io::Result<bool> {
        let Poll::Ready(sent) = self.socket.try_sent() else { return Ok(false) };
        if let Some(memory) = sent? {
            self.queue.reuse(memory);
        }
        Ok(true)
    }

    /// Waits until no send is in flight.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(memory) = ready!(self.socket.poll_sent(context))? {
            self.queue.reuse(memory);
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the peer has sent its last byte, or the connection has failed, even if bytes are still unread.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ended(context)
    }

    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.socket.is_sending()
    }

    /// Cancels the send in flight. [`poll_sent`](Self::poll_sent) reports when it has ended.
    pub(crate) fn cancel_send(&mut self) {
        self.socket.cancel_send();
    }

    /// Returns how many bytes of the last send the kernel accepted, if that send failed.
    pub(crate) fn failed_send_size(&self) -> Option<usize> {
        self.socket.failed_send_size()
    }

    /// The time at which the last send was submitted, on the worker's clock.
    #[inline]
    pub(crate) fn sent_at_ns(&self) -> u64 {
        self.socket.sent_at_ns()
    }

    /// Returns [`runtime::turn_time_ns`] of the stream's worker.
    #[inline]
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.socket.turn_time_ns()
    }

    /// Returns whether the peer has ended the stream, the connection has failed, or unread bytes have arrived.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.socket.has_news()
    }

    /// Closes the stream after the peer has closed it, after one second, or when more than `count_max` streams of this
    /// worker wait for that.
    pub(crate) fn close_after_peer(self, count_max: usize) {
        self.socket.close_after_peer(count_max);
    }

    /// Returns whether a send was started but not yet submitted. The worker's next turn submits it.
    pub(crate) fn is_unsent(&self) -> bool {
        self.socket.is_unsent()
    }

    /// Returns whether unread bytes have arrived while the stream is still open for more.
    pub(crate) fn has_unread(&self) -> bool {
        self.socket.has_unread()
    }

    /// Returns how many received pieces are unread.
    pub(crate) fn unread_count(&self) -> usize {
        self.socket.unread_count()
    }

    /// Reports that the reader holds `size` bytes that it cannot process now. They count as unread.
    pub(crate) fn hold(&mut self, size: u32) {
        self.socket.hold(size);
    }

    /// Starts to receive, so that the end of the stream is noticed without a reader.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.socket.watch()
    }
}

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
