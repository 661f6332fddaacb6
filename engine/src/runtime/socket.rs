//! Sockets and listeners of a worker: what has arrived for them, who waits, and what they may hold back.
//!
//! The state of all of them is one table beside the driver's; an idle socket owns no buffer. Dropping a [`Socket`] in the
//! middle of anything is sound: the driver cancels, waits for the kernel, and closes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringtide_driver::slots::reserve_sparingly;
use ringtide_driver::{
    Address, Completion, CutSend, Driver, Event, Handle, Interest, Lease, ReceiveEnd, SendBuffer,
};

use super::core::{self, Core};
use super::driver::AnyDriver;
use super::queue::InlineQueue;
use super::unread::{Change, Unread, charge};
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
            sockets
                .insert(handle, Resource::Socket(State { sending: Sending::Connecting, ..State::default() }));
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
            sockets.insert(handle, Resource::Socket(State::default()));
            handle
        };
        Ok(Self { core, handle })
    }

    /// Whether the connection stands, or why it does not.
    pub(crate) fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|state, _| match &state.sending {
            Sending::Connecting => wait(&mut state.send_waker, context),
            Sending::Failed { error, .. } => Poll::Ready(Err(error.to_error())),
            Sending::Idle | Sending::Busy | Sending::Done(_) => Poll::Ready(Ok(())),
        })
    }

    /// The next bytes, or `None` at the end of the stream. Starts receiving if need be.
    #[inline]
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let handle = self.handle;
        self.with_all(|sockets, driver| {
            let (state, unread) = sockets.state_and_unread(handle);
            if let Some(lease) = state.received.pop_front() {
                let charge = charge(&lease);
                state.unread_size -= charge;
                unread.taken(charge);
                if state.receiving == Receiving::Paused && state.unread_size < unread.size_max() / 2 {
                    state.receiving = Receiving::Armed;
                    driver.receive(handle)?;
                }
                return Poll::Ready(Ok(Some(lease)));
            }
            match &state.receiving {
                Receiving::Eof => return Poll::Ready(Ok(None)),
                Receiving::Failed(error) => return Poll::Ready(Err(error.to_error())),
                Receiving::Idle | Receiving::Paused => {
                    state.receiving = Receiving::Armed;
                    driver.receive(handle)?;
                }
                Receiving::Armed | Receiving::Pausing | Receiving::Abandoned => {}
            }
            wait(&mut state.receive_waker, context)
        })
    }

    /// Says that the reader has `size` bytes in hand that it cannot work on now. They count for the worker as if they were unread, until it
    /// says otherwise.
    pub(crate) fn hold(&mut self, size: u32) {
        self.with_all(|sockets, _| {
            let (state, unread) = sockets.state_and_unread(self.handle);
            let before = std::mem::replace(&mut state.held_size, size);
            unread.taken(before);
            unread.held(size);
        });
    }

    /// Whether the peer has closed, or failed, or sent something, as far as is known without asking the kernel: such a connection
    /// is not fit for a new request.
    pub(crate) fn has_news(&self) -> bool {
        self.with(|state, _| {
            !state.received.is_empty() || matches!(state.receiving, Receiving::Eof | Receiving::Failed(_))
        })
    }

    /// Whether the peer is known to have sent its last byte, whatever has not been read yet.
    pub(crate) fn has_ended(&self) -> bool {
        self.with(|state, _| state.receiving == Receiving::Eof)
    }

    /// Starts to receive if it has not yet, so that a peer's end is noticed while nobody reads.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        let handle = self.handle;
        self.with(|state, driver| {
            if matches!(state.receiving, Receiving::Idle) {
                state.receiving = Receiving::Armed;
                driver.receive(handle)?;
            }
            Ok(())
        })
    }

    /// Starts a send of all of `buffer`; see [`poll_sent`](Self::poll_sent). One at a time.
    #[inline]
    pub(crate) fn send(&mut self, buffer: SendBuffer) -> io::Result<()> {
        let handle = self.handle;
        self.with_all(|sockets, driver| {
            driver.send(handle, buffer)?;
            sockets.unstamped.push(handle);
            if let Some(state) = sockets.state_mut(handle) {
                state.sending = Sending::Busy;
            }
            Ok(())
        })
    }

    /// Starts a send that reports only failure; see [`Driver::send_quiet`].
    #[inline]
    pub(crate) fn send_quiet(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        let handle = self.handle;
        self.with_all(|sockets, driver| {
            driver.send_quiet(handle, bytes)?;
            sockets.unstamped.push(handle);
            Ok(())
        })
    }

    /// Whether a send is under way whose end has not been taken by [`poll_sent`](Self::poll_sent).
    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.with(|state, _| matches!(state.sending, Sending::Busy | Sending::Done(..)))
    }

    /// The end of the send under way, with the memory of its buffer if that was the sender's own. A silent send that failed shows its error here as well.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.with(|state, _| match std::mem::take(&mut state.sending) {
            Sending::Idle => Poll::Ready(Ok(None)),
            Sending::Done(memory) => Poll::Ready(Ok(memory)),
            busy @ (Sending::Busy | Sending::Connecting) => {
                state.sending = busy;
                wait(&mut state.send_waker, context)
            }
            failed @ Sending::Failed { error, .. } => {
                state.sending = failed;
                Poll::Ready(Err(error.to_error()))
            }
        })
    }

    /// The memory of a send that has ended, if it was the sender's own; nobody is woken for one that has not.
    #[inline]
    pub(crate) fn take_sent(&mut self) -> Option<Vec<u8>> {
        self.with(|state, _| match std::mem::take(&mut state.sending) {
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
        self.with(|state, _| match &state.receiving {
            Receiving::Eof => Poll::Ready(Ok(())),
            Receiving::Failed(error) => Poll::Ready(Err(error.to_error())),
            _ => wait(&mut state.receive_waker, context),
        })
    }

    /// Ends the send under way early, if there is one; [`poll_sent`](Self::poll_sent) tells when it has ended.
    pub(crate) fn cancel_send(&mut self) {
        self.with_all(|_, driver| driver.cancel_send(self.handle));
    }

    /// So many bytes of the last send the kernel took, if it has failed.
    pub(crate) fn failed_send_size(&self) -> Option<usize> {
        self.with(|state, _| match state.sending {
            Sending::Failed { sent_size, .. } => Some(sent_size),
            _ => None,
        })
    }

    /// When the last send was handed to the kernel, on the worker's clock; 0 before the first.
    #[inline]
    pub(crate) fn sent_at_ns(&self) -> u64 {
        self.with(|state, _| state.sent_at_ns)
    }

    /// Whether something has arrived that nobody has read, and more may come.
    pub(crate) fn has_unread(&self) -> bool {
        self.with(|state, _| {
            !state.received.is_empty() && !matches!(state.receiving, Receiving::Eof | Receiving::Failed(_))
        })
    }

    /// Whether a send has been started and not been handed to the kernel, which the worker's next turn does.
    pub(crate) fn is_unsent(&self) -> bool {
        self.with_all(|sockets, _| sockets.is_unstamped(self.handle))
    }

    /// Closes when the peer has closed, or after [`CLOSE_AFTER_PEER_NS`]; what still arrives is dropped. When more than
    /// `count_max` wait so on the worker, the oldest does no longer.
    pub(crate) fn close_after_peer(mut self, count_max: usize) {
        let handle = self.handle;
        let deadline_ns = self.core.turn_time_ns() + CLOSE_AFTER_PEER_NS;
        let waits = self.with_all(|sockets, driver| {
            let Some(state) = sockets.state_mut(handle) else { return false };
            let receives = match state.receiving {
                Receiving::Armed => true,
                Receiving::Idle | Receiving::Paused => driver.receive(handle).is_ok(),
                // Only one that is receiving learns of the end.
                Receiving::Pausing | Receiving::Abandoned | Receiving::Eof | Receiving::Failed(_) => false,
            };
            if receives {
                state.received = InlineQueue::default();
                state.receiving = Receiving::Abandoned;
                let unread_size = std::mem::take(&mut state.unread_size);
                sockets.unread.taken(unread_size);
                sockets.abandoned.push_back((deadline_ns, handle));
                sockets.abandoned_count += 1;
                while sockets.abandoned_count > count_max
                    && let Some((_, oldest)) = sockets.abandoned.pop_front()
                {
                    if sockets.is_abandoned(oldest) {
                        sockets.close_abandoned(oldest, driver);
                    }
                }
            }
            receives
        });
        if waits {
            // The socket's state and handle stay in the tables, and `dispatch` or `close_abandoned` ends both. Forgetting the
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
        let handle = self.handle;
        self.with_all(|_, driver| driver.shutdown(handle))
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.with_all(|_, driver| driver.local_address(self.handle))
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        self.with_all(|_, driver| driver.peer_address(self.handle))
    }

    #[inline]
    fn with_all<T>(&self, act: impl FnOnce(&mut Sockets, &mut AnyDriver) -> T) -> T {
        let (mut sockets, mut driver) = self.core.io();
        act(&mut sockets, &mut driver)
    }

    #[inline]
    fn with<T>(&self, act: impl FnOnce(&mut State, &mut AnyDriver) -> T) -> T {
        let (mut sockets, mut driver) = self.core.io();
        let state = sockets.state_mut(self.handle).expect("a socket's state lasts as long as the socket");
        act(state, &mut driver)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({:?})", self.handle)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        close(&self.core, self.handle);
    }
}

/// A listening socket. Closed when it is dropped; connections that nobody took are closed with it.
pub(crate) struct Listener {
    core: Rc<Core>,
    handle: Handle,
}

impl Listener {
    #[track_caller]
    pub(crate) fn bind(address: &Address, reuse_port: bool) -> io::Result<Self> {
        let core = core::current();
        let handle = {
            let (mut sockets, mut driver) = core.io();
            let handle = driver.listen(address, reuse_port)?;
            sockets.unread.guard(&mut driver);
            sockets.insert(handle, Resource::Listener(Box::default()));
            handle
        };
        Ok(Self { core, handle })
    }

    /// The next connection. Starts accepting if need be; after an error (such as `EMFILE`) the caller decides when to ask again.
    pub(crate) fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        let accepted = {
            let (mut sockets, mut driver) = self.core.io();
            let Some(Resource::Listener(state)) = sockets.get_mut(self.handle) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if let Some(handle) = state.accepted.pop_front() {
                handle
            } else if let Some(error) = state.error.take() {
                return Poll::Ready(Err(error));
            } else {
                if !state.accepting {
                    driver.accept(self.handle)?;
                    state.accepting = true;
                }
                return wait(&mut state.waker, context);
            }
        };
        Poll::Ready(Ok(Socket { core: Rc::clone(&self.core), handle: accepted }))
    }

    /// A connection that was accepted already; accepts no further one.
    pub(crate) fn poll_accepted(&mut self, context: &mut Context<'_>) -> Poll<Socket> {
        let mut sockets = self.core.io().0;
        let Some(Resource::Listener(state)) = sockets.get_mut(self.handle) else { return Poll::Pending };
        match state.accepted.pop_front() {
            Some(handle) => Poll::Ready(Socket { core: Rc::clone(&self.core), handle }),
            None => wait(&mut state.waker, context),
        }
    }

    /// Stops accepting until the next [`poll_accept`](Self::poll_accept) that finds no connection waiting. Further connections stay in the kernel's queue.
    pub(crate) fn pause(&mut self) {
        self.core.io().1.cancel(self.handle);
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.core.io().1.local_address(self.handle)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.handle)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let accepted = {
            let (mut sockets, _) = self.core.io();
            match sockets.get_mut(self.handle) {
                Some(Resource::Listener(state)) => std::mem::take(&mut state.accepted),
                _ => VecDeque::new(),
            }
        };
        for handle in accepted {
            close(&self.core, handle);
        }
        close(&self.core, self.handle);
    }
}

