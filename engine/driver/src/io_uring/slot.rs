//! What the driver remembers of one handle, and how calls and completions change it: the contract's rules about what may be
//! under way, what ends it, what is started again. No I/O: the parent does what an [`Action`] says, and `slot_properties` drives
//! the same transitions against a model of the kernel.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::Fd;
use socket2::SockAddr;

use super::user_data::Kind;
use crate::buffer::SendBuffer;
use crate::contract::{CutSend, Event, ReceiveEnd, busy_handle, cancelled_send};

/// What a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A socket or a listener that this driver has made, whose open file nobody else holds.
    Own,
    /// One that was made elsewhere: others may hold the same open file (dup(2)), and go on with it.
    Adopted,
    /// The poll of a foreign descriptor, which is not ours to close.
    Poll,
}

/// The submissions that one turn hands to the kernel, by the turn's number. It wraps; taking an old batch for the current one
/// costs a system call and nothing else.
pub(super) type Batch = u32;

/// A set of the operations that the kernel has and has not completed, at most one of each kind.
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

    /// The kinds in the set.
    pub(super) fn kinds(self) -> impl Iterator<Item = Kind> {
        Self::KINDS.into_iter().filter(move |&kind| self.has(kind))
    }
}

// A bit for each kind that can be in the set.
const _: () = assert!(Kind::Poll as u8 <= 7);

/// What is to be done about a completion. The slot has booked it already.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing.
    Nothing,
    /// The operation of this kind goes to the kernel (again).
    Submit(Kind),
    /// The receive goes to the kernel again when there are buffers.
    AwaitBuffers,
    /// The caller is told.
    Tell(Event),
    /// The caller is told, and the operation of this kind goes to the kernel.
    TellAndSubmit(Event, Kind),
    /// The slot goes, its descriptor is closed, and `Closed` is told.
    Free,
    /// The slot goes, and the caller is told with its last event.
    FreeAndTell(Event),
}

/// What [`Slot::cancel`] has found.
#[derive(Debug)]
pub(super) enum Cancel {
    /// Neither a receive nor an accept, or one whose cancellation is under way.
    Nothing,
    /// One that is in the kernel, to be cancelled there.
    InKernel(Kind),
    /// One that is not, and has ended by this.
    Ended(Event),
}

/// How [`Slot::close`] goes on.
#[derive(PartialEq, Eq)]
pub(super) enum Close {
    /// It is closing already.
    Already,
    /// Nothing is in flight: the slot can go.
    Free,
    /// These end by themselves once the socket is shut down in both directions.
    ShutDown(InFlight),
    /// These are to be cancelled.
    Cancel(InFlight),
}

pub(super) struct Slot {
    role: Role,
    multishot: Multishot,
    in_flight: InFlight,
    closing: bool,
    send: Sending,
    /// `None` for a foreign descriptor, and when the kernel has been asked to close it.
    pub(super) descriptor: Option<OwnedFd>,
    /// The address of a connect, kept until it has ended.
    pub(super) address: Option<Box<SockAddr>>,
}

/// The multishot receive or accept, of which a socket has one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multishot {
    Idle,
    /// In the kernel.
    Armed,
    /// In the kernel, with a cancellation under way.
    Cancelling,
    /// Wanted, but not in the kernel before the next turn, or for want of buffers.
    Starved,
    /// Ended by its cancellation while it was starved, which the caller has not been told yet.
    Ended,
}

enum Sending {
    Idle,
    /// Nothing was to be sent, which the caller has not been told yet.
    Empty,
    /// In the kernel; `sent` bytes of it have been confirmed.
    Whole {
        buffer: SendBuffer,
        sent: usize,
        /// The batch that the send, or its last continuation, belongs to.
        batch: Batch,
        /// A cancellation is under way; what it leaves is not sent.
        cancelling: bool,
    },
    /// The kernel takes it while its batch is submitted, and tells only if it did not take all.
    SkipSuccess {
        bytes: &'static [u8],
        batch: Batch,
    },
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

