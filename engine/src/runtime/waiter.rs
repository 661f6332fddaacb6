//! Waiters in a worker's tables, and the list of waiters to wake when the tables are no longer borrowed.
//!
//! The waker of a task is a number. A waker of another kind may run foreign code when it is cloned, woken or dropped,
//! and that code may poll, spawn or close. So this must not happen while a table is borrowed. A task's waker is stored
//! directly. For any other waker, the caller first creates a [`Waiter`], then swaps it into the table, and drops the
//! displaced one after the borrow. [`Wakes`] also treats the two kinds differently.

use std::mem;
use std::rc::Rc;
use std::task::{Context, Waker};

use ringtide_driver::SendBuffer;

use super::contained::{contained, drop_contained};
use super::run_queue::RunQueue;
use super::waker;

/// A place in a worker's table for one waker.
#[derive(Default)]
pub(super) struct Waiter(Option<Waker>);

impl Waiter {
    /// Creates a waiter from the waker of `context`, for a table of the worker with this number. No table may be
    /// borrowed.
    ///
    /// # Panics
    /// If another worker is polling. This worker does not run meanwhile, so the wait would never end.
    #[cold]
    pub(super) fn new(context: &Context<'_>, worker: u16) -> Self {
        let waker = context.waker();
        let polling =
            waker::copy_of_task_waker(waker).map_or_else(RunQueue::local_worker, |(home, _)| Some(home));
        assert!(
            polling.is_none_or(|polling| polling == worker),
            "this future belongs to another ringtide worker of this thread, which does not run meanwhile: use streams, \
             timers, clients and join handles inside the block_on of the worker that created them; elsewhere, use a \
             ClientHandle or a WorkerHandle"
        );
        Self(Some(waker.clone()))
    }

    /// Stores the waker of a task of the worker with this number. Returns `false` if it did not, because `context` or
    /// this place has another kind of waker. The caller must then use [`new`](Self::new) and
    /// [`wait_at`](Self::wait_at).
    #[inline]
    pub(super) fn wait_task(&mut self, context: &Context<'_>, worker: u16) -> bool {
        if !self.0.as_ref().is_none_or(waker::is_task_waker) {
            return false;
        }
        match waker::copy_of_task_waker(context.waker()) {
            Some((home, waker)) if home == worker => {
                // The waker of a task needs no drop.
                mem::forget(self.0.replace(waker));
                true
            }
            _ => false,
        }
    }

    /// Swaps this waiter into `place`. The previous one ends up in `self`, and the caller drops it after the borrow.
    #[inline]
    pub(super) fn wait_at(&mut self, place: &mut Self) {
        mem::swap(self, place);
    }

    /// Wakes the waiter, if there is one. No table may be borrowed.
    pub(super) fn wake(self) {
        if let Some(waker) = self.0 {
            wake_contained(waker);
        }
    }
}

/// Wakes the waiters in the tables of one worker.
pub(super) struct Wakes {
    queue: Rc<RunQueue>,
    foreign: Vec<Waker>,
    buffers: Vec<SendBuffer>,
}

impl Wakes {
    pub(super) fn new(queue: Rc<RunQueue>) -> Self {
        Self { queue, foreign: Vec::new(), buffers: Vec::new() }
    }

    /// Wakes the waiter at `place`: a task at once, any other in [`finish`](Self::finish).
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

    /// Keeps a sent buffer until [`finish`](Self::finish), which drops it. The owner of shared memory may have a `Drop`
    /// of its own.
    #[inline]
    pub(super) fn drop_later(&mut self, buffer: SendBuffer) {
        if let SendBuffer::Shared(_) | SendBuffer::Pieces(_) = buffer {
            self.buffers.push(buffer);
        }
    }

    /// Does the work that was postponed until no table is borrowed.
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

/// Catches a panic in the waker, so that the others are still woken. The panic hook has reported it.
pub(super) fn wake_contained(waker: Waker) {
    let _ = contained(|| waker.wake());
}
