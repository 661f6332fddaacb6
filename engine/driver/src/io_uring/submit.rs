//! The way into the kernel: entries of the submission queue, and the calls that submit them.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{opcode, squeue};

use super::send_entry::{SEND_FLAGS, skip_success};
use super::slot::{InFlight, Unsent};
use super::user_data::{Kind, pack};
use super::{Gather, IoUring};
use crate::contract::{Driver, Handle};

impl IoUring {
    /// Queues an entry. Enters the kernel first if the queue is full.
    ///
    /// # Safety
    /// Memory that the entry points to stays valid and untouched until the last completion of the operation.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the caller guarantees what `push` of the queue requires.
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
        assert!(passes(&error), "io_uring_enter refuses a valid ring: {error}");
        self.after_refusal(&error);
        // The kernel may refuse submissions until completions are taken out of the queue.
        self.stash_completions();
    }

    /// Moves all completions from the queue to the stash, in order, to be processed later.
    fn stash_completions(&mut self) {
        let Self { ring, stash, .. } = self;
        stash.extend(ring.completion());
    }

    /// Enters the kernel once: submits the queued entries, and waits if `wait` is true, until the deadline at the
    /// latest.
    ///
    /// Does nothing if there is nothing to submit, to process or to wait for. Afterwards the queue is empty and a new
    /// batch begins, unless the kernel was temporarily short of a resource.
    #[inline]
    pub(super) fn enter(&mut self, wait: bool, deadline_ns: Option<u64>) -> io::Result<()> {
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
                // The kernel would gather beyond the deadline.
                let gather = if left_ns > u64::from(self.gather.within_us) * 1_000 {
                    self.gather
                } else {
                    Gather::NONE
                };
                let arguments = SubmitArgs::new().timespec(&timeout).min_wait_usec(gather.within_us);
                submitter.submit_with_args(gather.count, &arguments)
            }
            _ if wait && self.gather.count > 1 => {
                let arguments = SubmitArgs::new().min_wait_usec(self.gather.within_us);
                submitter.submit_with_args(self.gather.count, &arguments)
            }
            _ if wait => submitter.submit_and_wait(1),
            // Deferred work runs only inside an enter with IORING_ENTER_GETEVENTS. `submit_and_wait` sets this flag if
            // IORING_SQ_TASKRUN is set. A plain submission does not need it.
            _ => submitter.submit_and_wait(0),
        };
        if let Err(error) = entered {
            if !passes(&error) {
                return Err(error);
            }
            self.after_refusal(&error);
        }
        if self.ring.submission().is_empty() {
            self.batch = self.batch.wrapping_add(1);
        }
        Ok(())
    }

    /// Finds out the result of the skip-success send in the current batch, so that later operations on its socket
    /// cannot overtake it.
    #[cold]
    pub(super) fn settle(&mut self, handle: Handle) -> io::Result<()> {
        loop {
            self.enter(false, None)?;
            self.stash_completions();
            let submission = self.ring.submission();
            if submission.is_empty() && !submission.cq_overflow() {
                break;
            }
        }
        self.batch = self.batch.wrapping_add(1);
        // If the send has a completion, it is in the stash now. Process it at once, so that its rest is queued before
        // anything that the caller starts on the socket from now on. This is safe: what completes after it was also
        // submitted after it.
        let key = pack(Kind::SkipSuccessSend, handle);
        if let Some(at) = self.stash.iter().position(|entry| entry.user_data() == key)
            && let Some(entry) = self.stash.remove(at)
        {
            let mut told = std::mem::take(&mut self.pending);
            self.complete(&entry, &mut told);
            told.append(&mut self.pending);
            self.pending = told;
        }
        Ok(())
    }

    /// Repairs the driver's state after a temporary error.
    fn after_refusal(&mut self, error: &io::Error) {
        // The kernel dropped completions for lack of memory. Time limits of the callers handle lost operations. But if
        // the wake poll is lost, no other thread can wake this one, and nothing would notice it. A second poll is
        // harmless if the first one is still there.
        if error.raw_os_error() == Some(libc::EBADR) {
            self.arm_wake();
        }
    }

    pub(super) fn arm_wake(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(pack(Kind::Wake, Handle::new(0, 0)));
        // SAFETY: a poll uses no memory of this process, and `drop` keeps the eventfd open until the ring is gone.
        unsafe { self.push(&poll) };
    }

    /// Queues the operation of `kind` that the slot has recorded.
    #[inline]
    pub(super) fn submit(&mut self, kind: Kind, handle: Handle) {
        match kind {
            Kind::Send | Kind::SkipSuccessSend => self.push_send(kind, handle),
            Kind::Receive => self.push_receive(handle),
            Kind::Accept => self.push_accept(handle),
            Kind::Connect => self.push_connect(handle),
            Kind::Poll | Kind::Wake | Kind::Ignored => unreachable!("{kind:?} is started once, by its call"),
        }
    }

    fn push_connect(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get(handle) else { return };
        let Some(address) = &slot.address else { return };
        let entry = opcode::Connect::new(slot.fd(), address.as_ptr().cast(), address.len());
        let entry = entry.build().user_data(pack(Kind::Connect, handle));
        // SAFETY: the boxed address stays in the slot until the connect has completed.
        unsafe { self.push(&entry) };
    }

    fn push_receive(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get(handle) else { return };
        let entry = self.receive_limit.entry(slot.fd()).user_data(pack(Kind::Receive, handle));
        // SAFETY: the receive writes only into buffers of the registered ring, which are not freed before the ring is
        // gone.
        unsafe { self.push(&entry) };
    }

    fn push_accept(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get(handle) else { return };
        let entry = if self.multishot_accept {
            opcode::AcceptMulti::new(slot.fd()).flags(libc::SOCK_CLOEXEC).build()
        } else {
            // Ends with each connection, and then starts again, like any multishot that has ended.
            opcode::Accept::new(slot.fd(), ptr::null_mut(), ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build()
        };
        let entry = entry.user_data(pack(Kind::Accept, handle));
        // SAFETY: neither kind of accept gets an address to write to.
        unsafe { self.push(&entry) };
    }

    #[inline]
    fn push_send(&mut self, kind: Kind, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let descriptor = slot.fd();
        // One entry sends up to 2 GiB (MAX_RW_COUNT). A longer buffer is continued like any short send.
        let entry = match slot.unsent() {
            Unsent::One(rest) => {
                let len = rest.len().min(1 << 30) as u32;
                let send = opcode::Send::new(descriptor, rest.as_ptr(), len);
                if kind == Kind::SkipSuccessSend {
                    skip_success(send)
                } else {
                    send.flags(SEND_FLAGS).build()
                }
            }
            // The part that was submitted before has completed, so nothing uses the message.
            Unsent::Pieces(message, sent) => {
                let header = message.describe_from(sent);
                opcode::SendMsg::new(descriptor, header).flags(SEND_FLAGS as u32).build()
            }
        };
        let entry = entry.user_data(pack(kind, handle));
        // SAFETY: the buffer of an ordinary send stays in the slot, its bytes on the heap or static, until the send has
        // completed. So does a message, which is boxed, owns the pieces that it refers to, and is not described anew
        // before that. The bytes of a skip-success send are static.
        unsafe { self.push(&entry) };
    }

    /// Cancels an operation by its user data, which the kernel looks up in a hash table. To cancel by descriptor, it
    /// would search all operations of the ring.
    pub(super) fn cancel_operation(&mut self, kind: Kind, handle: Handle) {
        let entry = opcode::AsyncCancel::new(pack(kind, handle))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Ignored, handle));
        // SAFETY: a cancellation uses no memory of this process.
        unsafe { self.push(&entry) };
    }

    pub(super) fn cancel_operations(&mut self, kinds: InFlight, handle: Handle) {
        for kind in kinds.kinds() {
            self.cancel_operation(kind, handle);
        }
    }

    /// Makes the kernel close `descriptor` after all queued entries, because they may name it by number.
    pub(super) fn push_close(&mut self, descriptor: OwnedFd, handle: Handle) {
        let entry = opcode::Close::new(Fd(descriptor.into_raw_fd()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Ignored, handle));
        // SAFETY: a close uses no memory of this process. This driver owned the descriptor, and nothing else uses it
        // any more.
        unsafe { self.push(&entry) };
    }

    /// Creates an eventfd that wakes the driver.
    pub(super) fn wake_descriptor() -> io::Result<OwnedFd> {
        // SAFETY: eventfd(2) takes no pointers. The result is checked below.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(wake) })
    }
}

/// Returns whether io_uring_enter(2) will work again after this error, so that the caller can simply go on.
///
/// This is so if the deadline has passed (`ETIME`), if a signal came (`EINTR`), if the kernel is short of memory
/// (`EAGAIN`, `ENOMEM`), if it wants completions to be taken first (`EBUSY`), or if it has dropped completions
/// (`EBADR`).
fn passes(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM | libc::EBADR)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_passes_and_a_broken_ring_does_not() {
        for errno in [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN, libc::ENOMEM, libc::EBADR] {
            assert!(passes(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for errno in [libc::EBADF, libc::EBADFD, libc::EFAULT, libc::EINVAL, libc::ENXIO, libc::EEXIST] {
            assert!(!passes(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }
}
