//! The io_uring driver: one ring per worker, multishot receives into shared buffers, skip-success sends.
//!
//! The path of a request: `send_skip_success` writes a submission entry. [`turn`](Driver::turn) enters the kernel once
//! for the entries of all sockets. The response arrives as a completion that names a buffer, and the driver lends this
//! buffer to the caller without copying it.
//!
//! Invariants:
//! - A slot knows which operations are in flight: those whose last completion has not been processed. It is freed only
//!   when there are none.
//! - Memory that the kernel uses stays in the slot (send buffer, its message, address) or in the pool until then.
//! - A skip-success send ends during its submission. It is never in flight, and nothing overtakes it.
//! - user data = kind | generation | slot. A completion for a slot that is gone only returns its buffer.
//!
//! `slot` contains the rules, `submit` the way into the kernel, `reap` the way out, and `setup` creates rings.

mod buffer_ring;
mod message;
mod reap;
mod receive_limit;
mod send_entry;
mod setup;
mod slot;
#[cfg(test)]
mod slot_properties;
mod submit;
mod user_data;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use socket2::SockRef;

use self::buffer_ring::{BUFFER_GROUP, BufferRing};
use self::slot::{Batch, Cancel, Close, Role, Slot};
use self::user_data::{Kind, pack};
use crate::address::Address;
use crate::buffer::{BufferPool, SendBuffer};
use crate::contract::{
    Completion, Driver, Event, Handle, Interest, Notifier, busy_handle, monotonic_ns, stale_handle,
};
use crate::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use crate::net;
use crate::slots::Slots;
use crate::tcp_queues::{TcpQueues, tcp_queues};

use self::receive_limit::{RECEIVE_LIMIT, ReceiveLimit};
pub use self::setup::{Unusable, probe};

/// How long dropping a driver waits for the kernel to confirm its cancellations. After that it leaks what is left.
const TEARDOWN_NS: u64 = 1_000_000_000;

/// The io_uring driver. It belongs to the thread that created it.
pub struct IoUring {
    // `ManuallyDrop`, because the order of dropping matters: see `drop`.
    ring: mem::ManuallyDrop<io_uring::IoUring>,
    buffers: mem::ManuallyDrop<BufferRing>,
    pool: BufferPool,
    slots: Slots<Slot>,
    /// Events that the driver created itself. The next turn delivers them.
    pending: Vec<Completion>,
    /// Receives to start again in a later turn: they had no free buffer, or used up their limit for one turn.
    starved: Vec<Handle>,
    /// Completions that were taken out of the queue before the next [`IoUring::reap`]: by a submission that found the
    /// queue full, or by [`IoUring::settle`].
    stash: VecDeque<cqueue::Entry>,
    /// The batch of the entries that are queued now.
    batch: Batch,
    wake: Arc<OwnedFd>,
    features: Vec<&'static str>,
    multishot_accept: bool,
    /// Whether a wait can have a least number of completions and a time for that.
    gathers: bool,
    gather: Gather,
    syscalls: u64,
    receive_limit: ReceiveLimit,
    /// Set while the driver is being dropped, so that the driver does not poll its eventfd again.
    tearing_down: bool,
}

/// How many completions a wait is to bring, and how long it may go on for that.
#[derive(Clone, Copy)]
struct Gather {
    count: usize,
    within_us: u32,
}

impl Gather {
    const NONE: Self = Self { count: 1, within_us: 0 };
}

impl IoUring {
    /// Creates a driver with a pool of the default size.
    ///
    /// # Errors
    /// The reason why io_uring cannot be used here, or why this ring cannot be created now; see [`probe`]. Nothing is
    /// left open.
    pub fn new() -> Result<Self, Unusable> {
        Self::with_pool(BufferPool::new())
    }

    /// Creates a driver that receives into `pool`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    /// If the pool belongs to another driver, or if its count is not a power of two (`io_uring_register(2)`).
    pub fn with_pool(pool: BufferPool) -> Result<Self, Unusable> {
        Self::with_ring(pool, setup::build()?)
    }

