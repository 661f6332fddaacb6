//! The open connections of a listener, and what they and its accept loop know of each other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringtide_driver::Handle;
use ringtide_driver::slots::Slots;

/// The connections of one listener.
#[derive(Default)]
pub(super) struct Connections {
    lifecycle: Cell<Lifecycle>,
    /// One for each connection, from its first poll on.
    wakers: RefCell<Slots<Option<Waker>>>,
    /// The accept loop, when it waits for a connection to end.
    accepting: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lifecycle {
    /// All is as usual.
    #[default]
    Serving,
    /// Requests in flight end, nothing new begins.
    Draining,
    /// Everything ends at once.
    Aborting,
}

impl Connections {
    #[inline]
    pub(super) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.get()
    }

    /// Goes on to `lifecycle`, and has all connections see it.
    pub(super) fn enter(&self, lifecycle: Lifecycle) {
        self.lifecycle.set(lifecycle);
        let wakers: Vec<Waker> = self.wakers.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready when there are fewer than `count` connections.
    pub(super) fn poll_fewer_than(&self, count: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.wakers.borrow().len() < count {
            return Poll::Ready(());
        }
        self.accepting.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Enters a connection.
    pub(super) fn register(self: &Rc<Self>) -> Registration {
        Registration { connections: Rc::clone(self), key: self.wakers.borrow_mut().insert(None) }
    }
}

/// A connection's entry, for as long as it lasts.
pub(super) struct Registration {
    connections: Rc<Connections>,
    key: Handle,
}

impl Registration {
    /// Says which task the connection is.
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
