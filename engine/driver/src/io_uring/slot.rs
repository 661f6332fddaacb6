//! The state of one handle, and how calls and completions change it.
//!
//! This module has the contract's rules: which operations may be under way, what ends them, and what is started again.
//! It does no I/O. The parent module carries out each [`Action`], and `slot_properties` tests the same transitions
//! against a model of the kernel.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::Fd;
use socket2::SockAddr;

use super::message::Message;
use super::user_data::Kind;
use crate::buffer::SendBuffer;
use crate::contract::{CutSend, Event, ReceiveEnd, busy_handle, cancelled_send};

/// What a handle refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A socket or a listener that this driver created. Nothing else shares its open file.
    Own,
    /// A socket or a listener that was created elsewhere. Others may share its open file (dup(2)) and continue to use
    /// it.
    Adopted,
    /// The poll of a foreign descriptor, which the driver must not close.
    Poll,
}

/// The number of the turn in which a submission goes to the kernel.
///
/// The number wraps. If an old batch is mistaken for the current one, it only costs a system call.
pub(super) type Batch = u32;

/// A set of the kinds of operations that are in flight, at most one operation of each kind.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InFlight(u8);

impl InFlight {
    const KINDS: [Kind; 5] = [Kind::Receive, Kind::Accept, Kind::Send, Kind::Connect, Kind::Poll];

    const fn bit(kind: Kind) -> u8 {
        1 << kind as u8
    }

    fn add(&mut self, kind: Kind) {
        debug_assert!(!self.has(kind), "{kind:?} is in flight already");
        self.0 |= Self::bit(kind);
    }

    fn remove(&mut self, kind: Kind) {
        debug_assert!(self.has(kind), "{kind:?} was not in flight");
        self.0 &= !Self::bit(kind);
    }

    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the kinds in the set.
    pub(super) fn kinds(self) -> impl Iterator<Item = Kind> {
        Self::KINDS.into_iter().filter(move |&kind| self.has(kind))
    }
}

// Each kind that can be in the set has a bit.
const _: () = assert!(Kind::Poll as u8 <= 7);

/// What the parent does after a completion. The slot's own state is already updated.
#[derive(Debug)]
pub(super) enum Action {
    /// Does nothing.
    Nothing,
    /// Submits the operation of this kind (again).
    Submit(Kind),
    /// Submits the receive again when buffers are available.
    AwaitBuffers,
    /// Delivers the event to the caller.
    Tell(Event),
    /// Delivers the event to the caller, and submits the operation of this kind.
    TellAndSubmit(Event, Kind),
    /// Frees the slot, closes its descriptor and reports `Closed`.
    Free,
    /// Frees the slot, and delivers the event to the caller as the last one of the handle.
    FreeAndTell(Event),
}

/// The result of [`Slot::cancel`].
#[derive(Debug)]
pub(super) enum Cancel {
    /// There is nothing to cancel, or a cancellation is already under way.
    Nothing,
    /// An operation of this kind is in flight. The parent cancels it in the kernel.
    InKernel(Kind),
    /// The operation was not in the kernel and has ended with this event.
    Ended(Event),
}

/// What the parent does after [`Slot::close`].
#[derive(PartialEq, Eq)]
pub(super) enum Close {
    /// Does nothing: the slot is already closing.
    Already,
    /// Frees the slot: no operation is in flight.
    Free,
    /// Shuts down the socket in both directions, which ends these operations.
    ShutDown(InFlight),
    /// Cancels these operations.
    Cancel(InFlight),
}

pub(super) struct Slot {
    role: Role,
    multishot: Multishot,
    in_flight: InFlight,
    closing: bool,
    send: Sending,
    /// `None` for a foreign descriptor, and after the kernel was asked to close it.
    pub(super) descriptor: Option<OwnedFd>,
    /// The address of a connect, kept until the connect has ended.
    pub(super) address: Option<Box<SockAddr>>,
}

/// The state of the multishot receive or accept. A socket has only one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multishot {
    Idle,
    /// In the kernel.
    Armed,
    /// In the kernel, with a cancellation under way.
    Cancelling,
    /// Not in the kernel: waits for the next turn, or for buffers.
    Starved,
    /// Cancelled while it was starved. The caller has not seen the event yet.
    Ended,
}