    /// Creates a driver whose ring has `entries` submission entries and four times as many completion entries.
    ///
    /// `entries` is a power of two. This is for tests of what happens when both queues are too short.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    /// As for [`with_pool`](Self::with_pool).
    pub fn with_entries(pool: BufferPool, entries: u32) -> Result<Self, Unusable> {
        Self::with_ring(pool, setup::build_with(entries, 4 * entries)?)
    }

    /// Creates a driver on the plainest ring that it supports, as on the oldest kernel.
    ///
    /// Work is not deferred, and each accept operation accepts one connection. This is for tests of that path.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    /// As for [`with_pool`](Self::with_pool).
    pub fn with_plainest_ring(pool: BufferPool) -> Result<Self, Unusable> {
        Self::with_ring(pool, setup::build_plainest()?)
    }

    fn with_ring(pool: BufferPool, built: setup::Built) -> Result<Self, Unusable> {
        pool.claim();
        let setup::Built { ring, features, multishot_accept } = built;
        let gathers = ring.params().is_feature_min_timeout();
        let buffers = BufferRing::register(&ring.submitter(), &pool)
            .map_err(|error| setup::explain_registration(&error))?;
        let wake = Self::wake_descriptor().map_err(|error| Unusable::failed("eventfd", &error))?;
        let mut driver = Self {
            ring: mem::ManuallyDrop::new(ring),
            buffers: mem::ManuallyDrop::new(buffers),
            pool,
            slots: Slots::default(),
            pending: Vec::new(),
            starved: Vec::new(),
            stash: VecDeque::new(),
            batch: 0,
            wake: Arc::new(wake),
            features,
            multishot_accept,
            gathers,
            gather: Gather::NONE,
            syscalls: 0,
            receive_limit: ReceiveLimit::None,
            tearing_down: false,
        };
        driver.arm_wake();
        Ok(driver)
    }

    fn socket(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        let slot = self.slots.get(handle).ok_or_else(stale_handle)?;
        slot.descriptor.as_ref().map(AsFd::as_fd).ok_or_else(stale_handle)
    }

    #[inline]
    fn open_slot(&mut self, handle: Handle) -> io::Result<&mut Slot> {
        self.slots.get_mut(handle).filter(|slot| slot.is_open()).ok_or_else(stale_handle)
    }
}

