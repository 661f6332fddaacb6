//! All sockets, listeners and foreign descriptors of a worker: what has arrived for them, who waits, and what they may hold back.
//!
//! It is one table beside the driver's; an idle socket owns no buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use ringtide_driver::slots::reserve_sparingly;
use ringtide_driver::{Completion, CutSend, Driver, Event, Handle, Lease, ReceiveEnd, SendBuffer};

use super::driver::AnyDriver;
use super::queue::InlineQueue;
use super::unread::{Change, Unread, charge};
use super::waiter::{Waiter, Wakes};

/// The state of everything a worker has open, indexed by the driver's slots.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<(u32, Option<Resource>)>,
    /// Sockets with a send that has not been handed to the kernel yet.
    unstamped: Vec<Handle>,
    pub(super) unread: Unread,
    /// Sockets that are to be closed by their peers, by the time at which that is not waited for any longer; also some that
    /// have been closed meanwhile.
    abandoned: VecDeque<(u64, Handle)>,
    /// Those that have not.
    abandoned_count: usize,
}

// One per connection, of which there may be tens of thousands.
const _: () = assert!(size_of::<Resource>() <= 120);

pub(super) enum Resource {
    Socket(SocketState),
    Listener(Box<ListenerState>),
    /// Shared with who waits: the driver frees the handle as it reports, and its slot may be another's before they look.
    Descriptor(Rc<RefCell<PollState>>),
}

#[derive(Default)]
pub(super) struct SocketState {
    pub(super) received: InlineQueue<Lease>,
    pub(super) unread_size: u32,
    /// What the reader has taken and still holds; see `Socket::hold`.
    pub(super) held_size: u32,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    pub(super) receive_waiter: Waiter,
    /// Waits for the connect, then for sends.
    pub(super) send_waiter: Waiter,
    pub(super) sent_at_ns: u64,
}

impl SocketState {
    fn pause(&mut self, handle: Handle, driver: &mut AnyDriver) {
        if self.receiving == Receiving::Armed {
            self.receiving = Receiving::Pausing;
            driver.cancel(handle);
        }
    }

    #[inline]
    pub(super) fn receive_waiter(&mut self) -> &mut Waiter {
        &mut self.receive_waiter
    }

    #[inline]
    pub(super) fn send_waiter(&mut self) -> &mut Waiter {
        &mut self.send_waiter
    }
}

#[derive(Default, PartialEq, Eq)]
pub(super) enum Receiving {
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
pub(super) enum Sending {
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
    /// A skip-success send has failed, whose end nobody waits for.
    SkipSuccessFailed {
        error: KeptError,
        sent_size: usize,
    },
}

/// An error that can be reported more than once, as `io::Error` cannot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptError {
    Os(i32),
    Kind(io::ErrorKind),
}

impl KeptError {
    fn of(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Kind(error.kind()), Self::Os)
    }

    pub(super) fn to_error(self) -> io::Error {
        match self {
            Self::Os(number) => io::Error::from_raw_os_error(number),
            Self::Kind(kind) => kind.into(),
        }
    }
}

#[derive(Default)]
pub(super) struct ListenerState {
    pub(super) accepted: VecDeque<Handle>,
    pub(super) accepting: bool,
    pub(super) error: Option<io::Error>,
    pub(super) waiter: Waiter,
}

#[derive(Default)]
pub(super) struct PollState {
    pub(super) outcome: Option<io::Result<()>>,
    pub(super) waiter: Waiter,
}