/// Waits until a descriptor that is not the engine's is ready. Cancel-safe: dropping the future ends the wait.
///
/// # Errors
/// When the descriptor cannot be waited for, as a plain file under epoll.
///
/// # Panics
/// Outside a worker's [`block_on`](super::Worker::block_on).
pub async fn ready(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    struct Wait {
        core: Rc<Core>,
        handle: Handle,
    }
    impl Drop for Wait {
        fn drop(&mut self) {
            close(&self.core, self.handle);
        }
    }
    let core = core::current();
    let state = Rc::new(RefCell::new(PollState::default()));
    let handle = {
        let (mut sockets, mut driver) = core.io();
        let handle = driver.poll(descriptor.as_raw_fd(), interest)?;
        sockets.insert(handle, Resource::Descriptor(Rc::clone(&state)));
        handle
    };
    let _waiting = Wait { core, handle };
    std::future::poll_fn(|context| {
        let mut state = state.borrow_mut();
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => wait(&mut state.waker, context),
        }
    })
    .await
}

fn close(core: &Core, handle: Handle) {
    let resource = {
        let (mut sockets, mut driver) = core.io();
        driver.close(handle);
        sockets.remove(handle)
    };
    drop(resource);
}

#[inline]
fn wait<T>(place: &mut Option<Waker>, context: &mut Context<'_>) -> Poll<T> {
    *place = Some(context.waker().clone());
    Poll::Pending
}

