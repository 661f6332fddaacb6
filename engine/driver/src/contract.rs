//! The contract between the runtime and a driver, which moves the bytes. See [`Driver`].

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::address::Address;
use crate::buffer::{BufferPool, Lease, SendBuffer};
use crate::tcp_queues::TcpQueues;

/// A key for a socket, a listener or a foreign poll of one driver.
///
/// Copying a handle costs nothing. The generation makes a stale handle recognisable. A handle is only valid for the
/// driver that created it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

impl Handle {
    /// Creates a handle from its parts, for code that keeps its own tables beside the driver's.
    #[inline]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Returns the index of the slot. Slots are dense, so a table indexed by them wastes no memory.
    #[inline]
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Returns the generation of the slot, from 1 to 2²⁴ − 1.
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

/// The readiness that a poll of a foreign descriptor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// A read would not block.
    Readable,
    /// A write would not block.
    Writable,
}

/// One event of one handle.
#[derive(Debug)]
pub struct Completion {
    /// The handle that the event belongs to.
    pub handle: Handle,
    /// What happened.
    pub event: Event,
}

/// What happened to a handle.
///
/// Unless a variant says otherwise, an event completes exactly one operation.
#[derive(Debug)]
pub enum Event {
    /// [`Driver::connect`] has ended. After an error the handle still exists, and the caller closes it.
    Connected(io::Result<()>),
    /// A listener accepted a connection, which is now a socket of this driver. More may follow.
    Accepted(Handle),
    /// Accepting has ended: after [`Driver::cancel`] (`None`), or after an error such as `EMFILE`. After an error, the
    /// caller decides when to call [`Driver::accept`] again.
    AcceptEnded(Option<io::Error>),
    /// Bytes arrived, at least one. More may follow until [`Event::ReceiveEnded`].
    Received(Lease),
    /// Receiving has ended. Comes exactly once for each [`Driver::receive`] that returned `Ok`.
    ReceiveEnded(ReceiveEnd),
    /// [`Driver::send`] has ended: the kernel took all of the buffer, or only a part of it. The caller gets the buffer
    /// back and can use it again.
    Sent(Result<(), CutSend>, SendBuffer),
    /// The kernel could not take all bytes of a [`Driver::send_skip_success`] at once. The send goes on as an ordinary
    /// send, and its [`Event::Sent`] follows.
    SendWaits,
    /// [`Driver::poll`] has ended: the descriptor is ready, or it has an error, which the next call on it reports. The
    /// handle is gone.
    Polled(io::Result<()>),
    /// The last event of a handle. Everything that was under way has ended. The descriptor is closed, or the kernel
    /// closes it before it starts any later operation.
    Closed,
}

/// Why a receive ended.
#[derive(Debug)]
pub enum ReceiveEnd {
    /// The peer has ended its stream, and all its bytes have been delivered.
    Eof,
    /// The caller cancelled the receive with [`Driver::cancel`]. Bytes that were received before have been delivered.
    /// The rest is still in the socket.
    Cancelled,
    /// The connection failed.
    Error(io::Error),
}

/// The failure of a send that ended before the kernel had taken all of its buffer.
#[derive(Debug)]
pub struct CutSend {
    /// How many bytes of the buffer the kernel took. Like all other bytes they are on their way to the peer, unless the
    /// connection has failed.
    pub sent_size: usize,
    /// Why the send ended. After [`Driver::cancel_send`] this is [`cancelled_send`].
    pub error: io::Error,
}

/// Wakes a driver from [`Driver::turn`], from any thread.
///
/// It is cheap to clone. Calling it after the driver was dropped is harmless.
#[derive(Clone)]
pub struct Notifier(Arc<dyn Fn() + Send + Sync>);

