//! A handle that shuts servers down, from any thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A handle that shuts servers down gracefully.
///
/// A server that shuts down accepts no more connections, closes idle ones, and lets requests in flight finish with
/// `Connection: close`. It drops what is left after
/// [`ServiceOptions::shutdown_timeout`](super::ServiceOptions::shutdown_timeout). Clones control the same shutdown.
#[derive(Clone, Default)]
pub struct Shutdown {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    begun: AtomicBool,
    /// The wakers of the servers' accept loops.
    waiting: Mutex<Vec<Waker>>,
}

impl Shutdown {
    /// Creates a shutdown that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown. Returns at once; further calls do nothing.
    pub fn begin(&self) {
        let mut waiting = self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.begun.store(true, Ordering::Release);
        waiting.drain(..).for_each(Waker::wake);
    }

    /// Returns whether the shutdown has begun.
    pub fn has_begun(&self) -> bool {
        self.state.begun.load(Ordering::Acquire)
    }

    /// Returns ready when the shutdown has begun.
    pub(super) fn poll_begun(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_begun() {
            return Poll::Ready(());
        }
        let mut waiting = self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Check again under the lock: `begin` may have run since the first check, and would then wake nothing.
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
