//! The state that a worker shares with its tasks' sockets, timers and handles, and the current worker of each thread.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;

use ringtide_driver::{Driver, Handle};

use super::driver::{AnyDriver, SetupError};
use super::inbox::Inbox;
use super::run_queue::RunQueue;
use super::socket_table::Sockets;
use super::spin::Spin;
use super::timer_table::Timers;
use super::waiter::{Waiter, Wakes};
use super::waker::{register_worker, unregister_worker};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

const OUTSIDE: &str = "this thread is not inside a ringtide worker's block_on; from other threads and runtimes, use a \
                       client::ClientHandle or a runtime::WorkerHandle";

/// Returns the core of the worker whose `block_on` this thread is in.
#[track_caller]
pub(super) fn current() -> Rc<Core> {
    // This panics outside the closure, because `#[track_caller]` does not work inside it.
    CURRENT.with_borrow(Option::clone).expect(OUTSIDE)
}

/// Returns the time of that worker's current turn. It takes no reference to the core, because each request asks.
#[inline]
#[track_caller]
pub(super) fn current_turn_time_ns() -> u64 {
    CURRENT.with_borrow(|core| core.as_ref().map(|core| core.turn_time_ns())).expect(OUTSIDE)
}

/// The identity of a worker. Two values are equal only if they belong to the same worker; the process never reuses one.
///
/// It helps to detect a value that was created on one worker and is used on another. Two workers of one thread may run
/// in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(u64);

impl WorkerId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a worker has done since its start.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// The name of the driver.
    pub driver: &'static str,
    /// The kernel features that the driver uses.
    pub driver_features: Vec<&'static str>,
    /// The number of system calls that the driver has made.
    pub syscalls: u64,
    /// Time spent spinning while there was nothing else to do, in nanoseconds. It is a part of the thread's CPU time.
    pub spin_ns: u64,
}

/// The state of a worker. Each field is borrowed only within a method, never while a task is polled or dropped.
pub(super) struct Core {
    id: WorkerId,
    worker: u16,
    queue: Rc<RunQueue>,
    inbox: Arc<Inbox>,
    timers: RefCell<Timers>,
    sockets: RefCell<Sockets>,
    driver: RefCell<AnyDriver>,
    turn_time_ns: Cell<u64>,
    spin_ns: Cell<u64>,
}

impl Core {
    pub(super) fn new(driver: AnyDriver, spin: Spin) -> Result<Rc<Self>, SetupError> {
        let inbox = Arc::new(Inbox::new(driver.notifier()));
        let worker = register_worker(Arc::clone(&inbox)).ok_or(SetupError::TooManyWorkers)?;
        let now_ns = driver.now_ns();
        Ok(Rc::new(Self {
            id: WorkerId::next(),
            worker,
            queue: Rc::new(RunQueue::new(worker)),
            inbox,
            timers: RefCell::new(Timers::new(spin)),
            sockets: RefCell::default(),
            driver: RefCell::new(driver),
            turn_time_ns: Cell::new(now_ns),
            spin_ns: Cell::new(0),
        }))
    }

    /// Makes this the current worker of the thread, until the returned guard is dropped and restores the previous one.
    pub(super) fn enter(self: &Rc<Self>) -> Entered {
        Entered {
            queue: RunQueue::set_local(Some(Rc::clone(&self.queue))),
            core: CURRENT.replace(Some(Rc::clone(self))),
        }
    }

    /// Returns whether this thread is inside a `block_on`.
    pub(super) fn is_any_entered() -> bool {
        CURRENT.with_borrow(Option::is_some)
    }

    #[inline]
    pub(super) fn id(&self) -> WorkerId {
        self.id
    }

    /// The number of this worker. Another worker can get it only when nothing of this worker is left.
    #[inline]
    pub(super) fn worker(&self) -> u16 {
        self.worker
    }

    #[inline]
    pub(super) fn queue(&self) -> &Rc<RunQueue> {
        &self.queue
    }

    /// Creates a waiter for one of the tables here, from the waker of `context`. See [`Waiter::new`].
    pub(super) fn waiter(&self, context: &Context<'_>) -> Waiter {
        Waiter::new(context, self.worker)
    }

    /// Creates a list of waiters to wake in the tables here.
    pub(super) fn wakes(&self) -> Wakes {
        Wakes::new(Rc::clone(&self.queue))
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        self.driver.borrow().now_ns()
    }

    #[inline]
    pub(super) fn turn_time_ns(&self) -> u64 {
        self.turn_time_ns.get()
    }

    #[inline]
    pub(super) fn set_turn_time_ns(&self, now_ns: u64) {
        self.turn_time_ns.set(now_ns);
    }

    pub(super) fn add_spin_ns(&self, spin_ns: u64) {
        self.spin_ns.set(self.spin_ns.get() + spin_ns);
    }

    #[inline]
    pub(super) fn timers(&self) -> RefMut<'_, Timers> {
        self.timers.borrow_mut()
    }

    #[inline]
    pub(super) fn sockets(&self) -> RefMut<'_, Sockets> {
        self.sockets.borrow_mut()
    }

    #[inline]
    pub(super) fn driver(&self) -> RefMut<'_, AnyDriver> {
        self.driver.borrow_mut()
    }

    /// Borrows the sockets and their driver.
    #[inline]
    pub(super) fn io(&self) -> (RefMut<'_, Sockets>, RefMut<'_, AnyDriver>) {
        (self.sockets.borrow_mut(), self.driver.borrow_mut())
    }

    /// Closes a socket, a listener or a wait for a foreign descriptor.
    pub(super) fn close(&self, handle: Handle) {
        let resource = {
            let (mut sockets, mut driver) = self.io();
            driver.close(handle);
            sockets.remove(handle)
        };
        // Dropping a waiter may run foreign code, so nothing is borrowed here.
        drop(resource);
    }

    pub(super) fn statistics(&self) -> Statistics {
        let driver = self.driver.borrow();
        Statistics {
            driver: driver.name(),
            driver_features: driver.features(),
            syscalls: driver.syscalls(),
            spin_ns: self.spin_ns.get(),
        }
    }
}

impl Drop for Core {
    /// Frees the worker's number. Handles, such as sockets, keep a core alive after its worker has ended, and the
    /// number stays in use until then. Otherwise a new worker could get the same number, and each of the two would
    /// accept wakes and handles of the other.
    fn drop(&mut self) {
        unregister_worker(self.worker);
    }
}

/// A guard: while it exists, this thread is inside a worker. Dropping it restores the previous state, also during a
/// panic.
pub(super) struct Entered {
    queue: Option<Rc<RunQueue>>,
    core: Option<Rc<Core>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let queue = RunQueue::set_local(self.queue.take());
        let core = CURRENT.replace(self.core.take());
        drop((queue, core));
    }
}
