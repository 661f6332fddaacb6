//! What carries the bytes of a stream: a socket, the bytes that wait to be sent, and TLS between them if the stream has
//! it.
//!
//! The layers above see received bytes, sent bytes and the end of the stream. All sizes and positions are those of
//! plain bytes; only [`TlsLayer`] knows the records that carry them.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringtide_driver::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use ringtide_driver::{Address, Lease, SendBuffer, TcpQueues};

use super::send_queue::SendQueue;
use super::tls_layer::TlsLayer;
use crate::limits::{BULK_SEND_SIZE_MAX, TLS_SEND_SIZE_MAX};
use crate::runtime;
use crate::tls::{Session, TlsFacts};

/// The transport of a connected stream. Dropping it closes it at any time, even while operations are in flight.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: runtime::Socket,
    queue: SendQueue,
    layer: Layer,
}

/// What stands between the bytes and the socket.
#[derive(Debug)]
enum Layer {
    Plain,
    Tls(Box<TlsLayer>),
}

impl Transport {
    pub(super) fn new(socket: runtime::Socket) -> Self {
        Self { socket, queue: SendQueue::default(), layer: Layer::Plain }
    }

    /// Puts TLS between the bytes and the socket. `received` are bytes that came after the last plain ones.
    pub(super) fn start_tls(&mut self, session: Session, received: &[u8]) {
        let mut layer = Box::new(TlsLayer::new(session));
        if !received.is_empty() {
            layer.feed(Lease::copied(received));
        }
        self.layer = Layer::Tls(layer);
    }

