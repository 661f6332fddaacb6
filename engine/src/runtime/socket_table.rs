//! The table of a worker's sockets, listeners and foreign descriptors: what they received, their waiters, and their
//! back-pressure.
//!
//! It complements the driver's own table. An idle socket owns no buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use ringtide_driver::slots::reserve_sparingly;
use ringtide_driver::{Completion, CutSend, Driver, Event, Handle, Lease, ReceiveEnd, SendBuffer};

use super::driver::AnyDriver;
use super::expected::{Expected, Mark};
use super::received::{Pieces, Received};
use super::unread::{Change, Unread, charge};
use super::waiter::{Waiter, Wakes};

/// The state of everything that a worker has open, indexed by the driver's slots.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Entry>,
    /// What they have received.
    pub(super) pieces: Pieces,
    /// Sockets with a send that was not submitted yet.
    unstamped: Vec<Handle>,
    /// The number of the turn that submits them.
    next_turn: u32,
    expected: Expected,
    pub(super) unread: Unread,
    /// Sockets that wait for their peers to close them, each with the time at which the worker closes it instead. Some
    /// of them may have been closed since.
    abandoned: VecDeque<(u64, Handle)>,
    /// The number of sockets in `abandoned` that are still open.
    abandoned_count: usize,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    /// For sockets. It stands here because there would be a gap otherwise.
    expects: Mark,
    resource: Option<Resource>,
}

// Each connection has one, and there may be tens of thousands.
const _: () = assert!(size_of::<Entry>() <= 96);

pub(super) enum Resource {
    Socket(SocketState),
    Listener(Box<ListenerState>),
    /// Shared with the waiting future: the driver frees the handle when it reports, and the slot may be in use again
    /// before the future is polled.
    Descriptor(Rc<RefCell<PollState>>),
}

#[derive(Default)]
pub(super) struct SocketState {
    /// In `Sockets::pieces`.
    pub(super) received: Received,
    pub(super) unread_size: u32,
    /// Bytes that the reader has taken but still holds; see `Socket::hold`.
    pub(super) held_size: u32,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    pub(super) receive_waiter: Waiter,
    /// Waits for the connect, later for sends.
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