/// The state of everything a worker has open, indexed by the driver's slots.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<(u32, Option<Resource>)>,
    /// Sockets with a send that has not been handed to the kernel yet.
    unstamped: Vec<Handle>,
    unread: Unread,
    /// Sockets that are to be closed by their peers, by the time at which that is not waited for any longer; also some that
    /// have been closed meanwhile.
    abandoned: VecDeque<(u64, Handle)>,
    /// Those that have not.
    abandoned_count: usize,
}

enum Resource {
    Socket(State),
    Listener(Box<ListenerState>),
    /// Shared with who waits: the driver frees the handle as it reports, and its slot may be another's before they look.
    Descriptor(Rc<RefCell<PollState>>),
}

#[derive(Default)]
struct State {
    received: InlineQueue<Lease>,
    unread_size: u32,
    /// What the reader has taken and still holds; see [`Socket::hold`].
    held_size: u32,
    receiving: Receiving,
    sending: Sending,
    receive_waker: Option<Waker>,
    /// Waits for the connect, then for sends.
    send_waker: Option<Waker>,
    sent_at_ns: u64,
}

#[derive(Default, PartialEq, Eq)]
enum Receiving {
    #[default]
    Idle,
    Armed,
    /// Too much is unread; the cancellation is under way.
    Pausing,
    /// Too much was unread; armed again when half of it has been read, or all and more is asked for.
    Paused,
    /// Nobody will read; the socket is closed when the peer has closed.
    Abandoned,
    Eof,
    Failed(KeptError),
}

