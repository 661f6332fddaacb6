//! Property tests of the simulated driver: random operations and random faults, checked against a model.
//!
//! They check that every operation ends exactly once (`ledger`), that no byte is lost, duplicated or reordered, that
//! nothing leaks, and that the same seed gives the same run. The contract suite tests what each call does when nothing
//! fails.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use ringtide_driver::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use ringtide_driver::sim::{Faults, Sim, SimOptions};
use ringtide_driver::{
    Address, BufferPool, Completion, CutSend, Driver, Event, Handle, Lease, ReceiveEnd, SendBuffer,
};

#[path = "contract/ledger.rs"]
mod ledger;

use ledger::{Account, Ledger};

/// The most turns until nothing more can happen. The longest runs so far need a few thousand.
const TURNS_MAX: u32 = 200_000;

/// One step of the caller. The numbers select among the existing handles.
#[derive(Clone, Debug)]
enum Operation {
    Listen,
    Connect(usize),
    ConnectToNobody,
    Accept(usize),
    Receive(usize),
    Send(usize, usize),
    SendSkipSuccess(usize, usize),
    Shutdown(usize),
    Cancel(usize),
    CancelSend(usize),
    Close(usize),
    Reset(usize),
    DropLeases(usize),
    Turn(u64),
    Advance(u64),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => Just(Operation::Listen),
        4 => any::<usize>().prop_map(Operation::Connect),
        1 => Just(Operation::ConnectToNobody),
        4 => any::<usize>().prop_map(Operation::Accept),
        10 => any::<usize>().prop_map(Operation::Receive),
        10 => (any::<usize>(), 0..6_000_usize).prop_map(|(at, len)| Operation::Send(at, len)),
        4 => (any::<usize>(), 0..=SKIP_SUCCESS_SEND_SIZE_MAX).prop_map(|(at, len)| Operation::SendSkipSuccess(at, len)),
        3 => any::<usize>().prop_map(Operation::Shutdown),
        6 => any::<usize>().prop_map(Operation::Cancel),
        3 => any::<usize>().prop_map(Operation::CancelSend),
        2 => any::<usize>().prop_map(Operation::Close),
        1 => any::<usize>().prop_map(Operation::Reset),
        8 => (0..4_usize).prop_map(Operation::DropLeases),
        20 => (0..5_000_000_u64).prop_map(Operation::Turn),
        2 => (0..5_000_000_u64).prop_map(Operation::Advance),
    ]
}

/// Generates faults. The hidden ones of the first group must be rare, so that a run makes progress. Those of the second
/// group may happen every time.
fn faults() -> impl Strategy<Value = Faults> {
    let hidden = || prop_oneof![3 => Just(0.0), 1 => 0.0..0.6_f64];
    let always = || prop_oneof![3 => Just(0.0), 1 => 0.0..=1.0_f64];
    let seen = || prop_oneof![6 => Just(0.0), 1 => 0.0..=0.5_f64];
    let first = (hidden(), hidden(), hidden(), hidden());
    let second = (always(), always(), always(), always(), always());
    (first, second, [seen(), seen(), seen(), seen()]).prop_map(|(first, second, seen)| Faults {
        no_buffers: first.0,
        lost_more: first.1,
        overflow: first.2,
        spurious_wake: first.3,
        short_send: second.0,
        cut_receive: second.1,
        delayed_completion: second.2,
        cancel_race: second.3,
        slow_link: second.4,
        reset: seen[0],
        refused_connect: seen[1],
        blackhole_connect: seen[2],
        no_descriptors: seen[3],
    })
}

/// The parameters of one simulation.
#[derive(Clone, Debug)]
struct Setting {
    seed: u64,
    faults: Faults,
    buffers: u16,
    buffer_size: u32,
    socket_buffer_size: usize,
}

fn setting() -> impl Strategy<Value = Setting> {
    (any::<u64>(), faults(), 1..12_u16, 20..2_000_u32, 100..6_000_usize).prop_map(
        |(seed, faults, buffers, buffer_size, socket_buffer_size)| Setting {
            seed,
            faults,
            buffers,
            buffer_size,
            socket_buffer_size,
        },
    )
}

