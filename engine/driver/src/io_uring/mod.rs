//! The io_uring driver: one ring per worker, multishot receives into shared buffers, silent sends.
//!
//! The path of a request's bytes: `send_quiet` writes a submission entry; [`turn`](Driver::turn) enters the kernel once,
//! for all entries of all sockets; the answer comes as a completion that names a buffer, which is lent out as it is.
//!
//! Invariants:
//! - `Slot::in_flight` counts the operations of a slot whose last completion has not been seen. A slot is freed, and
//!   its descriptor closed, only at zero (or, after a silent send, by a close that the kernel orders behind it).
//! - Memory shown to the kernel lives in the slot (send buffer, address) or in the pool until then.
//! - user data = kind | generation | slot; a completion whose slot is gone only gives its buffer back.

mod buffer_ring;
mod receive_limit;
mod setup;
mod user_data;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue};
use socket2::{SockAddr, SockRef};

use self::buffer_ring::{BUFFER_GROUP, BufferRing};
use self::user_data::{Kind, pack, unpack};
use crate::address::Address;
use crate::buffer::{BufferPool, Lease, SendBuffer};
use crate::contract::{
    Completion, CutSend, Driver, Event, Handle, Interest, Notifier, ReceiveEnd, busy_handle, cancelled_send,
    monotonic_ns, stale_handle,
};
use crate::limits::QUIET_SEND_SIZE_MAX;
use crate::net;
use crate::slots::Slots;

use self::receive_limit::{RECEIVE_LIMIT, ReceiveLimit};
pub use self::setup::{Unusable, probe};

/// How long dropping a driver waits for the kernel to confirm its cancellations before it leaks what is left.
const TEARDOWN_NS: u64 = 1_000_000_000;

/// The io_uring driver. It belongs to the thread that made it.
pub struct IoUring {
    // `ManuallyDrop` where the order matters: see `drop`.
    ring: mem::ManuallyDrop<io_uring::IoUring>,
    buffers: mem::ManuallyDrop<BufferRing>,
    pool: BufferPool,
    slots: Slots<Slot>,
    /// Events that the driver made itself, given out by the next turn.
    pending: Vec<Completion>,
    /// Receives that ended for want of buffers; started again when leases come back.
    starved: Vec<Handle>,
    /// Completions taken out of a full queue in the middle of a submission.
    stash: VecDeque<cqueue::Entry>,
    wake: Arc<OwnedFd>,
    features: Vec<&'static str>,
    multishot_accept: bool,
    syscalls: u64,
    receive_limit: ReceiveLimit,
    /// Set while the driver is dropped: nothing is started again.
    tearing_down: bool,
}

struct Slot {
    /// `None` for a foreign descriptor, which is not ours to close.
    descriptor: Option<OwnedFd>,
    /// The multishot receive or accept, of which a socket has one kind only.
    multishot: Multishot,
    in_flight: u8,
    closing: bool,
    /// A silent send was started and nothing has been received since, so it may still be in the kernel.
    quiet_unanswered: bool,
    send: Sending,
    /// The address of a connect, kept until it has ended.
    address: Option<Box<SockAddr>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multishot {
    Idle,
    /// In the kernel.
    Armed,
    /// In the kernel, with a cancellation under way.
    Cancelling,
    /// Wanted, but not in the kernel before the next turn, or for want of buffers.
    Starved,
}

enum Sending {
    Idle,
    /// In the kernel; `sent` bytes of it have been confirmed.
    Whole {
        buffer: SendBuffer,
        sent: usize,
        /// A cancellation is under way; what it leaves is not sent.
        cancelling: bool,
    },
    /// Perhaps in the kernel, which will only tell if it fails.
    Quiet {
        bytes: &'static [u8],
        sent: usize,
    },
}

impl Slot {
    fn new(descriptor: Option<OwnedFd>) -> Self {
        Self {
            descriptor,
            multishot: Multishot::Idle,
            in_flight: 0,
            closing: false,
            quiet_unanswered: false,
            send: Sending::Idle,
            address: None,
        }
    }

