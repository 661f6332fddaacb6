//! The contract between the runtime and whatever moves its bytes. See [`Driver`].

use std::fmt;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::address::Address;
use crate::buffer::{BufferPool, Lease, SendBuffer};

/// A socket, a listener or a foreign poll of one driver. A plain key: copying it costs nothing, a stale one is
/// recognised by its generation, and it means nothing to another driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

impl Handle {
    /// A key from its parts; for those who keep tables beside the driver's.
    #[inline]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// The index of the slot. Slots are dense: a table indexed by them wastes nothing.
    #[inline]
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// The generation of the slot, from 1 to 2²⁴ − 1.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slot, self.generation)
    }
}

/// What a foreign descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Until a read would not block.
    Readable,
    /// Until a write would not block.
    Writable,
}

/// One thing that happened.
#[derive(Debug)]
pub struct Completion {
    /// Whose it is.
    pub handle: Handle,
    /// What it is.
    pub event: Event,
}

/// What a [`Completion`] says. Unless a variant says otherwise, it answers exactly one operation.
#[derive(Debug)]
pub enum Event {
    /// [`Driver::connect`] has ended. After an error the handle is still the caller's to close.
    Connected(io::Result<()>),
    /// A listener accepted a connection, which is now a socket of this driver. Further ones follow.
    Accepted(Handle),
    /// Accepting has ended: by [`Driver::cancel`] (`None`), or by an error such as `EMFILE`, after which the caller
    /// decides when to call [`Driver::accept`] again.
    AcceptEnded(Option<io::Error>),
    /// Bytes arrived, never zero of them. Further ones follow until [`Event::ReceiveEnded`].
    Received(Lease),
    /// Receiving has ended; exactly once for each [`Driver::receive`] that was answered with `Ok`.
    ReceiveEnded(ReceiveEnd),
    /// [`Driver::send`] has ended: the kernel took all of the buffer, or less. The buffer comes back so that it can be
    /// used again.
    Sent(Result<(), CutSend>, SendBuffer),
    /// A [`Driver::send_skip_success`] could not be taken whole at once. It goes on as an ordinary send, whose [`Event::Sent`] follows.
    SendWaits,
    /// [`Driver::poll`] has ended: the descriptor is ready (or in error, which the next call on it will tell).
    /// The handle is gone.
    Polled(io::Result<()>),
    /// The last event of a handle: everything that was under way has ended and the descriptor is closed (or is being
    /// closed by the kernel, in order, before any later operation).
    Closed,
}

/// Why a receive ended.
#[derive(Debug)]
pub enum ReceiveEnd {
    /// The peer has sent its last byte.
    Eof,
    /// [`Driver::cancel`] was called. Bytes that arrived before it have been delivered; the rest are still in the socket.
    Cancelled,
    /// The connection failed.
    Error(io::Error),
}

/// Why a send ended before the kernel had taken all of it.
#[derive(Debug)]
pub struct CutSend {
    /// So many bytes of the buffer the kernel took before. They are on their way to the peer like any others, unless
    /// the connection has failed.
    pub sent_size: usize,
    /// What ended it; [`cancelled_send`] after [`Driver::cancel_send`].
    pub error: io::Error,
}

/// Wakes a driver out of [`Driver::turn`] from any thread. Cheap to clone; outlives the driver without harm.
#[derive(Clone)]
pub struct Notifier(Arc<dyn Fn() + Send + Sync>);

