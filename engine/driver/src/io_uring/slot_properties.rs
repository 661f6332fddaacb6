//! Property tests of the slots' transitions: random calls and random completions.
//!
//! A model of the kernel and the contract's ledger check that every operation ends once, that everything wanted is
//! under way, that no byte is lost or reordered, and that no memory is freed while the kernel uses it.
//!
//! The model does everything that a kernel may do but seldom does. It also carries out each [`Action`] like the parent
//! module, but without a ring.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use socket2::SockAddr;

use super::slot::{Action, Batch, Cancel, Close, Role, Slot, Unsent};
use super::user_data::Kind;
use crate::buffer::{Lease, SendBuffer};
use crate::contract::{Completion, CutSend, Event, Handle, ReceiveEnd};
use crate::slots::Slots;

#[path = "../../tests/contract/ledger.rs"]
mod ledger;

use ledger::{Account, Ledger};

/// One step of the caller or of the kernel. The numbers select among the existing handles or operations.
#[derive(Clone, Debug)]
enum Step {
    Open {
        adopted: bool,
    },
    Connect,
    Poll,
    Receive(usize),
    Accept(usize),
    Send(usize, usize, bool),
    SendSkipSuccess(usize, usize),
    Cancel(usize),
    CancelSend(usize),
    Close(usize),
    /// An operation in the kernel completes.
    Happen(usize, Outcome),
    /// Receives are bounded from now on, or no longer.
    LimitReceives(bool),
    /// Buffers come back.
    Recycle,
    /// The kernel is entered, and takes this much of skip-success sends.
    Turn(Taken),
}

/// How an operation completes. Each kind of operation interprets it in its own way.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// A completion with more to follow, if the kind is multishot.
    More,
    /// The last completion, although the operation itself has not ended.
    LostMore,
    /// A part of the operation succeeds.
    Part,
    /// The end of the stream, or the whole operation succeeds.
    End,
    NoBuffers,
    /// A cancellation that the caller did not request.
    Cancelled,
    Reset,
    Aborted,
}

/// How much of a skip-success send the kernel takes.
#[derive(Clone, Copy, Debug)]
enum Taken {
    All,
    Part,
    None,
    Failed,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::{Aborted, Cancelled, End, LostMore, More, NoBuffers, Part, Reset};
    prop_oneof![
        4 => Just(More), 2 => Just(LostMore), 2 => Just(Part), 2 => Just(End),
        1 => Just(NoBuffers), 1 => Just(Cancelled), 1 => Just(Reset), 1 => Just(Aborted),
    ]
}

fn taken() -> impl Strategy<Value = Taken> {
    prop_oneof![4 => Just(Taken::All), 2 => Just(Taken::Part), 2 => Just(Taken::None), 1 => Just(Taken::Failed)]
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<usize>;
    prop_oneof![
        1 => any::<bool>().prop_map(|adopted| Step::Open { adopted }),
        1 => Just(Step::Connect),
        1 => Just(Step::Poll),
        5 => at().prop_map(Step::Receive),
        1 => at().prop_map(Step::Accept),
        5 => (at(), 1..9_usize, any::<bool>()).prop_map(|(at, len, pieces)| Step::Send(at, len, pieces)),
        5 => (at(), 1..9_usize).prop_map(|(at, len)| Step::SendSkipSuccess(at, len)),
        2 => at().prop_map(Step::Cancel),
        2 => at().prop_map(Step::CancelSend),
        1 => at().prop_map(Step::Close),
        12 => (at(), outcome()).prop_map(|(at, outcome)| Step::Happen(at, outcome)),
        1 => any::<bool>().prop_map(Step::LimitReceives),
        2 => Just(Step::Recycle),
        8 => taken().prop_map(Step::Turn),
    ]
}

/// An entry of the submission queue.
enum Entry {
    Start(Operation),
    Cancel(Kind, Handle),
}

/// An operation in the kernel.
struct Operation {
    kind: Kind,
    handle: Handle,
    /// The bytes of a send.
    bytes: Vec<u8>,
    /// Set when the memory of a send is freed.
    gone: Option<Arc<AtomicBool>>,
    /// Whether the socket was shut down after the operation started.
    shut: bool,
}

/// A completion of the model.
struct Done {
    kind: Kind,
    handle: Handle,
    result: i32,
    more: bool,
}

/// Bytes with a flag that is set when they are dropped.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

