//! The tasks of a worker, and which of them are ready: what a wake changes.
//!
//! It is apart from the rest of the worker's state because wakers reach it from anywhere on the thread, at any time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use ringtide_driver::Handle;
use ringtide_driver::limits::GENERATION_BITS;
use ringtide_driver::slots::Slots;

/// Bits of a task's slot in its waker's word, beside [`GENERATION_BITS`] of its generation and 16 of its worker.
pub(super) const SLOT_BITS: u32 = 24;

/// What those bits can hold.
pub(super) const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// The future of `block_on` itself, in a slot that no task has.
pub(super) const MAIN: Handle = Handle::new(SLOT_MASK, 0);

/// Tasks that one worker can have.
const TASKS_MAX: usize = SLOT_MASK as usize;

const _: () =
    assert!(16 + GENERATION_BITS + SLOT_BITS == usize::BITS, "wakers pack all of them into one 64-bit word");

/// A task as the queue has it: its result goes elsewhere.
pub(super) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static LOCAL: RefCell<Option<Rc<RunQueue>>> = const { RefCell::new(None) };
}

/// The tasks of one worker. Its fields are borrowed for the time of a method only, and no method runs a future's code.
pub(super) struct RunQueue {
    worker: u16,
    main_ready: Cell<bool>,
    tasks: RefCell<Slots<TaskState>>,
    ready: RefCell<VecDeque<Handle>>,
    /// Tasks that woke themselves while they were polled.
    yielded: RefCell<VecDeque<Handle>>,
}

struct TaskState {
    /// `None` while it is being polled.
    future: Option<TaskFuture>,
    scheduled: bool,
}

impl RunQueue {
    /// No tasks yet, for the worker of this number.
    pub(super) fn new(worker: u16) -> Self {
        Self {
            worker,
            main_ready: Cell::new(false),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            yielded: RefCell::default(),
        }
    }

    /// The number of the worker.
    #[inline]
    pub(super) fn worker(&self) -> u16 {
        self.worker
    }

    /// Has the wakes of this worker's tasks on this thread come here from now on. Gives whose came until now.
    pub(super) fn set_local(queue: Option<Rc<Self>>) -> Option<Rc<Self>> {
        LOCAL.replace(queue)
    }

    /// The number of the worker whose `block_on` this thread is in.
    pub(super) fn local_worker() -> Option<u16> {
        LOCAL.with_borrow(|local| local.as_ref().map(|queue| queue.worker))
    }

    /// Wakes the task if this thread is inside `block_on` of that worker.
    #[inline]
    pub(super) fn wake_if_local(worker: u16, task: Handle) -> bool {
        // A waker may be dropped or woken while the thread's locals are being destroyed; then it is no local wake.
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

    /// Enters a task, which is ready.
    #[track_caller]
    pub(super) fn insert(&self, future: TaskFuture) -> Handle {
        let mut tasks = self.tasks.borrow_mut();
        assert!(tasks.len() < TASKS_MAX, "a worker has at most {TASKS_MAX} tasks");
        let task = tasks.insert(TaskState { future: Some(future), scheduled: true });
        self.ready.borrow_mut().push_back(task);
        task
    }

    /// Takes a task out. Its future comes back unless it is being polled: then it goes when the poll has ended.
    pub(super) fn remove(&self, task: Handle) -> Option<TaskFuture> {
        self.tasks.borrow_mut().remove(task).and_then(|state| state.future)
    }

    /// Takes all tasks out.
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
            // A task without its future is the one that is being polled: it has woken itself.
            let queue = if state.future.is_some() { &self.ready } else { &self.yielded };
            queue.borrow_mut().push_back(task);
        }
    }

    /// Whether the future of `block_on` is ready; it is not any more.
    #[inline]
    pub(super) fn take_main_ready(&self) -> bool {
        self.main_ready.replace(false)
    }

    /// Whether anything is ready.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.main_ready.get() || self.has_ready_task()
    }

    /// Whether a task is ready.
    #[inline]
    pub(super) fn has_ready_task(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// How many tasks are ready.
    #[inline]
    pub(super) fn ready_count(&self) -> usize {
        self.ready.borrow().len()
    }

    /// The next task that is ready.
    #[inline]
    pub(super) fn next_ready(&self) -> Option<Handle> {
        self.ready.borrow_mut().pop_front()
    }

    /// Makes the tasks ready that woke themselves.
    #[inline]
    pub(super) fn resume_yielded(&self) {
        self.ready.borrow_mut().append(&mut self.yielded.borrow_mut());
    }

    /// The future of a task, to be polled; `None` when the task is gone.
    #[inline]
    pub(super) fn begin_poll(&self, task: Handle) -> Option<TaskFuture> {
        self.tasks.borrow_mut().get_mut(task).and_then(|state| {
            state.scheduled = false;
            state.future.take()
        })
    }

    /// Gives a future back that has been polled. It comes back to be dropped if the task has ended, or was taken out meanwhile.
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