/// What one end of a connection has sent and received.
#[derive(Debug, Default)]
struct End {
    /// The other end of the connection. Known once the connection is accepted.
    peer: Option<Handle>,
    /// All bytes that were passed to a send, in order.
    handed_in: Vec<u8>,
    /// The offset in `handed_in` at which the bytes of the last send begin.
    send_start: usize,
    /// How many bytes of `handed_in` have certainly been sent.
    sent: usize,
    /// How many bytes of the peer's `handed_in` have been received.
    received: usize,
    eof: bool,
    /// Whether a send or a receive has failed.
    failed: bool,
    /// Whether this end is shut down or closed, so that the peer may see the end of the stream.
    finished: bool,
}

/// Bytes that are counted while they exist.
struct Counted(Vec<u8>, Arc<AtomicIsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

struct World {
    sim: Sim,
    ledger: Ledger,
    listeners: Vec<Handle>,
    streams: Vec<Handle>,
    /// Kept after `Closed`, because the peer may still receive what was sent.
    ends: HashMap<Handle, End>,
    /// The clients by local address, so that the server side of a connection finds its client.
    clients: HashMap<Address, Handle>,
    leases: Vec<Lease>,
    buffers_alive: Arc<AtomicIsize>,
    bytes_made: Cell<u64>,
    trace: Vec<String>,
}

impl World {
    fn new(setting: &Setting) -> Self {
        let options = SimOptions {
            seed: setting.seed,
            faults: setting.faults,
            socket_buffer_size: setting.socket_buffer_size,
        };
        let pool = BufferPool::with_sizes(setting.buffers, setting.buffer_size);
        Self {
            sim: Sim::with_pool(options, pool),
            ledger: Ledger::default(),
            listeners: Vec::new(),
            streams: Vec::new(),
            ends: HashMap::new(),
            clients: HashMap::new(),
            leases: Vec::new(),
            buffers_alive: Arc::default(),
            bytes_made: Cell::new(0),
            trace: Vec::new(),
        }
    }

    /// Returns a stream. It may be closed, because stale handles are to be used as well.
    fn stream(&self, at: usize) -> Option<Handle> {
        (!self.streams.is_empty()).then(|| self.streams[at % self.streams.len()])
    }

    fn listener(&self, at: usize) -> Option<Handle> {
        (!self.listeners.is_empty()).then(|| self.listeners[at % self.listeners.len()])
    }

    /// Returns whether the caller may still use `handle`.
    fn is_open(&self, handle: Handle) -> bool {
        self.ledger.get(handle).is_some_and(|account| !account.closing)
    }

    /// Checks the result of a call against what is under way. `busy` is whether the call must be refused.
    fn answered(&self, handle: Handle, result: &io::Result<()>, busy: bool) {
        let kind = result.as_ref().err().map(io::Error::kind);
        if !self.is_open(handle) {
            assert_eq!(kind, Some(ErrorKind::NotFound), "{handle:?} is stale");
        } else if busy {
            assert_eq!(kind, Some(ErrorKind::ResourceBusy), "{handle:?} {:?}", self.ledger.get(handle));
        } else {
            assert_eq!(kind, None, "{handle:?} {:?}", self.ledger.get(handle));
        }
    }

    fn act(&mut self, operation: &Operation) {
        match *operation {
            Operation::Listen => {
                let address = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
                let listener = self.sim.listen(&address, false).expect("a free port");
                self.ledger.open(listener, Account::default());
                self.listeners.push(listener);
            }
            Operation::Connect(at) => {
                let Some(address) = self.listener(at).and_then(|it| self.sim.local_address(it).ok()) else {
                    return;
                };
                self.connect(&address);
            }
            Operation::ConnectToNobody => {
                self.connect(&Address::Tcp("127.0.0.1:1".parse().expect("an address")));
            }
            Operation::Accept(at) => {
                let Some(listener) = self.listener(at) else { return };
                let result = self.sim.accept(listener);
                let busy = self.ledger.get(listener).is_some_and(|account| account.accepting);
                self.answered(listener, &result, busy);
                if result.is_ok() {
                    self.ledger.at(listener).start_accept();
                }
            }
            Operation::Receive(at) => {
                let Some(stream) = self.stream(at) else { return };
                self.receive(stream);
            }
            Operation::Send(at, len) => {
                let Some(stream) = self.stream(at) else { return };
                let bytes = self.fresh_bytes(len);
                self.buffers_alive.fetch_add(1, Ordering::Relaxed);
                let counted = Bytes::from_owner(Counted(bytes.clone(), Arc::clone(&self.buffers_alive)));
                let buffer =
                    if len.is_multiple_of(2) { SendBuffer::Shared(counted) } else { in_pieces(&counted) };
                let result = self.sim.send(stream, buffer);
                self.send_answered(stream, &result, &bytes, |account| account.sending = true);
            }
            Operation::SendSkipSuccess(at, len) => {
                static BYTES: [u8; SKIP_SUCCESS_SEND_SIZE_MAX] = {
                    let mut bytes = [0; SKIP_SUCCESS_SEND_SIZE_MAX];
                    let mut index = 0;
                    while index < SKIP_SUCCESS_SEND_SIZE_MAX {
                        bytes[index] = (index * 7 + index / 256) as u8;
                        index += 1;
                    }
                    bytes
                };
                let Some(stream) = self.stream(at) else { return };
                let result = self.sim.send_skip_success(stream, &BYTES[..len]);
                self.send_answered(stream, &result, &BYTES[..len], |account| account.skip_success += 1);
            }
            Operation::Shutdown(at) => {
                let Some(stream) = self.stream(at) else { return };
                let result = self.sim.shutdown(stream);
                if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
                    let account = self.ledger.at(stream);
                    assert!(
                        account.sending || account.skip_success > 0,
                        "{stream:?}: a shutdown was refused for nothing"
                    );
                    // So a skip-success send has to wait, and the driver has not reported it yet.
                    account.skip_success_refused |= !account.sending;
                } else if result.is_ok() {
                    let account = self.ledger.at(stream);
                    assert!(!account.closing && !account.sending, "shut in the middle of a send");
                    self.ends.get_mut(&stream).expect("every stream has an end").finished = true;
                }
            }
            Operation::Cancel(at) => {
                let handle = if at.is_multiple_of(4) { self.listener(at / 4) } else { self.stream(at / 4) };
                let Some(handle) = handle else { return };
                self.sim.cancel(handle);
                self.ledger.cancel(handle);
            }
            Operation::CancelSend(at) => {
                let Some(stream) = self.stream(at) else { return };
                self.sim.cancel_send(stream);
                self.ledger.cancel_send(stream);
            }
            Operation::Close(at) => {
                let handle = if at.is_multiple_of(8) { self.listener(at / 8) } else { self.stream(at / 8) };
                let Some(handle) = handle else { return };
                self.close(handle);
            }
            Operation::Reset(at) => {
                let Some(stream) = self.stream(at) else { return };
                self.sim.reset(stream);
            }
            Operation::DropLeases(count) => drop(self.leases.drain(..count.min(self.leases.len()))),
            Operation::Turn(wait_ns) => {
                let deadline_ns = self.sim.now_ns() + wait_ns;
                self.turn(Some(deadline_ns)).expect("a simulation does not break");
            }
            Operation::Advance(duration_ns) => self.sim.advance(duration_ns),
        }
    }

    fn connect(&mut self, address: &Address) {
        let stream = match self.sim.connect(address) {
            Ok(stream) => stream,
            Err(error) => return assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
        };
        self.ledger.open(stream, Account { connecting: true, ..Account::default() });
        let local = self.sim.local_address(stream).expect("it is open");
        self.clients.insert(local, stream);
        self.ends.insert(stream, End::default());
        self.streams.push(stream);
    }

    fn receive(&mut self, stream: Handle) {
        let result = self.sim.receive(stream);
        let busy = self.ledger.get(stream).is_some_and(|account| account.receiving);
        self.answered(stream, &result, busy);
        if result.is_ok() {
            self.ledger.at(stream).start_receive();
        }
    }

    fn close(&mut self, handle: Handle) {
        self.sim.close(handle);
        if self.is_open(handle) {
            self.ledger.at(handle).closing = true;
            if let Some(end) = self.ends.get_mut(&handle) {
                end.finished = true;
            }
        }
    }

    /// Returns bytes that no other send has.
    fn fresh_bytes(&self, len: usize) -> Vec<u8> {
        let mut state = self.bytes_made.get();
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        let bytes = bytes.take(len).collect();
        self.bytes_made.set(state);
        bytes
    }

    fn send_answered(
        &mut self,
        stream: Handle,
        result: &io::Result<()>,
        bytes: &[u8],
        book: impl FnOnce(&mut Account),
    ) {
        let (sending, skip_success) =
            self.ledger.get(stream).map_or((false, 0), |account| (account.sending, account.skip_success));
        // An earlier skip-success send may have to wait. If so, the driver must report it.
        let refused = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ResourceBusy);
        self.answered(stream, result, sending || (skip_success > 0 && refused));
        if refused && !sending {
            self.ledger.at(stream).skip_success_refused = true;
        }
        if result.is_ok() {
            book(self.ledger.at(stream));
            let end = self.ends.get_mut(&stream).expect("every stream has an end");
            end.send_start = end.handed_in.len();
            // After a failure the kernel takes nothing more, so nothing more can arrive.
            if !end.failed && !end.finished {
                end.handed_in.extend_from_slice(bytes);
            }
        }
    }

    fn turn(&mut self, deadline_ns: Option<u64>) -> io::Result<()> {
        let mut completions = Vec::new();
        let before_ns = self.sim.now_ns();
        self.sim.turn(deadline_ns, &mut completions)?;
        assert!(self.sim.now_ns() > before_ns, "time goes on");
        for completion in completions {
            self.ledger.observe(&completion);
            self.observe(completion);
        }
        Ok(())
    }

    fn observe(&mut self, completion: Completion) {
        let handle = completion.handle;
        self.trace.push(match &completion.event {
            Event::Received(lease) => format!("{} {handle:?} {lease:?}", self.sim.now_ns()),
            Event::Sent(result, buffer) => {
                format!("{} {handle:?} {result:?} {}", self.sim.now_ns(), buffer.len())
            }
            event => format!("{} {handle:?} {event:?}", self.sim.now_ns()),
        });
        match completion.event {
            Event::Accepted(stream) => {
                self.streams.push(stream);
                let client = self.sim.peer_address(stream).expect("it is connected");
                let client = self.clients[&client];
                self.ends.insert(stream, End { peer: Some(client), ..End::default() });
                self.ends.get_mut(&client).expect("every stream has an end").peer = Some(stream);
            }
            Event::Connected(Err(_)) => {
                self.ends.get_mut(&handle).expect("every stream has an end").failed = true;
            }
            Event::Received(lease) => {
                self.check_bytes(handle, &lease);
                self.leases.push(lease);
            }
            Event::ReceiveEnded(ReceiveEnd::Eof) => {
                let end = self.ends.get_mut(&handle).expect("every stream has an end");
                end.eof = true;
                let received = end.received;
                // If no peer is known, the connection was never accepted, so there can be no orderly end of stream.
                let peer = &self.ends[&self.ends[&handle].peer.expect("somebody has sent the end")];
                assert!(peer.finished, "an end that nobody has sent");
                assert!(received >= peer.sent, "{} bytes of {} before the end", received, peer.sent);
            }
            Event::ReceiveEnded(ReceiveEnd::Error(error)) if error.kind() != ErrorKind::NotConnected => {
                self.ends.get_mut(&handle).expect("every stream has an end").failed = true;
            }
            Event::Sent(result, buffer) => {
                let peer = self.ends[&handle].peer;
                let received = peer.map_or(0, |peer| self.ends[&peer].received);
                let end = self.ends.get_mut(&handle).expect("every stream has an end");
                match result {
                    // All bytes that were passed to a send before this one were sent before it.
                    Ok(()) => {
                        end.sent = end.handed_in.len();
                        self.ledger.at(handle).skip_success = 0;
                    }
                    Err(CutSend { sent_size, error }) => {
                        // What the kernel did not take never arrives.
                        end.handed_in.truncate(end.send_start + sent_size);
                        assert!(received <= end.handed_in.len(), "more came than was taken");
                        match error.raw_os_error() {
                            // The next send continues from here.
                            Some(libc::ECANCELED) => {
                                end.sent = end.handed_in.len();
                                self.ledger.at(handle).skip_success = 0;
                            }
                            // The send was started before the connection existed.
                            Some(libc::ENOTCONN) => {}
                            _ => end.failed = true,
                        }
                    }
                }
                drop(buffer);
            }
            _ => {}
        }
    }

    /// Checks that `bytes` are the next bytes that the peer has passed to a send.
    fn check_bytes(&mut self, handle: Handle, bytes: &[u8]) {
        let end = self.ends.get_mut(&handle).expect("every stream has an end");
        assert!(!end.eof, "bytes after the end");
        let from = end.received;
        end.received += bytes.len();
        let peer = self.ends[&handle].peer.expect("somebody has sent this");
        let expected = self.ends[&peer].handed_in.get(from..from + bytes.len());
        assert!(expected == Some(bytes), "{handle:?}: wrong bytes from {from} on");
    }

    /// Receives everything until nothing more can happen, and checks that nothing got stuck.
    fn quiesce(&mut self) {
        for listener in self.listeners.clone() {
            if self.ledger.get(listener).is_some_and(|account| !account.closing && !account.accepting) {
                self.sim.accept(listener).expect("it is open and idle");
                self.ledger.at(listener).start_accept();
            }
        }
        for _ in 0..TURNS_MAX {
            self.leases.clear();
            for stream in self.streams.clone() {
                let end = &self.ends[&stream];
                let over = end.eof || end.failed;
                if self.ledger.get(stream).is_some_and(|it| !it.closing && !it.receiving && !it.connecting)
                    && !over
                {
                    self.receive(stream);
                }
            }
            match self.turn(None) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
                    return self.check_nothing_is_stuck();
                }
            }
        }
        panic!("it never comes to rest");
    }

    fn check_nothing_is_stuck(&self) {
        for &stream in &self.streams {
            let end = &self.ends[&stream];
            let Some(account) = self.ledger.get(stream) else { continue };
            assert!(!account.closing, "{stream:?}: Closed has not come");
            let Some(peer) = end.peer else { continue };
            let peer_end = &self.ends[&peer];
            if end.failed {
                continue;
            }
            assert!(end.eof || !peer_end.finished, "{stream:?}: the end is missing");
            if peer_end.failed || !self.is_open(peer) {
                continue;
            }
            assert!(!account.sending, "{stream:?}: Sent has not come");
            assert!(!account.skip_success_refused, "{stream:?}: a send was refused for nothing");
            assert_eq!(end.received, peer_end.handed_in.len(), "{stream:?}: bytes are missing");
        }
    }

    /// Closes everything, and checks that nothing is left.
    fn finish(mut self) -> Vec<String> {
        for handle in self.streams.iter().chain(&self.listeners).copied().collect::<Vec<_>>() {
            self.close(handle);
        }
        self.leases.clear();
        for _ in 0..TURNS_MAX {
            if let Err(error) = self.turn(None) {
                assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
                break;
            }
        }
        assert_eq!(self.ledger.len(), 0, "Closed has not come for every handle: {:?}", self.ledger);
        assert_eq!(self.sim.open_sockets(), 0, "sockets leaked");
        assert_eq!(self.sim.pool().lent(), 0, "receive buffers leaked");
        assert_eq!(self.buffers_alive.load(Ordering::Relaxed), 0, "send buffers leaked");
        self.trace
    }

    /// Drops the driver while operations are under way, and checks that it keeps nothing alive.
    fn abandon(self) {
        let pool = self.sim.pool().clone();
        drop(self.sim);
        let held = self.leases.iter().filter(|lease| lease.is_pooled()).count();
        assert_eq!(usize::from(pool.lent()), held, "receive buffers leaked");
        assert_eq!(self.buffers_alive.load(Ordering::Relaxed), 0, "send buffers leaked");
    }
}