impl Notifier {
    /// A notifier that calls `notify`.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(notify))
    }

    /// Makes the driver's current turn, or its next one, return soon. Calls add up to at least one return.
    pub fn notify(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

/// Nanoseconds on the monotonic clock since an arbitrary moment of this process; the same on every thread.
#[inline]
pub fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // u64 nanoseconds last 584 years.
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Completion-based socket operations for one thread.
///
/// # What every driver owes its caller
///
/// - **Nothing completes inside the call that starts it.** Completions come out of [`turn`](Driver::turn) alone.
/// - **Exactly once.** Each started operation ends with exactly one of its events, or with the [`Event::Closed`] of its
///   handle, which stands for everything that was still under way. After `close` no other event of that handle comes.
/// - **Order.** The bytes of a socket arrive in order, and `ReceiveEnded(Eof)` after the last of them.
/// - **Multishot stays armed.** A receive or accept lasts until its `…Ended` event. A driver whose kernel ends one early
///   (no `IORING_CQE_F_MORE`, completion-queue overflow, no buffers: `ENOBUFS`) starts it again by itself, the last
///   when buffers have come back.
/// - **Whole sends.** A short send is continued by the driver; the caller sees one `Sent`. `ResourceBusy` for a send means that one is under
///   way of which `Sent` will tell.
/// - **Memory.** A buffer given to `send` is the driver's until it is handed back by `Sent`, or dropped before `Closed`.
///   No memory that a caller can free or move is ever shown to the kernel.
/// - **Leases** keep their pool alive, also beyond the driver.
/// - **Stale handles** are answered with an error of kind `NotFound`, never acted on. A second operation of a kind that
///   is already under way on a handle (send, receive, accept) is answered with `ResourceBusy`; nothing changes.
/// - **Dropping the driver** cancels what is under way, waits for the kernel to confirm it, and leaks what stays
///   unconfirmed rather than free it.
pub trait Driver {
    /// Nanoseconds on the driver's clock: [`monotonic_ns`] for real drivers, virtual time for the simulated one.
    fn now_ns(&self) -> u64;

    /// Opens a socket and starts to connect it; `Connected` follows. `TCP_NODELAY` is set on TCP sockets.
    ///
    /// # Errors
    /// When the socket cannot be made (`EMFILE`, an address family the system lacks, a Unix path too long). Nothing is left open.
    fn connect(&mut self, address: &Address) -> io::Result<Handle>;

    /// Binds a listening socket. It accepts nothing until [`accept`](Driver::accept). `SO_REUSEADDR` is set;
    /// `reuse_port` sets `SO_REUSEPORT`, so that each worker can have a listener of its own at the same address.
    /// A Unix path that is a socket nobody listens at is removed first.
    ///
    /// # Errors
    /// As bind(2) and listen(2). Nothing is left open.
    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle>;

    /// Takes over a connected stream socket, or a listening one, that was made elsewhere. Its blocking mode is set as the driver
    /// needs it, which others who hold the same open file (`dup(2)`) see as well.
    ///
    /// # Errors
    /// When the descriptor cannot be used by this driver; it is closed.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Handle>;

    /// Starts to accept at a listener: `Accepted` per connection until `AcceptEnded`.
    ///
    /// # Errors
    /// `NotFound` for a stale handle, `ResourceBusy` when accepting already.
    fn accept(&mut self, listener: Handle) -> io::Result<()>;

    /// Starts to receive from a connected socket: `Received` per piece until `ReceiveEnded`.
    ///
    /// # Errors
    /// `NotFound` for a stale handle, `ResourceBusy` when receiving already.
    fn receive(&mut self, socket: Handle) -> io::Result<()>;

    /// From now on, a receive that is started delivers about `size_max` bytes in one turn at most, and goes on with the next turn unless it
    /// was [cancelled](Driver::cancel) meanwhile; `u32::MAX`, as at first, is no bound.
    ///
    /// io_uring delivers up to a buffer more, but not when `size_max` is less than a buffer. Before Linux 6.17 it can bound a receive to one
    /// piece or not at all: a `size_max` above a buffer has no effect there. The fallback may deliver twice as much, if
    /// more arrives while it looks. The simulated driver has no such bound.
    fn limit_receives(&mut self, size_max: u32);

    /// Sends all of `buffer`; `Sent` follows. An empty buffer completes as well.
    ///
    /// # Errors
    /// `NotFound` for a stale handle, `ResourceBusy` while another send is under way. The buffer is dropped.
    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()>;

    /// Sends all of `bytes`, and says nothing when the kernel takes them at once, within the turn that hands them over. This spares a
    /// completion per request.
    ///
    /// When there is no room for all of them, that turn gives `SendWaits`, and the rest goes out as an ordinary send's does: `Sent`
    /// follows, however it ends. When they cannot be sent at all, that turn gives `Sent` with the error, alone.
    ///
    /// The caller need not know whether the bytes of an earlier skip-success send have left the socket's buffer; an answer of the peer would
    /// not prove it. Nothing that is sent or shut down afterwards overtakes them. What follows on the same socket before the next
    /// turn costs a system call of its own, by which the driver finds out, and is answered with `ResourceBusy` if they have to wait.
    ///
    /// # Errors
    /// As `send`; also `InvalidInput` for more than [`SKIP_SUCCESS_SEND_SIZE_MAX`](crate::limits::SKIP_SUCCESS_SEND_SIZE_MAX) bytes.
    fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()>;

    /// Ends the sending half (FIN) behind everything sent before. Takes effect before it returns.
    ///
    /// # Errors
    /// `ResourceBusy` while a send is under way, a skip-success one that has to wait included; `NotFound` for a stale handle, otherwise as shutdown(2).
    fn shutdown(&mut self, socket: Handle) -> io::Result<()>;

    /// Ends a receive or an accept early; `ReceiveEnded(Cancelled)` or `AcceptEnded(None)` follows unless it was ending
    /// by itself. Nothing happens when neither is under way, or the handle is stale.
    fn cancel(&mut self, handle: Handle);

    /// Ends a [`send`](Driver::send) early: its `Sent` follows with what the kernel took until then, unless it was ending by itself.
    /// Nothing happens when none is under way, or the handle is stale; nor to a skip-success send that is not known to wait,
    /// by `SendWaits` or by the `ResourceBusy` of another.
    fn cancel_send(&mut self, socket: Handle);

    /// Ends everything on `handle` and closes its descriptor; `Closed` follows. A foreign descriptor stays open.
    /// Nothing happens when it is stale or closing already.
    ///
    /// A send that is under way is not taken back: what there is room for goes out before the end of the stream, and the rest is dropped.
    /// The end of the stream goes to the peer before this returns, or with the next turn when a send is under way. What closing costs does
    /// not depend on how many handles are open.
    fn close(&mut self, handle: Handle);

    /// Whether the end of the stream, or a failure, is what a receive would give next: a look at the socket itself, by a system call, that
    /// may know it before the receive under way has told. False for a stale handle.
    fn is_at_end(&mut self, socket: Handle) -> bool;

    /// Waits once until a foreign descriptor is ready; `Polled` follows, or `Closed` after [`close`](Driver::close).
    /// The descriptor stays the caller's, who keeps it open until one of the two has come.
    ///
    /// # Errors
    /// When the descriptor cannot be waited for (for example a plain file under epoll).
    fn poll(&mut self, descriptor: RawFd, interest: Interest) -> io::Result<Handle>;

    /// Hands everything started so far to the kernel, waits until something completes or `deadline_ns` has come on the
    /// driver's clock (`None`: no deadline; a moment that has passed: does not wait), and appends what has completed.
    /// May return early with nothing.
    ///
    /// # Errors
    /// Only when the driver itself is broken (the ring is gone); not for any single socket, nor for a shortage of the kernel's that can
    /// pass.
    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// A way to end the wait in [`turn`](Driver::turn) from another thread.
    fn notifier(&self) -> Notifier;

    /// The buffers that this driver receives into.
    fn pool(&self) -> &BufferPool;

    /// The address that a socket or listener is bound to.
    ///
    /// # Errors
    /// `NotFound` for a stale handle, otherwise as getsockname(2).
    fn local_address(&self, handle: Handle) -> io::Result<Address>;

    /// The address that a socket is connected to.
    ///
    /// # Errors
    /// `NotFound` for a stale handle, otherwise as getpeername(2).
    fn peer_address(&self, handle: Handle) -> io::Result<Address>;

    /// The name that `--driver` takes and reports print.
    fn name(&self) -> &'static str;

    /// What this driver could use of its kernel, for reports.
    fn features(&self) -> Vec<&'static str>;

    /// How many system calls the driver has made, for reports. Calls made inside libraries are counted where they are made.
    fn syscalls(&self) -> u64;
}

/// The error for a handle that is stale.
pub fn stale_handle() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the handle is closed")
}

/// The error of a send that was ended by [`Driver::cancel_send`].
pub fn cancelled_send() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

/// The error for an operation of a kind that is already under way.
pub fn busy_handle() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "such an operation is already under way on this handle")
}