#[derive(Default)]
enum Sending {
    #[default]
    Idle,
    /// Not connected yet.
    Connecting,
    Busy,
    Done(Option<Vec<u8>>),
    /// The connect, or a send, has failed.
    Failed {
        error: KeptError,
        /// So many bytes of the send the kernel took.
        sent_size: usize,
    },
}

/// An error that can be reported more than once, as `io::Error` cannot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeptError {
    Os(i32),
    Kind(io::ErrorKind),
}

impl KeptError {
    fn of(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Kind(error.kind()), Self::Os)
    }

    fn to_error(self) -> io::Error {
        match self {
            Self::Os(number) => io::Error::from_raw_os_error(number),
            Self::Kind(kind) => kind.into(),
        }
    }
}

#[derive(Default)]
struct ListenerState {
    accepted: VecDeque<Handle>,
    accepting: bool,
    error: Option<io::Error>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct PollState {
    outcome: Option<io::Result<()>>,
    waker: Option<Waker>,
}

impl State {
    fn pause(&mut self, handle: Handle, driver: &mut AnyDriver) {
        if self.receiving == Receiving::Armed {
            self.receiving = Receiving::Pausing;
            driver.cancel(handle);
        }
    }
}

impl Sockets {
    fn insert(&mut self, handle: Handle, resource: Resource) {
        let slot = handle.slot() as usize;
        if slot >= self.entries.len() {
            reserve_sparingly(&mut self.entries, slot + 1);
            self.entries.resize_with(slot + 1, || (0, None));
        }
        self.entries[slot] = (handle.generation(), Some(resource));
    }

    #[inline]
    fn get_mut(&mut self, handle: Handle) -> Option<&mut Resource> {
        entry_mut(&mut self.entries, handle)
    }

    #[inline]
    fn state_mut(&mut self, handle: Handle) -> Option<&mut State> {
        match self.get_mut(handle) {
            Some(Resource::Socket(state)) => Some(state),
            _ => None,
        }
    }

