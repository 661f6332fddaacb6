//! A driver with its book-keeping: calls go through here, completions are checked and kept until a test asks for them.

use std::io;

use ringtide_driver::{Address, Completion, CutSend, Driver, Event, Handle, Lease, ReceiveEnd, SendBuffer};

use crate::ledger::{Account, Ledger};

/// Turns that a single wait may take. A driver that returns early with nothing is allowed to, but not for ever.
const WAIT_TURNS_MAX: u32 = 1_000_000;

/// The longest wait for one event, on the driver's clock. Loopback needs microseconds; the rest is for busy machines.
const WAIT_NS_MAX: u64 = 30_000_000_000;

/// The deadline of a single turn.
const TURN_NS: u64 = 50_000_000;

/// Long enough on loopback for whatever was under way to have come out, when a test asserts that nothing comes.
pub(crate) const SETTLED_NS: u64 = 30_000_000;

pub(crate) struct Pump<D> {
    pub(crate) driver: D,
    ledger: Ledger,
    /// What has come and no test has asked for.
    inbox: Vec<Completion>,
}

impl<D: Driver> Pump<D> {
    pub(crate) fn new(driver: D) -> Self {
        Self { driver, ledger: Ledger::default(), inbox: Vec::new() }
    }

    // Calls that have to succeed

    pub(crate) fn connect(&mut self, address: &Address) -> Handle {
        self.try_connect(address).expect("a socket can be made")
    }

    pub(crate) fn try_connect(&mut self, address: &Address) -> io::Result<Handle> {
        let handle = self.driver.connect(address)?;
        self.ledger.open(handle, Account { connecting: true, ..Account::default() });
        Ok(handle)
    }

    pub(crate) fn listen(&mut self, address: &Address) -> Handle {
        let handle = self.driver.listen(address, false).expect("the address can be listened at");
        self.own(handle);
        handle
    }

    /// Books a handle that a call to the driver itself gave.
    pub(crate) fn own(&mut self, handle: Handle) {
        self.ledger.open(handle, Account::default());
    }

    /// Books a poll that a call to the driver itself gave.
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

    /// Drops what has come of `handle` and no test has asked for.
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
            // What came out of an earlier turn is the caller's; from here on only Closed may come.
            self.inbox.retain(|completion| completion.handle != handle);
        }
    }

    // Waiting

    /// One turn; what it gives is checked and kept.
    pub(crate) fn turn(&mut self, deadline_ns: Option<u64>) {
        let mut batch = Vec::new();
        self.driver.turn(deadline_ns, &mut batch).expect("the driver works");
        for completion in batch {
            self.ledger.observe(&completion);
            self.inbox.push(completion);
        }
    }

    /// Turns until a completion is what is waited for, and takes it. The others stay.
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

    /// Turns until so much time has passed, whatever comes.
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

    /// Lets everything under way come out, and asserts that nothing came that no test has asked for.
    pub(crate) fn expect_nothing(&mut self) {
        self.pass(SETTLED_NS);
        assert!(self.inbox.is_empty(), "nothing more was to come: {:?}", self.inbox);
    }

    /// The next event of any handle.
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

    /// The next piece, or the end.
    pub(crate) fn piece(&mut self, socket: Handle) -> Result<Lease, ReceiveEnd> {
        let wanted = |event: &Event| matches!(event, Event::Received(_) | Event::ReceiveEnded(_));
        match self.wait("Received or ReceiveEnded", socket, wanted) {
            Event::Received(lease) => Ok(lease),
            Event::ReceiveEnded(end) => Err(end),
            event => unreachable!("{event:?} was not waited for"),
        }
    }

    /// The next `len` bytes or more, if the pieces are cut so.
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

    /// All bytes up to the end, and the end.
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

    /// All connections that were accepted and not asked for.
    pub(crate) fn take_accepted(&mut self) -> Vec<Handle> {
        let accepted = self.inbox.extract_if(.., |completion| matches!(completion.event, Event::Accepted(_)));
        accepted
            .filter_map(|completion| if let Event::Accepted(it) = completion.event { Some(it) } else { None })
            .collect()
    }

    /// All pieces that were received and not asked for, in their order.
    pub(crate) fn take_received(&mut self) -> Vec<(Handle, Lease)> {
        let pieces = self.inbox.extract_if(.., |completion| matches!(completion.event, Event::Received(_)));
        pieces
            .filter_map(
                |it| if let Event::Received(lease) = it.event { Some((it.handle, lease)) } else { None },
            )
            .collect()
    }

    // What most tests begin and end with

    /// A listener on a free port of the loopback, accepting, and its address.
    pub(crate) fn server(&mut self) -> (Handle, Address) {
        let listener = self.listen(&loopback());
        let address = self.driver.local_address(listener).expect("a bound socket has an address");
        self.accept(listener);
        (listener, address)
    }

    /// A connection between two sockets of this driver: the client and the server.
    pub(crate) fn pair(&mut self) -> (Handle, Handle) {
        self.pair_over(&loopback())
    }

    /// As [`pair`](Self::pair), over any address that can be listened at.
    pub(crate) fn pair_over(&mut self, address: &Address) -> (Handle, Handle) {
        let listener = self.listen(address);
        let address = self.driver.local_address(listener).expect("a bound socket has an address");
        self.accept(listener);
        let pair = self.pair_at(listener, &address);
        self.close(listener);
        self.closed(listener);
        pair
    }

    /// A further connection to an accepting listener.
    pub(crate) fn pair_at(&mut self, listener: Handle, address: &Address) -> (Handle, Handle) {
        let client = self.connect(address);
        self.connected(client).expect("a listener is there");
        (client, self.accepted(listener))
    }

    /// Closes `handles`, and asserts that only `Closed` comes for each and that nothing else is open or to come.
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

/// A free port of the loopback.
pub(crate) fn loopback() -> Address {
    Address::Tcp("127.0.0.1:0".parse().expect("an address"))
}

/// `len` bytes that look like nothing else: any that is lost, doubled or out of place shows.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).flat_map(|index| {
        let mixed = (index ^ (seed << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes()
    });
    words.take(len).collect()
}

/// An owned copy, to send.
pub(crate) fn owned(bytes: &[u8]) -> SendBuffer {
    SendBuffer::Owned(bytes.to_vec())
}
