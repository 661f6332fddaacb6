//! The run queue of a worker: its tasks, and which of them are ready.
//!
//! It is separate from the rest of the worker's state, because a waker may access it at any time on the worker's
//! thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use ringtide_driver::Handle;
use ringtide_driver::limits::GENERATION_BITS;
use ringtide_driver::slots::Slots;

/// Number of bits for a task's slot in its waker's word. The rest holds [`GENERATION_BITS`] of its generation and 16
/// bits of its worker.
pub(super) const SLOT_BITS: u32 = 24;

/// The largest value of those bits.
pub(super) const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// The future of `block_on`. Its slot is never used for a task.
pub(super) const MAIN: Handle = Handle::new(SLOT_MASK, 0);

/// Maximum of tasks on one worker.
const TASKS_MAX: usize = SLOT_MASK as usize;

const _: () =
    assert!(16 + GENERATION_BITS + SLOT_BITS == usize::BITS, "wakers pack all of them into one 64-bit word");

/// The future of a task. It has no output, because the task stores its result elsewhere.
pub(super) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static LOCAL: RefCell<Option<Rc<RunQueue>>> = const { RefCell::new(None) };
}

/// The tasks of one worker. Each field is borrowed only within a method, and no method runs the code of a future.
pub(super) struct RunQueue {
    worker: u16,
    main_ready: Cell<bool>,
    tasks: RefCell<Slots<TaskState>>,
    ready: RefCell<VecDeque<Handle>>,
    /// Tasks that woke themselves while they were polled.
    yielded: RefCell<VecDeque<Handle>>,
}

struct TaskState {
    /// `None` while the task is being polled.
    future: Option<TaskFuture>,
    scheduled: bool,
}

impl RunQueue {
    /// Creates an empty queue for the worker with this number.
    pub(super) fn new(worker: u16) -> Self {
        Self {
            worker,
            main_ready: Cell::new(false),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            yielded: RefCell::default(),
        }
    }

    /// Returns the number of the worker.
    #[inline]
    pub(super) fn worker(&self) -> u16 {
        self.worker
    }

    /// Makes `queue` the queue for wakes on this thread. Returns the previous one.
    pub(super) fn set_local(queue: Option<Rc<Self>>) -> Option<Rc<Self>> {
        LOCAL.replace(queue)
    }

    /// Returns the number of the worker whose `block_on` this thread is in.
    pub(super) fn local_worker() -> Option<u16> {
        LOCAL.with_borrow(|local| local.as_ref().map(|queue| queue.worker))
    }

    /// Wakes the task if this thread is inside `block_on` of that worker. Returns whether it is.
    #[inline]
    pub(super) fn wake_if_local(worker: u16, task: Handle) -> bool {
        // The thread's locals may already be destroyed when a waker is called. Then the wake is not local.
        LOCAL
            .try_with(|local| match &*local.borrow() {
                Some(queue) if queue.worker == worker => {
                    queue.wake(task);
                    true
                }
                _ => false,
            })
            .unwrap_or(false)
    }

    /// Adds a task, which is ready at once.
    #[track_caller]
    pub(super) fn insert(&self, future: TaskFuture) -> Handle {
        let mut tasks = self.tasks.borrow_mut();
        assert!(tasks.len() < TASKS_MAX, "a worker has at most {TASKS_MAX} tasks");
        let task = tasks.insert(TaskState { future: Some(future), scheduled: true });
        self.ready.borrow_mut().push_back(task);
        task
    }

    /// Removes a task. Returns its future, unless the task is being polled. In that case the future is dropped at the
    /// end of the poll.
    pub(super) fn remove(&self, task: Handle) -> Option<TaskFuture> {
        self.tasks.borrow_mut().remove(task).and_then(|state| state.future)
    }

    /// Removes all tasks and returns their futures.
    pub(super) fn remove_all(&self) -> Vec<TaskFuture> {
        let mut tasks = self.tasks.borrow_mut();
        let handles = tasks.handles();
        handles.into_iter().filter_map(|task| tasks.remove(task)?.future).collect()
    }

    /// Makes the task ready.
    #[inline]
    pub(super) fn wake(&self, task: Handle) {
        if task == MAIN {
            self.main_ready.set(true);
        } else if let Some(state) = self.tasks.borrow_mut().get_mut(task)
            && !state.scheduled
        {
            state.scheduled = true;
            // A task without a future is being polled, so it has woken itself.
            let queue = if state.future.is_some() { &self.ready } else { &self.yielded };
            queue.borrow_mut().push_back(task);
        }
    }

    /// Returns whether the future of `block_on` is ready, and clears that state.
    #[inline]
    pub(super) fn take_main_ready(&self) -> bool {
        self.main_ready.replace(false)
    }

    /// Returns whether anything is ready.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.main_ready.get() || self.has_ready_task()
    }

    /// Returns whether a task is ready.
    #[inline]
    pub(super) fn has_ready_task(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Returns how many tasks are ready.
    #[inline]
    pub(super) fn ready_count(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Takes the next ready task from the queue.
    #[inline]
    pub(super) fn next_ready(&self) -> Option<Handle> {
        self.ready.borrow_mut().pop_front()
    }

    /// Makes the tasks ready that woke themselves.
    #[inline]
    pub(super) fn resume_yielded(&self) {
        self.ready.borrow_mut().append(&mut self.yielded.borrow_mut());
    }

    /// Takes the future of a task to poll it. Returns `None` if the task no longer exists.
    #[inline]
    pub(super) fn begin_poll(&self, task: Handle) -> Option<TaskFuture> {
        self.tasks.borrow_mut().get_mut(task).and_then(|state| {
            state.scheduled = false;
            state.future.take()
        })
    }

    /// Returns a future to its task after a poll. If the task has ended or was removed meanwhile, gives the future back
    /// to the caller, who drops it.
    #[inline]
    pub(super) fn end_poll(&self, task: Handle, future: TaskFuture, finished: bool) -> Option<TaskFuture> {
        let mut tasks = self.tasks.borrow_mut();
        if finished {
            tasks.remove(task);
        } else if let Some(state) = tasks.get_mut(task) {
            state.future = Some(future);
            return None;
        }
        Some(future)
    }
}
