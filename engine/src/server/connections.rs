//! The open connections of one listener, and the state that they share with the accept loop.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringtide_driver::Handle;
use ringtide_driver::slots::Slots;

/// The open connections of one listener.
#[derive(Default)]
pub(super) struct Connections {
    lifecycle: Cell<Lifecycle>,
    /// One entry per connection; `None` until the connection is first polled.
    wakers: RefCell<Slots<Option<Waker>>>,
    /// The waker of the accept loop, while it waits for a connection to end.
    accepting: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lifecycle {
    /// Normal operation.
    #[default]
    Serving,
    /// Requests in flight finish; no new ones begin.
    Draining,
    /// All connections end at once.
    Aborting,
}

impl Connections {
    #[inline]
    pub(super) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.get()
    }

    /// Enters `lifecycle` and wakes all connections so that they see it.
    pub(super) fn enter(&self, lifecycle: Lifecycle) {
        self.lifecycle.set(lifecycle);
        let wakers: Vec<Waker> = self.wakers.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns ready when there are fewer than `count` connections.
    pub(super) fn poll_fewer_than(&self, count: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.wakers.borrow().len() < count {
            return Poll::Ready(());
        }
        self.accepting.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Adds a connection.
    pub(super) fn register(self: &Rc<Self>) -> Registration {
        Registration { connections: Rc::clone(self), key: self.wakers.borrow_mut().insert(None) }
    }
}

/// A connection's entry. Dropping it removes the entry.
pub(super) struct Registration {
    connections: Rc<Connections>,
    key: Handle,
}

impl Registration {
    /// Stores the waker of the connection's task.
    pub(super) fn set_waker(&self, waker: &Waker) {
        if let Some(entry) = self.connections.wakers.borrow_mut().get_mut(self.key) {
            *entry = Some(waker.clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.wakers.borrow_mut().remove(self.key);
        if let Some(waker) = self.connections.accepting.take() {
            waker.wake();
        }
    }
}
