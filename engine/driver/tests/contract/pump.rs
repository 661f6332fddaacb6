//! A driver with a ledger. It makes calls, checks completions, and keeps them until a test asks for them.

use std::io;
use std::net::IpAddr;

use ringtide_driver::{Address, Completion, CutSend, Driver, Event, Handle, Lease, ReceiveEnd, SendBuffer};

use crate::ledger::{Account, Ledger};

/// The most turns of a single wait. A driver may return early without a completion, but not for ever.
const WAIT_TURNS_MAX: u32 = 1_000_000;

/// The longest wait for one event, on the driver's clock. Loopback needs microseconds. The rest is for busy machines.
const WAIT_NS_MAX: u64 = 30_000_000_000;

/// How long a single turn waits at most.
const TURN_NS: u64 = 50_000_000;

/// How long a test waits before it asserts that nothing comes. On loopback, everything under way arrives in this time.
pub(crate) const SETTLED_NS: u64 = 30_000_000;

pub(crate) struct Pump<D> {
    pub(crate) driver: D,
    ledger: Ledger,
    /// Completions that no test has asked for yet.
    inbox: Vec<Completion>,
}

impl<D: Driver> Pump<D> {
    pub(crate) fn new(driver: D) -> Self {
        Self { driver, ledger: Ledger::default(), inbox: Vec::new() }
    }

    // Calls that must succeed

    pub(crate) fn connect(&mut self, address: &Address) -> Handle {
        self.try_connect(address).expect("a socket can be made")
    }

    pub(crate) fn try_connect(&mut self, address: &Address) -> io::Result<Handle> {
        let handle = self.driver.connect(address)?;
        self.ledger.open(handle, Account { connecting: true, ..Account::default() });
        Ok(handle)
    }

    pub(crate) fn connect_from(&mut self, address: &Address, source: IpAddr) -> Handle {
        let handle = self.driver.connect_from(address, Some(source)).expect("a socket can be made");
        self.ledger.open(handle, Account { connecting: true, ..Account::default() });
        handle
    }

    pub(crate) fn listen(&mut self, address: &Address) -> Handle {
        let handle = self.driver.listen(address, false).expect("the address can be listened at");
        self.own(handle);
        handle
    }

    /// Records a handle that a test got by calling the driver directly.
    pub(crate) fn own(&mut self, handle: Handle) {
        self.ledger.open(handle, Account::default());
    }

    /// Records a poll that a test got by calling the driver directly.
    pub(crate) fn own_poll(&mut self, handle: Handle) {
        self.ledger.open(handle, Account { polling: true, ..Account::default() });
    }

    pub(crate) fn accept(&mut self, listener: Handle) {
        self.driver.accept(listener).expect("accepting can start");
        self.ledger.at(listener).start_accept();
    }

    pub(crate) fn receive(&mut self, socket: Handle) {
        self.driver.receive(socket).expect("receiving can start");
        self.ledger.at(socket).start_receive();
    }

    pub(crate) fn send(&mut self, socket: Handle, buffer: SendBuffer) {
        self.driver.send(socket, buffer).expect("sending can start");
        self.ledger.at(socket).sending = true;
    }

