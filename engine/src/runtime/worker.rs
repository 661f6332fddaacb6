//! The worker: a loop that runs ready tasks, fires timers and takes turns of the driver.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringtide_driver::{Completion, Driver, Handle};

use super::answer_spin::{Advice, AnswerSpin};
use super::bulk_spin::BulkSpin;
use super::contained::{contained, drop_contained};
use super::core::{Core, Statistics};
use super::core_share::CoreShare;
use super::driver::{AnyDriver, DriverChoice, SetupError};
use super::inbox::{Message, WorkerHandle};
use super::run_queue::MAIN;
use super::socket_table;
use super::spin::Spin;
use super::system;
use super::waiter::Wakes;
use super::waker::task_waker;
use crate::limits::{PARK_SPIN_NS, SPIN_LOOK_NS_MAX};

/// A deadline that has passed on every clock, so that the driver does not wait.
const AT_ONCE: Option<u64> = Some(0);

/// Turns that an ending worker takes so that the driver can close what its tasks left open.
const FAREWELL_TURNS: usize = 4;

/// Polls of tasks that other tasks woke, in addition to those that were ready at the start, before I/O gets its turn.
const WOKEN_POLLS_MAX: usize = 1024;

/// How many cores the system's set of cores can name (CPU_SET(3)). `core_affinity` aborts the process at a higher number.
const CORES_MAX: usize = 1024;

/// Configures a [`Worker`].
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// The driver.
    pub driver: DriverChoice,
    /// The core to pin the calling thread to. `None` leaves the choice to the system.
    pub core: Option<usize>,
    /// Whether and how long to spin: before the deadlines of [precise](super::Timer::precise) timers, and while a peer is
    /// expected to send. A worker that may spin also does so for some microseconds after a completion, because the next
    /// is often near; longer in large transfers, as long as their pieces come soon.
    pub spin: Spin,
}

/// An executor and its driver. It stays on the thread that created it.
pub struct Worker {
    core: Rc<Core>,
    fallback_reason: Option<String>,
    completions: Vec<Completion>,
    wakes: Wakes,
    spin: Spin,
    /// The time until which the worker spins for the next completion.
    spin_until_ns: u64,
    bulk: BulkSpin,
    answers: AnswerSpin,
    /// `None` if it does not matter, or if time is virtual.
    core_share: Option<CoreShare>,
    /// When the last turn ended, if the worker spins and that turn has brought nothing.
    quiet_since_ns: Option<u64>,
}

