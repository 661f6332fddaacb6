//! [`Fallback`]: the table of handles, the lists of pending work, and the turn.

mod connects;
mod readiness;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Events, Poll, Token, Waker};
use ringtide_driver::contract::{busy_handle, stale_handle};
use ringtide_driver::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use ringtide_driver::net::{is_at_end, listening_socket, stream_socket};
use ringtide_driver::slots::Slots;
use ringtide_driver::tcp_queues::{TcpQueues, tcp_queues};
use ringtide_driver::{
    Address, BufferPool, Completion, Driver, Event, Handle, Interest, Notifier, ReceiveEnd, SendBuffer,
    monotonic_ns,
};
use socket2::{SockAddr, Socket, Type};

use crate::buffers::Buffers;
use crate::foreign::duplicate;
use crate::socket::{Entry, Flags, Sending, StreamSocket};
use crate::wait::{Until, wait};

/// The most readiness events that one turn takes from the kernel.
const EVENTS_PER_TURN: usize = 1024;

// A token contains a whole handle.
const _: () = assert!(usize::BITS >= 64, "ringtide-fallback needs a 64-bit system");

/// The token of the waker. No handle has this token, because a generation has 24 bits.
const WAKER: Token = Token(usize::MAX);

/// The driver over readiness. It is edge-triggered, and each socket is registered once, for its whole life.
///
/// A request and its response cost one send(2), one recv(2) and a share of one `epoll_wait`, and no allocation. Where
/// [`Driver`] leaves a choice, this driver works as follows:
///
/// - `send` makes its attempt inside the call. The next turn delivers `Sent`, and to save a call it does not also check
///   readiness. It never skips the check twice in a row.
/// - Received bytes are lent. If fewer than a quarter of the pool's buffers are free, they are copied. If no buffer is
///   free, the socket waits until leases come back.
/// - In one turn, a socket fills at most 16 buffers, and a listener accepts at most 64 connections.
/// - A Unix connect to a listener with a full backlog is retried every millisecond until the caller closes it.
/// - `adopt` makes the socket non-blocking, which also affects others who share the open file.
/// - `poll` waits with a duplicate of the descriptor, so that one descriptor can be polled several times at once.
///
/// # Examples
/// ```
/// use ringtide_driver::{Address, Driver, Event};
/// use ringtide_fallback::Fallback;
///
/// let mut driver = Fallback::new()?;
/// let listener = driver.listen(&Address::Tcp(([127, 0, 0, 1], 0).into()), false)?;
/// driver.accept(listener)?;
/// let socket = driver.connect(&driver.local_address(listener)?)?;
/// let mut completions = Vec::new();
/// while completions.len() < 2 {
///     driver.turn(None, &mut completions)?;
/// }
/// assert!(completions.iter().any(|c| c.handle == socket && matches!(c.event, Event::Connected(Ok(())))));
/// assert!(completions.iter().any(|c| c.handle == listener && matches!(c.event, Event::Accepted(_))));
/// # std::io::Result::Ok(())
/// ```
pub struct Fallback {
    selector: Poll,
    events: Events,
    waker: Arc<Waker>,
    entries: Slots<Entry>,
    buffers: Buffers,
    /// Completions of operations that ended inside their call, for the next turn to deliver. At most one of each kind
    /// per handle.
    queued: Vec<Completion>,
    /// The last turn delivered queued completions and did not check readiness. The next one will.
    skipped_look: bool,
    /// Readable sockets for which no edge will come: they reached a limit of the turn, or were armed after the edge.
    ready: VecDeque<Handle>,
    /// Sockets that wait for a free buffer.
    starved: VecDeque<Handle>,
    /// Unix connects that wait for room in the listener's backlog.
    refused: VecDeque<(Handle, SockAddr)>,
    retry_at_ns: u64,
    /// How many bytes one socket may receive in one turn.
    receive_size_max: usize,
    syscalls: u64,
}

impl Fallback {
    /// Creates a driver with a [`BufferPool`] of the default size.
    ///
    /// # Errors
    /// The selector cannot be created (`EMFILE`).
    pub fn new() -> io::Result<Self> {
        Self::with_pool(BufferPool::new())
    }

