//! A connected socket, as its task uses it.
//!
//! A [`Socket`] may be dropped at any time: the driver cancels its operations, waits for the kernel, and then closes
//! it.

use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringtide_driver::{Address, Driver, Handle, Lease, SendBuffer, TcpQueues};

use super::core::{self, Core};
use super::driver::AnyDriver;
use super::socket_table::{Receiving, Resource, Sending, SocketState, Sockets};
use super::waiter::Waiter;
use crate::limits::CLOSE_AFTER_PEER_NS;

/// A handle that no driver uses, because generations start at 1. Closing it does nothing.
const NOBODY: Handle = Handle::new(u32::MAX, 0);

/// A stream socket that is connected or is connecting. Dropping it closes it.
pub(crate) struct Socket {
    core: Rc<Core>,
    handle: Handle,
    /// The turn that submits the last send, by its number.
    sent_in_turn: Option<u32>,
}

impl Socket {
    /// Starts to connect, from `source` if there is one. [`poll_connected`](Self::poll_connected) reports the result.
    pub(crate) fn connect(address: &Address, source: Option<IpAddr>) -> io::Result<Self> {
        let core = core::current();
        let handle = {
            let (mut sockets, mut driver) = core.io();
            let handle = driver.connect_from(address, source)?;
            sockets.insert(
                handle,
                Resource::Socket(SocketState { sending: Sending::Connecting, ..SocketState::default() }),
            );
            handle
        };
        Ok(Self { core, handle, sent_in_turn: None })
    }

