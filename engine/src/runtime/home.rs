//! Which worker something belongs to, for what works on that one alone.

use std::fmt;
use std::rc::{Rc, Weak};

use super::core::{self, Core};

/// The worker that something was made on. A thread may have several, of which one at a time runs.
#[derive(Clone)]
pub(crate) struct Home(Weak<Core>);

impl Home {
    /// The worker of this thread.
    #[track_caller]
    pub(crate) fn here() -> Self {
        Self(Rc::downgrade(&core::current()))
    }

    /// Sees to it that `what` is used at home: elsewhere nothing of it would go on.
    ///
    /// # Panics
    /// Elsewhere.
    #[track_caller]
    #[inline]
    pub(crate) fn check(&self, what: &str) {
        assert!(
            Weak::as_ptr(&self.0) == Rc::as_ptr(&core::current()),
            "this {what} belongs to another worker than the one whose block_on this thread is inside; that one does not run \
             meanwhile. Make a client for each worker, or use a ClientHandle, whose client is on another thread"
        );
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}
