//! The worker: the loop that runs ready tasks, fires timers and takes turns with the driver.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringtide_driver::{Completion, Driver, Handle};

use super::contained::{contained, drop_contained};
use super::core::{Core, Statistics};
use super::driver::{AnyDriver, DriverChoice, SetupError};
use super::inbox::{Message, WorkerHandle};
use super::run_queue::MAIN;
use super::socket_table;
use super::system;
use super::timer_table::Spin;
use super::waiter::Wakes;
use super::waker::task_waker;
use crate::limits::BULK_SPIN_NS;

/// A time that has passed on every clock: the driver does not wait.
const AT_ONCE: Option<u64> = Some(0);

/// Turns that a worker takes at its end to let the driver close what its tasks left open.
const FAREWELL_TURNS: usize = 4;

/// Polls of tasks that others woke, beyond those that were ready at the start, before I/O has its turn again.
const WOKEN_POLLS_MAX: usize = 1024;

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

/// A thread's executor, with its driver. It stays on the thread that made it.
pub struct Worker {
    core: Rc<Core>,
    fallback_reason: Option<String>,
    completions: Vec<Completion>,
    wakes: Wakes,
    /// Whether the core may be spun on.
    spins: bool,
    /// Until when the next piece of a large transfer is waited for by spinning.
    bulk_until_ns: u64,
    /// Since when nothing but spinning has been done.
    spinning_since_ns: Option<u64>,
}