    /// The state of a socket that is there, and what it shares with the others.
    #[inline]
    fn state_and_unread(&mut self, handle: Handle) -> (&mut State, &mut Unread) {
        match entry_mut(&mut self.entries, handle) {
            Some(Resource::Socket(state)) => (state, &mut self.unread),
            _ => panic!("a socket's state lasts as long as the socket"),
        }
    }

    fn remove(&mut self, handle: Handle) -> Option<Resource> {
        match self.entries.get_mut(handle.slot() as usize) {
            Some((generation, resource)) if *generation == handle.generation() => {
                if let Some(Resource::Socket(state)) = resource {
                    self.unread.taken(state.unread_size + state.held_size);
                }
                resource.take()
            }
            _ => None,
        }
    }

    /// Ends the receives of those that hold too much unread, right before a turn.
    #[inline]
    pub(super) fn hold_back(&mut self, driver: &mut AnyDriver) {
        if !self.unread.is_easy() {
            self.hold_back_crowded(driver);
        }
    }

    #[cold]
    fn hold_back_crowded(&mut self, driver: &mut AnyDriver) {
        let size_max = self.unread.size_max();
        for handle in self.unread.take_crowded() {
            if let Some(state) = self.state_mut(handle)
                && state.unread_size > size_max
            {
                state.pause(handle, driver);
            }
        }
        match self.unread.change(driver) {
            None => {}
            Some(Change::Strain) => {
                for (slot, (generation, resource)) in self.entries.iter_mut().enumerate() {
                    if let Some(Resource::Socket(state)) = resource {
                        state.pause(Handle::new(slot as u32, *generation), driver);
                    }
                }
            }
            Some(Change::Relief(held_back)) => {
                let size_max = self.unread.size_max();
                for handle in held_back {
                    if let Some(state) = self.state_mut(handle)
                        && state.receiving == Receiving::Paused
                        && state.unread_size < size_max / 2
                        && driver.receive(handle).is_ok()
                    {
                        state.receiving = Receiving::Armed;
                    }
                }
            }
        }
    }

    /// Whether it still waits for its peer to close.
    fn is_abandoned(&mut self, handle: Handle) -> bool {
        self.state_mut(handle).is_some_and(|state| state.receiving == Receiving::Abandoned)
    }

    fn close_abandoned(&mut self, handle: Handle, driver: &mut AnyDriver) {
        self.abandoned_count -= 1;
        driver.close(handle);
        drop(self.remove(handle));
    }

    /// How many sockets wait to be closed by their peers.
    pub(super) fn abandoned(&self) -> usize {
        self.abandoned_count
    }

    /// Whether a send has been started and not been handed to the kernel yet.
    fn is_unstamped(&self, handle: Handle) -> bool {
        self.unstamped.contains(&handle)
    }

    /// When the next abandoned socket is to be closed.
    #[inline]
    pub(super) fn next_close_ns(&self) -> Option<u64> {
        self.abandoned.front().map(|(deadline_ns, _)| *deadline_ns)
    }