    /// Takes the end of the last send: the memory of its buffer, or its error, which stays.
    #[inline]
    pub(super) fn end_of_send(&mut self) -> Poll<io::Result<Option<Vec<u8>>>> {
        match std::mem::take(&mut self.sending) {
            Sending::Idle => Poll::Ready(Ok(None)),
            Sending::Done(memory) => Poll::Ready(Ok(memory)),
            busy @ (Sending::Busy { .. } | Sending::Connecting) => {
                self.sending = busy;
                Poll::Pending
            }
            failed @ (Sending::Failed { error, .. } | Sending::SkipSuccessFailed { error, .. }) => {
                self.sending = failed;
                Poll::Ready(Err(error.to_error()))
            }
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

    /// Returns the receive waiter, which is now also woken at the end of the send in flight.
    pub(super) fn receive_waiter_for_send(&mut self) -> &mut Waiter {
        if let Sending::Busy { wakes_receiver } = &mut self.sending {
            *wakes_receiver = true;
        }
        &mut self.receive_waiter
    }
}

#[derive(Default, PartialEq, Eq)]
pub(super) enum Receiving {
    #[default]
    Idle,
    Armed,
    /// Too much is unread. The receive is being cancelled.
    Pausing,
    /// Too much was unread. Receiving resumes when half of it has been read, or when the reader has read everything and
    /// waits for more.
    Paused,
    /// The socket no longer has a reader. It is closed when the peer has closed it.
    Abandoned,
    Eof,
    Failed(KeptError),
}

#[derive(Default)]
pub(super) enum Sending {
    #[default]
    Idle,
    /// The connect is in flight.
    Connecting,
    Busy {
        /// The receive waiter also waits for the end of the send.
        wakes_receiver: bool,
    },
    Done(Option<Vec<u8>>),
    /// The connect or a send has failed.
    Failed {
        error: KeptError,
        /// The number of bytes of the send that the kernel accepted.
        sent_size: usize,
    },
    /// A skip-success send has failed. Its sender does not wait for its end.
    SkipSuccessFailed {
        error: KeptError,
        sent_size: usize,
    },
}

impl Sending {
    pub(super) const BUSY: Self = Self::Busy { wakes_receiver: false };
}

/// An error that can be reported more than once. `io::Error` cannot be cloned.
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
            self.entries.resize_with(slot + 1, Entry::default);
        }
        let new =
            Entry { generation: handle.generation(), expects: Mark::default(), resource: Some(resource) };
        let old = std::mem::replace(&mut self.entries[slot], new);
        if let Some(Resource::Socket(mut state)) = old.resource {
            self.pieces.clear(&mut state.received);
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut Resource> {
        entry_mut(&mut self.entries, handle)?.resource.as_mut()
    }

    #[inline]
    pub(super) fn state_mut(&mut self, handle: Handle) -> Option<&mut SocketState> {
        match self.get_mut(handle) {
            Some(Resource::Socket(state)) => Some(state),
            _ => None,
        }
    }

    /// Takes the next received piece of an existing socket. Returns also its state, and the count of unread bytes that all
    /// sockets share.
    #[inline]
    pub(super) fn next_received(&mut self, handle: Handle) -> (Option<Lease>, &mut SocketState, &mut Unread) {
        let (state, unread, pieces) = self.state_and_shared(handle);
        let lease = pieces.pop_front(&mut state.received);
        if let Some(lease) = &lease {
            let charge = charge(lease);
            state.unread_size -= charge;
            unread.taken(charge);
        }
        (lease, state, unread)
    }

    /// Returns the state of an existing socket, and what all sockets share: the count of unread bytes, and the pieces.
    #[inline]
    pub(super) fn state_and_shared(
        &mut self,
        handle: Handle,
    ) -> (&mut SocketState, &mut Unread, &mut Pieces) {
        match entry_mut(&mut self.entries, handle) {
            Some(Entry { resource: Some(Resource::Socket(state)), .. }) => {
                (state, &mut self.unread, &mut self.pieces)
            }
            _ => panic!("a socket's state lasts as long as the socket"),
        }
    }

    pub(super) fn is_under_strain(&self) -> bool {
        self.unread.is_strained()
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<Resource> {
        let entry = entry_mut(&mut self.entries, handle)?;
        if let Some(Resource::Socket(state)) = &mut entry.resource {
            self.pieces.clear(&mut state.received);
            self.unread.taken(state.unread_size + state.held_size);
            self.expected.settle(&mut entry.expects);
        }
        entry.resource.take()
    }

    /// Cancels the receives of sockets with too many unread bytes. Called right before a turn. Returns whether it has woken
    /// a reader, for which the turn must not wait.
    #[inline]
    pub(super) fn hold_back(&mut self, driver: &mut AnyDriver, wakes: &mut Wakes) -> bool {
        !self.unread.is_easy() && self.hold_back_crowded(driver, wakes)
    }

    #[cold]
    fn hold_back_crowded(&mut self, driver: &mut AnyDriver, wakes: &mut Wakes) -> bool {
        let mut has_woken = false;
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
                for (slot, entry) in self.entries.iter_mut().enumerate() {
                    if let Some(Resource::Socket(state)) = &mut entry.resource {
                        state.pause(Handle::new(slot as u32, entry.generation), driver);
                    }
                }
            }
            Some(Change::Relief) => {
                let size_max = self.unread.size_max();
                for (slot, entry) in self.entries.iter_mut().enumerate() {
                    let Some(Resource::Socket(state)) = &mut entry.resource else { continue };
                    // Its reader may have stopped to read, see `Socket::poll_relief`.
                    if state.held_size > 0 {
                        wakes.wake(&mut state.receive_waiter);
                        has_woken = true;
                    }
                    if state.receiving == Receiving::Paused
                        && state.unread_size < size_max / 2
                        && driver.receive(Handle::new(slot as u32, entry.generation)).is_ok()
                    {
                        state.receiving = Receiving::Armed;
                    }
                }
            }
        }
        has_woken
    }

