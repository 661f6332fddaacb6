//! Shared by the tests of this crate: a driver with its completions, and peers from the standard library.

// Each test file is a separate crate and uses only a part of this module.
#![allow(dead_code, unreachable_pub)]

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use ringtide_driver::{Address, BufferPool, Completion, Driver, Event, Handle, monotonic_ns};
use ringtide_fallback::Fallback;

/// How long a test waits for something that must come.
const PATIENCE_NS: u64 = 20_000_000_000;

/// A driver, and all completions that it has delivered so far.
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

    /// Takes one turn that does not wait.
    pub fn turn(&mut self) {
        self.driver.turn(Some(0), &mut self.completions).unwrap();
    }

    /// Waits two milliseconds. Returns whether no event ended the wait, for example one of a closed handle.
    pub fn is_undisturbed(&mut self) -> bool {
        let before = self.driver.syscalls();
        let deadline_ns = monotonic_ns() + 2_000_000;
        self.driver.turn(Some(deadline_ns), &mut self.completions).unwrap();
        // A turn without an event needs a second call for the fraction of a millisecond, unless it is late already.
        self.driver.syscalls() - before > 1 || monotonic_ns() >= deadline_ns
    }

    /// Takes turns until `done` returns true.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline_ns = monotonic_ns() + PATIENCE_NS;
        while !done(self) {
            assert!(monotonic_ns() < deadline_ns, "no {what} in {:?}", self.completions);
            self.driver.turn(Some(deadline_ns), &mut self.completions).unwrap();
        }
    }

    /// Takes turns until a `wanted` completion comes, and removes it.
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

    /// Creates a TCP connection between the driver and a blocking peer.
    pub fn connection(&mut self) -> (Handle, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = self.driver.connect(&Address::Tcp(listener.local_addr().unwrap())).unwrap();
        self.connected(socket).unwrap();
        let (peer, _) = listener.accept().unwrap();
        // Consumes the edges of the new connection, so that a test sees only its own.
        self.turn();
        (socket, peer)
    }

    /// Creates a Unix connection between the driver and a blocking peer. The peer's bytes arrive before its write
    /// returns. With TCP they may take a moment, even on the loopback.
    pub fn unix_connection(&mut self) -> (Handle, UnixStream) {
        let (ours, peer) = UnixStream::pair().unwrap();
        let socket = self.driver.adopt(ours.into()).unwrap();
        self.turn();
        (socket, peer)
    }

    /// Takes the bytes that have been received from `socket`, and drops the leases.
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

    /// Takes turns until `length` bytes have been received from `socket`, and returns them.
    pub fn received_in_all(&mut self, socket: Handle, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("Received", |rig| {
            bytes.append(&mut rig.received(socket));
            bytes.len() >= length
        });
        bytes
    }

    /// Returns how many completions of `socket` are `wanted`.
    pub fn count(&self, socket: Handle, wanted: impl Fn(&Event) -> bool) -> usize {
        self.completions.iter().filter(|c| c.handle == socket && wanted(&c.event)).count()
    }
}