impl Sockets {
    pub(super) fn insert(&mut self, handle: Handle, resource: Resource) {
        let slot = handle.slot() as usize;
        if slot >= self.entries.len() {
            reserve_sparingly(&mut self.entries, slot + 1);
            self.entries.resize_with(slot + 1, || (0, None));
        }
        self.entries[slot] = (handle.generation(), Some(resource));
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut Resource> {
        entry_mut(&mut self.entries, handle)
    }

    #[inline]
    pub(super) fn state_mut(&mut self, handle: Handle) -> Option<&mut SocketState> {
        match self.get_mut(handle) {
            Some(Resource::Socket(state)) => Some(state),
            _ => None,
        }
    }

    /// The state of a socket that is there, and what it shares with the others.
    #[inline]
    pub(super) fn state_and_unread(&mut self, handle: Handle) -> (&mut SocketState, &mut Unread) {
        match entry_mut(&mut self.entries, handle) {
            Some(Resource::Socket(state)) => (state, &mut self.unread),
            _ => panic!("a socket's state lasts as long as the socket"),
        }
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<Resource> {
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

    /// Notes that the socket has a send which the coming turn hands to the kernel.
    #[inline]
    pub(super) fn note_send(&mut self, handle: Handle) {
        self.unstamped.push(handle);
    }

    /// Leaves a socket that is receiving, and that nobody waits for, to its peer to close, until `deadline_ns`. Of more than
    /// `count_max` the oldest is closed now.
    pub(super) fn abandon(
        &mut self,
        handle: Handle,
        deadline_ns: u64,
        count_max: usize,
        driver: &mut AnyDriver,
    ) {
        let Some(state) = self.state_mut(handle) else { return };
        state.received = InlineQueue::default();
        state.receiving = Receiving::Abandoned;
        let unread_size = std::mem::take(&mut state.unread_size);
        self.unread.taken(unread_size);
        self.abandoned.push_back((deadline_ns, handle));
        self.abandoned_count += 1;
        while self.abandoned_count > count_max
            && let Some((_, oldest)) = self.abandoned.pop_front()
        {
            if self.is_abandoned(oldest) {
                self.close_abandoned(oldest, driver);
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
    pub(super) fn is_unstamped(&self, handle: Handle) -> bool {
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
    wakes: &mut Wakes,
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
                    wakes.wake(&mut state.waiter);
                    sockets.insert(accepted, Resource::Socket(SocketState::default()));
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
            Some(Resource::Socket(state)) => dispatch_to_socket(state, unread, driver, handle, event, wakes),
            Some(Resource::Listener(state)) => {
                if let Event::AcceptEnded(error) = event {
                    state.accepting = false;
                    state.error = error;
                    wakes.wake(&mut state.waiter);
                }
            }
            Some(Resource::Descriptor(state)) => {
                if let Event::Polled(outcome) = event {
                    let mut state = state.borrow_mut();
                    state.outcome = Some(outcome);
                    wakes.wake(&mut state.waiter);
                }
            }
            // Dropped meanwhile: its last event, or one that crossed with the close.
            None => {
                if let Event::Sent(_, buffer) = event {
                    wakes.drop_later(buffer);
                }
            }
        }
    }
    filled
}

#[inline]
fn dispatch_to_socket(
    state: &mut SocketState,
    unread: &mut Unread,
    driver: &mut AnyDriver,
    handle: Handle,
    event: Event,
    wakes: &mut Wakes,
) {
    match event {
        Event::Received(lease) => {
            let before = state.unread_size;
            state.unread_size += charge(&lease);
            unread.received(handle, before, state.unread_size);
            state.received.push_back(lease);
            wakes.wake(&mut state.receive_waiter);
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
            wakes.wake(&mut state.receive_waiter);
        }
        Event::Sent(Ok(()), buffer) => {
            state.sending = Sending::Done(match buffer {
                SendBuffer::Owned(memory) => Some(memory),
                buffer => {
                    wakes.drop_later(buffer);
                    None
                }
            });
            wakes.wake(&mut state.send_waiter);
        }
        Event::Sent(Err(CutSend { sent_size, error }), buffer) => {
            wakes.drop_later(buffer);
            let error = KeptError::of(&error);
            state.sending = match state.sending {
                Sending::Busy => Sending::Failed { error, sent_size },
                _ => Sending::SkipSuccessFailed { error, sent_size },
            };
            wakes.wake(&mut state.send_waiter);
            // After a skip-success send nobody waits for its end, but for the answer to it.
            wakes.wake(&mut state.receive_waiter);
        }
        Event::SendWaits => state.sending = Sending::Busy,
        Event::Connected(outcome) => {
            state.sending = match outcome {
                Ok(()) => Sending::Idle,
                Err(error) => Sending::Failed { error: KeptError::of(&error), sent_size: 0 },
            };
            wakes.wake(&mut state.send_waiter);
        }
        Event::Accepted(_) | Event::AcceptEnded(_) | Event::Polled(_) | Event::Closed => {}
    }
}