impl Worker {
    /// Creates a worker for the calling thread.
    ///
    /// # Errors
    /// If the driver cannot be set up, or the process may not run on the core. No resources are left behind, but the
    /// thread may already be pinned.
    pub fn new(options: &WorkerOptions) -> Result<Self, SetupError> {
        if let Some(core) = options.core {
            system::note_cores();
            if core >= CORES_MAX || !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                return Err(SetupError::Pin(core));
            }
        }
        system::set_timer_slack_to_minimum();
        let (driver, fallback_reason) = AnyDriver::new(options.driver)?;
        Self::over(driver, options.spin, fallback_reason)
    }

    /// Creates a worker on a simulated network. Use it to test whole clients and servers under faults and in virtual
    /// time.
    ///
    /// # Errors
    /// If the process has too many workers.
    pub fn simulated(sim: ringtide_driver::sim::Sim) -> Result<Self, SetupError> {
        Self::over(AnyDriver::Sim(sim), Spin::Off, None)
    }

    pub(super) fn over(
        driver: AnyDriver,
        spin: Spin,
        fallback_reason: Option<String>,
    ) -> Result<Self, SetupError> {
        let core_share = (spin == Spin::Learnt && !driver.is_simulated()).then(CoreShare::default);
        let core = Core::new(driver, spin)?;
        let wakes = core.wakes();
        Ok(Self {
            core,
            fallback_reason,
            completions: Vec::new(),
            wakes,
            spin,
            spin_until_ns: 0,
            bulk: BulkSpin::default(),
            answers: AnswerSpin::new(spin),
            core_share,
            quiet_since_ns: None,
        })
    }

    /// Returns on one line why the worker uses the fallback although it tried io_uring first, or `None` if that is not
    /// the case.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Returns the worker's statistics, counted since its start.
    pub fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    /// Returns a handle through which other threads reach this worker.
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(Arc::clone(self.core.inbox()))
    }

    /// Runs `main`, and all spawned tasks, until `main` ends. The remaining tasks are kept and continue in the next
    /// `block_on`.
    ///
    /// Panics in tasks and in calls from other threads are caught and do not reach the caller.
    ///
    /// # Panics
    /// - If `main` panics.
    /// - If this thread is already inside a `block_on`.
    /// - If the driver fails, for example because its ring is gone. The worker is then unusable and can only be
    ///   dropped.
    pub fn block_on<F: Future>(&mut self, main: F) -> F::Output {
        assert!(!Core::is_any_entered(), "this thread is already inside a ringtide worker's block_on");
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
            run_ready_tasks(&core);
            if let Err(error) = self.turn(&core) {
                driver_broke(&core, &error);
            }
        }
    }

    /// Fires timers, reads the inbox and takes a turn of the driver. Waits if no task is ready.
    fn turn(&mut self, core: &Core) -> io::Result<()> {
        let inbox = core.inbox();
        for message in inbox.take() {
            match message {
                Message::Wake(task) => core.queue().wake(task),
                Message::Call(function) => {
                    // The function comes from another thread. The panic hook has reported its panic. The panic must not
                    // affect the main future or the messages that follow.
                    let _ = contained(function);
                }
            }
        }
        let now_ns = core.now_ns();
        core.timers().expire(now_ns, &mut self.wakes);
        self.wakes.finish();
        let busy = core.queue().is_ready();
        if !busy && self.spins(core, now_ns) {
            let brought = self.turn_driver(core, now_ns, AT_ONCE)?;
            self.count_spinning(core, brought == 0);
            std::hint::spin_loop();
            return Ok(());
        }
        self.quiet_since_ns = None;
        let due_ns = if busy {
            AT_ONCE
        } else {
            let (timer_ns, close_ns) = (core.timers().next_ns(), core.io().0.next_close_ns());
            timer_ns.into_iter().chain(close_ns).min()
        };
        let waits = due_ns.is_none_or(|due_ns| due_ns > now_ns);
        if !waits || !inbox.park() {
            return self.turn_driver(core, now_ns, AT_ONCE).map(drop);
        }
        let turned = self.turn_driver(core, now_ns, due_ns).map(drop);
        inbox.unpark();
        // Only a wait that its deadline ended shows how late wake-ups are.
        if let Some(due_ns) = due_ns
            && !core.queue().has_ready_task()
        {
            core.timers().woken(due_ns, core.turn_time_ns());
        }
        turned
    }

    /// Returns whether to spin, when no task is ready.
    #[inline]
    fn spins(&mut self, core: &Core, now_ns: u64) -> bool {
        if self.spin == Spin::Off {
            return false;
        }
        // Asked in any case, because it notes when a wait begins.
        let (expected, submits) = core.sockets().expected();
        let answers = match self.answers.advise(now_ns, expected, submits) {
            Advice::Spin => !self.core_share.as_mut().is_some_and(|core| core.is_shared(now_ns)),
            Advice::Sleep => false,
            Advice::GiveUp => {
                core.sockets().expect_nothing();
                false
            }
        };
        answers || now_ns < self.spin_until_ns || core.timers().is_spinning()
    }

    /// Counts the time since the last turn as spinning, if that turn and the one that has just ended have brought
    /// nothing: so the time in which a turn submits or receives is not counted.
    #[inline]
    fn count_spinning(&mut self, core: &Core, is_quiet: bool) {
        let now_ns = core.turn_time_ns();
        let since_ns = std::mem::replace(&mut self.quiet_since_ns, is_quiet.then_some(now_ns));
        if let (true, Some(since_ns)) = (is_quiet, since_ns) {
            let spun_ns = (now_ns - since_ns).min(SPIN_LOOK_NS_MAX);
            core.add_spin_ns(spun_ns);
            self.bulk.spun(spun_ns);
        }
    }

    /// Submits everything that was started, stamped with `now_ns`, and waits until `deadline_ns` at most. Returns how
    /// many completions came. After an error the driver is unusable.
    fn turn_driver(&mut self, core: &Core, now_ns: u64, deadline_ns: Option<u64>) -> io::Result<usize> {
        let (mut sockets, mut driver) = core.io();
        sockets.stamp_sends(now_ns);
        let has_woken = sockets.hold_back(&mut driver, &mut self.wakes);
        let deadline_ns = if has_woken { AT_ONCE } else { deadline_ns };
        driver.turn(deadline_ns, &mut self.completions)?;
        let now_ns = driver.now_ns();
        core.set_turn_time_ns(now_ns);
        let count = self.completions.len();
        let completions = self.completions.drain(..);
        let brought = socket_table::dispatch(&mut sockets, &mut driver, completions, &mut self.wakes);
        if self.spin != Spin::Off && count > 0 {
            self.spin_until_ns = now_ns + if brought.filled { self.bulk.next_piece() } else { PARK_SPIN_NS };
            if brought.answered {
                self.answers.answered(now_ns);
            }
        }
        socket_table::close_abandoned(&mut sockets, &mut driver, now_ns);
        drop((sockets, driver));
        self.wakes.finish();
        Ok(count)
    }

    /// Drops all tasks, including those that are spawned meanwhile. A future may spawn, wake and close when it is
    /// dropped, so nothing is borrowed at that time.
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
    panic!("the {driver} driver of a ringtide worker has failed, so the worker ends: {error}");
}

/// Polls the ready tasks, and the tasks that these wake. So the work that one task causes in another leaves with the
/// same turn.
///
/// Tasks that woke themselves wait until the next turn. So does everything beyond [`WOKEN_POLLS_MAX`], so that I/O is
/// not starved.
fn run_ready_tasks(core: &Core) {
    let queue = core.queue();
    let count_max = queue.ready_count() + WOKEN_POLLS_MAX;
    for _ in 0..count_max {
        let Some(task) = queue.next_ready() else { break };
        poll_task(core, task);
    }
    queue.resume_yielded();
}

#[inline]
fn poll_task(core: &Core, task: Handle) {
    let queue = core.queue();
    let Some(mut future) = queue.begin_poll(task) else { return };
    let waker = task_waker(queue.worker(), task);
    let finished = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    if let Some(ended) = queue.end_poll(task, future, finished) {
        // This runs the `Drop` code of the task's owner. A panic in it must not reach the worker, like a panic of the
        // future itself.
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
        // From here on, a panic must prevent neither the remaining drops nor a new worker on this thread.
        core.inbox().close().into_iter().for_each(drop_contained);
        self.drop_tasks();
        // The kernel may need a turn or two to close the sockets. The driver ends the rest when it is dropped.
        for _ in 0..FAREWELL_TURNS {
            if self.turn_driver(&core, core.now_ns(), AT_ONCE).is_err() {
                // If a `block_on` was running when the driver failed, it has already reported the error. Otherwise the
                // error affects nothing.
                break;
            }
        }
        // Wakers may have spawned tasks meanwhile.
        self.drop_tasks();
    }
}
