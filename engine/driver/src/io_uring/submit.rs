//! The way into the kernel: entries of the submission queue, and the calls that hand them over.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{opcode, squeue};

use super::IoUring;
use super::send_entry::{SEND_FLAGS, skip_success};
use super::slot::InFlight;
use super::user_data::{Kind, pack};
use crate::contract::{Driver, Handle};

impl IoUring {
    /// Queues an entry; enters the kernel first when the queue is full.
    ///
    /// # Safety
    /// Memory that the entry points at stays valid and untouched until the operation's last completion.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
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
        assert!(passes(&error), "io_uring_enter refuses a valid ring: {error}");
        self.after_refusal(&error);
        // The kernel may want completions taken first.
        self.stash_completions();
    }

    /// Takes all completions out of the queue, to be worked off in their order when their turn comes.
    fn stash_completions(&mut self) {
        let Self { ring, stash, .. } = self;
        stash.extend(ring.completion());
    }

    /// Enters the kernel once: submits what is queued and waits, at most until the deadline, when there is reason to wait.
    /// Nothing is queued afterwards and a new batch has begun, unless the kernel was short of something for the moment.
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
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
            _ if wait => submitter.submit_and_wait(1),
            // Deferred work runs only inside an enter with IORING_ENTER_GETEVENTS, which `submit_and_wait` sets when
            // IORING_SQ_TASKRUN is set; a plain submission needs none.
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

    /// Finds out how the skip-success send in the current batch has gone, so that what follows on its socket cannot overtake it.
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
        // It was submitted before anything that completes after it, and so is in front of what its socket may do now.
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

    /// What an error that passes leaves to do.
    fn after_refusal(&mut self, error: &io::Error) {
        // Completions were lost for want of memory. What they were about is the affair of its owner's time limits; but that no other
        // thread could wake this one again would be noticed by nobody. A second poll beside one that stands does no harm.
        if error.raw_os_error() == Some(libc::EBADR) {
            self.arm_wake();
        }
    }

    pub(super) fn arm_wake(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(pack(Kind::Wake, Handle::new(0, 0)));
        // SAFETY: a poll reads no memory, and `drop` keeps the eventfd until the ring is gone.
        unsafe { self.push(&poll) };
    }

    /// Queues the operation of `kind` that the slot has booked.
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
        // SAFETY: it writes only into buffers of the registered ring, which are not freed before the ring is gone.
        unsafe { self.push(&entry) };
    }

    fn push_accept(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get(handle) else { return };
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

    #[inline]
    fn push_send(&mut self, kind: Kind, handle: Handle) {
        let Some(slot) = self.slots.get(handle) else { return };
        let rest = slot.unsent();
        // One entry takes up to 2 GiB (MAX_RW_COUNT); a longer rest is continued like any short send.
        let len = rest.len().min(1 << 30) as u32;
        let send = opcode::Send::new(slot.fd(), rest.as_ptr(), len);
        let entry =
            if kind == Kind::SkipSuccessSend { skip_success(send) } else { send.flags(SEND_FLAGS).build() };
        let entry = entry.user_data(pack(kind, handle));
        // SAFETY: a whole send's buffer stays in the slot, on the heap or static, until its completion; a skip-success one's is
        // static.
        unsafe { self.push(&entry) };
    }

    /// Cancels by user data, which the kernel finds by its hash; by descriptor it would look at every operation of the ring.
    pub(super) fn cancel_operation(&mut self, kind: Kind, handle: Handle) {
        let entry = opcode::AsyncCancel::new(pack(kind, handle))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Ignored, handle));
        // SAFETY: a cancellation points at no memory.
        unsafe { self.push(&entry) };
    }

    pub(super) fn cancel_operations(&mut self, kinds: InFlight, handle: Handle) {
        for kind in kinds.kinds() {
            self.cancel_operation(kind, handle);
        }
    }

    /// Has the kernel close `descriptor` behind everything that is queued and may know it by its number.
    pub(super) fn push_close(&mut self, descriptor: OwnedFd, handle: Handle) {
        let entry = opcode::Close::new(Fd(descriptor.into_raw_fd()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Ignored, handle));
        // SAFETY: a close points at no memory, and the descriptor was ours and is known to nobody any more.
        unsafe { self.push(&entry) };
    }

    /// An eventfd that wakes the driver.
    pub(super) fn wake_descriptor() -> io::Result<OwnedFd> {
        // SAFETY: eventfd(2) takes no pointers; the result is checked below.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else knows.
        Ok(unsafe { OwnedFd::from_raw_fd(wake) })
    }
}

/// Whether io_uring_enter(2) will work again after this error, sooner or later, so that the caller only has to go on: the deadline came
/// (`ETIME`), a signal came, the kernel is short of memory, or it wants completions taken first, or has dropped some.
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