impl Notifier {
    /// Creates a notifier that calls `notify`.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(notify))
    }

    /// Makes the driver's current turn return soon, or its next turn if none is running.
    ///
    /// Several calls may cause only one such return.
    pub fn notify(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

/// Returns nanoseconds on the monotonic clock. The clock starts at an arbitrary moment of this process and is the same
/// on every thread.
#[inline]
pub fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // u64 nanoseconds last 584 years.
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Returns what a socket is bound to before it connects to `address` from `source`: the port is still open.
///
/// # Errors
/// `InvalidInput` if the families differ.
pub fn source_address(address: &Address, source: IpAddr) -> io::Result<SocketAddr> {
    match address {
        Address::Tcp(remote) if remote.is_ipv4() == source.is_ipv4() => Ok(SocketAddr::new(source, 0)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address} cannot be connected to from {source}: the address families differ"),
        )),
    }
}

/// Completion-based socket operations for one thread.
///
/// # What every driver guarantees
///
/// - **Nothing completes inside the call that starts it.** Only [`turn`](Driver::turn) delivers completions.
/// - **Exactly once.** Each started operation ends with exactly one of its events, or with the [`Event::Closed`] of its
///   handle. `Closed` ends everything that was still under way. After `close`, no other event of that handle comes.
/// - **Order.** The bytes of a socket arrive in order, and `ReceiveEnded(Eof)` comes after the last byte.
/// - **Multishot stays armed.** A receive or an accept lasts until its `…Ended` event. The kernel may end one early (no
///   `IORING_CQE_F_MORE`, completion-queue overflow, or `ENOBUFS` because no buffer is free). The driver then starts it
///   again, after `ENOBUFS` as soon as buffers have come back.
/// - **Whole sends.** The driver continues a short send, and the caller sees one `Sent`. A send that fails with
///   `ResourceBusy` means that another send is under way whose `Sent` is still to come.
/// - **Memory.** The driver owns a buffer given to `send` until `Sent` returns it. If the socket is closed first, the
///   driver drops the buffer before it reports `Closed`. The kernel never sees memory that a caller can free or move.
/// - **Leases** keep their pool alive, even after the driver is dropped.
/// - **Stale handles** have no effect: calls that return a result fail with `NotFound`. Starting a second operation of
///   a kind (send, receive, accept) while one is under way on the handle fails with `ResourceBusy` and changes nothing.
/// - **Dropping the driver** cancels what is under way and waits until the kernel confirms it. Memory that the kernel
///   has not confirmed in time is leaked instead of freed.
pub trait Driver {
    /// Returns nanoseconds on the driver's clock: [`monotonic_ns`] for real drivers, virtual time for the simulated
    /// one.
    fn now_ns(&self) -> u64;

    /// Opens a socket and starts to connect it. `Connected` follows.
    ///
    /// The driver sets `TCP_NODELAY` on TCP sockets.
    ///
    /// # Errors
    /// The socket cannot be created: no descriptor is free (`EMFILE`), the system lacks the address family, or a Unix
    /// path is too long. Nothing is left open.
    fn connect(&mut self, address: &Address) -> io::Result<Handle> {
        self.connect_from(address, None)
    }

    /// The same from the local address `source`, if there is one. The system chooses the port when it knows both ends
    /// (`IP_BIND_ADDRESS_NO_PORT`, ip(7)), so each source address has all ports for each destination.
    ///
    /// # Errors
    /// Those of [`connect`](Driver::connect) and bind(2): `AddrNotAvailable` if this machine does not have the address.
    /// `InvalidInput` if its family is not that of `address`. Nothing is left open.
    fn connect_from(&mut self, address: &Address, source: Option<IpAddr>) -> io::Result<Handle>;

    /// Opens a listening socket and binds it. The socket accepts nothing until [`accept`](Driver::accept).
    ///
    /// `SO_REUSEADDR` is set. `reuse_port` sets `SO_REUSEPORT`, so that each worker can have its own listener on the
    /// same address. If a Unix path is an existing socket without a listener, the driver removes the file first.
    ///
    /// # Errors
    /// Those of bind(2) and listen(2). Nothing is left open.
    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle>;

    /// Takes ownership of a stream socket that was created elsewhere, connected or listening.
    ///
    /// The driver sets the blocking mode that it needs. Everyone else who shares the open file (`dup(2)`) sees this
    /// change.
    ///
    /// # Errors
    /// This driver cannot use the descriptor. The descriptor is closed.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Handle>;