/// Returns `bytes` in pieces, the last ones empty.
fn in_pieces(bytes: &Bytes) -> SendBuffer {
    let len = bytes.len();
    let edges = (0..=len).step_by(1 + len / 7).chain([len, len]);
    let ends = edges.clone().skip(1);
    SendBuffer::Pieces(edges.zip(ends).map(|(start, end)| bytes.slice(start..end)).collect())
}

fn run(setting: &Setting, operations: &[Operation]) -> World {
    let mut world = World::new(setting);
    // Starts with a listener and a connection, so that even short runs do something.
    let address = {
        world.act(&Operation::Listen);
        world.act(&Operation::Accept(0));
        world.sim.local_address(world.listeners[0]).expect("it is open")
    };
    world.connect(&address);
    for operation in operations {
        world.act(operation);
    }
    world
}

proptest! {
    // A failing input is printed in full, so no file of seeds is needed.
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_time: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_once_and_nothing_is_lost(
        setting in setting(),
        operations in prop::collection::vec(operation(), 0..100),
    ) {
        let mut world = run(&setting, &operations);
        world.quiesce();
        world.finish();
    }

    #[test]
    fn closing_everything_in_the_middle_leaves_nothing(
        setting in setting(),
        operations in prop::collection::vec(operation(), 0..100),
    ) {
        run(&setting, &operations).finish();
    }

    #[test]
    fn dropping_the_driver_in_the_middle_leaves_nothing(
        setting in setting(),
        operations in prop::collection::vec(operation(), 0..100),
    ) {
        run(&setting, &operations).abandon();
    }

    #[test]
    fn the_same_seed_gives_the_same_run(
        setting in setting(),
        operations in prop::collection::vec(operation(), 0..100),
    ) {
        let traces = [(); 2].map(|()| {
            let mut world = run(&setting, &operations);
            world.quiesce();
            world.finish()
        });
        prop_assert_eq!(&traces[0], &traces[1]);
    }
}

