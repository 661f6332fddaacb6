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
    /// Tells what the driver has found out by itself, then works off all completions that there are: a send that waits has not ended
    /// before it is told to wait.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>) {
        self.tell_pending(completions);
        loop {
            // One entry at a time, as handling it may queue submissions and so needs the ring; or stash what is in it, which
            // is older than all that comes into it then.
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
        // What the driver itself had to tell of a handle that was closed since is covered by `Closed`.
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
            // It has delivered its share of this turn, and goes on with the next one unless it is cancelled before.
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

    /// Frees the slot, closes its descriptor, and announces `Closed`.
    pub(super) fn free(&mut self, handle: Handle) {
        let Some(mut slot) = self.slots.remove(handle) else { return };
        if let Some(descriptor) = slot.descriptor.take() {
            if slot.is_unsettled(self.batch) {
                // A skip-success send may be queued, which knows the descriptor by its number.
                self.push_close(descriptor, handle);
            } else {
                self.syscalls += 1;
                // Called directly: IORING_OP_CLOSE leaves the last reference to be dropped on the way out of the kernel, so that the end
                // of the stream would be sent behind whatever else is submitted with it.
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
            // Data for a socket that is being closed, or an end of stream that came with a buffer.
            self.give_back(index);
        }
    }

    #[inline]
    fn lease(&mut self, index: u16, len: u32) -> Lease {
        // SAFETY: the completion has just taken buffer `index` out of the ring, with `len` bytes written by the kernel;
        // it goes back only when this lease is dropped.
        let lease = unsafe { self.pool.lend(index, len) };
        // A copy when few are left with the kernel: others would starve while it is held.
        if self.buffers.available() >= self.pool.count() / 4 { lease } else { Lease::copied(&lease) }
    }

    fn give_back(&mut self, index: u16) {
        self.buffers.push(&self.pool, index);
        self.buffers.publish();
    }

    /// Gives the kernel the buffers whose leases are gone, and starts the receives again that had none.
    #[inline]
    pub(super) fn recycle(&mut self) {
        if self.pool.has_returned() {
            let Self { buffers, pool, .. } = self;
            pool.take_returned(|index| buffers.push(pool, index));
            self.buffers.publish();
        }
        if !self.starved.is_empty() && self.buffers.available() > 0 {
            for handle in mem::take(&mut self.starved) {
                // It may have been cancelled, closed or started again since.
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
        // SAFETY: the kernel made this descriptor for us just now.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        // A listener that is being closed drops the connection, which resets it, as the kernel does with its queue.
        if self.slots.get(handle).is_some_and(Slot::is_open) {
            let accepted = self.slots.insert(Slot::new(Role::Own, Some(socket)));
            completions.push(Completion { handle, event: Event::Accepted(accepted) });
        }
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
}