    /// Starts to accept on a listener. `Accepted` follows for each connection, until `AcceptEnded`.
    ///
    /// # Errors
    /// `NotFound` for a stale handle; `ResourceBusy` if the listener is accepting already.
    fn accept(&mut self, listener: Handle) -> io::Result<()>;

    /// Starts to receive from a connected socket. `Received` follows for each piece of data, until `ReceiveEnded`.
    ///
    /// # Errors
    /// `NotFound` for a stale handle; `ResourceBusy` if the socket is receiving already.
    fn receive(&mut self, socket: Handle) -> io::Result<()>;

    /// Limits how much each receive delivers in one turn, to about `size_max` bytes.
    ///
    /// The limit applies to receives that start from now on. A limited receive goes on with the next turn, unless it
    /// was [cancelled](Driver::cancel) meanwhile. The initial value `u32::MAX` means no limit.
    ///
    /// The drivers keep the limit with different precision:
    ///
    /// - io_uring may deliver up to one buffer more, but not if `size_max` is less than a buffer. Before Linux 6.17 it
    ///   can only limit a receive to one piece, so a `size_max` larger than a buffer has no effect there.
    /// - The fallback may deliver twice as much, if more bytes arrive during the turn.
    /// - The simulated driver has no such limit.
    fn limit_receives(&mut self, size_max: u32);

    /// Lets each turn that waits go on until `count` completions are there, but for `within_ns` at most if there is one.
    ///
    /// Initially, and with a `count` of 1, a turn ends with the first completion. The deadline of a turn holds all the
    /// same. This saves wake-ups where many completions come one by one.
    ///
    /// Only io_uring follows this, from Linux 6.12 on (`min_wait_usec` in `io_uring_enter(2)`). The others ignore it.
    fn gather(&mut self, count: u32, within_ns: u64) {
        let _ = (count, within_ns);
    }

    /// Sends all of `buffer`. `Sent` follows, also for an empty buffer.
    ///
    /// # Errors
    /// `NotFound` for a stale handle; `ResourceBusy` while another send is under way. The buffer is dropped.
    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()>;

    /// Sends all of `bytes`, and reports nothing if the kernel takes them at once. This saves one completion per
    /// request.
    ///
    /// The kernel gets the bytes in the next turn at the latest. That turn reports nothing if it took all of them.
    /// Otherwise there are two cases:
    ///
    /// - The socket has no room for all of them. That turn delivers `SendWaits`, and the rest goes out as an ordinary
    ///   send. `Sent` follows, whether that send succeeds or fails.
    /// - They cannot be sent at all. That turn delivers only `Sent`, with the error.
    ///
    /// The caller does not need to know whether the bytes of an earlier skip-success send have left the socket's
    /// buffer. A response of the peer would not prove it. Nothing that is sent or shut down later overtakes these
    /// bytes. If another send or a shutdown follows on the same socket before the next turn, the driver makes an extra
    /// system call to find out whether the bytes have to wait. If they do, the later call fails with `ResourceBusy`.
    ///
    /// # Errors
    /// Those of [`send`](Driver::send); also `InvalidInput` for more than
    /// [`SKIP_SUCCESS_SEND_SIZE_MAX`](crate::limits::SKIP_SUCCESS_SEND_SIZE_MAX) bytes.
    fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()>;

    /// Closes the sending half of the connection (FIN), after everything sent before.
    ///
    /// It takes effect before the call returns.
    ///
    /// # Errors
    /// `ResourceBusy` while a send is under way, including a skip-success send that has to wait; `NotFound` for a stale
    /// handle; otherwise those of shutdown(2).
    fn shutdown(&mut self, socket: Handle) -> io::Result<()>;

    /// Ends a receive or an accept early.
    ///
    /// `ReceiveEnded(Cancelled)` or `AcceptEnded(None)` follows, unless the operation was just ending by itself. Does
    /// nothing if neither is under way, or if the handle is stale.
    fn cancel(&mut self, handle: Handle);