/// Checks the test itself: such runs really reach the states that the properties are about.
#[test]
fn a_run_without_faults_moves_bytes() {
    let faults = Faults::default();
    let setting = Setting { seed: 1, faults, buffers: 4, buffer_size: 100, socket_buffer_size: 1_000 };
    let operations = [
        Operation::Turn(1_000_000),
        Operation::Turn(1_000_000),
        Operation::Send(0, 10_000),
        Operation::Send(1, 20_000),
        Operation::Receive(0),
        Operation::Turn(1_000_000),
    ];
    let mut world = run(&setting, &operations);
    world.quiesce();
    let received: Vec<_> = world.streams.iter().map(|stream| world.ends[stream].received).collect();
    assert_eq!(received, [20_000, 10_000]);
    world.finish();
}

#[test]
fn a_skip_success_send_that_a_shutdown_has_met_can_be_cancelled_before_it_is_told_to_wait() {
    let setting =
        Setting { seed: 1, faults: Faults::default(), buffers: 4, buffer_size: 100, socket_buffer_size: 100 };
    let operations = [
        Operation::Turn(1_000_000),
        Operation::Turn(1_000_000),
        Operation::SendSkipSuccess(0, 3_921),
        Operation::Shutdown(0),
        Operation::CancelSend(0),
        Operation::Turn(1_000_000),
        Operation::Turn(1_000_000),
    ];
    run(&setting, &operations).abandon();
}

/// Regression test: when every starved socket could start a new shortage of buffers, the number of steps multiplied
/// without end.
#[test]
fn droughts_of_buffers_end_for_many_sockets() {
    let faults = Faults { no_buffers: 0.6, ..Faults::default() };
    let setting = Setting { seed: 1, faults, buffers: 4, buffer_size: 100, socket_buffer_size: 1_000 };
    let mut operations: Vec<_> = (0..10).map(|_| Operation::Connect(0)).collect();
    operations.extend([Operation::Turn(1_000_000), Operation::Turn(1_000_000)]);
    operations.extend((0..22).map(|at| Operation::Send(at, 2_000)));
    let mut world = run(&setting, &operations);
    world.quiesce();
    world.finish();
}