    /// Creates a driver that receives into `pool`.
    ///
    /// # Errors
    /// The selector cannot be created (`EMFILE`).
    ///
    /// # Panics
    /// If the pool belongs to another driver.
    pub fn with_pool(pool: BufferPool) -> io::Result<Self> {
        let buffers = Buffers::new(pool);
        let selector = Poll::new()?;
        let waker = Arc::new(Waker::new(selector.registry(), WAKER)?);
        Ok(Self {
            selector,
            events: Events::with_capacity(EVENTS_PER_TURN),
            waker,
            entries: Slots::default(),
            buffers,
            queued: Vec::new(),
            skipped_look: false,
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            refused: VecDeque::new(),
            retry_at_ns: 0,
            receive_size_max: usize::MAX,
            syscalls: 0,
        })
    }

    /// Returns the socket of `handle`.
    fn socket(&self, handle: Handle) -> io::Result<&StreamSocket> {
        match self.entries.get(handle) {
            Some(Entry::Socket(socket)) => Ok(socket),
            Some(Entry::Poll(_)) => Err(not_a_socket()),
            Some(Entry::Closing) | None => Err(stale_handle()),
        }
    }

    /// Returns the socket of `handle`, or `ResourceBusy` if one of the flags `busy` is set.
    #[inline]
    fn idle_socket(&mut self, handle: Handle, busy: Flags) -> io::Result<&mut StreamSocket> {
        match self.entries.get_mut(handle) {
            Some(Entry::Socket(socket)) if socket.flags.any(busy) => Err(busy_handle()),
            Some(Entry::Socket(socket)) => Ok(socket),
            Some(Entry::Poll(_)) => Err(not_a_socket()),
            Some(Entry::Closing) | None => Err(stale_handle()),
        }
    }

    fn register(&self, handle: Handle, descriptor: RawFd, interest: mio::Interest) -> io::Result<()> {
        self.selector.registry().register(&mut SourceFd(&descriptor), token(handle), interest)
    }

    /// Creates a handle for `socket` and registers the socket.
    fn insert(&mut self, socket: Socket, flags: Flags) -> io::Result<Handle> {
        let descriptor = socket.as_raw_fd();
        let handle = self.entries.insert(Entry::Socket(StreamSocket::new(socket, flags)));
        if let Err(error) = self.register(handle, descriptor, BOTH) {
            self.entries.remove(handle);
            return Err(error);
        }
        Ok(handle)
    }

    fn queue(&mut self, handle: Handle, event: Event) {
        self.queued.push(Completion { handle, event });
    }

    /// Lists the socket of `handle` for the next turn if an edge has already come for it.
    fn list_if_readable(&mut self, handle: Handle) {
        if let Some(Entry::Socket(socket)) = self.entries.get_mut(handle)
            && socket.flags.any(Flags::READABLE)
            && !socket.flags.any(Flags::LISTED)
        {
            socket.flags.set(Flags::LISTED);
            self.ready.push_back(handle);
        }
    }

    #[inline]
    fn start_send(&mut self, handle: Handle, buffer: SendBuffer, skip_success: bool) -> io::Result<()> {
        let mut syscalls = 0;
        let socket = self.idle_socket(handle, Flags::SENDING)?;
        match socket.send(buffer, &mut syscalls) {
            Sending::Ended { result: Ok(()), .. } if skip_success => {}
            Sending::Ended { result, buffer } => {
                socket.flags.set(Flags::SENDING);
                self.queue(handle, Event::Sent(result, buffer));
            }
            Sending::Waits => {
                socket.flags.set(Flags::SENDING);
                if skip_success {
                    self.queue(handle, Event::SendWaits);
                }
            }
        }
        self.syscalls += syscalls;
        Ok(())
    }

    /// Delivers the queued completions, except those of handles that were closed meanwhile.
    fn give_queued(&mut self, completions: &mut Vec<Completion>) {
        for completion in self.queued.drain(..) {
            match (self.entries.get_mut(completion.handle), &completion.event) {
                (Some(Entry::Closing), Event::Closed) => drop(self.entries.remove(completion.handle)),
                (Some(Entry::Socket(socket)), event) => socket.flags.clear(match event {
                    Event::Sent(..) => Flags::SENDING,
                    Event::ReceiveEnded(_) => Flags::RECEIVING.with(Flags::RECEIVE_CANCELLED),
                    Event::AcceptEnded(_) => Flags::ACCEPTING.with(Flags::ACCEPT_CANCELLED),
                    _ => Flags::NONE,
                }),
                _ => continue,
            }
            completions.push(completion);
        }
    }

    /// Moves starved sockets to the ready list, as many as there are free buffers.
    fn resume_starved(&mut self) {
        let mut available = self.buffers.available();
        while available > 0
            && let Some(handle) = self.starved.pop_front()
        {
            // The flag `LISTED` stays set: the socket only moves to another list.
            self.ready.push_back(handle);
            available -= 1;
        }
    }

