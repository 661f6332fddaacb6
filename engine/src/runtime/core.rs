//! The worker: the loop that runs ready tasks, fires timers and takes turns with the driver.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringtide_driver::slots::Slots;
use ringtide_driver::{Completion, Driver, Handle};

use super::driver::{AnyDriver, DriverChoice, SetupError};
use super::inbox::{Inbox, Message, Remote};
use super::socket::Sockets;
use super::task::{JoinHandle, Task};
use super::timer::{Spin, Timers};
use super::waker::{MAIN_SLOT, TASKS_MAX, register_worker, task_waker, unregister_worker};
use super::{socket, system};
use crate::limits::BULK_SPIN_NS;

const MAIN: Handle = Handle::new(MAIN_SLOT, 0);

/// A time that has passed on every clock: the driver does not wait.
const AT_ONCE: Option<u64> = Some(0);

/// Turns that a worker takes at its end to let the driver close what its tasks left open.
const FAREWELL_TURNS: usize = 4;

/// Polls of tasks that others woke, beyond those that were ready at the start, before I/O has its turn again.
const WOKEN_POLLS_MAX: usize = 1024;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The core of the worker whose `block_on` this thread is in.
#[track_caller]
pub(super) fn current() -> Rc<Core> {
    // The panic is outside the closure, which would not know the caller.
    CURRENT.with_borrow(Option::clone).expect("this thread is not inside a ringtide worker's block_on")
}

/// Queues the task if this thread is inside `block_on` of that worker.
#[inline]
pub(super) fn wake_if_local(worker: u16, task: Handle) -> bool {
    // A waker may be dropped or woken while the thread's locals are being destroyed; then it is no local wake.
    CURRENT
        .try_with(|current| match &*current.borrow() {
            Some(core) if core.number == worker => {
                core.wake(task);
                true
            }
            _ => false,
        })
        .unwrap_or(false)
}

/// How a [`Worker`] is to be.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// The driver.
    pub driver: DriverChoice,
    /// The core to pin the calling thread to; `None` leaves it where the system puts it.
    pub core: Option<usize>,
    /// Whether to spin: before the deadlines of [precise](super::Timer::precise) timers, and for some microseconds when a receive has filled its
    /// buffer, as more is to come.
    pub spin: Spin,
}

/// What a worker has done so far.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// The name of the driver.
    pub driver: &'static str,
    /// What the driver uses of its kernel.
    pub driver_features: Vec<&'static str>,
    /// System calls that the driver has made.
    pub syscalls: u64,
    /// Time spent spinning with nothing else to do, in nanoseconds.
    pub spin_ns: u64,
}

/// A thread's executor, with its driver. It stays on the thread that made it.
pub struct Worker {
    core: Rc<Core>,
    fallback_reason: Option<String>,
}

impl Worker {
    /// A worker for the calling thread.
    ///
    /// # Errors
    /// When the driver cannot be set up or the core is not this process's to use. Nothing is left behind, but the thread may be
    /// pinned already.
    pub fn new(options: &WorkerOptions) -> Result<Self, SetupError> {
        if let Some(core) = options.core
            && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
        {
            return Err(SetupError::Pin(core));
        }
        system::set_timer_slack_to_minimum();
        let (driver, fallback_reason) = AnyDriver::new(options.driver)?;
        Ok(Self { core: Core::new(driver, options.spin)?, fallback_reason })
    }

    /// A worker over a simulated network, for tests of whole clients and servers under faults and virtual time.
    ///
    /// # Errors
    /// When the process has too many workers.
    pub fn simulated(sim: ringtide_driver::sim::Sim) -> Result<Self, SetupError> {
        Ok(Self { core: Core::new(AnyDriver::Sim(sim), Spin::Off)?, fallback_reason: None })
    }

    /// In one line, why the driver is not io_uring although it was to be if possible.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// What the worker has done so far.
    pub fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    /// A way in for other threads.
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.core.inbox))
    }

    /// Runs `main`, and the tasks that are spawned, until `main` has ended. Tasks that have not ended stay, and go on in the next `block_on`.
    ///
    /// # Panics
    /// When `main` panics, when this thread is inside a `block_on` already, or when the driver breaks (its ring is gone).
    pub fn block_on<F: Future>(&mut self, main: F) -> F::Output {
        let core = &self.core;
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "this thread is inside a ringtide worker's block_on already");
            *current = Some(Rc::clone(core));
        });
        let _leave = Leave;
        let mut main = pin!(main);
        let waker = task_waker(core.number, MAIN);
        let mut context = Context::from_waker(&waker);
        core.main_ready.set(true);
        loop {
            if core.main_ready.replace(false)
                && let Poll::Ready(output) = main.as_mut().poll(&mut context)
            {
                return output;
            }
            core.run_ready_tasks();
            core.turn();
        }
    }
}

