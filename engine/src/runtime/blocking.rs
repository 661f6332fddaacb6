//! Work that blocks, on a few threads beside the workers.
//!
//! The threads are started when they are needed, and end when there is nothing to do. They serve all workers of the process, and
//! other executors as well.

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

/// Threads that [`spawn_blocking`] uses at the same time, in the whole process. Further work waits for one of them.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// How long a thread stays when there is nothing to do.
const THREAD_IDLE_MAX: Duration = Duration::from_secs(10);

static POOL: BlockingPool = BlockingPool::new("ringtide-blocking", BLOCKING_THREADS_MAX);

/// Has `work`, which may block, done on a thread beside the workers, and gives a handle to wait for what comes of it.
///
/// At most [`BLOCKING_THREADS_MAX`] pieces of work are done at a time, and what has to wait is begun in order. How many may wait is up to
/// the callers. The threads are not bound to the core of the worker that started them.
///
/// Nothing ends work that has begun. It goes on when its handle is dropped, when the task that waits for it is, and when the
/// worker of that task is; its result is dropped on its thread then. The end of the process does not wait for it.
///
/// Works on any thread and with any executor. `work` that panics ends alone, with [`JoinError::Panicked`].
///
/// ```
/// use ringtide::runtime::{self, Worker, WorkerOptions};
///
/// let size = Worker::new(&WorkerOptions::default())?.block_on(async {
///     // Reading a file may wait for a disk, and all connections of the worker with it.
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

/// Waits for work that was given to [`spawn_blocking`], on any executor. Dropping it leaves the work to be done. Cancel-safe.
///
/// # Panics
/// When it is polled after it has given its result.
pub struct BlockingHandle<T> {
    job: Arc<Job<T>>,
}

impl<T> BlockingHandle<T> {
    /// Gives up work that has not begun: it is dropped here, and waiting gives [`JoinError::Aborted`]. Work that has begun goes on, and has
    /// its result.
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

    /// Whether the work is done, or was given up.
    pub fn is_finished(&self) -> bool {
        matches!(lock(&self.job.state).stage, Stage::Done(_) | Stage::Taken)
    }
}

impl<T> Future for BlockingHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Wakers may be anybody's code, which no lock is held for.
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
            _ => panic!("a BlockingHandle was polled after it had given its result"),
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

/// A job of any result.
trait Run: Send + Sync {
    /// Does the work, unless it was given up.
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

/// Threads that do one kind of work, which begins in the order in which it comes.
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
    /// No threads yet. `name` is theirs.
    pub(crate) const fn new(name: &'static str, threads_max: usize) -> Self {
        Self {
            name,
            threads_max,
            queue: Mutex::new(Queue { jobs: VecDeque::new(), threads: 0, idle: 0 }),
            filled: Condvar::new(),
        }
    }

    /// As [`spawn_blocking`], here.
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

    /// Queues a job, and starts a thread if none is free and there may be one more.
    fn push(&'static self, job: Arc<dyn Run>) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        if queue.idle <= queue.jobs.len() && queue.threads < self.threads_max {
            match thread::Builder::new().name(self.name.to_owned()).spawn(|| self.work()) {
                Ok(_) => queue.threads += 1,
                // Those that run will come to it.
                Err(_) if queue.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        queue.jobs.push_back(job);
        self.filled.notify_one();
        Ok(())
    }

    /// What a thread does: it ends after some time without work.
    fn work(&self) {
        system::leave_worker_core();
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job.run();
                // Nobody may want the result any more, and dropping it is its owner's code.
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
