//! The way out of the kernel: completions, and the buffers and descriptors that come with them.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::cqueue;

use super::IoUring;
use super::slot::{Action, Role, Slot};
use super::user_data::{Kind, unpack};
use crate::buffer::Lease;
use crate::contract::{Completion, Event, Handle};

impl IoUring {
    /// Delivers the events that the driver created itself, then processes all available completions.
    ///
    /// This order matters: `SendWaits` comes before the `Sent` of the same send.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>) {
        self.tell_pending(completions);
        loop {
            // One entry at a time, because processing an entry needs the ring: it may queue submissions. Stashed
            // entries come first, because they are older than those in the queue.
            let stashed = self.stash.pop_front();
            let Some(entry) = stashed.or_else(|| self.ring.completion().next()) else { break };
            self.complete(&entry, completions);
        }
        self.tell_pending(completions);
    }

    #[inline]
    fn tell_pending(&mut self, completions: &mut Vec<Completion>) {
        if self.pending.is_empty() {
            return;
        }
        // If a handle was closed meanwhile, its pending events are dropped: `Closed` replaces them.
        let Self { pending, slots, .. } = self;
        completions.extend(pending.drain(..).filter(|Completion { handle, event }| {
            matches!(event, Event::Closed) || slots.get_mut(*handle).is_some_and(|slot| slot.told(event))
        }));
    }

    pub(super) fn complete(&mut self, entry: &cqueue::Entry, completions: &mut Vec<Completion>) {
        let Some((kind, handle)) = unpack(entry.user_data()) else { return };
        let (result, flags) = (entry.result(), entry.flags());
        match kind {
            Kind::Wake => return self.complete_wake(flags),
            Kind::Ignored => return,
            Kind::Receive => self.take_bytes(handle, result, flags, completions),
            Kind::Accept => self.take_connection(handle, result, completions),
            Kind::Send | Kind::SkipSuccessSend | Kind::Connect | Kind::Poll => {}
        }
        if cqueue::more(flags) {
            return;
        }
        let Some(slot) = self.slots.get_mut(handle) else { return };
        match slot.on_completion(kind, result, self.batch) {
            Action::Nothing => {}
            // The receive has delivered its share of this turn. It goes on in the next turn, unless it is cancelled
            // before.
            Action::Submit(Kind::Receive) if result > 0 && self.receive_limit.ends_turn() => {
                slot.await_turn();
                self.starved.push(handle);
            }
            Action::Submit(kind) => self.submit(kind, handle),
            Action::AwaitBuffers => self.starved.push(handle),
            Action::Tell(event) => completions.push(Completion { handle, event }),
            Action::TellAndSubmit(event, kind) => {
                completions.push(Completion { handle, event });
                self.submit(kind, handle);
            }
            Action::Free => self.free(handle),
            Action::FreeAndTell(event) => {
                self.slots.remove(handle);
                completions.push(Completion { handle, event });
            }
        }
    }

    /// Frees the slot, closes its descriptor and queues `Closed`.
    pub(super) fn free(&mut self, handle: Handle) {
        let Some(mut slot) = self.slots.remove(handle) else { return };
        if let Some(descriptor) = slot.descriptor.take() {
            if slot.is_unsettled(self.batch) {
                // A skip-success send may be queued. Its entry names the descriptor by number, so the close must come
                // after it.
                self.push_close(descriptor, handle);
            } else {
                self.syscalls += 1;
                // A direct system call. IORING_OP_CLOSE would drop the last reference only on the way out of the
                // kernel, so the end of the stream would go out after everything else in the same submission.
                drop(descriptor);
            }
        }
        self.pending.push(Completion { handle, event: Event::Closed });
    }

    #[inline]
    fn take_bytes(&mut self, handle: Handle, result: i32, flags: u32, completions: &mut Vec<Completion>) {
        let Some(index) = cqueue::buffer_select(flags) else { return };
        self.buffers.taken();
        if result > 0 && self.slots.get(handle).is_some_and(Slot::is_open) {
            let lease = self.lease(index, result as u32);
            completions.push(Completion { handle, event: Event::Received(lease) });
        } else {
            // Data for a socket that is closing, or an end of stream that came with a buffer.
            self.give_back(index);
        }
    }

    #[inline]
    fn lease(&mut self, index: u16, len: u32) -> Lease {
        // SAFETY: this completion has just taken buffer `index` out of the ring, and the kernel has written `len` bytes
        // to it. The buffer goes back to the ring only after this lease was dropped.
        let lease = unsafe { self.pool.lend(index, len) };
        // When the kernel has few buffers left, the data is copied: other sockets would starve while a lease is held.
        if self.buffers.available() >= self.pool.count() / 4 { lease } else { Lease::copied(&lease) }
    }

    fn give_back(&mut self, index: u16) {
        self.buffers.push(&self.pool, index);
        self.buffers.publish();
    }

    /// Returns to the kernel the buffers of dropped leases, and restarts the receives that wait for a buffer or a turn.
    #[inline]
    pub(super) fn recycle(&mut self) {
        if self.pool.has_returned() {
            let Self { buffers, pool, .. } = self;
            pool.take_returned(|index| buffers.push(pool, index));
            self.buffers.publish();
        }
        if !self.starved.is_empty() && self.buffers.available() > 0 {
            for handle in mem::take(&mut self.starved) {
                // The receive may have been cancelled, closed or started again meanwhile.
                if self.slots.get_mut(handle).is_some_and(Slot::restart_starved) {
                    self.submit(Kind::Receive, handle);
                }
            }
        }
    }

    fn take_connection(&mut self, handle: Handle, result: i32, completions: &mut Vec<Completion>) {
        if result < 0 {
            return;
        }
        // SAFETY: the kernel has just created this descriptor for this process, and nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        // If the listener is closing, this drops the connection, which resets it. The kernel does the same with its
        // backlog.
        if self.slots.get(handle).is_some_and(Slot::is_open) {
            let accepted = self.slots.insert(Slot::new(Role::Own, Some(socket)));
            completions.push(Completion { handle, event: Event::Accepted(accepted) });
        }
    }

    #[cold]
    fn complete_wake(&mut self, flags: u32) {
        let mut count = [0_u8; 8];
        self.syscalls += 1;
        // SAFETY: a read from an eventfd writes eight bytes, and `count` has room for eight. The eventfd is
        // non-blocking, so a read of a counter that is zero already fails with EAGAIN. In both cases the counter is
        // zero afterwards.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        if !cqueue::more(flags) && !self.tearing_down {
            self.arm_wake();
        }
    }
}