/// Leaves `block_on`, also by a panic.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        let core = CURRENT.take();
        drop(core);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("number", &self.core.number).finish_non_exhaustive()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let core = &self.core;
        unregister_worker(core.number);
        // Futures may spawn, wake and close as they are dropped, so no borrow is held meanwhile. What they spawn goes as well.
        drop(core.inbox.close());
        let previous = CURRENT.replace(Some(Rc::clone(core)));
        loop {
            let tasks = mem::take(&mut *core.tasks.borrow_mut());
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        // Closing sockets may take the kernel a turn or two; what is left then is the driver's to end when it is dropped.
        for _ in 0..FAREWELL_TURNS {
            core.turn_driver(core.now_ns(), AT_ONCE);
        }
        CURRENT.set(previous);
    }
}

/// The state of a worker. Fields are borrowed for the time of a method only, never while a task is polled or dropped.
pub(super) struct Core {
    number: u16,
    main_ready: Cell<bool>,
    tasks: RefCell<Slots<TaskState>>,
    ready: RefCell<VecDeque<Handle>>,
    /// Tasks that woke themselves while they were polled.
    yielded: RefCell<VecDeque<Handle>>,
    timers: RefCell<Timers>,
    sockets: RefCell<Sockets>,
    driver: RefCell<AnyDriver>,
    completions: RefCell<Vec<Completion>>,
    inbox: Arc<Inbox>,
    turn_time_ns: Cell<u64>,
    spin_ns: Cell<u64>,
    /// Whether the core may be spun on.
    spins: bool,
    /// Until when the next piece of a large transfer is waited for by spinning.
    bulk_until_ns: Cell<u64>,
    /// Since when nothing but spinning has been done.
    spinning_since_ns: Cell<Option<u64>>,
}

struct TaskState {
    /// `None` while it is being polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    scheduled: bool,
}

impl Core {
    fn new(driver: AnyDriver, spin: Spin) -> Result<Rc<Self>, SetupError> {
        let inbox = Arc::new(Inbox::new(driver.notifier()));
        let number = register_worker(Arc::clone(&inbox)).ok_or(SetupError::TooManyWorkers)?;
        let now_ns = driver.now_ns();
        Ok(Rc::new(Self {
            number,
            main_ready: Cell::new(false),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            yielded: RefCell::default(),
            timers: RefCell::new(Timers::new(spin)),
            sockets: RefCell::default(),
            driver: RefCell::new(driver),
            completions: RefCell::default(),
            inbox,
            turn_time_ns: Cell::new(now_ns),
            spin_ns: Cell::new(0),
            spins: spin != Spin::Off,
            bulk_until_ns: Cell::new(0),
            spinning_since_ns: Cell::new(None),
        }))
    }

    pub(super) fn spawn<F>(self: &Rc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (task, outcome) = Task::new(future);
        let mut tasks = self.tasks.borrow_mut();
        assert!(tasks.len() < TASKS_MAX, "a worker has at most {TASKS_MAX} tasks");
        let handle = tasks.insert(TaskState { future: Some(Box::pin(task)), scheduled: true });
        self.ready.borrow_mut().push_back(handle);
        outcome.into_handle(Rc::downgrade(self), handle)
    }

    pub(super) fn abort(&self, task: Handle) {
        let state = self.tasks.borrow_mut().remove(task);
        // The future is dropped with no borrow held; one that is being polled is dropped when its poll has ended.
        drop(state);
    }

    #[inline]
    fn wake(&self, task: Handle) {
        if task == MAIN {
            self.main_ready.set(true);
        } else if let Some(state) = self.tasks.borrow_mut().get_mut(task)
            && !state.scheduled
        {
            state.scheduled = true;
            // A task without its future is the one that is being polled: it has woken itself.
            let queue = if state.future.is_some() { &self.ready } else { &self.yielded };
            queue.borrow_mut().push_back(task);
        }
    }