/// The bytes that a socket was asked to send, and those that the kernel took.
#[derive(Default)]
struct Stream {
    handed_in: Vec<u8>,
    /// The offset in `handed_in` at which the last send begins.
    send_start: usize,
    taken: Vec<u8>,
    gone: Option<Arc<AtomicBool>>,
}

#[derive(Default)]
struct World {
    slots: Slots<Slot>,
    ledger: Ledger,
    handles: Vec<Handle>,
    streams: HashMap<Handle, Stream>,
    queue: VecDeque<Entry>,
    in_kernel: Vec<Operation>,
    done: VecDeque<Done>,
    pending: Vec<Completion>,
    starved: Vec<Handle>,
    /// Whether a receive that has ended with bytes waits for the next turn.
    limited: bool,
    batch: Batch,
    letter: u8,
}

impl World {
    fn at(&self, at: usize) -> Option<Handle> {
        (!self.handles.is_empty()).then(|| self.handles[at % self.handles.len()])
    }

    /// Returns the open socket with this number, if its account `fits`.
    fn socket(&mut self, at: usize, fits: impl FnOnce(&Account) -> bool) -> Option<Handle> {
        let handle = self.at(at)?;
        let account = self.ledger.get(handle)?;
        (!account.closing && !account.connecting && !account.polling && fits(account)).then_some(handle)
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Open { adopted } => {
                let role = if adopted { Role::Adopted } else { Role::Own };
                self.open(Slot::new(role, None), Account::default());
            }
            Step::Connect => {
                let mut slot = Slot::new(Role::Own, None);
                slot.start(Kind::Connect);
                let handle = self.open(slot, Account { connecting: true, ..Account::default() });
                self.submit(Kind::Connect, handle);
            }
            Step::Poll => {
                let mut slot = Slot::new(Role::Poll, None);
                slot.start(Kind::Poll);
                let handle = self.open(slot, Account { polling: true, ..Account::default() });
                self.submit(Kind::Poll, handle);
            }
            Step::Receive(at) => {
                let Some(handle) = self.socket(at, |account| !account.accepting) else { return };
                let busy = self.ledger.at(handle).receiving;
                let started = self.slots.get_mut(handle).expect("open").start_multishot(Kind::Receive);
                assert_eq!(started.is_err(), busy);
                if !busy {
                    self.ledger.at(handle).start_receive();
                    self.submit(Kind::Receive, handle);
                }
            }
            Step::Accept(at) => {
                let idle =
                    |account: &Account| !account.receiving && !account.sending && account.skip_success == 0;
                let Some(handle) = self.socket(at, idle) else { return };
                let busy = self.ledger.at(handle).accepting;
                let started = self.slots.get_mut(handle).expect("open").start_multishot(Kind::Accept);
                assert_eq!(started.is_err(), busy);
                if !busy {
                    self.ledger.at(handle).start_accept();
                    self.submit(Kind::Accept, handle);
                }
            }
            Step::Send(at, len, pieces) => self.send(at, len, pieces),
            Step::SendSkipSuccess(at, len) => self.send_skip_success(at, len),
            Step::Cancel(at) => {
                let Some(handle) = self.at(at) else { return };
                self.ledger.cancel(handle);
                let Some(slot) = self.slots.get_mut(handle) else { return };
                match slot.cancel() {
                    Cancel::Nothing => {}
                    Cancel::InKernel(kind) => self.queue.push_back(Entry::Cancel(kind, handle)),
                    Cancel::Ended(event) => self.pending.push(Completion { handle, event }),
                }
            }
            Step::CancelSend(at) => {
                let Some(handle) = self.at(at) else { return };
                self.ledger.cancel_send(handle);
                if self.slots.get_mut(handle).is_some_and(Slot::cancel_send) {
                    self.queue.push_back(Entry::Cancel(Kind::Send, handle));
                }
            }
            Step::Close(at) => {
                let Some(handle) = self.at(at) else { return };
                self.close(handle);
            }
            Step::Happen(at, outcome) => {
                if !self.in_kernel.is_empty() {
                    self.happen(at % self.in_kernel.len(), outcome);
                }
            }
            Step::LimitReceives(limited) => self.limited = limited,
            Step::Recycle => self.recycle(),
            Step::Turn(taken) => self.turn(taken),
        }
    }

    fn open(&mut self, slot: Slot, account: Account) -> Handle {
        let handle = self.slots.insert(slot);
        self.ledger.open(handle, account);
        self.handles.push(handle);
        self.streams.insert(handle, Stream::default());
        handle
    }

    /// Returns whether a send may start. The parent checks the same before each send.
    fn may_send(&mut self, handle: Handle) -> bool {
        if self.slots.get(handle).expect("open").is_unsettled(self.batch) {
            self.turn(Taken::Part);
        }
        // The turn may have found that the previous send has to wait or has failed.
        let busy = self.slots.get(handle).expect("open").is_sending();
        assert_eq!(busy, self.ledger.at(handle).sending, "{handle:?}");
        !busy
    }

    fn fresh_bytes(&mut self, handle: Handle, len: usize) -> Vec<u8> {
        self.letter = self.letter.wrapping_add(1);
        let bytes = vec![self.letter; len];
        let stream = self.streams.get_mut(&handle).expect("opened");
        stream.send_start = stream.handed_in.len();
        stream.handed_in.extend_from_slice(&bytes);
        bytes
    }

    fn send(&mut self, at: usize, len: usize, pieces: bool) {
        let Some(handle) = self.socket(at, |account| !account.accepting) else { return };
        if !self.may_send(handle) {
            return;
        }
        let bytes = self.fresh_bytes(handle, len);
        let gone = Arc::new(AtomicBool::new(false));
        self.streams.get_mut(&handle).expect("opened").gone = Some(Arc::clone(&gone));
        let bytes = Bytes::from_owner(Watched(bytes, gone));
        let buffer = if pieces {
            SendBuffer::Pieces((0..len).map(|at| bytes.slice(at..=at)).collect())
        } else {
            SendBuffer::Shared(bytes)
        };
        self.slots.get_mut(handle).expect("open").start_send(buffer, self.batch);
        self.ledger.at(handle).sending = true;
        self.submit(Kind::Send, handle);
    }

    fn send_skip_success(&mut self, at: usize, len: usize) {
        let Some(handle) = self.socket(at, |account| !account.accepting) else { return };
        if !self.may_send(handle) {
            return;
        }
        let bytes: &'static [u8] = self.fresh_bytes(handle, len).leak();
        self.streams.get_mut(&handle).expect("opened").gone = None;
        self.slots.get_mut(handle).expect("open").start_skip_success_send(bytes, self.batch);
        self.ledger.at(handle).skip_success += 1;
        self.submit(Kind::SkipSuccessSend, handle);
    }

    fn close(&mut self, handle: Handle) {
        let unsubmitted = self.queue.iter().any(
            |entry| matches!(entry, Entry::Start(start) if start.handle == handle && is_send(start.kind)),
        );
        let Some(slot) = self.slots.get_mut(handle) else { return };
        match slot.close(self.batch) {
            Close::Already => return,
            Close::Free => self.free(handle),
            Close::ShutDown(kinds) => {
                assert!(!unsubmitted, "the end would overtake what is to be sent");
                for operation in &mut self.in_kernel {
                    operation.shut |= operation.handle == handle;
                }
                for entry in &mut self.queue {
                    if let Entry::Start(start) = entry {
                        start.shut |= start.handle == handle;
                    }
                }
                assert!(kinds.kinds().all(|kind| matches!(kind, Kind::Receive | Kind::Send)));
            }
            Close::Cancel(kinds) => {
                for kind in kinds.kinds() {
                    self.queue.push_back(Entry::Cancel(kind, handle));
                }
            }
        }
        if self.ledger.get(handle).is_some() {
            self.ledger.at(handle).closing = true;
        }
    }

    /// Queues an entry for the operation that the slot has recorded, like the parent.
    fn submit(&mut self, kind: Kind, handle: Handle) {
        let slot = self.slots.get_mut(handle).expect("a slot outlives what it books");
        let bytes = match slot.unsent() {
            _ if !is_send(kind) => Vec::new(),
            Unsent::One(bytes) => bytes.to_vec(),
            Unsent::Pieces(message, sent) => message.bytes_from(sent),
        };
        let gone = if is_send(kind) { self.streams[&handle].gone.clone() } else { None };
        self.queue.push_back(Entry::Start(Operation { kind, handle, bytes, gone, shut: false }));
    }

    fn turn(&mut self, taken: Taken) {
        for entry in std::mem::take(&mut self.queue) {
            match entry {
                Entry::Start(operation) if operation.kind == Kind::SkipSuccessSend => {
                    self.take_skip_success(&operation, taken);
                }
                Entry::Start(operation) => self.in_kernel.push(operation),
                Entry::Cancel(kind, handle) => {
                    let found = self.in_kernel.iter().position(|it| it.kind == kind && it.handle == handle);
                    if let Some(at) = found {
                        self.end(at, -libc::ECANCELED);
                    }
                }
            }
        }
        self.batch = self.batch.wrapping_add(1);
        // A shutdown ends the operations in the kernel sooner or later. In this model it does so within the turn.
        while let Some(at) = self.in_kernel.iter().position(|operation| operation.shut) {
            let result = if self.in_kernel[at].kind == Kind::Send { -libc::EPIPE } else { 0 };
            self.end(at, result);
        }
        self.reap();
    }

    fn take_skip_success(&mut self, operation: &Operation, taken: Taken) {
        let len = operation.bytes.len();
        let result = match taken {
            Taken::Part if len > 1 => len as i32 / 2,
            Taken::All => len as i32,
            Taken::Part | Taken::None => -libc::EAGAIN,
            Taken::Failed => -libc::EPIPE,
        };
        self.take(operation, result);
        if result < len as i32 {
            let Operation { kind, handle, .. } = *operation;
            self.done.push_back(Done { kind, handle, result, more: false });
        }
    }

    /// The kernel takes bytes of a send.
    fn take(&mut self, operation: &Operation, result: i32) {
        if let Some(gone) = &operation.gone {
            assert!(!gone.load(Ordering::Relaxed), "the kernel's memory was let go");
        }
        let stream = self.streams.get_mut(&operation.handle).expect("opened");
        stream.taken.extend_from_slice(&operation.bytes[..result.max(0) as usize]);
    }

    /// Ends an operation with its last completion.
    fn end(&mut self, at: usize, result: i32) {
        let operation = self.in_kernel.swap_remove(at);
        if operation.kind == Kind::Send {
            self.take(&operation, result);
        }
        let Operation { kind, handle, .. } = operation;
        self.done.push_back(Done { kind, handle, result, more: false });
    }

    fn happen(&mut self, at: usize, outcome: Outcome) {
        let Operation { kind, handle, .. } = self.in_kernel[at];
        let len = self.in_kernel[at].bytes.len() as i32;
        let result = match (kind, outcome) {
            (Kind::Receive | Kind::Accept, Outcome::More | Outcome::Part) => {
                return self.done.push_back(Done { kind, handle, result: 1, more: true });
            }
            (Kind::Receive | Kind::Accept, Outcome::LostMore) => 1,
            (Kind::Receive, Outcome::NoBuffers) => -libc::ENOBUFS,
            (Kind::Receive | Kind::Accept, Outcome::Cancelled) => -libc::ECANCELED,
            (Kind::Receive | Kind::Send, Outcome::Reset | Outcome::Aborted) => -libc::ECONNRESET,
            (Kind::Accept, Outcome::Aborted) => -libc::ECONNABORTED,
            (Kind::Accept, _) => -libc::EMFILE,
            (Kind::Send, Outcome::Part | Outcome::LostMore) => (len / 2).max(1),
            (Kind::Send, _) => len,
            (_, Outcome::Reset) => -libc::ECONNREFUSED,
            _ => 0,
        };
        self.end(at, result);
    }

    fn recycle(&mut self) {
        for handle in std::mem::take(&mut self.starved) {
            if self.slots.get_mut(handle).is_some_and(Slot::restart_starved) {
                self.submit(Kind::Receive, handle);
            }
        }
    }

    /// Processes completions like the parent.
    fn reap(&mut self) {
        self.tell_pending();
        while let Some(Done { kind, handle, result, more }) = self.done.pop_front() {
            if result > 0 && self.slots.get(handle).is_some_and(Slot::is_open) {
                match kind {
                    Kind::Receive => self.tell(handle, Event::Received(Lease::copied(b"x"))),
                    Kind::Accept => {
                        let accepted = self.slots.insert(Slot::new(Role::Own, None));
                        self.tell(handle, Event::Accepted(accepted));
                        self.handles.push(accepted);
                        self.streams.insert(accepted, Stream::default());
                    }
                    _ => {}
                }
            }
            if more {
                continue;
            }
            let Some(slot) = self.slots.get_mut(handle) else { continue };
            match slot.on_completion(kind, result, self.batch) {
                Action::Nothing => {}
                Action::Submit(Kind::Receive) if result > 0 && self.limited => {
                    slot.await_turn();
                    self.starved.push(handle);
                }
                Action::Submit(kind) => self.submit(kind, handle),
                Action::AwaitBuffers => self.starved.push(handle),
                Action::Tell(event) => self.tell(handle, event),
                Action::TellAndSubmit(event, kind) => {
                    self.tell(handle, event);
                    self.submit(kind, handle);
                }
                Action::Free => self.free(handle),
                Action::FreeAndTell(event) => {
                    self.slots.remove(handle);
                    self.tell(handle, event);
                }
            }
        }
        self.tell_pending();
    }

    fn tell_pending(&mut self) {
        for Completion { handle, event } in std::mem::take(&mut self.pending) {
            let told = self.slots.get_mut(handle).is_some_and(|slot| slot.told(&event));
            if told || matches!(event, Event::Closed) {
                self.tell(handle, event);
            }
        }
    }

    fn free(&mut self, handle: Handle) {
        let has =
            |operation: &Operation| operation.handle == handle && operation.kind != Kind::SkipSuccessSend;
        assert!(!self.in_kernel.iter().any(has), "the kernel has something of {handle:?}");
        assert!(
            !self.queue.iter().any(|entry| matches!(entry, Entry::Start(start) if has(start))),
            "something of {handle:?} is on its way to the kernel"
        );
        drop(self.slots.remove(handle).expect("freed once"));
        self.pending.push(Completion { handle, event: Event::Closed });
    }

    /// Delivers an event to the caller.
    fn tell(&mut self, handle: Handle, event: Event) {
        let completion = Completion { handle, event };
        self.ledger.observe(&completion);
        // The caller sees only errors that concern it. The driver hides a lack of buffers, and operations that the
        // kernel ended for its own reasons.
        match &completion.event {
            Event::ReceiveEnded(ReceiveEnd::Error(error)) => assert_os(error, &[libc::ECONNRESET]),
            Event::AcceptEnded(Some(error)) => assert_os(error, &[libc::EMFILE]),
            Event::Connected(Err(error)) | Event::Polled(Err(error)) => {
                assert_os(error, &[libc::ECONNREFUSED]);
            }
            // The ledger checks that the caller has cancelled it.
            Event::Sent(Err(cut), _) => {
                assert_os(&cut.error, &[libc::ECONNRESET, libc::EPIPE, libc::ECANCELED]);
            }
            _ => {}
        }
        if let Event::Sent(Err(CutSend { sent_size, .. }), _) = completion.event {
            let stream = self.streams.get_mut(&handle).expect("opened");
            stream.handed_in.truncate(stream.send_start + sent_size);
        }
    }

    /// Lets the kernel complete everything successfully, so that anything forgotten shows.
    fn quiesce(&mut self) {
        for _ in 0..100 {
            self.recycle();
            self.turn(Taken::All);
            while let Some(at) = self
                .in_kernel
                .iter()
                .position(|operation| !matches!(operation.kind, Kind::Receive | Kind::Accept))
            {
                self.happen(at, Outcome::End);
            }
            self.reap();
            if self.queue.is_empty() && self.done.is_empty() && self.starved.is_empty() {
                return self.check_nothing_is_left_lying();
            }
        }
        panic!("it never comes to rest");
    }

    fn check_nothing_is_left_lying(&mut self) {
        for handle in self.handles.clone() {
            let in_kernel = |kind| self.in_kernel.iter().any(|it| it.kind == kind && it.handle == handle);
            let (receives, accepts) = (in_kernel(Kind::Receive), in_kernel(Kind::Accept));
            let Some(account) = self.ledger.get(handle) else { continue };
            assert!(!account.closing, "{handle:?}: Closed has not come");
            assert_eq!(account.receiving, receives, "{handle:?}: a receive that is not armed, or not wanted");
            assert_eq!(account.accepting, accepts, "{handle:?}: an accept that is not armed, or not wanted");
            assert!(!account.sending && !account.connecting && !account.polling, "{handle:?} {account:?}");
            let stream = &self.streams[&handle];
            assert_eq!(stream.taken, stream.handed_in, "{handle:?}: other bytes than were handed in");
        }
    }

    /// Closes everything, and checks that nothing is left.
    fn finish(mut self) {
        for handle in self.handles.clone() {
            self.close(handle);
        }
        for _ in 0..10 {
            self.turn(Taken::None);
        }
        assert_eq!(self.ledger.len(), 0, "Closed has not come for every handle: {:?}", self.ledger);
        assert!(self.slots.is_empty() && self.in_kernel.is_empty(), "something was left");
    }
}