    /// Removes a foreign descriptor's duplicate from the selector. Closing the duplicate would not remove it, because
    /// the caller still has the same open file.
    fn end_poll(&mut self, handle: Handle) {
        if let Some(Entry::Poll(duplicate)) = self.entries.get(handle) {
            self.deregister(duplicate.as_raw_fd());
        }
    }

    fn deregister(&self, descriptor: RawFd) {
        // This fails only if the descriptor is not registered, which is fine.
        let _ = self.selector.registry().deregister(&mut SourceFd(&descriptor));
    }
}

impl Driver for Fallback {
    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn connect_from(&mut self, address: &Address, source: Option<IpAddr>) -> io::Result<Handle> {
        let target = address.to_system()?;
        let socket = stream_socket(address, source)?;
        socket.set_nonblocking(true)?;
        let flags = kind(address).with(Flags::CONNECTING);
        let handle = self.entries.insert(Entry::Socket(StreamSocket::new(socket, flags)));
        if let Some(result) = self.try_connect(handle, &target) {
            let event = self.connect_ended(handle, result);
            self.queue(handle, event);
        }
        Ok(handle)
    }

    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle> {
        let socket = listening_socket(address, reuse_port)?;
        socket.set_nonblocking(true)?;
        self.insert(socket, kind(address))
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Handle> {
        let socket = Socket::from(socket);
        // This also fails for descriptors that are not sockets (ENOTSOCK).
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stream socket"));
        }
        let flags = kind(&Address::from_system(&socket.local_addr()?));
        socket.set_nonblocking(true)?;
        self.insert(socket, flags.with(Flags::ADOPTED))
    }

    fn accept(&mut self, listener: Handle) -> io::Result<()> {
        self.idle_socket(listener, Flags::ACCEPTING)?.flags.set(Flags::ACCEPTING);
        self.list_if_readable(listener);
        Ok(())
    }

    fn receive(&mut self, socket: Handle) -> io::Result<()> {
        self.idle_socket(socket, Flags::RECEIVING)?.flags.set(Flags::RECEIVING);
        self.list_if_readable(socket);
        Ok(())
    }

    fn limit_receives(&mut self, size_max: u32) {
        self.receive_size_max = size_max as usize;
    }

    #[inline]
    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()> {
        self.start_send(socket, buffer, false)
    }