    /// Polls the tasks that are ready, and those that they wake: what one task has another do leaves with the same turn. Tasks that
    /// woke themselves wait for the next one, and so does everything beyond a bound, so that I/O is not starved.
    fn run_ready_tasks(&self) {
        let count_max = self.ready.borrow().len() + WOKEN_POLLS_MAX;
        for _ in 0..count_max {
            let Some(task) = self.ready.borrow_mut().pop_front() else { break };
            self.poll_task(task);
        }
        self.ready.borrow_mut().append(&mut self.yielded.borrow_mut());
    }

    #[inline]
    fn poll_task(&self, task: Handle) {
        self.spinning_since_ns.set(None);
        let future = self.tasks.borrow_mut().get_mut(task).and_then(|state| {
            state.scheduled = false;
            state.future.take()
        });
        let Some(mut future) = future else { return };
        let waker = task_waker(self.number, task);
        let finished = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if finished {
            tasks.remove(task);
        } else if let Some(state) = tasks.get_mut(task) {
            state.future = Some(future);
            return;
        }
        drop(tasks);
        // Dropping what is left of it runs its owner's code, whose panic is no more the worker's than one of the future was.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }

    /// Fires timers, reads the inbox, and lets the driver work; waits if there is nothing else to do.
    fn turn(&self) {
        for message in self.inbox.take() {
            match message {
                Message::Wake(task) => self.wake(task),
                Message::Call(function) => {
                    // It is another thread's: its panic, which the hook reports, is neither the main future's nor those of
                    // the messages behind it.
                    let _ = catch_unwind(AssertUnwindSafe(function));
                }
            }
        }
        let now_ns = self.now_ns();
        self.timers.borrow_mut().expire(now_ns);
        let busy = self.main_ready.get() || !self.ready.borrow().is_empty();
        let due_ns = if busy {
            AT_ONCE
        } else {
            let (timer_ns, close_ns) =
                (self.timers.borrow().next_ns(), self.sockets.borrow().next_close_ns());
            timer_ns.into_iter().chain(close_ns).min()
        };
        let expects_bulk = now_ns < self.bulk_until_ns.get();
        self.count_spinning(!busy && (expects_bulk || self.timers.borrow().is_spinning()), now_ns);
        let wait = due_ns.is_none_or(|due_ns| due_ns > now_ns) && !expects_bulk;
        if !wait {
            return self.turn_driver(now_ns, AT_ONCE);
        }
        if !self.inbox.park() {
            return self.turn_driver(now_ns, AT_ONCE);
        }
        self.turn_driver(now_ns, due_ns);
        self.inbox.unpark();
        // Only a wait that nothing but its deadline has ended tells how late wake-ups are.
        if let Some(due_ns) = due_ns
            && self.ready.borrow().is_empty()
        {
            self.timers.borrow_mut().woken(due_ns, self.turn_time_ns());
        }
    }

    #[inline]
    fn count_spinning(&self, spins: bool, now_ns: u64) {
        let since_ns = self.spinning_since_ns.replace(spins.then_some(now_ns));
        if let (true, Some(since_ns)) = (spins, since_ns) {
            self.spin_ns.set(self.spin_ns.get() + (now_ns - since_ns));
        }
    }

    /// Hands everything started to the kernel, at `now_ns`, and waits until `deadline_ns` at most.
    fn turn_driver(&self, now_ns: u64, deadline_ns: Option<u64>) {
        let mut completions = self.completions.borrow_mut();
        let mut driver = self.driver.borrow_mut();
        let mut sockets = self.sockets.borrow_mut();
        sockets.stamp_sends(now_ns);
        sockets.hold_back(&mut driver);
        drop(sockets);
        driver.turn(deadline_ns, &mut completions).expect("the driver works as long as its worker does");
        let now_ns = driver.now_ns();
        self.turn_time_ns.set(now_ns);
        let mut sockets = self.sockets.borrow_mut();
        let filled = socket::dispatch(&mut sockets, &mut driver, completions.drain(..));
        if filled && self.spins {
            self.bulk_until_ns.set(now_ns + BULK_SPIN_NS);
        }
        socket::close_abandoned(&mut sockets, &mut driver, now_ns);
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
    pub(super) fn timers(&self) -> RefMut<'_, Timers> {
        self.timers.borrow_mut()
    }

    /// The sockets and the driver under them.
    #[inline]
    pub(super) fn io(&self) -> (RefMut<'_, Sockets>, RefMut<'_, AnyDriver>) {
        (self.sockets.borrow_mut(), self.driver.borrow_mut())
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