    /// Ends a [`send`](Driver::send) early.
    ///
    /// Its `Sent` follows and reports how much the kernel took until then, unless the send was just ending by itself.
    /// Does nothing if no send is under way, or if the handle is stale.
    ///
    /// A skip-success send can only be cancelled once the caller knows that it has to wait: after `SendWaits`, or after
    /// another call failed with `ResourceBusy`.
    fn cancel_send(&mut self, socket: Handle);

    /// Ends everything on `handle` and closes its descriptor. `Closed` follows.
    ///
    /// A foreign descriptor stays open. Does nothing if the handle is stale or closing already.
    ///
    /// The driver does not take back a send that is under way. The bytes that the socket has room for go out before the
    /// end of the stream, and the rest is dropped. If received bytes are unread, the connection is reset, as by close(2).
    ///
    /// The peer learns of the end before this call returns, or in the next turn if a send is under way. With io_uring it
    /// is also the next turn if received bytes are unread, or if the socket was [adopted](Driver::adopt) and an operation
    /// is in flight.
    ///
    /// The cost of closing does not depend on how many handles are open.
    fn close(&mut self, handle: Handle);

    /// Returns whether the next thing to receive is the end of the stream or a failure.
    ///
    /// This looks at the socket itself, with a system call. It may find the end before the receive under way reports
    /// it. Returns false for a stale handle.
    fn is_at_end(&mut self, socket: Handle) -> bool;

    /// Waits once until a foreign descriptor is ready. `Polled` follows, or `Closed` after [`close`](Driver::close).
    ///
    /// The caller keeps the ownership of the descriptor, and keeps it open until one of these two events has come.
    ///
    /// # Errors
    /// The descriptor cannot be polled, for example a plain file under epoll.
    fn poll(&mut self, descriptor: RawFd, interest: Interest) -> io::Result<Handle>;

    /// Submits everything started so far to the kernel, waits, and appends what has completed to `completions`.
    ///
    /// The wait ends as soon as something completes or the driver's clock reaches `deadline_ns`. `None` means no
    /// deadline. If `deadline_ns` has passed already, the call does not wait. It may return early without a completion.
    ///
    /// # Errors
    /// Only if the driver itself is broken, for example because the ring is gone. Neither an error of a single socket
    /// nor a temporary shortage in the kernel is an error here.
    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// Returns a notifier that ends the wait in [`turn`](Driver::turn) from another thread.
    fn notifier(&self) -> Notifier;

    /// Returns the pool of buffers that this driver receives into.
    fn pool(&self) -> &BufferPool;

    /// Returns the address that a socket or listener is bound to.
    ///
    /// # Errors
    /// `NotFound` for a stale handle; otherwise those of getsockname(2).
    fn local_address(&self, handle: Handle) -> io::Result<Address>;

    /// Returns the address that a socket is connected to.
    ///
    /// # Errors
    /// `NotFound` for a stale handle; otherwise those of getpeername(2).
    fn peer_address(&self, handle: Handle) -> io::Result<Address>;

    /// Returns what the kernel tells about the queues of a TCP socket, for reports.
    ///
    /// # Errors
    /// `NotFound` for a stale handle, `Unsupported` where there is no such kernel, as in the simulation; otherwise those of
    /// getsockopt(2).
    fn tcp_queues(&self, handle: Handle) -> io::Result<TcpQueues> {
        let _ = handle;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns the driver's name, as `--driver` accepts it and reports print it.
    fn name(&self) -> &'static str;

    /// Returns the kernel features that this driver uses, for reports.
    fn features(&self) -> Vec<&'static str>;

    /// Returns how many system calls the driver has made, for reports.
    ///
    /// The count covers waiting and the transfer of bytes. Of the calls that set up, shut down or close sockets, each
    /// driver counts only a part.
    fn syscalls(&self) -> u64;
}

/// Returns the error for a stale handle.
pub fn stale_handle() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the handle is closed")
}

/// Returns the error of a send that [`Driver::cancel_send`] ended.
pub fn cancelled_send() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

/// Returns the error for an operation that conflicts with one under way on the same handle.
pub fn busy_handle() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "a conflicting operation is under way on this handle")
}
