//! The state of one simulated socket or listener: plain data, moved by the parent module's steps.

use std::collections::VecDeque;
use std::io;

use crate::address::Address;
use crate::buffer::SendBuffer;
use crate::contract::{Handle, busy_handle};

/// What is behind a handle.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    /// The multishot operation: receiving of a stream, accepting of a listener.
    pub(super) multishot: Multishot,
    /// `close` was called; only `Closed` is still to come.
    pub(super) closing: bool,
    /// When the last completion of this socket that has an order to keep is due.
    pub(super) ordered_due_ns: u64,
    /// When the last completion of any kind is due: `Closed` comes no earlier.
    pub(super) last_due_ns: u64,
}

impl Socket {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, multishot: Multishot::default(), closing: false, ordered_due_ns: 0, last_due_ns: 0 }
    }
}

/// The error of what needs a connection, and has none.
pub(super) fn not_connected() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOTCONN)
}

#[derive(Debug)]
pub(super) enum Kind {
    Stream(Box<Stream>),
    Listener(Listener),
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: Address,
    pub(super) reuse_port: bool,
    /// Connections that nobody has accepted, oldest first.
    pub(super) backlog: VecDeque<Handle>,
}

/// A receive or an accept, which lasts from the call until its `…Ended` event is in the caller's hands.
#[derive(Debug, Default)]
pub(super) struct Multishot {
    pub(super) state: MultishotState,
    /// How often it was started, so that a late cancel does not end a later one.
    pub(super) starts: u64,
    /// A step that carries it on is on the agenda.
    pub(super) scheduled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MultishotState {
    #[default]
    Idle,
    Armed,
    /// Ended inside by the kernel; armed again soon.
    Paused,
    /// Its last event is on the way.
    Ended,
}

impl Multishot {
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.state != MultishotState::Idle {
            return Err(busy_handle());
        }
        self.state = MultishotState::Armed;
        self.starts += 1;
        Ok(())
    }

    /// Whether it is under way for the caller and has not met its end.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, MultishotState::Armed | MultishotState::Paused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Connected,
    Failed,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) phase: Phase,
    /// The other end, until it is closed or the connection reset.
    pub(super) peer: Option<Handle>,
    /// The way to the peer.
    pub(super) link: Link,
    pub(super) incoming: Incoming,
    /// A reset has arrived: nothing can be sent any more.
    pub(super) reset: bool,
    /// The sending half is shut.
    pub(super) shut: bool,
    pub(super) send: Option<Send>,
    /// How many have been started.
    pub(super) sends: u64,
}

impl Stream {
    pub(super) fn new(local: Address, remote: Address, phase: Phase, link: Link) -> Self {
        Self {
            local,
            remote,
            phase,
            peer: None,
            link,
            incoming: Incoming::default(),
            reset: false,
            shut: false,
            send: None,
            sends: 0,
        }
    }
}

/// A send, which lasts from the call until its `Sent` is in the caller's hands.
#[derive(Debug)]
pub(super) enum Send {
    /// `skip_success` until it has been found that the kernel does not take all of it at once.
    UnderWay {
        buffer: SendBuffer,
        taken: usize,
        skip_success: bool,
        scheduled: bool,
        number: u64,
    },
    Ended,
}

/// From one end of a fast connection to the other, as on loopback.
pub(super) const LATENCY_NS: u64 = 10_000;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    pub(super) latency_ns: u64,
    pub(super) ns_per_byte: u64,
    /// When the last segment put on it arrives: they do not overtake each other.
    pub(super) last_arrival_ns: u64,
}

/// What has been sent to a stream and was not received yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// With the time of arrival, in order.
    pub(super) in_flight: VecDeque<(u64, Segment)>,
    /// The bytes of `in_flight`, which have their place in the buffer already.
    pub(super) in_flight_bytes: usize,
    pub(super) buffered: VecDeque<u8>,
    /// What follows the last byte of `buffered`.
    pub(super) end: Option<End>,
}

impl Incoming {
    /// The bytes that have left the sender.
    pub(super) fn len(&self) -> usize {
        self.in_flight_bytes + self.buffered.len()
    }
}

#[derive(Debug)]
pub(super) enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Reset,
}