    /// Waits until the TLS handshake has ended. A plain transport is ready at once.
    #[inline]
    pub(crate) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain => Poll::Ready(Ok(())),
            Layer::Tls(layer) => layer.poll_handshake(&mut self.socket, context),
        }
    }

    /// Returns what the TLS handshake has agreed on, or `None` on a plain transport.
    pub(crate) fn tls(&self) -> Option<TlsFacts<'_>> {
        match &self.layer {
            Layer::Plain => None,
            Layer::Tls(layer) => Some(layer.session().facts()),
        }
    }

    /// Receives the next bytes, at least one; `None` at the end of the stream.
    #[expect(clippy::inline_always, reason = "a call of its own costs 60 instructions for each response")]
    #[inline(always)]
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        match &mut self.layer {
            Layer::Plain => self.socket.poll_receive(context),
            Layer::Tls(layer) => layer.poll_receive(&mut self.socket, context),
        }
    }

    /// Appends to the bytes that wait to be sent. Nothing is sent before [`start_next`](Self::start_next).
    #[inline]
    pub(crate) fn write<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.queue.wants_memory()
            && let Some(memory) = self.socket.take_sent()
        {
            self.reuse(memory);
        }
        self.queue.write(write)
    }

    /// Appends `bytes` to what waits to be sent: a copy if they are few and not alone.
    #[inline]
    pub(crate) fn push(&mut self, bytes: SendBuffer) {
        self.queue.push(bytes);
    }

    /// Appends `head` and `piece`, which is not copied. [`start_bulk`](Self::start_bulk) sends both at once. With TLS
    /// they are copied, so that records do not end with them.
    pub(crate) fn push_piece(&mut self, head: &[u8], piece: Bytes) {
        match &self.layer {
            Layer::Plain => self.queue.push_piece(head, piece),
            Layer::Tls(_) => self.write(|out| {
                out.extend_from_slice(head);
                out.extend_from_slice(&piece);
            }),
        }
    }

    /// Returns how many bytes fill the next sends: it is of no use that more of them wait.
    #[inline]
    pub(crate) fn bulk_size_max(&self) -> usize {
        match &self.layer {
            Layer::Plain => BULK_SEND_SIZE_MAX,
            Layer::Tls(_) => 2 * TLS_SEND_SIZE_MAX,
        }
    }

    /// Returns whether bytes wait to be sent. A send in flight does not count.
    #[inline]
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
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

    /// Returns how many bytes the sends that have started contain.
    #[inline]
    pub(crate) fn sent_size(&self) -> u64 {
        self.queue.taken()
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
        self.start(false)
    }

    /// The same with as much as one send carries: what is queued would otherwise leave buffer by buffer. A message that
    /// may still be withdrawn must not be queued behind a large buffer then.
    #[inline]
    pub(crate) fn start_bulk(&mut self) -> io::Result<bool> {
        self.start(true)
    }

    // In one place, with all that a send takes.
    #[inline(never)]
    fn start(&mut self, gathers: bool) -> io::Result<bool> {
        match &mut self.layer {
            Layer::Plain => match self.queue.take(gathers) {
                Some(bytes) => self.socket.send(bytes).map(|()| true),
                None => Ok(false),
            },
            Layer::Tls(layer) => layer.start_next(&mut self.socket, &mut self.queue),
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

    /// Starts to send what waits, unless a send is in flight.
    ///
    /// # Errors
    /// If this send or the last one has failed.
    #[inline]
    pub(super) fn start_if_idle(&mut self) -> io::Result<()> {
        if self.is_ready_to_send()? && !self.queue.is_empty() {
            self.start_next()?;
        }
        Ok(())
    }

    /// Lets what waits leave while the task waits to receive. Another task may wait for the end of a send at the same
    /// time. A failure shows in what is received, or in the next send.
    #[inline]
    pub(super) fn send_while_receiving(&mut self, context: &mut Context<'_>) {
        while !self.queue.is_empty() {
            match self.socket.poll_sent_as_receiver(context) {
                Poll::Ready(Ok(memory)) => {
                    if let Some(memory) = memory {
                        self.reuse(memory);
                    }
                    if self.start_next().is_err() {
                        return;
                    }
                }
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    /// Lets what waits behind the send in flight leave although its writer does not wait for that: a task that waits to
    /// receive sends it.
    #[inline]
    pub(super) fn leave_queue_to_receiver(&mut self) {
        if !self.queue.is_empty() {
            self.socket.wake_receiver_after_send();
        }
    }

    /// Returns how many bytes the kernel has not accepted yet. A send counts in full until it has ended.
    #[inline]
    pub(super) fn unsent_size(&self) -> usize {
        let is_own = matches!(&self.layer, Layer::Tls(layer) if layer.is_last_send_own());
        let in_flight = if !is_own && self.socket.is_send_in_flight() {
            (self.queue.taken() - self.queue.taken_last_from()) as usize
        } else {
            0
        };
        self.queue.size() + in_flight
    }

    /// Returns whether nothing more can arrive, apart from bytes that are still unread.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.socket.has_ended() || matches!(&self.layer, Layer::Tls(layer) if layer.has_ended())
    }

    /// Returns whether the connection or the TLS session has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.socket.has_failed() || matches!(&self.layer, Layer::Tls(layer) if layer.has_failed())
    }

    /// Frees the memory that is kept for the next send, unless bytes wait in it.
    #[inline]
    pub(crate) fn free_memory(&mut self) {
        self.queue.free_memory();
        if let Layer::Tls(layer) = &mut self.layer {
            if let Some(memory) = self.socket.take_sent() {
                layer.reuse(memory);
            }
            layer.free_large_memory();
        }
    }

    /// Frees the memory of the last send as well, if that send has ended.
    pub(crate) fn free_sent_memory(&mut self) {
        drop(self.socket.take_sent());
        self.free_memory();
        if let Layer::Tls(layer) = &mut self.layer {
            layer.free_memory();
        }
    }

    /// Starts to send `bytes` without a completion on success. Returns false, and does nothing, if this transport
    /// cannot: they are too many, others wait or are in flight before them, or they have to be encrypted.
    #[inline]
    pub(crate) fn start_skip_success(&mut self, bytes: &'static [u8]) -> io::Result<bool> {
        if bytes.len() > SKIP_SUCCESS_SEND_SIZE_MAX
            || !matches!(self.layer, Layer::Plain)
            || !self.queue.is_empty()
            || self.socket.is_sending()
        {
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
            self.reuse(memory);
        }
        Ok(true)
    }

    /// Waits until no send is in flight.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(memory) = ready!(self.socket.poll_sent(context))? {
            self.reuse(memory);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, then close_notify if there is TLS. Without that, the peer would take the end of the stream for
    /// a cut.
    pub(crate) fn poll_finished(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flushed(context))?;
        if let Layer::Tls(layer) = &mut self.layer
            && layer.start_close_notify(&mut self.socket)?
        {
            return self.poll_sent(context);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, then tells the peer that nothing follows: close_notify if there is TLS, then the end of the
    /// stream. The peer can still send.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_finished(context))?;
        Poll::Ready(self.socket.shutdown())
    }

    /// Ends the stream without what waits, and without close_notify.
    ///
    /// # Errors
    /// `ResourceBusy` if a send is in flight; otherwise the errors of shutdown(2).
    pub(crate) fn shutdown_now(&mut self) -> io::Result<()> {
        self.socket.shutdown()
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

    /// Returns how many bytes of the last send the kernel accepted, if that send failed. With TLS, the bytes of a
    /// record count as accepted if the kernel has accepted its first byte.
    pub(crate) fn failed_send_size(&self) -> Option<usize> {
        let size = self.socket.failed_send_size()?;
        match &self.layer {
            Layer::Plain => Some(size),
            Layer::Tls(layer) => Some(layer.plain_size_sent(size)),
        }
    }

    /// The time at which the last send was submitted, on the worker's clock.
    #[inline]
    pub(crate) fn sent_at_ns(&self) -> u64 {
        match &self.layer {
            Layer::Plain => self.socket.sent_at_ns(),
            Layer::Tls(layer) => layer.sent_at_ns(&self.socket),
        }
    }

    /// Notes that more is expected from the peer, although it has sent something since the last send to it; see
    /// [`Spin`](runtime::Spin).
    pub(crate) fn expect_more(&mut self) {
        self.socket.expect_more();
    }

    /// Returns [`runtime::turn_time_ns`] of the transport's worker.
    #[inline]
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.socket.turn_time_ns()
    }

    /// Returns whether the peer has ended the stream, the connection has failed, or unread bytes have arrived.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        match &mut self.layer {
            Layer::Plain => self.socket.has_news(),
            Layer::Tls(layer) => layer.has_news(&mut self.socket),
        }
    }

    /// Closes the transport after the peer has closed it, after one second, or when more than `count_max` sockets of
    /// this worker wait for that.
    pub(crate) fn close_after_peer(mut self, count_max: usize) {
        if let Layer::Tls(layer) = &mut self.layer {
            layer.answer_close_notify(&mut self.socket);
        }
        self.socket.close_after_peer(count_max);
    }

    /// Returns whether a send was started but not yet submitted. The worker's next turn submits it.
    pub(crate) fn is_unsent(&self) -> bool {
        self.socket.is_unsent()
    }

    /// Returns whether unread bytes have arrived while the stream is still open for more.
    pub(crate) fn has_unread(&mut self) -> bool {
        match &mut self.layer {
            Layer::Plain => self.socket.has_unread(),
            Layer::Tls(layer) => layer.has_unread(&mut self.socket),
        }
    }

    /// Returns how many received pieces are unread.
    pub(crate) fn unread_count(&mut self) -> usize {
        match &mut self.layer {
            Layer::Plain => self.socket.unread_count(),
            Layer::Tls(layer) => layer.unread_count(&mut self.socket),
        }
    }

    /// Reports that the reader holds `size` bytes that it cannot process now. They count as unread.
    pub(crate) fn hold(&mut self, size: u32) {
        self.socket.hold(size);
    }

    /// For a reader that holds bytes: pending while the worker's sockets together hold so much unread that it should take no
    /// more.
    pub(crate) fn poll_relief(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_relief(context)
    }

    /// Returns whether the worker's sockets together hold so much unread that all of them stop receiving.
    pub(crate) fn is_under_strain(&self) -> bool {
        self.socket.is_under_strain()
    }

    /// Starts to receive, so that the end of the stream is noticed without a reader.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.socket.watch()
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.socket.local_address()
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        self.socket.peer_address()
    }

    pub(crate) fn tcp_queues(&self) -> io::Result<TcpQueues> {
        self.socket.tcp_queues()
    }

    /// Uses the memory of a send that has ended for the next one.
    #[inline]
    fn reuse(&mut self, memory: Vec<u8>) {
        match &mut self.layer {
            Layer::Plain => self.queue.reuse(memory),
            Layer::Tls(layer) => layer.reuse(memory),
        }
    }
}