enum Sending {
    Idle,
    /// A send of zero bytes. The caller has not seen its `Sent` yet.
    Empty,
    /// A send in the kernel. The kernel has confirmed `sent` bytes of it.
    Whole {
        content: Content,
        sent: usize,
        /// The batch that contains the send, or its last continuation.
        batch: Batch,
        /// A cancellation is under way. The rest will not be sent.
        cancelling: bool,
    },
    /// A skip-success send. The kernel takes it while it submits the batch, and completes it only if it did not take
    /// all of it.
    SkipSuccess {
        bytes: &'static [u8],
        batch: Batch,
    },
}

/// What of a send is still to be submitted.
pub(super) enum Unsent<'a> {
    One(&'a [u8]),
    /// The bytes of a message from this offset on.
    Pieces(&'a mut Message, usize),
}

/// What the kernel sends.
enum Content {
    One(SendBuffer),
    Pieces(Box<Message>),
}

impl Content {
    #[inline]
    fn size(&self) -> usize {
        match self {
            Self::One(buffer) => buffer.len(),
            Self::Pieces(message) => message.size(),
        }
    }

    #[inline]
    fn into_buffer(self) -> SendBuffer {
        match self {
            Self::One(buffer) => buffer,
            Self::Pieces(message) => SendBuffer::Pieces(message.into_pieces()),
        }
    }
}

impl Slot {
    pub(super) fn new(role: Role, descriptor: Option<OwnedFd>) -> Self {
        Self {
            role,
            multishot: Multishot::Idle,
            in_flight: InFlight::default(),
            closing: false,
            send: Sending::Idle,
            descriptor,
            address: None,
        }
    }

    #[inline]
    pub(super) fn fd(&self) -> Fd {
        Fd(self.descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// Returns whether `close` has not been called.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        !self.closing
    }

    /// Records a connect or a poll, which the caller then submits.
    pub(super) fn start(&mut self, kind: Kind) {
        self.in_flight.add(kind);
    }

    /// Records a receive or an accept, which the caller then submits.
    ///
    /// # Errors
    /// `ResourceBusy` if one is under way.
    pub(super) fn start_multishot(&mut self, kind: Kind) -> io::Result<()> {
        if self.multishot != Multishot::Idle {
            return Err(busy_handle());
        }
        self.arm(kind);
        Ok(())
    }

    /// Records the restart of a starved receive, which the caller then submits. Returns false if the receive is no
    /// longer wanted.
    pub(super) fn restart_starved(&mut self) -> bool {
        let starved = self.multishot == Multishot::Starved && !self.closing;
        if starved {
            self.arm(Kind::Receive);
        }
        starved
    }

    /// Records that the receive waits for the next turn instead of being submitted again now, like a starved one.
    pub(super) fn await_turn(&mut self) {
        self.in_flight.remove(Kind::Receive);
        self.multishot = Multishot::Starved;
    }

    /// Returns whether the last skip-success send is in `batch`, so that its outcome is still unknown.
    #[inline]
    pub(super) fn is_unsettled(&self, batch: Batch) -> bool {
        matches!(self.send, Sending::SkipSuccess { batch: own, .. } if own == batch)
    }

    /// Returns whether a send is under way that will end with `Sent`.
    #[inline]
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.send, Sending::Whole { .. } | Sending::Empty)
    }

    /// Records a send, which the caller then submits. No other send may be under way.
    #[inline]
    pub(super) fn start_send(&mut self, buffer: SendBuffer, batch: Batch) {
        let content = match buffer {
            SendBuffer::Pieces(pieces) => Content::Pieces(Message::new(pieces)),
            one => Content::One(one),
        };
        self.send = Sending::Whole { content, sent: 0, batch, cancelling: false };
        self.in_flight.add(Kind::Send);
    }

    /// Records a send of zero bytes, which ends when `Sent` is [delivered](Self::told). No other send may be under way.
    pub(super) fn start_empty_send(&mut self) {
        self.send = Sending::Empty;
    }

    /// Records that the caller sees `event`, which the driver created itself. Returns false if the handle is closed.
    pub(super) fn told(&mut self, event: &Event) -> bool {
        match event {
            Event::ReceiveEnded(_) => self.multishot = Multishot::Idle,
            Event::Sent(..) if matches!(self.send, Sending::Empty) => self.send = Sending::Idle,
            _ => {}
        }
        !self.closing
    }

    /// Records a skip-success send, which the caller then submits. No other send may be under way.
    #[inline]
    pub(super) fn start_skip_success_send(&mut self, bytes: &'static [u8], batch: Batch) {
        self.send = Sending::SkipSuccess { bytes, batch };
    }

    /// Returns the bytes of the current send that are still to be submitted.
    #[inline]
    pub(super) fn unsent(&mut self) -> Unsent<'_> {
        match &mut self.send {
            Sending::Whole { content: Content::One(buffer), sent, .. } => {
                Unsent::One(&buffer.as_one().unwrap_or_default()[*sent..])
            }
            Sending::Whole { content: Content::Pieces(message), sent, .. } => Unsent::Pieces(message, *sent),
            Sending::SkipSuccess { bytes, .. } => Unsent::One(bytes),
            Sending::Idle | Sending::Empty => Unsent::One(&[]),
        }
    }

    /// Ends the receive or accept, or returns what the parent has to cancel.
    pub(super) fn cancel(&mut self) -> Cancel {
        match self.multishot {
            _ if self.closing => Cancel::Nothing,
            Multishot::Idle | Multishot::Cancelling | Multishot::Ended => Cancel::Nothing,
            Multishot::Starved => {
                self.multishot = Multishot::Ended;
                Cancel::Ended(Event::ReceiveEnded(ReceiveEnd::Cancelled))
            }
            Multishot::Armed => {
                self.multishot = Multishot::Cancelling;
                let accepts = self.in_flight.has(Kind::Accept);
                Cancel::InKernel(if accepts { Kind::Accept } else { Kind::Receive })
            }
        }
    }

    /// Marks the current send as cancelled. Returns whether the parent has to cancel it in the kernel.
    pub(super) fn cancel_send(&mut self) -> bool {
        match &mut self.send {
            Sending::Whole { cancelling, .. } if !self.closing => !mem::replace(cancelling, true),
            _ => false,
        }
    }

    /// Records that the caller has closed the handle. `batch` is the batch that has not been submitted yet.
    pub(super) fn close(&mut self, batch: Batch) -> Close {
        if mem::replace(&mut self.closing, true) {
            return Close::Already;
        }
        if self.in_flight.is_empty() {
            return Close::Free;
        }
        // A shutdown takes effect at once, so it would overtake a send that has not been submitted.
        let unsubmitted = match self.send {
            Sending::Whole { batch: own, .. } | Sending::SkipSuccess { batch: own, .. } => own == batch,
            Sending::Idle | Sending::Empty => false,
        };
        let shuts = self.role == Role::Own
            && !unsubmitted
            && self.in_flight.kinds().all(|kind| matches!(kind, Kind::Receive | Kind::Send));
        if shuts { Close::ShutDown(self.in_flight) } else { Close::Cancel(self.in_flight) }
    }

    /// Records the last completion of an operation of `kind` (without `IORING_CQE_F_MORE`), with its `result`.
    ///
    /// What is submitted again belongs to `batch`. The parent handles bytes and descriptors that came with the
    /// completion.
    #[inline]
    pub(super) fn on_completion(&mut self, kind: Kind, result: i32, batch: Batch) -> Action {
        // A skip-success send is never in flight.
        if kind == Kind::SkipSuccessSend {
            return self.on_skip_success_send(result, batch);
        }
        self.in_flight.remove(kind);
        if kind == Kind::Connect {
            self.address = None;
        }
        if self.closing {
            return if self.in_flight.is_empty() { Action::Free } else { Action::Nothing };
        }
        match kind {
            Kind::Receive => self.on_receive_ended(result),
            Kind::Accept => self.on_accept_ended(result),
            Kind::Send => self.on_send(result, batch),
            Kind::Connect => Action::Tell(Event::Connected(outcome(result))),
            Kind::Poll => Action::FreeAndTell(Event::Polled(outcome(result))),
            Kind::SkipSuccessSend | Kind::Wake | Kind::Ignored => Action::Nothing,
        }
    }

    fn arm(&mut self, kind: Kind) {
        self.multishot = Multishot::Armed;
        self.in_flight.add(kind);
    }

    fn on_receive_ended(&mut self, result: i32) -> Action {
        let cancelling = mem::replace(&mut self.multishot, Multishot::Idle) == Multishot::Cancelling;
        let end = match result {
            0 => ReceiveEnd::Eof,
            _ if cancelling && (result > 0 || result == -libc::ECANCELED || result == -libc::ENOBUFS) => {
                ReceiveEnd::Cancelled
            }
            _ if result == -libc::ENOBUFS => {
                self.multishot = Multishot::Starved;
                return Action::AwaitBuffers;
            }
            // The kernel may end a multishot with any completion, for instance when its queue overflows. It may also
            // cancel one without a request to do so.
            _ if result > 0 || result == -libc::ECANCELED => {
                self.arm(Kind::Receive);
                return Action::Submit(Kind::Receive);
            }
            _ => ReceiveEnd::Error(io::Error::from_raw_os_error(-result)),
        };
        Action::Tell(Event::ReceiveEnded(end))
    }

    fn on_accept_ended(&mut self, result: i32) -> Action {
        let cancelling = mem::replace(&mut self.multishot, Multishot::Idle) == Multishot::Cancelling;
        let error = match -result {
            _ if cancelling => None,
            // The peer left before its connection was accepted, or the kernel ended the accept for its own reasons.
            errno
                if errno <= 0
                    || matches!(
                        errno,
                        libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::EPROTO | libc::ECANCELED
                    ) =>
            {
                self.arm(Kind::Accept);
                return Action::Submit(Kind::Accept);
            }
            errno => Some(io::Error::from_raw_os_error(errno)),
        };
        Action::Tell(Event::AcceptEnded(error))
    }

    fn on_send(&mut self, result: i32, current: Batch) -> Action {
        let Sending::Whole { content, sent, batch, cancelling } = &mut self.send else {
            return Action::Nothing;
        };
        // A send that ends early, also by a cancellation, completes with the number of bytes taken, or with an error if
        // there were none.
        *sent += result.max(0) as usize;
        let error = match result {
            _ if *sent >= content.size() => None,
            _ if *cancelling && result > 0 => Some(cancelled_send()),
            1.. => {
                *batch = current;
                self.in_flight.add(Kind::Send);
                return Action::Submit(Kind::Send);
            }
            0 => Some(io::ErrorKind::WriteZero.into()),
            _ => Some(io::Error::from_raw_os_error(-result)),
        };
        let outcome = error.map_or(Ok(()), |error| Err(CutSend { sent_size: *sent, error }));
        let Sending::Whole { content, .. } = mem::replace(&mut self.send, Sending::Idle) else {
            return Action::Nothing;
        };
        Action::Tell(Event::Sent(outcome, content.into_buffer()))
    }

    /// Handles the completion of a skip-success send that failed or was short: only then does the kernel clear
    /// `IOSQE_CQE_SKIP_SUCCESS`.
    #[cold]
    fn on_skip_success_send(&mut self, result: i32, batch: Batch) -> Action {
        let Sending::SkipSuccess { bytes, .. } = self.send else { return Action::Nothing };
        if self.closing {
            return Action::Nothing;
        }
        let buffer = SendBuffer::Static(bytes);
        let sent = match result {
            // The socket had no room.
            _ if result == -libc::EAGAIN || result == -libc::EINTR => 0,
            ..0 => {
                self.send = Sending::Idle;
                let cut = CutSend { sent_size: 0, error: io::Error::from_raw_os_error(-result) };
                return Action::Tell(Event::Sent(Err(cut), buffer));
            }
            // The kernel reported a success although it need not.
            _ if result as usize >= bytes.len() => return Action::Nothing,
            _ => result as usize,
        };
        self.send = Sending::Whole { content: Content::One(buffer), sent, batch, cancelling: false };
        self.in_flight.add(Kind::Send);
        Action::TellAndSubmit(Event::SendWaits, Kind::Send)
    }
}

fn outcome(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}
