//! Blocking work, on a few threads beside the workers.
//!
//! The threads start on demand and end when they are idle. They serve all workers of the process, and other executors
//! too.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::contained::{contained, drop_contained};
use super::system;
use super::task::JoinError;

/// Maximum of threads that [`spawn_blocking`] uses in the whole process. Further work waits in a queue.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// Time after which an idle thread ends.
const THREAD_IDLE_MAX: Duration = Duration::from_secs(10);

static POOL: BlockingPool = BlockingPool::new("ringtide-blocking", BLOCKING_THREADS_MAX);

/// Runs `work`, which may block, on a thread beside the workers. Returns a handle to wait for its result.
///
/// At most [`BLOCKING_THREADS_MAX`] pieces of work run at the same time. The others wait, and begin in the order of the
/// calls. The queue has no limit, so the callers must bound it. The threads are not pinned to the core of the worker
/// that started them.
///
/// Work that has begun cannot be stopped. It continues after its handle, the waiting task or that task's worker is
/// dropped. Its result is then dropped on its own thread. The process can exit without waiting for it.
///
/// This function works on any thread and with any executor. If `work` panics, the handle returns
/// [`JoinError::Panicked`], and nothing else is affected.
///
/// # Examples
/// ```
/// use ringtide::runtime::{self, Worker, WorkerOptions};
///
/// let size = Worker::new(&WorkerOptions::default())?.block_on(async {
///     // Reading a file may wait for a disk. On the worker's thread it would stop all connections of the worker.
///     runtime::spawn_blocking(|| std::fs::read("Cargo.toml").map(|bytes| bytes.len())).await
/// })??;
/// assert!(size > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn_blocking<T, F>(work: F) -> BlockingHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    POOL.spawn(work)
}

/// Waits for the result of [`spawn_blocking`], on any executor. Dropping the handle does not stop the work.
///
/// # Cancel safety
/// Cancel-safe.
///
/// # Panics
/// When it is polled after it has returned its result.
pub struct BlockingHandle<T> {
    job: Arc<Job<T>>,
}

impl<T> BlockingHandle<T> {
    /// Cancels work that has not begun. The work is dropped here, and the handle returns [`JoinError::Aborted`]. Work
    /// that has begun continues, and the handle returns its result.
    pub fn abort(&self) {
        let (work, waker) = {
            let mut state = lock(&self.job.state);
            if !matches!(state.stage, Stage::Queued(_)) {
                return;
            }
            let work = mem::replace(&mut state.stage, Stage::Done(Err(JoinError::Aborted)));
            (work, state.waker.take())
        };
        drop_contained(work);
        wake(waker);
    }

    /// Returns whether the work is finished or was cancelled.
    pub fn is_finished(&self) -> bool {
        matches!(lock(&self.job.state).stage, Stage::Done(_) | Stage::Taken)
    }
}

impl<T> Future for BlockingHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloning and dropping a waker may run foreign code, so the lock is not held then.
        let waker = context.waker().clone();
        let mut state = lock(&self.job.state);
        if matches!(state.stage, Stage::Queued(_) | Stage::Running) {
            let displaced = state.waker.replace(waker);
            drop(state);
            drop(displaced);
            return Poll::Pending;
        }
        let done = mem::replace(&mut state.stage, Stage::Taken);
        drop(state);
        match done {
            Stage::Done(outcome) => Poll::Ready(outcome),
            _ => panic!("a BlockingHandle was polled after it had returned its result"),
        }
    }
}

impl<T> fmt::Debug for BlockingHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingHandle").field("is_finished", &self.is_finished()).finish()
    }
}

struct Job<T> {
    state: Mutex<JobState<T>>,
}

struct JobState<T> {
    stage: Stage<T>,
    waker: Option<Waker>,
}

enum Stage<T> {
    Queued(Box<dyn FnOnce() -> T + Send>),
    Running,
    Done(Result<T, JoinError>),
    Taken,
}

impl<T> Job<T> {
    fn finish(&self, outcome: Result<T, JoinError>) {
        let waker = {
            let mut state = lock(&self.state);
            state.stage = Stage::Done(outcome);
            state.waker.take()
        };
        wake(waker);
    }
}

/// A job with any type of result.
trait Run: Send + Sync {
    /// Runs the work, unless it was cancelled.
    fn run(&self);
}

impl<T: Send> Run for Job<T> {
    fn run(&self) {
        let work = {
            let mut state = lock(&self.state);
            match mem::replace(&mut state.stage, Stage::Running) {
                Stage::Queued(work) => work,
                other => {
                    state.stage = other;
                    return;
                }
            }
        };
        self.finish(contained(work).map_err(JoinError::Panicked));
    }
}

/// A pool of threads for one kind of work. Jobs begin in the order in which they were queued.
pub(crate) struct BlockingPool {
    name: &'static str,
    threads_max: usize,
    queue: Mutex<Queue>,
    filled: Condvar,
}

struct Queue {
    jobs: VecDeque<Arc<dyn Run>>,
    threads: usize,
    idle: usize,
}

impl BlockingPool {
    /// Creates a pool without threads. The threads will be called `name`.
    pub(crate) const fn new(name: &'static str, threads_max: usize) -> Self {
        Self {
            name,
            threads_max,
            queue: Mutex::new(Queue { jobs: VecDeque::new(), threads: 0, idle: 0 }),
            filled: Condvar::new(),
        }
    }

    /// Does what [`spawn_blocking`] does, on this pool.
    pub(crate) fn spawn<T, F>(&'static self, work: F) -> BlockingHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let state = JobState { stage: Stage::Queued(Box::new(work)), waker: None };
        let job = Arc::new(Job { state: Mutex::new(state) });
        if let Err(error) = self.push(Arc::<Job<T>>::clone(&job)) {
            let work = mem::replace(&mut lock(&job.state).stage, Stage::Running);
            drop_contained(work);
            job.finish(Err(JoinError::NoThread(error.kind())));
        }
        BlockingHandle { job }
    }

    /// Queues a job. Starts a thread if none is free and the limit allows one more.
    fn push(&'static self, job: Arc<dyn Run>) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        if queue.idle <= queue.jobs.len() && queue.threads < self.threads_max {
            match thread::Builder::new().name(self.name.to_owned()).spawn(|| self.work()) {
                Ok(_) => queue.threads += 1,
                // The running threads will take the job.
                Err(_) if queue.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        queue.jobs.push_back(job);
        self.filled.notify_one();
        Ok(())
    }

    /// Runs jobs until there is none for [`THREAD_IDLE_MAX`]. This is the main function of a thread.
    fn work(&self) {
        system::leave_worker_core();
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job.run();
                // If the handle was dropped, the result is dropped here, and its `Drop` may panic.
                drop_contained(job);
                queue = lock(&self.queue);
                continue;
            }
            queue.idle += 1;
            let (woken, timeout) = self
                .filled
                .wait_timeout_while(queue, THREAD_IDLE_MAX, |queue| queue.jobs.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = contained(|| waker.wake());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
