//! A ring with provided buffers, with only as much code around it as its safe use needs. All floor examples use it.
//!
//! All memory that the kernel gets lives until the process ends, so no operation can outlive its memory.

// This module lends memory to the kernel, so that the programs that use it need no unsafe code for that.
#![allow(unsafe_code)]
// Each of the examples compiles this module for itself and uses only a part of it.
#![allow(dead_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};

const SUBMISSION_ENTRIES: u32 = 4096;
const COMPLETION_ENTRIES: u32 = 4 * SUBMISSION_ENTRIES;
const BUFFERS: u16 = 1024;
const BUFFER_SIZE: usize = 4096;
const BUFFER_GROUP: u16 = 0;
/// This bit marks an operation that [`Ring::send_owned`] has numbered itself. The other bits are the index of its bytes.
const OWNED: u64 = 1 << 63;

const _: () = assert!(BUFFERS.is_power_of_two(), "a ring of buffers is indexed by a mask");

/// The kernel's report about one operation.
pub(crate) struct Completion {
    /// The number that the operation got when it was started. The highest bit of all numbers is 0.
    pub(crate) operation: u64,
    /// A number of bytes, a descriptor, or a negated error number.
    pub(crate) result: i32,
    /// Whether the operation continues. A multishot operation without this flag must be started again.
    pub(crate) more: bool,
    /// The buffer with the received bytes.
    pub(crate) received: Option<Received>,
    /// The bytes that [`Ring::send_owned`] was given.
    pub(crate) sent: Option<Vec<u8>>,
}

/// A buffer with received bytes.
///
/// It can only come from a completion, and giving it back consumes it. So while it exists, the kernel does not write to
/// the buffer.
pub(crate) struct Received {
    buffer: u16,
    len: usize,
}

/// The ring of one thread. See the module.
pub(crate) struct Ring {
    submitter: Submitter<'static>,
    submission: SubmissionQueue<'static>,
    completion: CompletionQueue<'static>,
    buffers: Buffers,
    /// The operations of [`Ring::send_owned`] under way and their bytes, which must outlive even this ring.
    sending: ManuallyDrop<Vec<(u64, Vec<u8>)>>,
    /// The indices in `sending` that are not in use.
    free: Vec<usize>,
}

