//! Timers: the public handle of one deadline.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringtide_driver::Handle;

use super::core::{self, Core};
use super::timer_table::NEVER;

/// A deadline that can be set again and again. It belongs to the worker that created it.
///
/// # Panics
/// Waiting for a timer panics on another worker of the same thread. Its own worker does not run meanwhile, so the wait
/// would never end.
pub struct Timer {
    core: Rc<Core>,
    handle: Handle,
}

impl Timer {
    /// Creates a timer without a deadline.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](super::Worker::block_on).
    #[track_caller]
    pub fn new() -> Self {
        Self::with_precision(false)
    }

    /// Creates a timer without a deadline. Before its deadlines, the worker spins as
    /// [`WorkerOptions::spin`](super::WorkerOptions::spin) allows.
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

    /// Sets the deadline, in nanoseconds on the clock of [`now_ns`](super::now_ns). [`u64::MAX`] means never. A
    /// deadline in the past elapses at the next turn.
    #[inline]
    pub fn set(&mut self, deadline_ns: u64) {
        self.core.timers().set(self.handle, deadline_ns);
    }

    /// Removes the deadline.
    #[inline]
    pub fn unset(&mut self) {
        self.set(NEVER);
    }

    /// Polls for the deadline. Returns `Ready` once it has passed, and again until the timer is set anew. Otherwise
    /// wakes the task at the deadline.
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

    /// Waits for the deadline.
    ///
    /// # Cancel safety
    /// Cancel-safe.
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
        // The waker may run foreign code when it is dropped, so the table must not be borrowed here.
        drop(waiter);
    }
}