impl Worker {
    /// A worker for the calling thread.
    ///
    /// # Errors
    /// When the driver cannot be set up or the core is not this process's to use. Nothing is left behind, but the thread may be
    /// pinned already.
    pub fn new(options: &WorkerOptions) -> Result<Self, SetupError> {
        if let Some(core) = options.core {
            system::note_cores();
            if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                return Err(SetupError::Pin(core));
            }
        }
        system::set_timer_slack_to_minimum();
        let (driver, fallback_reason) = AnyDriver::new(options.driver)?;
        Self::over(driver, options.spin, fallback_reason)
    }

    /// A worker over a simulated network, for tests of whole clients and servers under faults and virtual time.
    ///
    /// # Errors
    /// When the process has too many workers.
    pub fn simulated(sim: ringtide_driver::sim::Sim) -> Result<Self, SetupError> {
        Self::over(AnyDriver::Sim(sim), Spin::Off, None)
    }

    fn over(driver: AnyDriver, spin: Spin, fallback_reason: Option<String>) -> Result<Self, SetupError> {
        let core = Core::new(driver, spin)?;
        let wakes = core.wakes();
        Ok(Self {
            core,
            fallback_reason,
            completions: Vec::new(),
            wakes,
            spins: spin != Spin::Off,
            bulk_until_ns: 0,
            spinning_since_ns: None,
        })
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
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(Arc::clone(self.core.inbox()))
    }

    /// Runs `main`, and the tasks that are spawned, until `main` has ended. Tasks that have not ended stay, and go on in the next `block_on`.
    ///
    /// # Panics
    /// When `main` panics, when this thread is inside a `block_on` already, or when the driver breaks (its ring is gone): then the worker
    /// is good for nothing but to be dropped. Panics of tasks and of other threads' calls are contained.
    pub fn block_on<F: Future>(&mut self, main: F) -> F::Output {
        assert!(!Core::is_any_entered(), "this thread is inside a ringtide worker's block_on already");
        let core = Rc::clone(&self.core);
        let _entered = core.enter();
        let queue = core.queue();
        let mut main = pin!(main);
        let waker = task_waker(queue.worker(), MAIN);
        let mut context = Context::from_waker(&waker);
        queue.wake(MAIN);
        loop {
            if queue.take_main_ready()
                && let Poll::Ready(output) = main.as_mut().poll(&mut context)
            {
                return output;
            }
            self.run_ready_tasks(&core);
            if let Err(error) = self.turn(&core) {
                driver_broke(&core, &error);
            }
        }
    }

    /// Polls the tasks that are ready, and those that they wake: what one task has another do leaves with the same turn. Tasks that
    /// woke themselves wait for the next one, and so does everything beyond a bound, so that I/O is not starved.
    fn run_ready_tasks(&mut self, core: &Core) {
        let queue = core.queue();
        let count_max = queue.ready_count() + WOKEN_POLLS_MAX;
        for _ in 0..count_max {
            let Some(task) = queue.next_ready() else { break };
            self.spinning_since_ns = None;
            poll_task(core, task);
        }
        queue.resume_yielded();
    }

    /// Fires timers, reads the inbox, and lets the driver work; waits if there is nothing else to do.
    fn turn(&mut self, core: &Core) -> io::Result<()> {
        let inbox = core.inbox();
        for message in inbox.take() {
            match message {
                Message::Wake(task) => core.queue().wake(task),
                Message::Call(function) => {
                    // It is another thread's: its panic, which the hook reports, is neither the main future's nor those of
                    // the messages behind it.
                    let _ = contained(function);
                }
            }
        }
        let now_ns = core.now_ns();
        core.timers().expire(now_ns, &mut self.wakes);
        self.wakes.finish();
        let busy = core.queue().is_ready();
        let due_ns = if busy {
            AT_ONCE
        } else {
            let (timer_ns, close_ns) = (core.timers().next_ns(), core.io().0.next_close_ns());
            timer_ns.into_iter().chain(close_ns).min()
        };
        let expects_bulk = now_ns < self.bulk_until_ns;
        self.count_spinning(core, !busy && (expects_bulk || core.timers().is_spinning()), now_ns);
        let wait = due_ns.is_none_or(|due_ns| due_ns > now_ns) && !expects_bulk;
        if !wait || !inbox.park() {
            return self.turn_driver(core, now_ns, AT_ONCE);
        }
        let turned = self.turn_driver(core, now_ns, due_ns);
        inbox.unpark();
        // Only a wait that nothing but its deadline has ended tells how late wake-ups are.
        if let Some(due_ns) = due_ns
            && !core.queue().has_ready_task()
        {
            core.timers().woken(due_ns, core.turn_time_ns());
        }
        turned
    }

    #[inline]
    fn count_spinning(&mut self, core: &Core, spins: bool, now_ns: u64) {
        let since_ns = std::mem::replace(&mut self.spinning_since_ns, spins.then_some(now_ns));
        if let (true, Some(since_ns)) = (spins, since_ns) {
            core.add_spin_ns(now_ns - since_ns);
        }
    }

    /// Hands everything started to the kernel, at `now_ns`, and waits until `deadline_ns` at most. An error is the driver's end.
    fn turn_driver(&mut self, core: &Core, now_ns: u64, deadline_ns: Option<u64>) -> io::Result<()> {
        let (mut sockets, mut driver) = core.io();
        sockets.stamp_sends(now_ns);
        sockets.hold_back(&mut driver);
        driver.turn(deadline_ns, &mut self.completions)?;
        let now_ns = driver.now_ns();
        core.set_turn_time_ns(now_ns);
        let completions = self.completions.drain(..);
        let filled = socket_table::dispatch(&mut sockets, &mut driver, completions, &mut self.wakes);
        if filled && self.spins {
            self.bulk_until_ns = now_ns + BULK_SPIN_NS;
        }
        socket_table::close_abandoned(&mut sockets, &mut driver, now_ns);
        drop((sockets, driver));
        self.wakes.finish();
        Ok(())
    }

    /// Drops all tasks. Futures may spawn, wake and close as they are dropped, so no borrow is held meanwhile; what they spawn goes as well.
    fn drop_tasks(&self) {
        loop {
            let tasks = self.core.queue().remove_all();
            if tasks.is_empty() {
                return;
            }
            tasks.into_iter().for_each(drop_contained);
        }
    }
}

#[cold]
fn driver_broke(core: &Core, error: &io::Error) -> ! {
    let driver = core.statistics().driver;
    panic!("the {driver} driver of a ringtide worker has failed, and the worker ends with it: {error}");
}

#[inline]
fn poll_task(core: &Core, task: Handle) {
    let queue = core.queue();
    let Some(mut future) = queue.begin_poll(task) else { return };
    let waker = task_waker(queue.worker(), task);
    let finished = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    if let Some(ended) = queue.end_poll(task, future, finished) {
        // Dropping what is left of it runs its owner's code, whose panic is no more the worker's than one of the future was.
        drop_contained(ended);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("number", &self.core.queue().worker()).finish_non_exhaustive()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let core = Rc::clone(&self.core);
        let _entered = core.enter();
        // From here on nobody's panic may keep the next from being dropped, nor this thread from having another worker.
        core.inbox().close().into_iter().for_each(drop_contained);
        self.drop_tasks();
        // Closing sockets may take the kernel a turn or two; what is left then is the driver's to end when it is dropped.
        for _ in 0..FAREWELL_TURNS {
            if self.turn_driver(&core, core.now_ns(), AT_ONCE).is_err() {
                // It has been reported by the `block_on` that it ended, or there is nothing left that it could have ended.
                break;
            }
        }
        // What a waker has spawned meanwhile.
        self.drop_tasks();
    }
}
