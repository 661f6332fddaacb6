//! What a listener's connections and its accept loop know of each other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringtide_driver::Handle;
use ringtide_driver::slots::Slots;

/// The connections of one listener.
#[derive(Default)]
pub(super) struct Hub {
    stage: Cell<Stage>,
    /// One for each connection, from its first poll on.
    connections: RefCell<Slots<Option<Waker>>>,
    /// The accept loop, when it waits for a connection to end.
    accepting: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// All is as usual.
    #[default]
    Serving,
    /// Requests in flight end, nothing new begins.
    Finishing,
    /// Everything ends at once.
    Abandoning,
}

impl Hub {
    #[inline]
    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Goes on to `stage`, and has all connections see it.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        let wakers: Vec<Waker> =
            self.connections.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready when there are fewer than `count` connections.
    pub(super) fn poll_fewer_than(&self, count: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.connections.borrow().len() < count {
            return Poll::Ready(());
        }
        self.accepting.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Enters a connection.
    pub(super) fn register(self: &Rc<Self>) -> Registration {
        Registration { hub: Rc::clone(self), key: self.connections.borrow_mut().insert(None) }
    }
}

/// A connection's entry, for as long as it lasts.
pub(super) struct Registration {
    hub: Rc<Hub>,
    key: Handle,
}

impl Registration {
    /// Says which task the connection is.
    pub(super) fn set_waker(&self, waker: &Waker) {
        if let Some(entry) = self.hub.connections.borrow_mut().get_mut(self.key) {
            *entry = Some(waker.clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.connections.borrow_mut().remove(self.key);
        if let Some(waker) = self.hub.accepting.take() {
            waker.wake();
        }
    }
}
