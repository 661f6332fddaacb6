//! What the tests of this crate share: a driver with its completions, and peers from the standard library.

// Each test file is a crate of its own and uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use ringtide_driver::{Address, BufferPool, Completion, Driver, Event, Handle, monotonic_ns};
use ringtide_fallback::Fallback;

/// How long a test waits for what must come.
const PATIENCE_NS: u64 = 20_000_000_000;

/// A driver, and all that it has given so far.
pub struct Rig {
    pub driver: Fallback,
    pub completions: Vec<Completion>,
}

impl Rig {
    pub fn new() -> Self {
        Self { driver: Fallback::new().unwrap(), completions: Vec::new() }
    }

    pub fn with_pool(count: u16, size: u32) -> Self {
        let driver = Fallback::with_pool(BufferPool::with_sizes(count, size)).unwrap();
        Self { driver, completions: Vec::new() }
    }

    /// One turn that does not wait.
    pub fn turn(&mut self) {
        self.driver.turn(Some(0), &mut self.completions).unwrap();
    }

    /// Waits two milliseconds, in which nothing may end the wait: no event of what was closed.
    pub fn is_undisturbed(&mut self) -> bool {
        let before = self.driver.syscalls();
        let deadline_ns = monotonic_ns() + 2_000_000;
        self.driver.turn(Some(deadline_ns), &mut self.completions).unwrap();
        // A turn that is not ended by an event needs a second call for the part of a millisecond, unless it is late.
        self.driver.syscalls() - before > 1 || monotonic_ns() >= deadline_ns
    }

    /// Turns until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline_ns = monotonic_ns() + PATIENCE_NS;
        while !done(self) {
            assert!(monotonic_ns() < deadline_ns, "no {what} in {:?}", self.completions);
            self.driver.turn(Some(deadline_ns), &mut self.completions).unwrap();
        }
    }

    /// Turns until `wanted` is among the completions, and takes it out.
    pub fn take(&mut self, what: &str, wanted: impl Fn(&Completion) -> bool) -> Completion {
        self.until(what, |rig| rig.completions.iter().any(&wanted));
        let index = self.completions.iter().position(wanted).unwrap();
        self.completions.remove(index)
    }

    /// Waits for `Connected`.
    pub fn connected(&mut self, socket: Handle) -> std::io::Result<()> {
        let is_wanted = |c: &Completion| c.handle == socket && matches!(c.event, Event::Connected(_));
        match self.take("Connected", is_wanted).event {
            Event::Connected(result) => result,
            _ => unreachable!(),
        }
    }

    /// A TCP connection between the driver and a blocking peer.
    pub fn connection(&mut self) -> (Handle, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = self.driver.connect(&Address::Tcp(listener.local_addr().unwrap())).unwrap();
        self.connected(socket).unwrap();
        let (peer, _) = listener.accept().unwrap();
        // The edges of a new connection come and go, so that a test sees its own alone.
        self.turn();
        (socket, peer)
    }

    /// A Unix connection between the driver and a blocking peer, whose bytes arrive before its write returns; TCP's
    /// may need a moment of the kernel's, even on the loopback.
    pub fn unix_connection(&mut self) -> (Handle, UnixStream) {
        let (ours, peer) = UnixStream::pair().unwrap();
        let socket = self.driver.adopt(ours.into()).unwrap();
        self.turn();
        (socket, peer)
    }

    /// Takes what has been received from `socket`, as bytes; the leases go back.
    pub fn received(&mut self, socket: Handle) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.completions.retain(|completion| match &completion.event {
            Event::Received(lease) if completion.handle == socket => {
                bytes.extend_from_slice(lease);
                false
            }
            _ => true,
        });
        bytes
    }

    /// Turns until `length` bytes have been received from `socket`, and takes them.
    pub fn received_in_all(&mut self, socket: Handle, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("Received", |rig| {
            bytes.append(&mut rig.received(socket));
            bytes.len() >= length
        });
        bytes
    }

    /// How many completions of `socket` are `wanted`.
    pub fn count(&self, socket: Handle, wanted: impl Fn(&Event) -> bool) -> usize {
        self.completions.iter().filter(|c| c.handle == socket && wanted(&c.event)).count()
    }
}