    fn fd(&self) -> Fd {
        Fd(self.descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }
}

impl IoUring {
    /// A driver with a pool of the default size.
    ///
    /// # Errors
    /// Why io_uring cannot be used here, or this ring cannot be had now; see [`probe`]. Nothing is left open.
    pub fn new() -> Result<Self, Unusable> {
        Self::with_pool(BufferPool::new())
    }

    /// A driver that receives into `pool`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// When the pool belongs to another driver, or its count is not a power of two (`io_uring_register(2)`).
    pub fn with_pool(pool: BufferPool) -> Result<Self, Unusable> {
        Self::with_ring(pool, setup::build()?)
    }

    /// A driver on the plainest ring that it can stand on, as on the oldest kernel: no deferred work, one accept at a time. For tests of
    /// that path.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// As [`with_pool`](Self::with_pool).
    pub fn with_plainest_ring(pool: BufferPool) -> Result<Self, Unusable> {
        Self::with_ring(pool, setup::build_plainest()?)
    }

    fn with_ring(pool: BufferPool, built: setup::Built) -> Result<Self, Unusable> {
        pool.claim();
        let setup::Built { ring, features, multishot_accept } = built;
        let buffers = BufferRing::register(&ring.submitter(), &pool)
            .map_err(|error| setup::explain_registration(&error))?;
        // SAFETY: eventfd(2) takes no pointers; the result is checked below.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(Unusable::failed("eventfd", &io::Error::last_os_error()));
        }
        // SAFETY: a fresh descriptor that nobody else knows.
        let wake = Arc::new(unsafe { OwnedFd::from_raw_fd(wake) });
        let mut driver = Self {
            ring: mem::ManuallyDrop::new(ring),
            buffers: mem::ManuallyDrop::new(buffers),
            pool,
            slots: Slots::default(),
            pending: Vec::new(),
            starved: Vec::new(),
            stash: VecDeque::new(),
            wake,
            features,
            multishot_accept,
            syscalls: 0,
            receive_limit: ReceiveLimit::None,
            tearing_down: false,
        };
        driver.arm_wake();
        Ok(driver)
    }

    fn arm_wake(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(pack(Kind::Wake, Handle::new(0, 0)));
        // SAFETY: a poll reads no memory, and `drop` keeps the eventfd until the ring is gone.
        unsafe { self.push(&poll) };
    }

