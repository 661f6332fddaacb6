//! One deadline of a task.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringtide_driver::Handle;

use super::core::{self, Core};
use super::timer_table::NEVER;

/// One deadline, which can be set again and again. It belongs to the worker that made it.
pub struct Timer {
    core: Rc<Core>,
    handle: Handle,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](super::Worker::block_on).
    #[track_caller]
    pub fn new() -> Self {
        Self::with_precision(false)
    }

    /// A timer that is not set, for whose deadlines the worker spins as [`WorkerOptions::spin`](super::WorkerOptions::spin) allows.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](super::Worker::block_on).
    #[track_caller]
    pub fn precise() -> Self {
        Self::with_precision(true)
    }

    #[track_caller]
    fn with_precision(precise: bool) -> Self {
        let core = core::current();
        let handle = core.timers().insert(precise);
        Self { core, handle }
    }

    /// Sets the deadline, on the clock of [`now_ns`](super::now_ns); [`u64::MAX`] is never. One in the past elapses at the next
    /// turn.
    #[inline]
    pub fn set(&mut self, deadline_ns: u64) {
        self.core.timers().set(self.handle, deadline_ns);
    }

    /// Unsets the deadline.
    #[inline]
    pub fn unset(&mut self) {
        self.set(NEVER);
    }

    /// Ready when the deadline has come; it stays so until the timer is set again. Otherwise the task is woken then.
    #[inline]
    pub fn poll_elapsed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waits = match self.core.timers().place_to_wait(self.handle) {
            Some(place) => place.wait_task(context, self.core.worker()),
            None => return Poll::Ready(()),
        };
        if !waits {
            self.wait_foreign(context);
        }
        Poll::Pending
    }

    #[cold]
    fn wait_foreign(&mut self, context: &Context<'_>) {
        let mut waiter = self.core.waiter(context);
        if let Some(place) = self.core.timers().place_to_wait(self.handle) {
            waiter.wait_at(place);
        }
    }

    /// Waits for the deadline. Cancel-safe.
    pub async fn elapsed(&mut self) {
        poll_fn(|context| self.poll_elapsed(context)).await;
    }
}

impl Default for Timer {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timer({:?})", self.handle)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waiter = self.core.timers().remove(self.handle);
        // It may be anybody's code, so the table is not borrowed any more.
        drop(waiter);
    }
}