    #[inline]
    fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()> {
        if bytes.len() > SKIP_SUCCESS_SEND_SIZE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too long for a skip-success send"));
        }
        self.start_send(socket, SendBuffer::Static(bytes), true)
    }

    fn shutdown(&mut self, socket: Handle) -> io::Result<()> {
        self.idle_socket(socket, Flags::SENDING)?.socket.shutdown(std::net::Shutdown::Write)
    }

    fn cancel(&mut self, handle: Handle) {
        let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) else { return };
        let flags = socket.flags;
        if flags.wants_bytes() {
            socket.flags.set(Flags::RECEIVE_CANCELLED);
            self.queued.push(Completion { handle, event: Event::ReceiveEnded(ReceiveEnd::Cancelled) });
        }
        if flags.wants_connections() {
            socket.flags.set(Flags::ACCEPT_CANCELLED);
            self.queued.push(Completion { handle, event: Event::AcceptEnded(None) });
        }
    }

    fn cancel_send(&mut self, socket: Handle) {
        let Some(Entry::Socket(entry)) = self.entries.get_mut(socket) else { return };
        if let Some((cut, buffer)) = entry.cancel_send() {
            self.queue(socket, Event::Sent(Err(cut), buffer));
        }
    }

    fn close(&mut self, handle: Handle) {
        match self.entries.get(handle) {
            Some(Entry::Socket(socket)) => {
                let flags = socket.flags;
                if flags.any(Flags::ADOPTED) {
                    self.deregister(socket.socket.as_raw_fd());
                }
                // These lists contain only open sockets, so that they are not longer than the table. The ready list
                // needs no cleaning, because every turn empties it.
                if flags.any(Flags::LISTED) {
                    self.starved.retain(|&starved| starved != handle);
                }
                if flags.any(Flags::CONNECTING) {
                    self.refused.retain(|&(refused, _)| refused != handle);
                }
            }
            Some(Entry::Poll(_)) => self.end_poll(handle),
            Some(Entry::Closing) | None => return,
        }
        if let Some(entry) = self.entries.get_mut(handle) {
            // Dropping the socket closes it and drops the rest of its send. Closing the last descriptor of an open file
            // also removes its registration (epoll(7), kqueue(2)), so no extra call is needed.
            *entry = Entry::Closing;
        }
        self.queue(handle, Event::Closed);
    }

    fn is_at_end(&mut self, socket: Handle) -> bool {
        let Some(Entry::Socket(entry)) = self.entries.get(socket) else { return false };
        self.syscalls += 1;
        is_at_end(entry.socket.as_fd())
    }

    fn poll(&mut self, descriptor: RawFd, interest: Interest) -> io::Result<Handle> {
        let duplicate = duplicate(descriptor)?;
        let number = duplicate.as_raw_fd();
        let handle = self.entries.insert(Entry::Poll(duplicate));
        let interest = match interest {
            Interest::Readable => mio::Interest::READABLE,
            Interest::Writable => mio::Interest::WRITABLE,
        };
        if let Err(error) = self.register(handle, number, interest) {
            self.entries.remove(handle);
            return Err(error);
        }
        Ok(handle)
    }

    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        let before = completions.len();
        self.give_queued(completions);
        // Queued completions are delivered without a call to the kernel. This way a batch costs one check of readiness,
        // not one for the batch and another one for its `Sent`. The check is never skipped twice in a row, so that a
        // caller that sends all the time also receives.
        self.skipped_look = completions.len() > before && !self.skipped_look;
        if self.skipped_look {
            return Ok(());
        }
        self.buffers.begin_turn();
        if !self.starved.is_empty() {
            self.resume_starved();
        }
        if !self.refused.is_empty() {
            self.retry_connects(completions);
        }
        // Sockets that are added to the list from here on get their next share in the next turn.
        for _ in 0..self.ready.len() {
            let Some(handle) = self.ready.pop_front() else { break };
            if let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) {
                socket.flags.clear(Flags::LISTED);
                self.use_readiness(handle, completions);
            }
        }
        let until = if completions.len() > before || !self.ready.is_empty() {
            Until::Now
        } else {
            let retry_at_ns = if self.refused.is_empty() { None } else { Some(self.retry_at_ns) };
            match (deadline_ns, retry_at_ns) {
                (Some(deadline_ns), Some(retry_at_ns)) => Until::Moment(deadline_ns.min(retry_at_ns)),
                (Some(moment_ns), None) | (None, Some(moment_ns)) => Until::Moment(moment_ns),
                (None, None) => Until::Ready,
            }
        };
        wait(&mut self.selector, &mut self.events, until, &mut self.syscalls)?;
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for readiness in &events {
            self.on_readiness(readiness, completions);
        }
        self.events = events;
        Ok(())
    }

    fn notifier(&self) -> Notifier {
        let waker = Arc::clone(&self.waker);
        Notifier::new(move || {
            // This fails only if the kernel is out of memory, and this thread cannot report it to anyone.
            let _ = waker.wake();
        })
    }

    fn pool(&self) -> &BufferPool {
        self.buffers.pool()
    }

    fn local_address(&self, handle: Handle) -> io::Result<Address> {
        Ok(Address::from_system(&self.socket(handle)?.socket.local_addr()?))
    }

    fn peer_address(&self, handle: Handle) -> io::Result<Address> {
        Ok(Address::from_system(&self.socket(handle)?.socket.peer_addr()?))
    }

    fn tcp_queues(&self, handle: Handle) -> io::Result<TcpQueues> {
        tcp_queues(self.socket(handle)?.socket.as_fd())
    }

    fn name(&self) -> &'static str {
        "fallback"
    }

    fn features(&self) -> Vec<&'static str> {
        vec!["edge-triggered"]
    }

    fn syscalls(&self) -> u64 {
        self.syscalls
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("handles", &self.entries.len())
            .field("pool", self.buffers.pool())
            .finish_non_exhaustive()
    }
}

const BOTH: mio::Interest = mio::Interest::READABLE.add(mio::Interest::WRITABLE);

fn token(handle: Handle) -> Token {
    Token((handle.generation() as usize) << 32 | handle.slot() as usize)
}

fn handle(token: Token) -> Handle {
    Handle::new(token.0 as u32, (token.0 >> 32) as u32)
}

fn kind(address: &Address) -> Flags {
    match address {
        Address::Tcp(_) => Flags::TCP,
        Address::Unix(_) => Flags::NONE,
    }
}

fn not_a_socket() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the handle is a poll, not a socket")
}