    /// Queues an entry; enters the kernel first when the queue is full.
    ///
    /// # Safety
    /// Memory that the entry points at stays valid and untouched until the operation's last completion.
    #[inline]
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            self.make_room();
        }
    }

    #[cold]
    fn make_room(&mut self) {
        self.syscalls += 1;
        let Err(error) = self.ring.submit() else { return };
        match error.raw_os_error() {
            // EBUSY: the completion queue overflowed, and the kernel takes nothing more until it is emptied.
            // EAGAIN: the kernel is short of memory for requests; completing some frees it.
            Some(libc::EBUSY | libc::EAGAIN) => {
                let Self { ring, stash, .. } = self;
                stash.extend(ring.completion());
            }
            Some(libc::EINTR) => {}
            _ => panic!("io_uring_enter refuses a valid ring: {error}"),
        }
    }

    fn push_receive(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        slot.multishot = Multishot::Armed;
        slot.in_flight += 1;
        let entry = self.receive_limit.entry(slot.fd()).user_data(pack(Kind::Receive, handle));
        // SAFETY: it writes only into buffers of the registered ring, which are not freed before the ring is gone.
        unsafe { self.push(&entry) };
    }

    fn push_accept(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        slot.multishot = Multishot::Armed;
        slot.in_flight += 1;
        let entry = if self.multishot_accept {
            opcode::AcceptMulti::new(slot.fd()).flags(libc::SOCK_CLOEXEC).build()
        } else {
            // Ends with each connection, and is then started again like any multishot that has ended.
            opcode::Accept::new(slot.fd(), ptr::null_mut(), ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build()
        };
        let entry = entry.user_data(pack(Kind::Accept, handle));
        // SAFETY: neither kind of accept is given an address to write to.
        unsafe { self.push(&entry) };
    }

    /// Sends what is left of the slot's buffer.
    #[inline]
    fn push_send(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let fd = slot.fd();
        let (rest, kind, flags) = match &slot.send {
            Sending::Whole { buffer, sent, .. } => (&buffer[*sent..], Kind::Send, squeue::Flags::empty()),
            Sending::Quiet { bytes, sent } => (&bytes[*sent..], Kind::QuietSend, squeue::Flags::SKIP_SUCCESS),
            Sending::Idle => return,
        };
        // One entry takes up to 2 GiB (MAX_RW_COUNT); a longer rest is continued like any short send.
        let len = rest.len().min(1 << 30) as u32;
        let entry = opcode::Send::new(fd, rest.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(flags)
            .user_data(pack(kind, handle));
        if kind == Kind::Send {
            slot.in_flight += 1;
        }
        // SAFETY: a whole send's buffer stays in the slot, on the heap or static, until its completion; a silent one's is
        // static.
        unsafe { self.push(&entry) };
    }

    fn cancel_operation(&mut self, kind: Kind, handle: Handle) {
        let entry = opcode::AsyncCancel::new(pack(kind, handle))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Ignored, handle));
        // SAFETY: a cancellation points at no memory.
        unsafe { self.push(&entry) };
    }

    /// Frees the slot, hands the descriptor to the kernel to close, and announces `Closed`.
    fn finish_close(&mut self, handle: Handle) {
        let Some(slot) = self.slots.remove(handle) else { return };
        if let Some(descriptor) = slot.descriptor {
            let entry = opcode::Close::new(Fd(descriptor.into_raw_fd()))
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(pack(Kind::Ignored, handle));
            // SAFETY: a close points at no memory, and the descriptor was ours and is known to nobody any more.
            unsafe { self.push(&entry) };
        }
        self.pending.push(Completion { handle, event: Event::Closed });
    }

    /// Books the end of one operation; true when the slot is closing (and was perhaps freed by this).
    #[inline]
    fn landed(&mut self, handle: Handle) -> bool {
        let Some(slot) = self.slots.get_mut(handle) else { return true };
        slot.in_flight -= 1;
        if !slot.closing {
            return false;
        }
        if slot.in_flight == 0 {
            self.finish_close(handle);
        }
        true
    }

    fn complete(&mut self, entry: &cqueue::Entry, completions: &mut Vec<Completion>) {
        let Some((kind, handle)) = unpack(entry.user_data()) else { return };
        let (result, flags) = (entry.result(), entry.flags());
        match kind {
            Kind::Receive => self.complete_receive(handle, result, flags, completions),
            Kind::Send => self.complete_send(handle, result, completions),
            Kind::QuietSend => self.complete_quiet_send(handle, result, completions),
            Kind::Accept => self.complete_accept(handle, result, flags, completions),
            Kind::Connect => {
                if let Some(slot) = self.slots.get_mut(handle) {
                    slot.address = None;
                }
                if !self.landed(handle) {
                    let outcome =
                        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) };
                    completions.push(Completion { handle, event: Event::Connected(outcome) });
                }
            }
            Kind::Poll => {
                if !self.landed(handle) {
                    self.slots.remove(handle);
                    let outcome =
                        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) };
                    completions.push(Completion { handle, event: Event::Polled(outcome) });
                }
            }
            Kind::Wake => self.complete_wake(flags),
            Kind::Ignored => {}
        }
    }

    #[inline]
    fn complete_receive(
        &mut self,
        handle: Handle,
        result: i32,
        flags: u32,
        completions: &mut Vec<Completion>,
    ) {
        let buffer = cqueue::buffer_select(flags);
        if buffer.is_some() {
            self.buffers.taken();
        }
        let deliver = match self.slots.get_mut(handle) {
            Some(slot) => {
                // An end of stream answers nothing.
                slot.quiet_unanswered &= result <= 0;
                !slot.closing
            }
            None => false,
        };
        match buffer {
            Some(index) if result > 0 && deliver => {
                let lease = self.lease(index, result as u32);
                completions.push(Completion { handle, event: Event::Received(lease) });
            }
            // Data for a socket that is being closed, or an end of stream that came with a buffer.
            Some(index) => self.give_back(index),
            None => {}
        }
        if cqueue::more(flags) {
            return;
        }
        let cancelling = self.slots.get(handle).is_some_and(|slot| slot.multishot == Multishot::Cancelling);
        if self.landed(handle) {
            return;
        }
        let end = match result {
            0 => ReceiveEnd::Eof,
            _ if cancelling && (result > 0 || result == -libc::ECANCELED || result == -libc::ENOBUFS) => {
                ReceiveEnd::Cancelled
            }
            // It has delivered its share of this turn, and goes on with the next one unless it is cancelled before.
            _ if result > 0 && self.receive_limit.ends_turn() => return self.starve(handle),
            // The kernel may end a multishot at any completion, for instance when its queue overflows.
            _ if result > 0 => return self.push_receive(handle),
            _ if result == -libc::ENOBUFS => return self.starve(handle),
            // Not asked for: another handle of the same open file was closed (see `adopt`), which cancels by file.
            _ if result == -libc::ECANCELED && !self.tearing_down => return self.push_receive(handle),
            _ => ReceiveEnd::Error(io::Error::from_raw_os_error(-result)),
        };
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.multishot = Multishot::Idle;
        }
        completions.push(Completion { handle, event: Event::ReceiveEnded(end) });
    }

    #[inline]
    fn lease(&mut self, index: u16, len: u32) -> Lease {
        // SAFETY: the completion has just taken buffer `index` out of the ring, with `len` bytes written by the kernel;
        // it goes back only when this lease is dropped.
        let lease = unsafe { self.pool.lend(index, len) };
        if self.buffers.available() >= self.pool.count() / 4 {
            return lease;
        }
        // Few are left with the kernel: perhaps because leases are held for long, perhaps because this batch is large and all of them
        // come back at once. Only the first starves others.
        if self.pool.lent() < self.pool.count() / 2 { lease } else { Lease::copied(&lease) }
    }

    fn give_back(&mut self, index: u16) {
        self.buffers.push(&self.pool, index);
        self.buffers.publish();
    }

    fn starve(&mut self, handle: Handle) {
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.multishot = Multishot::Starved;
            self.starved.push(handle);
        }
    }

    /// Gives the kernel the buffers whose leases are gone, and starts the receives again that had none.
    #[inline]
    fn recycle(&mut self) {
        if self.pool.has_returned() {
            let Self { buffers, pool, .. } = self;
            pool.take_returned(|index| buffers.push(pool, index));
            self.buffers.publish();
        }
        if !self.starved.is_empty() && self.buffers.available() > 0 {
            for handle in mem::take(&mut self.starved) {
                // It may have been cancelled, closed or started again since.
                if self
                    .slots
                    .get(handle)
                    .is_some_and(|slot| slot.multishot == Multishot::Starved && !slot.closing)
                {
                    self.push_receive(handle);
                }
            }
        }
    }

    fn complete_accept(
        &mut self,
        handle: Handle,
        result: i32,
        flags: u32,
        completions: &mut Vec<Completion>,
    ) {
        if result >= 0 {
            // SAFETY: the kernel made this descriptor for us just now.
            let socket = unsafe { OwnedFd::from_raw_fd(result) };
            // A listener that is being closed drops the connection, which resets it, as the kernel does with its queue.
            if self.slots.get(handle).is_some_and(|slot| !slot.closing) {
                let accepted = self.slots.insert(Slot::new(Some(socket)));
                completions.push(Completion { handle, event: Event::Accepted(accepted) });
            }
        }
        if cqueue::more(flags) {
            return;
        }
        let cancelling = self.slots.get(handle).is_some_and(|slot| slot.multishot == Multishot::Cancelling);
        if self.landed(handle) {
            return;
        }
        let error = match -result {
            _ if cancelling => None,
            // The peer was gone before it was accepted, or the multishot ended for reasons of the kernel's own.
            errno
                if errno <= 0
                    || matches!(errno, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::EPROTO) =>
            {
                return self.push_accept(handle);
            }
            errno => Some(io::Error::from_raw_os_error(errno)),
        };
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.multishot = Multishot::Idle;
        }
        completions.push(Completion { handle, event: Event::AcceptEnded(error) });
    }

    fn complete_send(&mut self, handle: Handle, result: i32, completions: &mut Vec<Completion>) {
        if self.landed(handle) {
            return;
        }
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let Sending::Whole { buffer, sent, cancelling } = &mut slot.send else { return };
        // A send that ends early, also by a cancellation, completes with what was taken if that was anything, and with
        // the error if not.
        *sent += result.max(0) as usize;
        let error = match result {
            _ if *sent >= buffer.len() => None,
            _ if *cancelling && result > 0 => Some(cancelled_send()),
            1.. => return self.push_send(handle),
            0 => Some(io::ErrorKind::WriteZero.into()),
            _ => Some(io::Error::from_raw_os_error(-result)),
        };
        let outcome = error.map_or(Ok(()), |error| Err(CutSend { sent_size: *sent, error }));
        let Sending::Whole { buffer, .. } = mem::replace(&mut slot.send, Sending::Idle) else { return };
        completions.push(Completion { handle, event: Event::Sent(outcome, buffer) });
    }

    #[cold]
    fn complete_quiet_send(&mut self, handle: Handle, result: i32, completions: &mut Vec<Completion>) {
        // Only a failure gets here: the kernel clears IOSQE_CQE_SKIP_SUCCESS on an error and on a short send.
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let Sending::Quiet { bytes, sent } = &mut slot.send else { return };
        if slot.closing {
            return;
        }
        let error = if result < 0 {
            io::Error::from_raw_os_error(-result)
        } else {
            *sent += result as usize;
            // Beyond it when an earlier silent send, whose answer came before its time, adds to this one's count.
            if *sent >= bytes.len() {
                return;
            }
            if result > 0 {
                return self.push_send(handle);
            }
            io::ErrorKind::WriteZero.into()
        };
        let cut = CutSend { sent_size: *sent, error };
        let buffer = SendBuffer::Static(bytes);
        slot.send = Sending::Idle;
        completions.push(Completion { handle, event: Event::Sent(Err(cut), buffer) });
    }

    #[cold]
    fn complete_wake(&mut self, flags: u32) {
        let mut count = [0_u8; 8];
        self.syscalls += 1;
        // SAFETY: an eventfd is read eight bytes at a time, and `count` has eight. It is non-blocking, so that a wake
        // that was counted already only gives EAGAIN; both outcomes leave it at zero, which is all that is wanted.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        if !cqueue::more(flags) && !self.tearing_down {
            self.arm_wake();
        }
    }

    /// Enters the kernel once: submits what is queued and waits, at most until the deadline, when there is reason to wait.
    fn enter(&mut self, wait: bool, deadline_ns: Option<u64>) -> io::Result<()> {
        let submission = self.ring.submission();
        let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
        drop(submission);
        let now_ns = if wait && deadline_ns.is_some() { self.now_ns() } else { 0 };
        let wait = wait && deadline_ns.is_none_or(|deadline_ns| deadline_ns > now_ns);
        if idle && !wait {
            return Ok(());
        }
        self.syscalls += 1;
        let submitter = self.ring.submitter();
        let entered = match deadline_ns {
            Some(deadline_ns) if wait => {
                let left_ns = deadline_ns - now_ns;
                let timeout =
                    Timespec::new().sec(left_ns / 1_000_000_000).nsec((left_ns % 1_000_000_000) as u32);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
            _ if wait => submitter.submit_and_wait(1),
            // Deferred work runs only inside an enter with IORING_ENTER_GETEVENTS, which `submit_and_wait` sets when
            // IORING_SQ_TASKRUN is set; a plain submission needs none.
            _ => submitter.submit_and_wait(0),
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The deadline came, a signal came, or the kernel wants completions taken first: the caller does so now.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        loop {
            // One entry at a time, as handling it may queue submissions and so needs the ring; or stash what is in it, which
            // is older than all that comes into it then.
            let stashed = self.stash.pop_front();
            let Some(entry) = stashed.or_else(|| self.ring.completion().next()) else { break };
            self.complete(&entry, completions);
        }
        completions.append(&mut self.pending);
    }

    fn socket(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        let slot = self.slots.get(handle).ok_or_else(stale_handle)?;
        slot.descriptor.as_ref().map(AsFd::as_fd).ok_or_else(stale_handle)
    }

    fn open_slot(&mut self, handle: Handle) -> io::Result<&mut Slot> {
        self.slots.get_mut(handle).filter(|slot| !slot.closing).ok_or_else(stale_handle)
    }
}

impl Driver for IoUring {
    #[inline]
    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn connect(&mut self, address: &Address) -> io::Result<Handle> {
        let system = address.to_system()?;
        self.syscalls += 2;
        let socket = match net::stream_socket(address) {
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                // Descriptors whose close is queued still count; let the kernel have them, then try once more.
                self.enter(false, None)?;
                net::stream_socket(address)?
            }
            socket => socket?,
        };
        let mut slot = Slot::new(Some(OwnedFd::from(socket)));
        let boxed = Box::new(system);
        let (pointer, len, fd) = (boxed.as_ptr(), boxed.len(), slot.fd());
        slot.address = Some(boxed);
        slot.in_flight = 1;
        let handle = self.slots.insert(slot);
        let entry =
            opcode::Connect::new(fd, pointer.cast(), len).build().user_data(pack(Kind::Connect, handle));
        // SAFETY: the boxed address stays in the slot until the connect has completed.
        unsafe { self.push(&entry) };
        Ok(handle)
    }

    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle> {
        let socket = net::listening_socket(address, reuse_port)?;
        Ok(self.slots.insert(Slot::new(Some(OwnedFd::from(socket)))))
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Handle> {
        // A non-blocking socket would have its operations answered with EAGAIN instead of waited for.
        SockRef::from(&socket).set_nonblocking(false)?;
        Ok(self.slots.insert(Slot::new(Some(socket))))
    }

    fn accept(&mut self, listener: Handle) -> io::Result<()> {
        if self.open_slot(listener)?.multishot != Multishot::Idle {
            return Err(busy_handle());
        }
        self.push_accept(listener);
        Ok(())
    }

    fn receive(&mut self, socket: Handle) -> io::Result<()> {
        if self.open_slot(socket)?.multishot != Multishot::Idle {
            return Err(busy_handle());
        }
        self.push_receive(socket);
        Ok(())
    }

    #[inline]
    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()> {
        let slot = self.open_slot(socket)?;
        if matches!(slot.send, Sending::Whole { .. }) {
            return Err(busy_handle());
        }
        if buffer.is_empty() {
            self.pending.push(Completion { handle: socket, event: Event::Sent(Ok(()), buffer) });
            return Ok(());
        }
        slot.send = Sending::Whole { buffer, sent: 0, cancelling: false };
        self.push_send(socket);
        Ok(())
    }

    #[inline]
    fn send_quiet(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()> {
        let slot = self.open_slot(socket)?;
        if matches!(slot.send, Sending::Whole { .. }) {
            return Err(busy_handle());
        }
        if bytes.len() > QUIET_SEND_SIZE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if !bytes.is_empty() {
            slot.send = Sending::Quiet { bytes, sent: 0 };
            slot.quiet_unanswered = true;
            self.push_send(socket);
        }
        Ok(())
    }

    fn shutdown(&mut self, socket: Handle) -> io::Result<()> {
        let slot = self.open_slot(socket)?;
        match slot.send {
            Sending::Whole { .. } => return Err(busy_handle()),
            // It may still be queued; the kernel takes it before the FIN.
            Sending::Quiet { .. } => self.enter(false, None)?,
            Sending::Idle => {}
        }
        self.syscalls += 1;
        // Called directly: IORING_OP_SHUTDOWN always goes through a kernel worker thread, which costs more than it spares.
        SockRef::from(&self.socket(socket)?).shutdown(std::net::Shutdown::Write)
    }

    fn limit_receives(&mut self, size_max: u32) {
        self.receive_limit = ReceiveLimit::new(size_max, self.pool.buffer_size());
        if matches!(self.receive_limit, ReceiveLimit::Total(_)) && !self.features.contains(&RECEIVE_LIMIT) {
            self.features.push(RECEIVE_LIMIT);
        }
    }

    fn cancel(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        if slot.closing {
            return;
        }
        match slot.multishot {
            Multishot::Idle | Multishot::Cancelling => {}
            Multishot::Starved => {
                slot.multishot = Multishot::Idle;
                self.pending.push(Completion { handle, event: Event::ReceiveEnded(ReceiveEnd::Cancelled) });
            }
            Multishot::Armed => {
                slot.multishot = Multishot::Cancelling;
                // A slot is a listener or a socket; the cancellation of the one it is not finds nothing.
                self.cancel_operation(Kind::Receive, handle);
                self.cancel_operation(Kind::Accept, handle);
            }
        }
    }

    fn cancel_send(&mut self, socket: Handle) {
        // One that `close` has cancelled is not cancelled again.
        let Ok(slot) = self.open_slot(socket) else { return };
        if let Sending::Whole { cancelling, .. } = &mut slot.send
            && !mem::replace(cancelling, true)
        {
            self.cancel_operation(Kind::Send, socket);
        }
    }

    fn close(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        if slot.closing {
            return;
        }
        slot.closing = true;
        let (in_flight, quiet, fd) = (slot.in_flight, slot.quiet_unanswered, slot.fd());
        // What the driver itself was about to tell of the handle is covered by `Closed`.
        self.pending.retain(|completion| completion.handle != handle);
        if in_flight > 0 || quiet {
            let entry = if fd.0 < 0 {
                opcode::AsyncCancel::new(pack(Kind::Poll, handle)).build()
            } else {
                // All operations on the descriptor, silent sends included: each holds a reference on the socket, and the peer
                // would see no FIN while one lasts.
                opcode::AsyncCancel2::new(CancelBuilder::fd(fd).all()).build()
            };
            let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(pack(Kind::Ignored, handle));
            // SAFETY: a cancellation points at no memory.
            unsafe { self.push(&entry) };
        }
        if in_flight == 0 {
            self.finish_close(handle);
        }
    }

    fn poll(&mut self, descriptor: RawFd, interest: Interest) -> io::Result<Handle> {
        let events = match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
        };
        let mut slot = Slot::new(None);
        slot.in_flight = 1;
        let handle = self.slots.insert(slot);
        let entry =
            opcode::PollAdd::new(Fd(descriptor), events as u32).build().user_data(pack(Kind::Poll, handle));
        // SAFETY: a poll points at no memory.
        unsafe { self.push(&entry) };
        Ok(handle)
    }

    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.recycle();
        let wait = self.pending.is_empty() && self.stash.is_empty() && self.ring.completion().is_empty();
        self.enter(wait, deadline_ns)?;
        self.reap(completions);
        Ok(())
    }

    fn notifier(&self) -> Notifier {
        let wake = Arc::clone(&self.wake);
        Notifier::new(move || {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: eight bytes of a live array are written to a descriptor that the Arc keeps open. EAGAIN means that
            // the counter is full, so that the driver will wake anyway.
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
        // The closes of the last slots are queued, and report nothing that could be waited for.
        let _ = self.enter(false, None);
        let confirmed = self.slots.is_empty();
        let _ = self.ring.submitter().unregister_buf_ring(BUFFER_GROUP);
        // SAFETY: neither field is used again; the struct is going.
        unsafe {
            mem::ManuallyDrop::drop(&mut self.ring);
            if confirmed {
                mem::ManuallyDrop::drop(&mut self.buffers);
                return;
            }
        }
        // The kernel has not confirmed that it is done, and closing a ring does not wait for it: what it may still write to
        // or read from is leaked, not freed. The buffer ring stays in its ManuallyDrop.
        mem::forget(self.pool.clone());
        mem::forget(mem::take(&mut self.slots));
    }
}
