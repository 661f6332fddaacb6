//! The state of one simulated socket or listener. It is plain data, changed by the parent module's steps.

use std::collections::VecDeque;
use std::io;

use crate::address::Address;
use crate::buffer::SendBuffer;
use crate::contract::{Handle, busy_handle};

/// The state behind a handle.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    /// The multishot operation: the receive of a stream, or the accept of a listener.
    pub(super) multishot: Multishot,
    /// The caller has called `close`. Only `Closed` is still to come.
    pub(super) closing: bool,
    /// When the last completion of this socket that must keep its order is due.
    pub(super) ordered_due_ns: u64,
    /// When the last completion of any kind is due. `Closed` does not come earlier.
    pub(super) last_due_ns: u64,
}

impl Socket {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, multishot: Multishot::default(), closing: false, ordered_due_ns: 0, last_due_ns: 0 }
    }
}

/// Returns the error of an operation that needs a connection on a socket that has none.
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
    /// Connections that have not been accepted yet, oldest first.
    pub(super) backlog: VecDeque<Handle>,
}

/// A receive or an accept. It lasts from the call until the caller gets its `…Ended` event.
#[derive(Debug, Default)]
pub(super) struct Multishot {
    pub(super) state: MultishotState,
    /// How often it was started. A late cancel compares this number, so that it does not end a later start.
    pub(super) starts: u64,
    /// Whether a step that continues it is on the agenda.
    pub(super) scheduled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MultishotState {
    #[default]
    Idle,
    Armed,
    /// Ended internally by the kernel. Armed again soon.
    Paused,
    /// Its last event is on the way to the caller.
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

    /// Returns whether it is under way and has not ended yet.
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
    /// The other end, until it is closed or the connection is reset.
    pub(super) peer: Option<Handle>,
    /// The link to the peer.
    pub(super) link: Link,
    pub(super) incoming: Incoming,
    /// A reset has arrived. Nothing can be sent any more.
    pub(super) reset: bool,
    /// The sending half is shut down.
    pub(super) shut: bool,
    /// Its close sends a reset, even if everything was read.
    pub(super) resets_at_close: bool,
    pub(super) send: Option<Send>,
    /// How many sends have been started.
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
            resets_at_close: false,
            send: None,
            sends: 0,
        }
    }
}

/// A send. It lasts from the call until the caller gets its `Sent`.
#[derive(Debug)]
pub(super) enum Send {
    /// `skip_success` is true until it turns out that the kernel does not take all of it at once.
    UnderWay {
        buffer: SendBuffer,
        taken: usize,
        skip_success: bool,
        scheduled: bool,
        number: u64,
    },
    Ended,
}

/// The latency of a fast connection, as on loopback.
pub(super) const LATENCY_NS: u64 = 10_000;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    pub(super) latency_ns: u64,
    pub(super) ns_per_byte: u64,
    /// When the last segment on this link arrives. Segments do not overtake each other.
    pub(super) last_arrival_ns: u64,
}

/// Data that was sent to a stream and has not been received yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Segments with their arrival times, in order.
    pub(super) in_flight: VecDeque<(u64, Segment)>,
    /// The number of bytes in `in_flight`. They already occupy room in the buffer.
    pub(super) in_flight_bytes: usize,
    pub(super) buffered: VecDeque<u8>,
    /// What follows the last byte of `buffered`.
    pub(super) end: Option<End>,
}

impl Incoming {
    /// Returns how many bytes have left the sender and have not been received yet.
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
