//! The phases of a worker: the coordinator starts each from another thread, and the worker waits for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringtide::runtime::{self, WorkerHandle};

/// Leads a worker from another thread.
#[derive(Clone)]
pub(crate) struct Controls {
    pub(super) remote: WorkerHandle,
}

impl Controls {
    /// Lets the worker open its connections.
    pub(crate) fn connect(&self) {
        let _ = self.remote.call(|| with_phase(|phase| phase.may_connect.set(true)));
    }

    /// Starts the requests at `start_ns` on the clock of all workers.
    pub(crate) fn start(&self, start_ns: u64) {
        // The call fails only if the worker is gone; it has then reported why.
        let _ = self.remote.call(move || with_phase(|phase| phase.start_ns.set(Some(start_ns))));
    }

    /// Ends the run now.
    pub(crate) fn stop(&self) {
        let _ = self.remote.call(|| with_phase(|phase| phase.stopped.set(true)));
    }
}

thread_local! {
    /// The phase of the worker on this thread. The coordinator's messages arrive here.
    pub(super) static PHASE: RefCell<Option<Rc<Phase>>> = const { RefCell::new(None) };
}

/// Changes the phase of the worker on this thread and wakes the worker.
pub(super) fn with_phase(change: impl FnOnce(&Phase)) {
    PHASE.with_borrow(|phase| {
        if let Some(phase) = phase {
            change(phase);
            if let Some(waker) = phase.waker.take() {
                waker.wake();
            }
        }
    });
}

/// Makes the worker on this thread look again at what it waits for.
pub(super) fn wake_main() {
    with_phase(|_| ());
}

/// What the coordinator has said so far.
#[derive(Default)]
pub(super) struct Phase {
    pub(super) may_connect: Cell<bool>,
    pub(super) start_ns: Cell<Option<u64>>,
    pub(super) stopped: Cell<bool>,
    pub(super) waker: Cell<Option<Waker>>,
}

impl Phase {
    /// Waits until `condition` holds. It is checked after each message and each [`wake_main`].
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        poll_fn(|context| {
            if condition(self) {
                return Poll::Ready(());
            }
            self.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Waits until `moment_ns`; false if the run is stopped before that.
    pub(super) async fn comes_to(&self, moment_ns: u64) -> bool {
        let stopped = runtime::deadline(moment_ns, self.until(|phase| phase.stopped.get())).await;
        stopped.is_none() || runtime::now_ns() >= moment_ns
    }
}