    pub(crate) fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) {
        self.try_send_skip_success(socket, bytes).expect("sending can start");
    }

    pub(crate) fn try_send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()> {
        self.driver.send_skip_success(socket, bytes)?;
        self.ledger.at(socket).skip_success += 1;
        Ok(())
    }

    /// Drops the completions of `handle` that no test has asked for.
    pub(crate) fn forget(&mut self, handle: Handle) {
        self.inbox.retain(|completion| completion.handle != handle);
    }

    pub(crate) fn cancel(&mut self, handle: Handle) {
        self.driver.cancel(handle);
        self.ledger.cancel(handle);
    }

    pub(crate) fn close(&mut self, handle: Handle) {
        self.driver.close(handle);
        if let Some(account) = self.ledger.get(handle)
            && !account.closing
        {
            self.ledger.at(handle).closing = true;
            // Completions of earlier turns are no longer of interest. From now on only `Closed` may come.
            self.inbox.retain(|completion| completion.handle != handle);
        }
    }

    // Waiting

    /// Takes one turn, and checks and keeps its completions.
    pub(crate) fn turn(&mut self, deadline_ns: Option<u64>) {
        let mut batch = Vec::new();
        self.driver.turn(deadline_ns, &mut batch).expect("the driver works");
        for completion in batch {
            self.ledger.observe(&completion);
            self.inbox.push(completion);
        }
    }

    /// Takes turns until the wanted completion comes, and returns it. Keeps the others.
    fn wait(&mut self, what: &str, handle: Handle, wanted: impl Fn(&Event) -> bool) -> Event {
        let end_ns = self.driver.now_ns() + WAIT_NS_MAX;
        let mut seen = 0;
        for _ in 0..WAIT_TURNS_MAX {
            let fresh = &self.inbox[seen..];
            let found = fresh.iter().position(|it| it.handle == handle && wanted(&it.event));
            if let Some(found) = found {
                return self.inbox.remove(seen + found).event;
            }
            seen = self.inbox.len();
            let now_ns = self.driver.now_ns();
            assert!(now_ns < end_ns, "waited too long for {what} of {handle:?}; what came: {:?}", self.inbox);
            self.turn(Some(now_ns + TURN_NS));
        }
        panic!("too many turns for {what} of {handle:?}; what came: {:?}", self.inbox);
    }

    /// Takes turns until this time has passed.
    pub(crate) fn pass(&mut self, duration_ns: u64) {
        let end_ns = self.driver.now_ns() + duration_ns;
        for _ in 0..WAIT_TURNS_MAX {
            if self.driver.now_ns() >= end_ns {
                return;
            }
            self.turn(Some(end_ns));
        }
        panic!("the driver's clock does not move");
    }

    /// Waits for everything that is under way, and asserts that no completion is left that no test has asked for.
    pub(crate) fn expect_nothing(&mut self) {
        self.pass(SETTLED_NS);
        assert!(self.inbox.is_empty(), "nothing more was to come: {:?}", self.inbox);
    }

    /// Waits for the next event of any handle.
    pub(crate) fn any(&mut self) -> (Handle, Event) {
        let end_ns = self.driver.now_ns() + WAIT_NS_MAX;
        while self.inbox.is_empty() {
            let now_ns = self.driver.now_ns();
            assert!(now_ns < end_ns, "waited too long for anything");
            self.turn(Some(now_ns + TURN_NS));
        }
        let Completion { handle, event } = self.inbox.remove(0);
        (handle, event)
    }

    pub(crate) fn connected(&mut self, socket: Handle) -> io::Result<()> {
        match self.wait("Connected", socket, |event| matches!(event, Event::Connected(_))) {
            Event::Connected(result) => result,
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    pub(crate) fn accepted(&mut self, listener: Handle) -> Handle {
        match self.wait("Accepted", listener, |event| matches!(event, Event::Accepted(_))) {
            Event::Accepted(stream) => stream,
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    pub(crate) fn accept_ended(&mut self, listener: Handle) -> Option<io::Error> {
        match self.wait("AcceptEnded", listener, |event| matches!(event, Event::AcceptEnded(_))) {
            Event::AcceptEnded(error) => error,
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    /// Waits for the next piece, or the end.
    pub(crate) fn piece(&mut self, socket: Handle) -> Result<Lease, ReceiveEnd> {
        let wanted = |event: &Event| matches!(event, Event::Received(_) | Event::ReceiveEnded(_));
        match self.wait("Received or ReceiveEnded", socket, wanted) {
            Event::Received(lease) => Ok(lease),
            Event::ReceiveEnded(end) => Err(end),
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    /// Receives at least `len` bytes. There are more if the last piece contains more.
    pub(crate) fn received(&mut self, socket: Handle, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            match self.piece(socket) {
                Ok(lease) => bytes.extend_from_slice(&lease),
                Err(end) => panic!("{end:?} after {} of {len} bytes", bytes.len()),
            }
        }
        bytes
    }

    /// Receives all bytes up to the end. Returns them and the end.
    pub(crate) fn received_all(&mut self, socket: Handle) -> (Vec<u8>, ReceiveEnd) {
        let mut bytes = Vec::new();
        loop {
            match self.piece(socket) {
                Ok(lease) => bytes.extend_from_slice(&lease),
                Err(end) => return (bytes, end),
            }
        }
    }

    pub(crate) fn sent(&mut self, socket: Handle) -> (io::Result<()>, SendBuffer) {
        let (result, buffer) = self.send_ended(socket);
        (result.map_err(|cut| cut.error), buffer)
    }

    pub(crate) fn send_ended(&mut self, socket: Handle) -> (Result<(), CutSend>, SendBuffer) {
        match self.wait("Sent", socket, |event| matches!(event, Event::Sent(..))) {
            Event::Sent(result, buffer) => (result, buffer),
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    pub(crate) fn send_waits(&mut self, socket: Handle) {
        self.wait("SendWaits", socket, |event| matches!(event, Event::SendWaits));
    }

    pub(crate) fn cancel_send(&mut self, socket: Handle) {
        self.driver.cancel_send(socket);
        self.ledger.cancel_send(socket);
    }

    pub(crate) fn polled(&mut self, poll: Handle) -> io::Result<()> {
        match self.wait("Polled", poll, |event| matches!(event, Event::Polled(_))) {
            Event::Polled(result) => result,
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    pub(crate) fn closed(&mut self, handle: Handle) {
        self.wait("Closed", handle, |event| matches!(event, Event::Closed));
    }

    /// Returns all accepted connections that no test has asked for.
    pub(crate) fn take_accepted(&mut self) -> Vec<Handle> {
        let accepted = self.inbox.extract_if(.., |completion| matches!(completion.event, Event::Accepted(_)));
        accepted
            .filter_map(|completion| if let Event::Accepted(it) = completion.event { Some(it) } else { None })
            .collect()
    }

    /// Returns all received pieces that no test has asked for, in order.
    pub(crate) fn take_received(&mut self) -> Vec<(Handle, Lease)> {
        let pieces = self.inbox.extract_if(.., |completion| matches!(completion.event, Event::Received(_)));
        pieces
            .filter_map(
                |it| if let Event::Received(lease) = it.event { Some((it.handle, lease)) } else { None },
            )
            .collect()
    }

    // The start and the end of most tests

    /// Creates an accepting listener on a free loopback port. Returns it and its address.
    pub(crate) fn server(&mut self) -> (Handle, Address) {
        let listener = self.listen(&loopback());
        let address = self.driver.local_address(listener).expect("a bound socket has an address");
        self.accept(listener);
        (listener, address)
    }

    /// Connects two sockets of this driver. Returns the client and the server.
    pub(crate) fn pair(&mut self) -> (Handle, Handle) {
        self.pair_over(&loopback())
    }

    /// Like [`pair`](Self::pair), over any address that one can listen on.
    pub(crate) fn pair_over(&mut self, address: &Address) -> (Handle, Handle) {
        let listener = self.listen(address);
        let address = self.driver.local_address(listener).expect("a bound socket has an address");
        self.accept(listener);
        let pair = self.pair_at(listener, &address);
        self.close(listener);
        self.closed(listener);
        pair
    }

    /// Makes another connection to an accepting listener.
    pub(crate) fn pair_at(&mut self, listener: Handle, address: &Address) -> (Handle, Handle) {
        let client = self.connect(address);
        self.connected(client).expect("a listener is there");
        (client, self.accepted(listener))
    }

    /// Closes `handles`. Asserts that each gets only `Closed`, that no other handle is open, and that nothing more
    /// comes.
    pub(crate) fn finish(&mut self, handles: &[Handle]) {
        for &handle in handles {
            self.close(handle);
        }
        for &handle in handles {
            self.closed(handle);
        }
        self.expect_nothing();
        assert_eq!(self.ledger.len(), 0, "a handle was left open");
        assert_eq!(self.driver.pool().lent(), 0, "a lease was left");
    }
}

/// Returns the loopback address with port 0, for a free port.
pub(crate) fn loopback() -> Address {
    Address::Tcp("127.0.0.1:0".parse().expect("an address"))
}

/// Returns `len` bytes of a pattern without repetitions, so that lost, duplicated or misplaced bytes are noticed.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).flat_map(|index| {
        let mixed = (index ^ (seed << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes()
    });
    words.take(len).collect()
}

/// Returns an owned copy, to send.
pub(crate) fn owned(bytes: &[u8]) -> SendBuffer {
    SendBuffer::Owned(bytes.to_vec())
}