    /// Notes that the socket has a send which the next turn submits. Returns the number of that turn.
    #[inline]
    pub(super) fn note_send(&mut self, handle: Handle) -> u32 {
        self.unstamped.push(handle);
        self.next_turn
    }

    /// Keeps a receiving socket without an owner open until its peer closes it, or until `deadline_ns`. If there are
    /// more than `count_max` such sockets, closes the oldest now.
    pub(super) fn abandon(
        &mut self,
        handle: Handle,
        deadline_ns: u64,
        count_max: usize,
        driver: &mut AnyDriver,
    ) {
        let Some(Entry { resource: Some(Resource::Socket(state)), .. }) =
            entry_mut(&mut self.entries, handle)
        else {
            return;
        };
        self.pieces.clear(&mut state.received);
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

    /// Returns whether the socket still waits for its peer to close it.
    fn is_abandoned(&mut self, handle: Handle) -> bool {
        self.state_mut(handle).is_some_and(|state| state.receiving == Receiving::Abandoned)
    }

    fn close_abandoned(&mut self, handle: Handle, driver: &mut AnyDriver) {
        self.abandoned_count -= 1;
        driver.close(handle);
        drop(self.remove(handle));
    }

    /// Returns how many sockets wait for their peers to close them.
    pub(super) fn abandoned(&self) -> usize {
        self.abandoned_count
    }

    /// Returns the number of the next turn. It comes again after 4 billion turns.
    #[inline]
    pub(super) fn next_turn(&self) -> u32 {
        self.next_turn
    }

    /// Returns the time at which the next abandoned socket has to be closed.
    #[inline]
    pub(super) fn next_close_ns(&self) -> Option<u64> {
        self.abandoned.front().map(|(deadline_ns, _)| *deadline_ns)
    }

    /// Stores the time of submission for every send that the next turn submits. Their sockets are now expected to receive.
    #[inline]
    pub(super) fn stamp_sends(&mut self, now_ns: u64) {
        if self.unstamped.is_empty() {
            return;
        }
        self.next_turn = self.next_turn.wrapping_add(1);
        let mut unstamped = std::mem::take(&mut self.unstamped);
        for handle in unstamped.drain(..) {
            if let Some(entry) = entry_mut(&mut self.entries, handle)
                && let Some(Resource::Socket(state)) = &mut entry.resource
            {
                state.sent_at_ns = now_ns;
                self.expected.expect(&mut entry.expects);
            }
        }
        self.unstamped = unstamped;
    }

    /// Notes that the socket is expected to receive more, although it has received since its last send.
    pub(super) fn expect_more(&mut self, handle: Handle) {
        if let Some(entry) = entry_mut(&mut self.entries, handle) {
            self.expected.expect(&mut entry.expects);
        }
    }

    /// Returns how many sockets are expected to receive, with those whose sends the next turn submits, and whether there
    /// are such sends.
    #[inline]
    pub(super) fn expected(&self) -> (usize, bool) {
        (self.expected.count() as usize + self.unstamped.len(), !self.unstamped.is_empty())
    }

    /// From now on no socket is expected to receive, until it sends.
    pub(super) fn expect_nothing(&mut self) {
        self.expected.give_up();
    }
}

#[inline]
fn entry_mut(entries: &mut [Entry], handle: Handle) -> Option<&mut Entry> {
    entries.get_mut(handle.slot() as usize).filter(|entry| entry.generation == handle.generation())
}

/// Closes the abandoned sockets whose peers have not closed them in time.
#[inline]
pub(super) fn close_abandoned(sockets: &mut Sockets, driver: &mut AnyDriver, now_ns: u64) {
    while let Some((deadline_ns, handle)) = sockets.abandoned.front().copied() {
        // Sockets that their peers closed are no longer in the table. Only the entries here have to be dropped.
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

/// What a turn has brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Brought {
    /// A receive has filled its buffer.
    pub(super) filled: bool,
    /// A socket that was expected to receive has done so.
    pub(super) answered: bool,
}

/// Stores the completions of a turn in the table and wakes the waiters.
pub(super) fn dispatch(
    sockets: &mut Sockets,
    driver: &mut AnyDriver,
    completions: impl Iterator<Item = Completion>,
    wakes: &mut Wakes,
) -> Brought {
    let buffer_size = driver.pool().buffer_size() as usize;
    let expected = sockets.expected.count();
    let mut filled = false;
    for Completion { handle, event } in completions {
        if let Event::Received(lease) = &event {
            filled |= lease.len() == buffer_size;
        }
        // Only the driver knows an accepted socket until it is entered here.
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
        let Sockets { entries, pieces, unread, expected, .. } = &mut *sockets;
        let Some(Entry { expects, resource: Some(resource), .. }) = entry_mut(entries, handle) else {
            // The handle was closed meanwhile. This is its last event, or one that was under way when it was closed.
            if let Event::Sent(_, buffer) = event {
                wakes.drop_later(buffer);
            }
            continue;
        };
        match resource {
            Resource::Socket(state) if state.receiving == Receiving::Abandoned => {
                if let Event::ReceiveEnded(_) = event {
                    sockets.close_abandoned(handle, driver);
                }
            }
            Resource::Socket(state) => {
                if let Event::Received(_) | Event::ReceiveEnded(_) = event {
                    expected.settle(expects);
                }
                dispatch_to_socket(state, (unread, pieces), driver, handle, event, wakes);
            }
            Resource::Listener(state) => {
                if let Event::AcceptEnded(error) = event {
                    state.accepting = false;
                    state.error = error;
                    wakes.wake(&mut state.waiter);
                }
            }
            Resource::Descriptor(state) => {
                if let Event::Polled(outcome) = event {
                    let mut state = state.borrow_mut();
                    state.outcome = Some(outcome);
                    wakes.wake(&mut state.waiter);
                }
            }
        }
    }
    Brought { filled, answered: sockets.expected.count() < expected }
}

#[inline]
fn dispatch_to_socket(
    state: &mut SocketState,
    (unread, pieces): (&mut Unread, &mut Pieces),
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
            pieces.push_back(&mut state.received, lease);
            wakes.wake(&mut state.receive_waiter);
        }
        Event::ReceiveEnded(end) => {
            state.receiving = match end {
                ReceiveEnd::Eof => Receiving::Eof,
                ReceiveEnd::Error(error) => Receiving::Failed(KeptError::of(&error)),
                // The reader may have caught up while the receive was being cancelled.
                ReceiveEnd::Cancelled if unread.is_strained() => Receiving::Paused,
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
            let done = Sending::Done(match buffer {
                SendBuffer::Owned(memory) => Some(memory),
                buffer => {
                    wakes.drop_later(buffer);
                    None
                }
            });
            let sending = std::mem::replace(&mut state.sending, done);
            wakes.wake(&mut state.send_waiter);
            if let Sending::Busy { wakes_receiver: true } = sending {
                wakes.wake(&mut state.receive_waiter);
            }
        }
        Event::Sent(Err(CutSend { sent_size, error }), buffer) => {
            wakes.drop_later(buffer);
            let error = KeptError::of(&error);
            state.sending = match state.sending {
                Sending::Busy { .. } => Sending::Failed { error, sent_size },
                _ => Sending::SkipSuccessFailed { error, sent_size },
            };
            wakes.wake(&mut state.send_waiter);
            // The sender of a skip-success send does not wait for its end, but for the response.
            wakes.wake(&mut state.receive_waiter);
        }
        Event::SendWaits => state.sending = Sending::BUSY,
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