fn assert_os(error: &std::io::Error, expected: &[i32]) {
    assert!(error.raw_os_error().is_some_and(|errno| expected.contains(&errno)), "{error}");
}

fn is_send(kind: Kind) -> bool {
    matches!(kind, Kind::Send | Kind::SkipSuccessSend)
}

fn run(steps: &[Step]) -> World {
    let mut world = World::default();
    world.act(&Step::Open { adopted: false });
    world.act(&Step::Receive(0));
    for step in steps {
        world.act(step);
    }
    world
}

proptest! {
    // A failing input is printed in full, so no file of seeds is needed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_once_and_nothing_is_left_lying(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = run(&steps);
        world.quiesce();
        world.finish();
    }

    #[test]
    fn closing_everything_in_the_middle_leaves_nothing(steps in prop::collection::vec(step(), 0..60)) {
        run(&steps).finish();
    }
}

/// A bounded receive waits for the next turn outside the kernel. It can be cancelled and closed there.
#[test]
fn a_receive_that_has_had_its_share_waits_for_the_next_turn() {
    let waiting = [Step::LimitReceives(true), Step::Turn(Taken::All), Step::Happen(0, Outcome::LostMore)];
    for end in [None, Some(Step::Cancel(0)), Some(Step::Close(0))] {
        let mut world = run(&waiting);
        world.reap();
        let handle = world.handles[0];
        assert_eq!(world.starved, [handle]);
        assert!(world.in_kernel.is_empty() && world.queue.is_empty(), "it would have had more in this turn");
        if let Some(end) = &end {
            world.act(end);
            // Neither waits for the kernel, which has nothing.
            world.reap();
            assert!(world.ledger.get(handle).is_none_or(|account| !account.receiving), "{end:?}");
        }
        world.quiesce();
        assert_eq!(world.in_kernel.len(), usize::from(end.is_none()));
        world.finish();
    }
}