    /// Notes the time for every send that the coming turn hands to the kernel.
    #[inline]
    pub(super) fn stamp_sends(&mut self, now_ns: u64) {
        if self.unstamped.is_empty() {
            return;
        }
        let mut unstamped = std::mem::take(&mut self.unstamped);
        for handle in unstamped.drain(..) {
            if let Some(state) = self.state_mut(handle) {
                state.sent_at_ns = now_ns;
            }
        }
        self.unstamped = unstamped;
    }
}

#[inline]
fn entry_mut(entries: &mut [(u32, Option<Resource>)], handle: Handle) -> Option<&mut Resource> {
    match entries.get_mut(handle.slot() as usize) {
        Some((generation, resource)) if *generation == handle.generation() => resource.as_mut(),
        _ => None,
    }
}

/// Closes the abandoned sockets whose peers have not closed in time.
#[inline]
pub(super) fn close_abandoned(sockets: &mut Sockets, driver: &mut AnyDriver, now_ns: u64) {
    while let Some((deadline_ns, handle)) = sockets.abandoned.front().copied() {
        // Those whose peers did close are gone from the table, and only their entries here are left to drop.
        let stands = sockets.is_abandoned(handle);
        if stands && deadline_ns > now_ns {
            return;
        }
        sockets.abandoned.pop_front();
        if stands {
            sockets.close_abandoned(handle, driver);
        }
    }
}

/// Books what the driver reports, and wakes whom it concerns. Tells whether a receive has filled its buffer.
pub(super) fn dispatch(
    sockets: &mut Sockets,
    driver: &mut AnyDriver,
    completions: impl Iterator<Item = Completion>,
) -> bool {
    let buffer_size = driver.pool().buffer_size() as usize;
    let mut filled = false;
    for Completion { handle, event } in completions {
        if let Event::Received(lease) = &event {
            filled |= lease.len() == buffer_size;
        }
        // Accepted sockets are known to the driver alone until they are entered here.
        if let Event::Accepted(accepted) = event {
            match sockets.get_mut(handle) {
                Some(Resource::Listener(state)) => {
                    state.accepted.push_back(accepted);
                    wake(&mut state.waker);
                    sockets.insert(accepted, Resource::Socket(State::default()));
                }
                _ => driver.close(accepted),
            }
            continue;
        }
        let Sockets { entries, unread, .. } = &mut *sockets;
        match entry_mut(entries, handle) {
            Some(Resource::Socket(state)) if state.receiving == Receiving::Abandoned => {
                if let Event::ReceiveEnded(_) = event {
                    sockets.close_abandoned(handle, driver);
                }
            }
            Some(Resource::Socket(state)) => dispatch_to_socket(state, unread, driver, handle, event),
            Some(Resource::Listener(state)) => {
                if let Event::AcceptEnded(error) = event {
                    state.accepting = false;
                    state.error = error;
                    wake(&mut state.waker);
                }
            }
            Some(Resource::Descriptor(state)) => {
                if let Event::Polled(outcome) = event {
                    let mut state = state.borrow_mut();
                    state.outcome = Some(outcome);
                    wake(&mut state.waker);
                }
            }
            // Dropped meanwhile: its last event, or one that crossed with the close.
            None => {}
        }
    }
    filled
}

#[inline]
fn dispatch_to_socket(
    state: &mut State,
    unread: &mut Unread,
    driver: &mut AnyDriver,
    handle: Handle,
    event: Event,
) {
    match event {
        Event::Received(lease) => {
            let before = state.unread_size;
            state.unread_size += charge(&lease);
            unread.received(handle, before, state.unread_size);
            state.received.push_back(lease);
            wake(&mut state.receive_waker);
        }
        Event::ReceiveEnded(end) => {
            state.receiving = match end {
                ReceiveEnd::Eof => Receiving::Eof,
                ReceiveEnd::Error(error) => Receiving::Failed(KeptError::of(&error)),
                // The reader may have caught up before the cancellation came through.
                ReceiveEnd::Cancelled if unread.ended_early(handle) => Receiving::Paused,
                ReceiveEnd::Cancelled if state.unread_size < unread.size_max() / 2 => {
                    match driver.receive(handle) {
                        Ok(()) => Receiving::Armed,
                        Err(error) => Receiving::Failed(KeptError::of(&error)),
                    }
                }
                ReceiveEnd::Cancelled => Receiving::Paused,
            };
            wake(&mut state.receive_waker);
        }
        Event::Sent(Ok(()), buffer) => {
            state.sending = Sending::Done(match buffer {
                SendBuffer::Owned(memory) => Some(memory),
                SendBuffer::Static(_) | SendBuffer::Shared(_) => None,
            });
            wake(&mut state.send_waker);
        }
        Event::Sent(Err(CutSend { sent_size, error }), _) => {
            state.sending = Sending::Failed { error: KeptError::of(&error), sent_size };
            wake(&mut state.send_waker);
            // After a silent send nobody waits for its end, but for the answer to it.
            wake(&mut state.receive_waker);
        }
        Event::Connected(outcome) => {
            state.sending = match outcome {
                Ok(()) => Sending::Idle,
                Err(error) => Sending::Failed { error: KeptError::of(&error), sent_size: 0 },
            };
            wake(&mut state.send_waker);
        }
        Event::Accepted(_) | Event::AcceptEnded(_) | Event::Polled(_) | Event::Closed => {}
    }
}

#[inline]
fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