    /// Creates a socket from a connected descriptor.
    #[track_caller]
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let core = core::current();
        let handle = {
            let (mut sockets, mut driver) = core.io();
            let handle = driver.adopt(socket)?;
            sockets.insert(handle, Resource::Socket(SocketState::default()));
            handle
        };
        Ok(Self { core, handle, sent_in_turn: None })
    }

    /// Creates a socket that a listener has accepted and entered in the table.
    pub(super) fn accepted(core: Rc<Core>, handle: Handle) -> Self {
        Self { core, handle, sent_in_turn: None }
    }

    /// Waits for the result of the connect.
    pub(crate) fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, SocketState::send_waiter, |state| match &state.sending {
            Sending::Connecting => Poll::Pending,
            Sending::Failed { error, .. } | Sending::SkipSuccessFailed { error, .. } => {
                Poll::Ready(Err(error.to_error()))
            }
            Sending::Idle | Sending::Busy { .. } | Sending::Done(_) => Poll::Ready(Ok(())),
        })
    }

    /// Receives the next bytes; `None` at the end of the stream. Starts to receive if necessary.
    #[inline]
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        // This repeats the code of `poll`, because requests spend most of their time here. Returning early avoids moves
        // of the lease.
        let mut sockets = self.core.sockets();
        let (lease, state, unread) = sockets.next_received(self.handle);
        if let Some(lease) = lease {
            if state.receiving == Receiving::Paused && state.unread_size < unread.size_max() / 2 {
                self.receive(state)?;
            }
            return Poll::Ready(Ok(Some(lease)));
        }
        match &state.receiving {
            Receiving::Eof => return Poll::Ready(Ok(None)),
            Receiving::Failed(error) => return Poll::Ready(Err(error.to_error())),
            Receiving::Idle | Receiving::Paused => self.receive(state)?,
            Receiving::Armed | Receiving::Pausing | Receiving::Abandoned => {}
        }
        // The sender of a skip-success send waits for the response, not for the end of the send. The send has failed,
        // so no response comes.
        if let Sending::SkipSuccessFailed { error, .. } = state.sending {
            return Poll::Ready(Err(error.to_error()));
        }
        if !state.receive_waiter.wait_task(context, self.core.worker()) {
            drop(sockets);
            self.wait_foreign(context, SocketState::receive_waiter);
        }
        Poll::Pending
    }

    /// Takes the next received bytes, without a wait for more.
    pub(crate) fn take_received(&mut self) -> Option<Lease> {
        let mut sockets = self.core.sockets();
        let (lease, state, unread) = sockets.next_received(self.handle);
        let lease = lease?;
        if state.receiving == Receiving::Paused && state.unread_size < unread.size_max() / 2 {
            // If this fails, whoever waits for more sees it.
            let _ = self.receive(state);
        }
        Some(lease)
    }

    /// Reports that the reader holds `size` bytes that it cannot process now. The worker counts them as unread until
    /// the next call.
    pub(crate) fn hold(&mut self, size: u32) {
        let mut sockets = self.core.sockets();
        let (state, unread, _) = sockets.state_and_shared(self.handle);
        let before = mem::replace(&mut state.held_size, size);
        unread.taken(before);
        unread.held(size);
        // Relief wakes only readers that hold something.
        if size == 0 && before > 0 && unread.is_strained() {
            let waiter = mem::take(&mut state.receive_waiter);
            drop(sockets);
            waiter.wake();
        }
    }

    /// For a reader that [holds](Self::hold) bytes: pending while the worker's sockets together hold so much unread that it
    /// should take no more. Wakes the receiver when that is over, or when the reader holds nothing any more.
    pub(crate) fn poll_relief(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut sockets = self.core.sockets();
        if !sockets.is_under_strain() {
            return Poll::Ready(());
        }
        let (state, ..) = sockets.state_and_shared(self.handle);
        debug_assert!(state.held_size > 0, "nothing would wake this reader");
        if !state.receive_waiter.wait_task(context, self.core.worker()) {
            drop(sockets);
            self.wait_foreign(context, SocketState::receive_waiter);
        }
        Poll::Pending
    }

    /// Returns whether the worker's sockets together hold so much unread that all of them stop receiving.
    pub(crate) fn is_under_strain(&self) -> bool {
        self.core.sockets().is_under_strain()
    }

    /// Returns whether the peer has closed, the connection has failed, or data has arrived, as far as known without a
    /// system call. Such a connection must not be used for a new request.
    pub(crate) fn has_news(&self) -> bool {
        self.with(|state| {
            !state.received.is_empty() || matches!(state.receiving, Receiving::Eof | Receiving::Failed(_))
        })
    }

    /// Returns whether nothing more can arrive: the peer has ended the stream, or the connection has failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.with(|state| matches!(state.receiving, Receiving::Eof | Receiving::Failed(_)))
    }

    /// Returns whether a send or the connection has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.with(|state| {
            matches!(state.receiving, Receiving::Failed(_))
                || matches!(state.sending, Sending::Failed { .. } | Sending::SkipSuccessFailed { .. })
        })
    }

    /// Starts to receive if necessary, so that the end of the stream is noticed without a reader.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.with(|state| if state.receiving == Receiving::Idle { self.receive(state) } else { Ok(()) })
    }

    /// Starts a send of all of `buffer`; see [`poll_sent`](Self::poll_sent). Only one send can be in flight.
    #[inline]
    pub(crate) fn send(&mut self, buffer: SendBuffer) -> io::Result<()> {
        let handle = self.handle;
        self.sent_in_turn = self.with_all(|sockets, driver| {
            driver.send(handle, buffer)?;
            if let Some(state) = sockets.state_mut(handle) {
                state.sending = Sending::BUSY;
            }
            io::Result::Ok(Some(sockets.note_send(handle)))
        })?;
        Ok(())
    }

    /// Starts a send without a completion on success; see [`Driver::send_skip_success`].
    ///
    /// If the send has to wait, [`is_sending`](Self::is_sending) and [`poll_sent`](Self::poll_sent) report on it. If it
    /// fails at once, the next [`poll_receive`](Self::poll_receive) that finds no data returns the error.
    #[inline]
    pub(crate) fn send_skip_success(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        let handle = self.handle;
        self.sent_in_turn = self.with_all(|sockets, driver| {
            driver.send_skip_success(handle, bytes)?;
            io::Result::Ok(Some(sockets.note_send(handle)))
        })?;
        Ok(())
    }

    /// Returns whether a send is in flight, or has ended and [`poll_sent`](Self::poll_sent) has not returned its result
    /// yet.
    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.with(|state| matches!(state.sending, Sending::Busy { .. } | Sending::Done(..)))
    }

    /// Returns whether the kernel has not yet accepted all of the last send.
    pub(crate) fn is_send_in_flight(&self) -> bool {
        self.with(|state| matches!(state.sending, Sending::Busy { .. }))
    }

    /// Waits for the end of the send. Returns the memory of its buffer if the sender owned it. Also returns the error
    /// of a failed skip-success send.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.poll(context, SocketState::send_waiter, SocketState::end_of_send)
    }

    /// The same for the task that receives. It is woken as the receiver, so another task can wait for the same send.
    pub(crate) fn poll_sent_as_receiver(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.poll(context, SocketState::receive_waiter_for_send, SocketState::end_of_send)
    }

    /// Wakes the task that waits to receive also at the end of the send in flight: it has to start the next one.
    pub(crate) fn wake_receiver_after_send(&mut self) {
        self.with(|state| {
            state.receive_waiter_for_send();
        });
    }

    /// The same without a wait: pending while a send is in flight, and nobody is woken when it ends.
    #[inline]
    pub(crate) fn try_sent(&mut self) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.with(SocketState::end_of_send)
    }

    /// Returns the memory of a send that has ended, if the sender owned it. Does not register for a wake-up if a send
    /// is in flight.
    #[inline]
    pub(crate) fn take_sent(&mut self) -> Option<Vec<u8>> {
        self.with(|state| match mem::take(&mut state.sending) {
            Sending::Done(memory) => memory,
            other => {
                state.sending = other;
                None
            }
        })
    }

    /// Waits until the peer has sent its last byte, or the connection has failed, even if bytes are still unread.
    /// Starts to receive if necessary.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch()?;
        self.poll(context, SocketState::receive_waiter, |state| match &state.receiving {
            Receiving::Eof => Poll::Ready(Ok(())),
            Receiving::Failed(error) => Poll::Ready(Err(error.to_error())),
            _ => Poll::Pending,
        })
    }

    /// Cancels the send in flight, if there is one. [`poll_sent`](Self::poll_sent) reports when it has ended.
    pub(crate) fn cancel_send(&mut self) {
        self.core.driver().cancel_send(self.handle);
    }

    /// Returns how many bytes of the last send the kernel accepted, if that send failed.
    pub(crate) fn failed_send_size(&self) -> Option<usize> {
        self.with(|state| match state.sending {
            Sending::Failed { sent_size, .. } | Sending::SkipSuccessFailed { sent_size, .. } => {
                Some(sent_size)
            }
            _ => None,
        })
    }

    /// The time at which the last send was submitted, on the worker's clock. 0 before the first send.
    #[inline]
    pub(crate) fn sent_at_ns(&self) -> u64 {
        self.with(|state| state.sent_at_ns)
    }

    /// Returns whether unread bytes have arrived while the stream is still open for more.
    pub(crate) fn has_unread(&self) -> bool {
        self.with(|state| {
            !state.received.is_empty() && !matches!(state.receiving, Receiving::Eof | Receiving::Failed(_))
        })
    }

    /// Returns how many received pieces are unread.
    pub(crate) fn unread_count(&self) -> usize {
        let mut sockets = self.core.sockets();
        let (state, _, pieces) = sockets.state_and_shared(self.handle);
        pieces.count(&state.received)
    }

    /// Returns whether a send was started but not yet submitted. The worker's next turn submits it.
    pub(crate) fn is_unsent(&self) -> bool {
        self.sent_in_turn == Some(self.core.sockets().next_turn())
    }

    /// Closes the socket after the peer has closed it, or after [`CLOSE_AFTER_PEER_NS`]. Data that arrives until then
    /// is dropped. When more than `count_max` sockets of the worker wait like this, the oldest is closed at once.
    pub(crate) fn close_after_peer(mut self, count_max: usize) {
        let handle = self.handle;
        let deadline_ns = self.core.turn_time_ns() + CLOSE_AFTER_PEER_NS;
        let (waits, nobody_waits) = self.with_all(|sockets, driver| {
            let Some(state) = sockets.state_mut(handle) else { return Default::default() };
            let receives = match state.receiving {
                // The peer's end often arrives right after its last bytes, but is reported a turn later. By then the
                // next connection would have been started, before this one is closed. A server that serves one
                // connection at a time would not serve it before. So ask the driver now.
                Receiving::Armed => !driver.is_at_end(handle),
                Receiving::Idle | Receiving::Paused => driver.receive(handle).is_ok(),
                // A socket that does not receive would not notice the end.
                Receiving::Pausing | Receiving::Abandoned | Receiving::Eof | Receiving::Failed(_) => false,
            };
            let waiters = [mem::take(&mut state.receive_waiter), mem::take(&mut state.send_waiter)];
            if receives {
                sockets.abandon(handle, deadline_ns, count_max, driver);
            }
            (receives, waiters)
        });
        drop(nobody_waits);
        if waits {
            // The socket's state and handle stay in the tables, and the turn that sees the end closes it.
            // `mem::forget(self)` would leak the worker's core and its driver.
            self.handle = NOBODY;
        }
    }

    /// Notes that the peer is still expected to send, although it has sent something since the last send to it. A worker
    /// that may spin then goes on with it; see [`Spin`](super::Spin).
    pub(crate) fn expect_more(&mut self) {
        self.core.sockets().expect_more(self.handle);
    }

    /// Returns [`turn_time_ns`](super::turn_time_ns).
    #[inline]
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.core.turn_time_ns()
    }

    /// Closes the sending side. No send may be in flight.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        self.core.driver().shutdown(self.handle)
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.core.driver().local_address(self.handle)
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        self.core.driver().peer_address(self.handle)
    }

    pub(crate) fn tcp_queues(&self) -> io::Result<TcpQueues> {
        self.core.driver().tcp_queues(self.handle)
    }

    #[inline]
    fn with_all<T>(&self, act: impl FnOnce(&mut Sockets, &mut AnyDriver) -> T) -> T {
        let (mut sockets, mut driver) = self.core.io();
        act(&mut sockets, &mut driver)
    }

    #[inline]
    fn with<T>(&self, act: impl FnOnce(&mut SocketState) -> T) -> T {
        act(self.state(&mut self.core.sockets()))
    }

    #[inline]
    fn state<'a>(&self, sockets: &'a mut Sockets) -> &'a mut SocketState {
        sockets.state_mut(self.handle).expect("a socket's state lasts as long as the socket")
    }

    /// Starts to receive.
    fn receive(&self, state: &mut SocketState) -> io::Result<()> {
        state.receiving = Receiving::Armed;
        self.core.driver().receive(self.handle)
    }

    /// Calls `look`. If it returns `Pending`, registers the waker of `context` at `place`.
    #[inline]
    fn poll<T>(
        &self,
        context: &Context<'_>,
        place: impl Fn(&mut SocketState) -> &mut Waiter,
        look: impl FnOnce(&mut SocketState) -> Poll<T>,
    ) -> Poll<T> {
        let mut sockets = self.core.sockets();
        let state = self.state(&mut sockets);
        let outcome = look(state);
        if outcome.is_pending() && !place(state).wait_task(context, self.core.worker()) {
            drop(sockets);
            self.wait_foreign(context, place);
        }
        outcome
    }

    #[cold]
    fn wait_foreign(&self, context: &Context<'_>, place: impl Fn(&mut SocketState) -> &mut Waiter) {
        let mut waiter = self.core.waiter(context);
        self.with(|state| waiter.wait_at(place(state)));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({:?})", self.handle)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.core.close(self.handle);
    }
}