/// A cancelled receive may end in another way at the same time.
#[test]
fn a_cancelled_receive_ends_as_it_ends() {
    let ends =
        [(1, true), (-libc::ECANCELED, true), (-libc::ENOBUFS, true), (0, false), (-libc::ECONNRESET, false)];
    for (result, cancelled) in ends {
        let mut slot = Slot::new(Role::Own, None);
        slot.start_multishot(Kind::Receive).expect("it is idle");
        assert!(matches!(slot.cancel(), Cancel::InKernel(Kind::Receive)));
        let action = slot.on_completion(Kind::Receive, result, 0);
        let Action::Tell(Event::ReceiveEnded(end)) = action else { panic!("{result}: {action:?}") };
        assert_eq!(matches!(end, ReceiveEnd::Cancelled), cancelled, "{result}: {end:?}");
        slot.start_multishot(Kind::Receive).expect("it is idle again");
    }
}

#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<Slot>() <= 72, "{}", size_of::<Slot>());
}

/// The kernel may read the address until the connect has ended; then it would only cost memory.
#[test]
fn the_address_of_a_connect_is_kept_until_it_has_ended() {
    let mut slot = Slot::new(Role::Own, None);
    slot.address = Some(Box::new(SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 80)))));
    slot.start(Kind::Connect);
    slot.start_multishot(Kind::Receive).expect("it is idle");
    slot.on_completion(Kind::Receive, -libc::ENOTCONN, 0);
    assert!(slot.address.is_some(), "something else has ended");
    assert!(matches!(slot.on_completion(Kind::Connect, 0, 0), Action::Tell(Event::Connected(Ok(())))));
    assert!(slot.address.is_none());
}

/// As `Write::write_all` has it; to go on could go on for ever.
#[test]
fn a_send_of_which_nothing_is_taken_ends() {
    let mut slot = Slot::new(Role::Own, None);
    slot.start_send(SendBuffer::Static(b"some"), 0);
    assert!(matches!(slot.on_completion(Kind::Send, 1, 0), Action::Submit(Kind::Send)));
    match slot.on_completion(Kind::Send, 0, 0) {
        Action::Tell(Event::Sent(Err(CutSend { sent_size: 1, error }), SendBuffer::Static(b"some"))) => {
            assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
        }
        action => panic!("{action:?}"),
    }
}

/// Some kernels tell of every success while they are short of something.
#[test]
fn a_success_that_is_told_none_the_less_says_nothing() {
    let mut slot = Slot::new(Role::Own, None);
    slot.start_skip_success_send(b"some", 0);
    let action = slot.on_completion(Kind::SkipSuccessSend, 4, 1);
    assert!(matches!(action, Action::Nothing) && !slot.is_sending(), "{action:?}");
}