impl Driver for IoUring {
    #[inline]
    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn connect_from(&mut self, address: &Address, source: Option<IpAddr>) -> io::Result<Handle> {
        let system = address.to_system()?;
        self.syscalls += if source.is_some() { 4 } else { 2 };
        let socket = match net::stream_socket(address, source) {
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                // Descriptors whose close is only queued still count. Submit these closes, then try once more.
                self.enter(false, None)?;
                net::stream_socket(address, source)?
            }
            socket => socket?,
        };
        let mut slot = Slot::new(Role::Own, Some(OwnedFd::from(socket)));
        slot.address = Some(Box::new(system));
        slot.start(Kind::Connect);
        let handle = self.slots.insert(slot);
        self.submit(Kind::Connect, handle);
        Ok(handle)
    }

    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle> {
        let socket = net::listening_socket(address, reuse_port)?;
        Ok(self.slots.insert(Slot::new(Role::Own, Some(OwnedFd::from(socket)))))
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Handle> {
        // On a non-blocking socket, operations would fail with EAGAIN instead of waiting.
        SockRef::from(&socket).set_nonblocking(false)?;
        Ok(self.slots.insert(Slot::new(Role::Adopted, Some(socket))))
    }

    fn accept(&mut self, listener: Handle) -> io::Result<()> {
        self.open_slot(listener)?.start_multishot(Kind::Accept)?;
        self.submit(Kind::Accept, listener);
        Ok(())
    }

    fn receive(&mut self, socket: Handle) -> io::Result<()> {
        self.open_slot(socket)?.start_multishot(Kind::Receive)?;
        self.submit(Kind::Receive, socket);
        Ok(())
    }

    #[inline]
    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()> {
        let batch = self.batch;
        let slot = self.open_slot(socket)?;
        if slot.is_unsettled(batch) {
            self.settle(socket)?;
            return self.send(socket, buffer);
        }
        if slot.is_sending() {
            return Err(busy_handle());
        }
        if buffer.is_empty() {
            slot.start_empty_send();
            self.pending.push(Completion { handle: socket, event: Event::Sent(Ok(()), buffer) });
            return Ok(());
        }
        slot.start_send(buffer, batch);
        self.submit(Kind::Send, socket);
        Ok(())
    }

    #[inline]
    fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()> {
        if bytes.len() > SKIP_SUCCESS_SEND_SIZE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let batch = self.batch;
        let slot = self.open_slot(socket)?;
        if slot.is_unsettled(batch) {
            self.settle(socket)?;
            return self.send_skip_success(socket, bytes);
        }
        if slot.is_sending() {
            return Err(busy_handle());
        }
        if !bytes.is_empty() {
            slot.start_skip_success_send(bytes, batch);
            self.submit(Kind::SkipSuccessSend, socket);
        }
        Ok(())
    }

    fn shutdown(&mut self, socket: Handle) -> io::Result<()> {
        let batch = self.batch;
        if self.open_slot(socket)?.is_unsettled(batch) {
            self.settle(socket)?;
        }
        if self.open_slot(socket)?.is_sending() {
            return Err(busy_handle());
        }
        self.syscalls += 1;
        // A direct system call, because IORING_OP_SHUTDOWN always uses a kernel worker thread, which costs more.
        SockRef::from(&self.socket(socket)?).shutdown(Shutdown::Write)
    }

    fn limit_receives(&mut self, size_max: u32) {
        self.receive_limit = ReceiveLimit::new(size_max, self.pool.buffer_size());
        if matches!(self.receive_limit, ReceiveLimit::Total(_)) && !self.features.contains(&RECEIVE_LIMIT) {
            self.features.push(RECEIVE_LIMIT);
        }
    }

    fn gather(&mut self, count: u32, within_ns: u64) {
        // The kernel takes microseconds.
        let microseconds = u32::try_from(within_ns / 1_000).unwrap_or(u32::MAX);
        let wanted = Gather { count: count.max(1) as usize, within_us: microseconds };
        self.gather = if self.gathers && microseconds > 0 { wanted } else { Gather::NONE };
    }

    fn cancel(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        match slot.cancel() {
            Cancel::Nothing => {}
            Cancel::InKernel(kind) => self.cancel_operation(kind, handle),
            Cancel::Ended(event) => self.pending.push(Completion { handle, event }),
        }
    }

    fn cancel_send(&mut self, socket: Handle) {
        if self.slots.get_mut(socket).is_some_and(Slot::cancel_send) {
            self.cancel_operation(Kind::Send, socket);
        }
    }

    fn close(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        match slot.close(self.batch) {
            Close::Already => {}
            Close::Free => self.free(handle),
            Close::Cancel(kinds) => self.cancel_operations(kinds, handle),
            Close::ShutDown(kinds) => {
                self.syscalls += 1;
                // A close with unread bytes has to reset the connection (RFC 9293 §3.10.4), or the peer could wait for
                // room that never comes. The receive would read these bytes after a shutdown, so it is cancelled.
                if slot.descriptor.as_ref().is_some_and(|descriptor| net::has_unread(descriptor.as_fd())) {
                    return self.cancel_operations(kinds, handle);
                }
                let Some(descriptor) = slot.descriptor.take() else { return };
                self.syscalls += 1;
                // A cancelled operation keeps the socket open until its completion is processed. The peer would get the
                // end of the stream only then: one trip through the kernel later, and behind everything that is started
                // meanwhile. A shutdown sends the end of the stream now, and also ends the operations.
                if SockRef::from(&descriptor).shutdown(Shutdown::Both).is_err() {
                    // The socket is no longer connected.
                    self.cancel_operations(kinds, handle);
                }
                self.push_close(descriptor, handle);
            }
        }
    }

    fn is_at_end(&mut self, socket: Handle) -> bool {
        self.syscalls += 1;
        self.socket(socket).is_ok_and(net::is_at_end)
    }

    fn poll(&mut self, descriptor: RawFd, interest: Interest) -> io::Result<Handle> {
        let events = match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
        };
        let mut slot = Slot::new(Role::Poll, None);
        slot.start(Kind::Poll);
        let handle = self.slots.insert(slot);
        let entry =
            opcode::PollAdd::new(Fd(descriptor), events as u32).build().user_data(pack(Kind::Poll, handle));
        // SAFETY: a poll uses no memory of this process.
        unsafe { self.push(&entry) };
        Ok(handle)
    }

    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.recycle();
        let wait = self.pending.is_empty() && self.stash.is_empty() && self.ring.completion().is_empty();
        self.enter(wait, deadline_ns)?;
        self.reap(completions);
        // Completions that did not fit into the queue also belong to this turn, for example that of a skip-success send
        // that has to wait. The loop ends, because no buffer goes back to the kernel meanwhile.
        while self.ring.submission().cq_overflow() {
            self.enter(false, None)?;
            self.reap(completions);
        }
        Ok(())
    }

    fn notifier(&self) -> Notifier {
        let wake = Arc::clone(&self.wake);
        Notifier::new(move || {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: this writes eight bytes of a live array to a descriptor that the `Arc` keeps open. EAGAIN means
            // that the counter is full, so the driver will wake anyway.
            unsafe { libc::write(wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        })
    }

    fn pool(&self) -> &BufferPool {
        &self.pool
    }

    fn local_address(&self, handle: Handle) -> io::Result<Address> {
        Ok(Address::from_system(&SockRef::from(&self.socket(handle)?).local_addr()?))
    }

    fn peer_address(&self, handle: Handle) -> io::Result<Address> {
        Ok(Address::from_system(&SockRef::from(&self.socket(handle)?).peer_addr()?))
    }

    fn tcp_queues(&self, handle: Handle) -> io::Result<TcpQueues> {
        tcp_queues(self.socket(handle)?)
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn features(&self) -> Vec<&'static str> {
        self.features.clone()
    }

    fn syscalls(&self) -> u64 {
        self.syscalls
    }
}

impl Drop for IoUring {
    fn drop(&mut self) {
        self.tearing_down = true;
        for handle in self.slots.handles() {
            self.close(handle);
        }
        self.cancel_operation(Kind::Wake, Handle::new(0, 0));
        let deadline_ns = self.now_ns() + TEARDOWN_NS;
        let mut completions = Vec::new();
        while !self.slots.is_empty() && self.now_ns() < deadline_ns {
            if self.turn(Some(deadline_ns), &mut completions).is_err() {
                break;
            }
            completions.clear();
        }
        // The closes of the last slots are queued. They have no completions to wait for.
        let _ = self.enter(false, None);
        let confirmed = self.slots.is_empty();
        let _ = self.ring.submitter().unregister_buf_ring(BUFFER_GROUP);
        // SAFETY: neither field is used again, because the struct is being dropped.
        unsafe {
            mem::ManuallyDrop::drop(&mut self.ring);
            if confirmed {
                mem::ManuallyDrop::drop(&mut self.buffers);
                return;
            }
        }
        // The kernel has not confirmed that all operations have ended, and closing a ring does not wait for them. The
        // kernel may still access this memory, so it is leaked. The buffer ring stays in its `ManuallyDrop`.
        mem::forget(self.pool.clone());
        mem::forget(mem::take(&mut self.slots));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::contract::ReceiveEnd;

    struct Watched(Arc<AtomicBool>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            b"sent"
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Drops a driver while it holds a send. If `lost`, the kernel never completes that send.
    fn drop_with_a_send(lost: bool) -> (BufferPool, bool) {
        let dropped = Arc::new(AtomicBool::new(false));
        let pool = BufferPool::with_sizes(2, 64);
        let mut driver = IoUring::with_pool(pool.clone()).expect("io_uring can be used");
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair can be made");
        let socket = driver.adopt(one.into()).expect("a socket");
        let buffer = SendBuffer::Shared(Bytes::from_owner(Watched(Arc::clone(&dropped))));
        if lost {
            let batch = driver.batch;
            driver.slots.get_mut(socket).expect("open").start_send(buffer, batch);
        } else {
            driver.send(socket, buffer).expect("it is idle");
        }
        drop(driver);
        (pool, dropped.load(Ordering::Relaxed))
    }

    #[test]
    fn what_the_kernel_has_not_confirmed_is_leaked_and_not_freed() {
        if probe().is_err() {
            return; // The contract suite reports it.
        }
        let (pool, dropped) = drop_with_a_send(true);
        assert!(!dropped, "the kernel may still read what was to be sent");
        assert_eq!(pool.references(), 2, "the kernel may still write into the pool");
        let (pool, dropped) = drop_with_a_send(false);
        assert!(dropped, "the send's buffer was leaked");
        assert_eq!(pool.references(), 1, "the pool was leaked");
    }

    #[test]
    fn features_say_what_is_used() {
        if probe().is_err() {
            return; // The contract suite says so.
        }
        let pool = || BufferPool::with_sizes(2, 64);
        let mut driver = IoUring::with_pool(pool()).expect("io_uring can be used");
        let features = driver.features();
        let better = ["multishot_accept", "defer_taskrun", "no_sqarray"];
        assert!(features.starts_with(&["multishot_receive", "buffer_ring"]), "{features:?}");
        assert!(features[2..].iter().all(|feature| better.contains(feature)), "{features:?}");
        assert_eq!(features.contains(&"multishot_accept"), driver.multishot_accept);
        let plainest = IoUring::with_plainest_ring(pool()).expect("io_uring can be used").features();
        assert_eq!(plainest, ["multishot_receive", "buffer_ring"]);
        // That receives can be bounded is said when they are.
        driver.limit_receives(u32::MAX);
        assert_eq!(driver.features(), features);
        for _ in 0..2 {
            driver.limit_receives(1_000);
            let known = matches!(driver.receive_limit, ReceiveLimit::Total(_));
            assert_eq!(driver.features().len() - features.len(), usize::from(known));
            assert_eq!(driver.features().contains(&RECEIVE_LIMIT), known);
        }
    }

    /// A driver with a socket that is written to all the time, of which a turn may bring one piece of 1000 bytes: as a kernel before
    /// 6.17 is asked to.
    fn receiving_piece_by_piece() -> (IoUring, Handle, std::os::unix::net::UnixStream) {
        let mut driver = IoUring::with_pool(BufferPool::with_sizes(4, 4096)).expect("io_uring can be used");
        driver.receive_limit = ReceiveLimit::Piece(1_000);
        let (one, mut other) = std::os::unix::net::UnixStream::pair().expect("a pair can be made");
        let socket = driver.adopt(one.into()).expect("a socket");
        std::io::Write::write_all(&mut other, &[7; 3_500]).expect("there is room");
        driver.receive(socket).expect("it is idle");
        (driver, socket, other)
    }

    fn turn(driver: &mut IoUring) -> Vec<Event> {
        let mut completions = Vec::new();
        driver.turn(Some(monotonic_ns() + 1_000_000_000), &mut completions).expect("the driver works");
        completions.into_iter().map(|completion| completion.event).collect()
    }

    #[test]
    fn a_limited_receive_goes_on_with_the_next_turn() {
        if probe().is_err() {
            return; // The contract suite says so.
        }
        let (mut driver, ..) = receiving_piece_by_piece();
        for size in [1_000, 1_000, 1_000, 500] {
            let events = turn(&mut driver);
            assert!(matches!(&events[..], [Event::Received(it)] if **it == vec![7; size]), "{events:?}");
        }
    }

    #[test]
    fn a_limited_receive_that_is_cancelled_between_turns_brings_no_more() {
        if probe().is_err() {
            return; // The contract suite says so.
        }
        let (mut driver, socket, _other) = receiving_piece_by_piece();
        turn(&mut driver);
        driver.cancel(socket);
        let events = turn(&mut driver);
        assert!(matches!(events[..], [Event::ReceiveEnded(ReceiveEnd::Cancelled)]), "{events:?}");
    }
}