impl Ring {
    /// Creates a ring for the calling thread, and gives all buffers to the kernel.
    ///
    /// # Errors
    /// Those of `io_uring_setup(2)` and `io_uring_register(2)`.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES)
            .build(SUBMISSION_ENTRIES)?;
        let (mut submitter, submission, completion) = Box::leak(Box::new(ring)).split();
        submitter.register_ring_fd()?;
        let buffers = Buffers::register(&submitter)?;
        Ok(Self {
            submitter,
            submission,
            completion,
            buffers,
            sending: ManuallyDrop::default(),
            free: Vec::new(),
        })
    }

    /// Accepts on `listener` until a completion comes without `more`.
    pub(crate) fn accept(&mut self, listener: RawFd, operation: u64) -> io::Result<()> {
        // SAFETY: the operation refers to a descriptor and to no memory.
        unsafe { self.push(&opcode::AcceptMulti::new(Fd(listener)).build().user_data(operation)) }
    }

    /// Receives from `socket` until a completion comes without `more`.
    pub(crate) fn receive(&mut self, socket: RawFd, operation: u64) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fd(socket), BUFFER_GROUP).build().user_data(operation);
        // SAFETY: the receive writes only to the registered buffers, which are never freed.
        unsafe { self.push(&receive) }
    }

    /// Sends all of `bytes`, unless the completion reports less.
    ///
    /// With `skip_success`, only a failure or a short send completes: `MSG_WAITALL` makes the kernel treat a short send
    /// as a failure, and failures are not skipped.
    pub(crate) fn send(
        &mut self,
        socket: RawFd,
        bytes: &'static [u8],
        operation: u64,
        skip_success: bool,
    ) -> io::Result<()> {
        let flags = if skip_success { squeue::Flags::SKIP_SUCCESS } else { squeue::Flags::empty() };
        let send = opcode::Send::new(Fd(socket), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(flags)
            .user_data(operation);
        // SAFETY: the bytes are `'static`, so they stay valid and unchanged as long as the kernel may read them.
        unsafe { self.push(&send) }
    }

    /// Sends all of `bytes`, unless the completion reports less. The completion gives them back.
    pub(crate) fn send_owned(&mut self, socket: RawFd, bytes: Vec<u8>, operation: u64) -> io::Result<()> {
        let send = opcode::Send::new(Fd(socket), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        let index = if let Some(index) = self.free.pop() {
            self.sending[index] = (operation, bytes);
            index
        } else {
            self.sending.push((operation, bytes));
            self.sending.len() - 1
        };
        // SAFETY: `sending` owns the bytes. Nothing changes or frees them before `next` takes them out, on completion.
        unsafe { self.push(&send.user_data(OWNED | index as u64)) }
    }

    /// Completes `operation` after this time.
    pub(crate) fn timeout(&mut self, after: Duration, operation: u64) -> io::Result<()> {
        let after: &'static Timespec = Box::leak(Box::new(after.into()));
        // SAFETY: the time is leaked, so it stays valid as long as the kernel may read it.
        unsafe { self.push(&opcode::Timeout::new(after).build().user_data(operation)) }
    }

    /// Submits everything started so far to the kernel, and waits until at least one operation has completed.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.completion.sync();
        self.submission.sync();
        loop {
            match self.submitter.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EBUSY: the completion queue is full. Reading it makes room.
                Err(error) if error.raw_os_error() != Some(libc::EBUSY) => return Err(error),
                _ => break,
            }
        }
        self.submission.sync();
        self.completion.sync();
        Ok(())
    }

    /// Returns the next completion that the last [`wait`](Self::wait) has found.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let entry = self.completion.next()?;
        let (result, flags) = (entry.result(), entry.flags());
        let received =
            cqueue::buffer_select(flags).map(|buffer| Received { buffer, len: result.max(0) as usize });
        let (operation, sent) = match entry.user_data() {
            number if number & OWNED == 0 => (number, None),
            number => {
                let index = (number & !OWNED) as usize;
                self.free.push(index);
                let (operation, bytes) = std::mem::take(&mut self.sending[index]);
                (operation, Some(bytes))
            }
        };
        Some(Completion { operation, result, more: cqueue::more(flags), received, sent })
    }

    /// Returns the bytes in a received buffer.
    pub(crate) fn bytes(&self, received: &Received) -> &[u8] {
        let start = usize::from(received.buffer) * BUFFER_SIZE;
        // SAFETY: a `Received` comes only from a completion, in which the kernel reports the buffer and the length. So
        // the first `len` bytes are written and inside the memory. The kernel writes to the buffer again only after it
        // was given back, which consumes the `Received`. The memory is never freed.
        unsafe { std::slice::from_raw_parts(self.buffers.memory.add(start), received.len) }
    }

    /// Gives a buffer back to the kernel.
    #[expect(clippy::needless_pass_by_value, reason = "giving it back is what ends the right to read it")]
    pub(crate) fn give_back(&mut self, received: Received) {
        self.buffers.give(received.buffer);
    }

    /// Queues an entry. Enters the kernel first if the queue is full.
    ///
    /// # Safety
    /// All memory that `entry` refers to stays valid until the operation has completed.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller guarantees that the entry's memory stays valid.
        while unsafe { self.submission.push(entry) }.is_err() {
            self.submission.sync();
            self.submitter.submit()?;
            self.submission.sync();
        }
        Ok(())
    }
}

/// The receive buffers, and the ring of descriptions that gives them to the kernel (`io_uring_register_buf_ring(3)`).
struct Buffers {
    memory: *mut u8,
    entries: *mut BufRingEntry,
    tail: u16,
}

/// The ring of descriptions must begin at a page boundary.
#[repr(C, align(4096))]
struct Descriptions([u8; BUFFERS as usize * size_of::<BufRingEntry>()]);

impl Buffers {
    fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let memory = Vec::leak(vec![0_u8; usize::from(BUFFERS) * BUFFER_SIZE]).as_mut_ptr();
        let descriptions =
            Box::leak(Box::new(Descriptions([0; BUFFERS as usize * size_of::<BufRingEntry>()])));
        let entries = std::ptr::from_mut(descriptions).cast::<BufRingEntry>();
        // SAFETY: `entries` is the start of a page-aligned allocation of BUFFERS entries that is never freed. The
        // reference that it was made from is not used again.
        unsafe { submitter.register_buf_ring_with_flags(entries as u64, BUFFERS, BUFFER_GROUP, 0)? };
        let mut buffers = Self { memory, entries, tail: 0 };
        (0..BUFFERS).for_each(|buffer| buffers.give(buffer));
        Ok(buffers)
    }

    fn give(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (BUFFERS - 1));
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the masked index is inside the ring. Only this side writes this entry now: at most BUFFERS buffers
        // exist, and each is given only when the kernel does not have it, so the kernel has consumed the entry at the
        // tail. All bit patterns of an entry are valid. The fields are written one by one, because the tail shares the
        // first entry's padding.
        let entry = unsafe { &mut *self.entries.add(index) };
        // SAFETY: the offset is inside the allocation of BUFFERS * BUFFER_SIZE bytes.
        entry.set_addr(unsafe { self.memory.add(usize::from(buffer) * BUFFER_SIZE) } as u64);
        entry.set_len(BUFFER_SIZE as u32);
        entry.set_bid(buffer);
        // SAFETY: the tail is a naturally aligned u16 in the first entry and lives as long as the ring. Only the kernel
        // accesses it concurrently. The release ordering makes the entry visible before the tail.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
