//! A connected socket as its task holds it.
//!
//! Dropping a [`Socket`] in the middle of anything is sound: the driver cancels, waits for the kernel, and closes.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringtide_driver::{Address, Driver, Handle, Lease, SendBuffer};

use super::core::{self, Core};
use super::driver::AnyDriver;
use super::socket_table::{Receiving, Resource, Sending, SocketState, Sockets};
use super::unread::charge;
use super::waiter::Waiter;
use crate::limits::CLOSE_AFTER_PEER_NS;

/// A handle that no driver gives out (generations start at 1), which closing does nothing to.
const NOBODY: Handle = Handle::new(u32::MAX, 0);

/// A connected stream socket, or one on its way there. Closed when it is dropped.
pub(crate) struct Socket {
    core: Rc<Core>,
    handle: Handle,
}

impl Socket {
    /// Starts to connect; see [`poll_connected`](Self::poll_connected).
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        let core = core::current();
        let handle = {
            let (mut sockets, mut driver) = core.io();
            let handle = driver.connect(address)?;
            sockets.insert(
                handle,
                Resource::Socket(SocketState { sending: Sending::Connecting, ..SocketState::default() }),
            );
            handle
        };
        Ok(Self { core, handle })
    }

    /// Takes over a connected socket that was made elsewhere.
    #[track_caller]
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let core = core::current();
        let handle = {
            let (mut sockets, mut driver) = core.io();
            let handle = driver.adopt(socket)?;
            sockets.insert(handle, Resource::Socket(SocketState::default()));
            handle
        };
        Ok(Self { core, handle })
    }

    /// One that a listener has accepted, and that is in the table.
    pub(super) fn accepted(core: Rc<Core>, handle: Handle) -> Self {
        Self { core, handle }
    }

    /// Whether the connection stands, or why it does not.
    pub(crate) fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, SocketState::send_waiter, |state| match &state.sending {
            Sending::Connecting => Poll::Pending,
            Sending::Failed { error, .. } | Sending::SkipSuccessFailed { error, .. } => {
                Poll::Ready(Err(error.to_error()))
            }
            Sending::Idle | Sending::Busy | Sending::Done(_) => Poll::Ready(Ok(())),
        })
    }

    /// The next bytes, or `None` at the end of the stream. Starts receiving if need be.
    #[inline]
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        // As `poll` does it, written out: this is where a request spends its time, and returning early spares the moves of a lease.
        let mut sockets = self.core.sockets();
        let (state, unread) = sockets.state_and_unread(self.handle);
        if let Some(lease) = state.received.pop_front() {
            let charge = charge(&lease);
            state.unread_size -= charge;
            unread.taken(charge);
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
        // Nobody waits for the end of a skip-success send, but for what the peer says to it; of this one it has not got a byte.
        if let Sending::SkipSuccessFailed { error, .. } = state.sending {
            return Poll::Ready(Err(error.to_error()));
        }
        if !state.receive_waiter.wait_task(context, self.core.worker()) {
            drop(sockets);
            self.wait_foreign(context, SocketState::receive_waiter);
        }
        Poll::Pending
    }

    /// Says that the reader has `size` bytes in hand that it cannot work on now. They count for the worker as if they were unread, until it
    /// says otherwise.
    pub(crate) fn hold(&mut self, size: u32) {
        let mut sockets = self.core.sockets();
        let (state, unread) = sockets.state_and_unread(self.handle);
        let before = mem::replace(&mut state.held_size, size);
        unread.taken(before);
        unread.held(size);
    }

    /// Whether the peer has closed, or failed, or sent something, as far as is known without asking the kernel: such a connection
    /// is not fit for a new request.
    pub(crate) fn has_news(&self) -> bool {
        self.with(|state| {
            !state.received.is_empty() || matches!(state.receiving, Receiving::Eof | Receiving::Failed(_))
        })
    }

    /// Whether the peer is known to have sent its last byte, whatever has not been read yet.
    pub(crate) fn has_ended(&self) -> bool {
        self.with(|state| state.receiving == Receiving::Eof)
    }

    /// Starts to receive if it has not yet, so that a peer's end is noticed while nobody reads.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.with(|state| if state.receiving == Receiving::Idle { self.receive(state) } else { Ok(()) })
    }

    /// Starts a send of all of `buffer`; see [`poll_sent`](Self::poll_sent). One at a time.
    #[inline]
    pub(crate) fn send(&mut self, buffer: SendBuffer) -> io::Result<()> {
        let handle = self.handle;
        self.with_all(|sockets, driver| {
            driver.send(handle, buffer)?;
            sockets.note_send(handle);
            if let Some(state) = sockets.state_mut(handle) {
                state.sending = Sending::Busy;
            }
            Ok(())
        })
    }

    /// Starts a send that says nothing when it succeeds at once; see [`Driver::send_skip_success`]. While it has to wait,
    /// [`is_sending`](Self::is_sending) and [`poll_sent`](Self::poll_sent) are about it. When it fails at once, so does the next
    /// [`poll_receive`](Self::poll_receive) that finds nothing.
    #[inline]
    pub(crate) fn send_skip_success(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        let handle = self.handle;
        self.with_all(|sockets, driver| {
            driver.send_skip_success(handle, bytes)?;
            sockets.note_send(handle);
            Ok(())
        })
    }

    /// Whether a send is under way whose end has not been taken by [`poll_sent`](Self::poll_sent).
    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.with(|state| matches!(state.sending, Sending::Busy | Sending::Done(..)))
    }

    /// The end of the send under way, with the memory of its buffer if that was the sender's own. A skip-success send that failed shows its error here as well.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.poll(context, SocketState::send_waiter, |state| match mem::take(&mut state.sending) {
            Sending::Idle => Poll::Ready(Ok(None)),
            Sending::Done(memory) => Poll::Ready(Ok(memory)),
            busy @ (Sending::Busy | Sending::Connecting) => {
                state.sending = busy;
                Poll::Pending
            }
            failed @ (Sending::Failed { error, .. } | Sending::SkipSuccessFailed { error, .. }) => {
                state.sending = failed;
                Poll::Ready(Err(error.to_error()))
            }
        })
    }

    /// The memory of a send that has ended, if it was the sender's own; nobody is woken for one that has not.
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

    /// Ready when the peer has sent its last byte, or the connection has failed, whatever has not been read yet. Starts to receive
    /// if it has not yet.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch()?;
        self.poll(context, SocketState::receive_waiter, |state| match &state.receiving {
            Receiving::Eof => Poll::Ready(Ok(())),
            Receiving::Failed(error) => Poll::Ready(Err(error.to_error())),
            _ => Poll::Pending,
        })
    }

    /// Ends the send under way early, if there is one; [`poll_sent`](Self::poll_sent) tells when it has ended.
    pub(crate) fn cancel_send(&mut self) {
        self.core.driver().cancel_send(self.handle);
    }

    /// So many bytes of the last send the kernel took, if it has failed.
    pub(crate) fn failed_send_size(&self) -> Option<usize> {
        self.with(|state| match state.sending {
            Sending::Failed { sent_size, .. } | Sending::SkipSuccessFailed { sent_size, .. } => {
                Some(sent_size)
            }
            _ => None,
        })
    }

    /// When the last send was handed to the kernel, on the worker's clock; 0 before the first.
    #[inline]
    pub(crate) fn sent_at_ns(&self) -> u64 {
        self.with(|state| state.sent_at_ns)
    }

    /// Whether something has arrived that nobody has read, and more may come.
    pub(crate) fn has_unread(&self) -> bool {
        self.with(|state| {
            !state.received.is_empty() && !matches!(state.receiving, Receiving::Eof | Receiving::Failed(_))
        })
    }

    /// Pieces that have arrived and that nobody has read.
    pub(crate) fn unread_count(&self) -> usize {
        self.with(|state| state.received.len())
    }

    /// Whether a send has been started and not been handed to the kernel, which the worker's next turn does.
    pub(crate) fn is_unsent(&self) -> bool {
        self.core.sockets().is_unstamped(self.handle)
    }

    /// Closes when the peer has closed, or after [`CLOSE_AFTER_PEER_NS`]; what still arrives is dropped. When more than
    /// `count_max` wait so on the worker, the oldest does no longer.
    pub(crate) fn close_after_peer(mut self, count_max: usize) {
        let handle = self.handle;
        let deadline_ns = self.core.turn_time_ns() + CLOSE_AFTER_PEER_NS;
        let (waits, nobody_waits) = self.with_all(|sockets, driver| {
            let Some(state) = sockets.state_mut(handle) else { return Default::default() };
            let receives = match state.receiving {
                // A peer's end follows its last bytes closely, but comes a turn later here: the next connection would be started before
                // this one is closed, and a server that serves one at a time would wait for that.
                Receiving::Armed => !driver.is_at_end(handle),
                Receiving::Idle | Receiving::Paused => driver.receive(handle).is_ok(),
                // Only one that is receiving learns of the end.
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
            // The socket's state and handle stay in the tables, and the turn that sees its end closes it. Forgetting the
            // whole socket would keep the worker's core, and with it the driver, for ever.
            self.handle = NOBODY;
        }
    }

    /// See [`turn_time_ns`](super::turn_time_ns).
    #[inline]
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.core.turn_time_ns()
    }

    /// Ends the sending half. No send may be under way.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        self.core.driver().shutdown(self.handle)
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.core.driver().local_address(self.handle)
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        self.core.driver().peer_address(self.handle)
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

    /// Looks for an outcome; while there is none, whoever polls waits at `place`.
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