    /// Whether `close` has not been called.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        !self.closing
    }

    /// Books a connect or a poll, which the caller submits.
    pub(super) fn start(&mut self, kind: Kind) {
        self.in_flight.add(kind);
    }

    /// Books a receive or an accept, which the caller submits.
    ///
    /// # Errors
    /// `ResourceBusy` when one is under way.
    pub(super) fn start_multishot(&mut self, kind: Kind) -> io::Result<()> {
        if self.multishot != Multishot::Idle {
            return Err(busy_handle());
        }
        self.arm(kind);
        Ok(())
    }

    /// Books a starved receive, which the caller submits; false when it is wanted no more.
    pub(super) fn restart_starved(&mut self) -> bool {
        let starved = self.multishot == Multishot::Starved && !self.closing;
        if starved {
            self.arm(Kind::Receive);
        }
        starved
    }

    /// Books that the receive, which was to be submitted again, waits for the next turn as a starved one does.
    pub(super) fn await_turn(&mut self) {
        self.in_flight.remove(Kind::Receive);
        self.multishot = Multishot::Starved;
    }

    /// Whether the last skip-success send is in `batch`, so that nobody knows yet whether the kernel takes all of it.
    #[inline]
    pub(super) fn is_unsettled(&self, batch: Batch) -> bool {
        matches!(self.send, Sending::SkipSuccess { batch: own, .. } if own == batch)
    }

    /// Whether a send is under way that will end with `Sent`.
    #[inline]
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.send, Sending::Whole { .. } | Sending::Empty)
    }

    /// Books a send, which the caller submits. None is under way.
    #[inline]
    pub(super) fn start_send(&mut self, buffer: SendBuffer, batch: Batch) {
        self.send = Sending::Whole { buffer, sent: 0, batch, cancelling: false };
        self.in_flight.add(Kind::Send);
    }

    /// Books a send of nothing, which ends when `Sent` is [told](Self::told). None is under way.
    pub(super) fn start_empty_send(&mut self) {
        self.send = Sending::Empty;
    }

    /// Books that the caller sees `event`, of which the driver knew before; false when the handle is the caller's no more.
    pub(super) fn told(&mut self, event: &Event) -> bool {
        match event {
            Event::ReceiveEnded(_) => self.multishot = Multishot::Idle,
            Event::Sent(..) if matches!(self.send, Sending::Empty) => self.send = Sending::Idle,
            _ => {}
        }
        !self.closing
    }

    /// Books a skip-success send, which the caller submits. None is under way.
    #[inline]
    pub(super) fn start_skip_success_send(&mut self, bytes: &'static [u8], batch: Batch) {
        self.send = Sending::SkipSuccess { bytes, batch };
    }

    /// What is to be submitted of the send under way.
    #[inline]
    pub(super) fn unsent(&self) -> &[u8] {
        match &self.send {
            Sending::Whole { buffer, sent, .. } => &buffer[*sent..],
            Sending::SkipSuccess { bytes, .. } => bytes,
            Sending::Idle | Sending::Empty => &[],
        }
    }

    /// Ends the receive or accept, or has the caller do so.
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

    /// Whether there is a send to be cancelled in the kernel, and no cancellation of it under way.
    pub(super) fn cancel_send(&mut self) -> bool {
        match &mut self.send {
            Sending::Whole { cancelling, .. } if !self.closing => !mem::replace(cancelling, true),
            _ => false,
        }
    }

    /// Books that the handle is the caller's no more. `batch` is the one that has not been submitted.
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

    /// Books the last completion of an operation of `kind`, with its `result`: one that no further ones follow (`IORING_CQE_F_MORE`). What
    /// is submitted again belongs to `batch`. Bytes and descriptors that came with it are the parent's matter.
    #[inline]
    pub(super) fn on_completion(&mut self, kind: Kind, result: i32, batch: Batch) -> Action {
        // It was never in flight.
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
            // The kernel may end a multishot at any completion, for instance when its queue overflows; and it may cancel one that
            // nobody has asked it to.
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
            // The peer was gone before it was accepted, or the accept ended for reasons of the kernel's own.
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
        let Sending::Whole { buffer, sent, batch, cancelling } = &mut self.send else {
            return Action::Nothing;
        };
        // A send that ends early, also by a cancellation, completes with what was taken if that was anything, and with
        // the error if not.
        *sent += result.max(0) as usize;
        let error = match result {
            _ if *sent >= buffer.len() => None,
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
        let Sending::Whole { buffer, .. } = mem::replace(&mut self.send, Sending::Idle) else {
            return Action::Nothing;
        };
        Action::Tell(Event::Sent(outcome, buffer))
    }

    /// Only what did not go as it should gets here: the kernel clears `IOSQE_CQE_SKIP_SUCCESS` on an error and on a short send.
    #[cold]
    fn on_skip_success_send(&mut self, result: i32, batch: Batch) -> Action {
        let Sending::SkipSuccess { bytes, .. } = self.send else { return Action::Nothing };
        if self.closing {
            return Action::Nothing;
        }
        let buffer = SendBuffer::Static(bytes);
        let sent = match result {
            // There was no room for any of it.
            _ if result == -libc::EAGAIN || result == -libc::EINTR => 0,
            ..0 => {
                self.send = Sending::Idle;
                let cut = CutSend { sent_size: 0, error: io::Error::from_raw_os_error(-result) };
                return Action::Tell(Event::Sent(Err(cut), buffer));
            }
            // A success that the kernel tells none the less.
            _ if result as usize >= bytes.len() => return Action::Nothing,
            _ => result as usize,
        };
        self.send = Sending::Whole { buffer, sent, batch, cancelling: false };
        self.in_flight.add(Kind::Send);
        Action::TellAndSubmit(Event::SendWaits, Kind::Send)
    }
}

fn outcome(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}
