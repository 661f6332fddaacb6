//! A set of tasks that is waited for, and aborted, as a whole.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::contained::contained;
use super::core;
use super::task::{self, JoinError, JoinHandle};
use super::waiter::wake_contained;

/// Tasks of one worker with results of type `T`, which come in the order in which the tasks end. Dropping the set
/// aborts its tasks.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use ringtide::runtime::{JoinSet, Worker, WorkerOptions, sleep};
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let mut tasks = JoinSet::new();
///     for number in [2, 1] {
///         tasks.spawn(async move {
///             sleep(Duration::from_millis(10 * number)).await;
///             number
///         });
///     }
///     assert_eq!(tasks.join_next().await, Some(Ok(1)));
///     assert_eq!(tasks.join_next().await, Some(Ok(2)));
///     assert_eq!(tasks.join_next().await, None);
/// });
/// # Ok::<(), ringtide::runtime::SetupError>(())
/// ```
pub struct JoinSet<T> {
    next_key: u64,
    /// The tasks whose results were not returned yet.
    tasks: BTreeMap<u64, JoinHandle<()>>,
    ended: Rc<Ended<T>>,
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    pub fn new() -> Self {
        let ended = Ended { results: RefCell::default(), joiner: Cell::new(None) };
        Self { next_key: 0, tasks: BTreeMap::new(), ended: Rc::new(ended) }
    }

    /// Returns how many tasks are in the set. Tasks that have ended count until [`join_next`](Self::join_next) has
    /// returned their results.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns whether the set has no tasks, not even ended ones.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Spawns a task in the set.
    ///
    /// # Panics
    /// Like [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F)
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let core = core::current();
        let key = self.next_key;
        self.next_key += 1;
        let member = Member { future, report: Report { key, ended: Some(Rc::clone(&self.ended)) } };
        self.tasks.insert(key, task::spawn(core.queue(), member));
    }

    /// Waits until a task ends. Returns its result and removes it from the set. Returns `None` if the set is empty.
    ///
    /// A task that panicked or was aborted has a [`JoinError`]. The others are not affected.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future has removed no task.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|context| self.poll_join_next(context)).await
    }

    /// Aborts all tasks, as [`JoinHandle::abort`] does. They stay in the set, and [`join_next`](Self::join_next)
    /// returns [`JoinError::Aborted`] for each that had not ended.
    pub fn abort_all(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }

    fn poll_join_next(&mut self, context: &Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        // Cloning a waker may run foreign code, so it comes before the look at the results.
        let waker = context.waker().clone();
        while let Some((key, result)) = self.ended.pop() {
            // A task that could not be spawned reports too, but is not in the set.
            if self.tasks.remove(&key).is_some() {
                return Poll::Ready(Some(result));
            }
        }
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        self.ended.joiner.set(Some(waker));
        Poll::Pending
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The results that were not returned yet, in the order in which the tasks ended.
struct Ended<T> {
    results: RefCell<VecDeque<(u64, Result<T, JoinError>)>>,
    joiner: Cell<Option<Waker>>,
}

impl<T> Ended<T> {
    fn pop(&self) -> Option<(u64, Result<T, JoinError>)> {
        self.results.borrow_mut().pop_front()
    }
}

/// Reports the result of a task. If it is dropped before, it reports [`JoinError::Aborted`].
struct Report<T> {
    key: u64,
    /// `None` once the result was reported.
    ended: Option<Rc<Ended<T>>>,
}

impl<T> Report<T> {
    fn send(&mut self, result: Result<T, JoinError>) {
        let Some(ended) = self.ended.take() else { return };
        ended.results.borrow_mut().push_back((self.key, result));
        if let Some(joiner) = ended.joiner.take() {
            wake_contained(joiner);
        }
    }
}

impl<T> Drop for Report<T> {
    fn drop(&mut self) {
        self.send(Err(JoinError::Aborted));
    }
}

pin_project! {
    /// A task's future. It catches panics. The order matters: an aborted task reports when its future is dropped.
    struct Member<F: Future> {
        #[pin]
        future: F,
        report: Report<F::Output>,
    }
}

impl<F: Future> Future for Member<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (future, report) = (this.future, this.report);
        // The future is not polled again after a panic, so its broken state cannot be observed.
        match contained(|| future.poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => report.send(Ok(output)),
            Err(message) => report.send(Err(JoinError::Panicked(message))),
        }
        Poll::Ready(())
    }
}
