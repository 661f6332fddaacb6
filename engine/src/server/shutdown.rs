//! The wish that servers end, from any thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Ends servers gracefully: they accept no more, close idle connections, let requests in flight end with `Connection: close`, and drop what
/// is left after [`ServiceOptions::shutdown_timeout`](super::ServiceOptions::shutdown_timeout). Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub struct Shutdown {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    begun: AtomicBool,
    /// One for each server.
    waiting: Mutex<Vec<Waker>>,
}

impl Shutdown {
    /// One that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown. Returns at once; a second call does nothing.
    pub fn begin(&self) {
        let mut waiting = self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.begun.store(true, Ordering::Release);
        waiting.drain(..).for_each(Waker::wake);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.state.begun.load(Ordering::Acquire)
    }

    /// Ready when it has begun.
    pub(super) fn poll_begun(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_begun() {
            return Poll::Ready(());
        }
        let mut waiting = self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have begun before the lock was ours; nobody would wake us then.
        if self.has_begun() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shutdown(begun: {})", self.has_begun())
    }
}
