//! Who waits, as a worker's tables have it, and who is to be woken once they are not borrowed any more.
//!
//! The waker of a task is a number, but one that a combinator has made may be anybody's code: it may poll, spawn or close when it
//! is cloned, woken or dropped. So none of that is done while a table is borrowed. A task waits at once; whoever is none makes a
//! [`Waiter`] first, swaps it into the table, and drops what it has displaced after. [`Wakes`] wakes in the same two ways.

use std::mem;
use std::rc::Rc;
use std::task::{Context, Waker};

use ringtide_driver::SendBuffer;

use super::contained::{contained, drop_contained};
use super::run_queue::RunQueue;
use super::waker;

/// Somebody who waits for something in a worker's table, or nobody.
#[derive(Default)]
pub(super) struct Waiter(Option<Waker>);

impl Waiter {
    /// Whom `context` wakes, to wait in a table of the worker of this number. No table may be borrowed.
    ///
    /// # Panics
    /// When another worker polls, as this one does not run meanwhile: the wait would last for ever.
    #[cold]
    pub(super) fn new(context: &Context<'_>, worker: u16) -> Self {
        let waker = context.waker();
        let polling =
            waker::copy_of_task_waker(waker).map_or_else(RunQueue::local_worker, |(home, _)| Some(home));
        assert!(
            polling.is_none_or(|polling| polling == worker),
            "this future waits for something of another ringtide worker of this thread, which does not run meanwhile: use streams, \
             timers, clients and join handles inside the block_on of the worker that they were made on, and from elsewhere a \
             ClientHandle or a WorkerHandle"
        );
        Self(Some(waker.clone()))
    }

    /// Has the task that polls, of the worker of this number, wait here; false when it must be done with [`new`](Self::new) and
    /// [`wait_at`](Self::wait_at), as somebody else polls, or waits here.
    #[inline]
    pub(super) fn wait_task(&mut self, context: &Context<'_>, worker: u16) -> bool {
        if !self.0.as_ref().is_none_or(waker::is_task_waker) {
            return false;
        }
        match waker::copy_of_task_waker(context.waker()) {
            Some((home, waker)) if home == worker => {
                // A task's waker has nothing to drop.
                mem::forget(self.0.replace(waker));
                true
            }
            _ => false,
        }
    }

    /// Waits at `place`. Who waited there before is left here, to be dropped after the borrow.
    #[inline]
    pub(super) fn wait_at(&mut self, place: &mut Self) {
        mem::swap(self, place);
    }

    /// Wakes whoever waits. No table may be borrowed.
    pub(super) fn wake(self) {
        if let Some(waker) = self.0 {
            wake_contained(waker);
        }
    }
}

/// Wakes those who wait in the tables of one worker.
pub(super) struct Wakes {
    queue: Rc<RunQueue>,
    foreign: Vec<Waker>,
    buffers: Vec<SendBuffer>,
}

impl Wakes {
    pub(super) fn new(queue: Rc<RunQueue>) -> Self {
        Self { queue, foreign: Vec::new(), buffers: Vec::new() }
    }

    /// Wakes whoever waits at `place`: a task now, anybody else in [`finish`](Self::finish).
    #[inline]
    pub(super) fn wake(&mut self, place: &mut Waiter) {
        if let Some(waker) = place.0.take() {
            if let Some(task) = waker::task_of(&waker) {
                mem::forget(waker);
                self.queue.wake(task);
            } else {
                self.foreign.push(waker);
            }
        }
    }

    /// Drops a buffer that has been sent in [`finish`](Self::finish), as the memory of a shared one may have an owner with code of its own.
    #[inline]
    pub(super) fn drop_later(&mut self, buffer: SendBuffer) {
        if let SendBuffer::Shared(_) = buffer {
            self.buffers.push(buffer);
        }
    }

    /// Does what had to wait until no table was borrowed any more.
    #[inline]
    pub(super) fn finish(&mut self) {
        if !self.foreign.is_empty() || !self.buffers.is_empty() {
            self.finish_foreign();
        }
    }

    #[cold]
    fn finish_foreign(&mut self) {
        self.foreign.drain(..).for_each(wake_contained);
        self.buffers.drain(..).for_each(drop_contained);
    }
}

/// A panic in it, which the hook reports, must not keep others from being woken.
fn wake_contained(waker: Waker) {
    let _ = contained(|| waker.wake());
}
