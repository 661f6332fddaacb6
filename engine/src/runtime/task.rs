//! Tasks: futures that a worker polls when they are woken, and the handles that wait for their results.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use ringtide_driver::Handle;

use super::contained::{contained, drop_contained};
use super::run_queue::RunQueue;
use super::waiter::Waiter;

/// Spawns a task on the worker. The task runs until it ends, is aborted, or the worker is dropped.
#[track_caller]
pub(super) fn spawn<F>(queue: &Rc<RunQueue>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let outcome = Rc::new(RefCell::new(Outcome::Running(Waiter::default())));
    let completion = Completion { outcome: Rc::clone(&outcome) };
    let task = queue.insert(Box::pin(Task { future, completion }));
    JoinHandle { outcome, queue: Rc::clone(queue), task, aborted: Cell::new(false) }
}

/// Spawns a task without a handle: it needs no place for a result.
#[track_caller]
pub(super) fn spawn_detached<F: Future<Output = ()> + 'static>(queue: &RunQueue, future: F) {
    queue.insert(Box::pin(Detached { future }));
}

/// Waits for the result of a task. Dropping the handle does not stop the task.
///
/// # Cancel safety
/// Cancel-safe.
///
/// # Panics
/// - When it is awaited on another worker of the same thread before the task has ended. The task's own worker does not
///   run meanwhile, so the wait would never end.
/// - When it is polled after it has returned its result.
pub struct JoinHandle<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
    queue: Rc<RunQueue>,
    task: Handle,
    aborted: Cell<bool>,
}

impl<T> JoinHandle<T> {
    /// Aborts the task: drops its future now, or at the end of the current poll if it is being polled. The handle then
    /// returns [`JoinError::Aborted`], unless the task had already ended. A panic in the future's `Drop` is caught.
    pub fn abort(&self) {
        // An ended task's key may belong to another task, because generations wrap around.
        if self.is_finished() || self.aborted.replace(true) {
            return;
        }
        // Nothing is borrowed while the future is dropped. A future that is being polled is dropped at the end of its
        // poll.
        drop_contained(self.queue.remove(self.task));
    }

    /// Returns whether the task has ended.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.borrow(), Outcome::Running(_))
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() {
            let mut waiter = Waiter::new(context, self.queue.worker());
            if let Outcome::Running(place) = &mut *self.outcome.borrow_mut() {
                waiter.wait_at(place);
            }
            return Poll::Pending;
        }
        // The result of an ended task may be taken on any worker.
        match self.outcome.replace(Outcome::Taken) {
            Outcome::Done(result) => Poll::Ready(result),
            _ => panic!("a JoinHandle was polled after it had returned its result"),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({:?})", self.task)
    }
}

/// The reason why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinError {
    /// The task panicked with this message. The worker and its other tasks continue.
    Panicked(String),
    /// The task was aborted, or its worker ended.
    Aborted,
    /// The system could not start a thread, for this reason. Only [`spawn_blocking`](super::spawn_blocking) returns
    /// this. The work was not started.
    NoThread(io::ErrorKind),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
            Self::Aborted => f.write_str("the task was aborted"),
            Self::NoThread(kind) => write!(f, "the system could not start a thread: {kind}"),
        }
    }
}

impl std::error::Error for JoinError {}

enum Outcome<T> {
    Running(Waiter),
    Done(Result<T, JoinError>),
    Taken,
}

pin_project! {
    /// A future whose result nobody waits for. It catches panics.
    struct Detached<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future<Output = ()>> Future for Detached<F> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let future = self.project().future;
        // The panic hook has reported a panic, and the task ends with it.
        contained(|| future.poll(context)).unwrap_or(Poll::Ready(()))
    }
}

pin_project! {
    /// A future with the place for its result. It catches panics.
    struct Task<F: Future> {
        #[pin]
        future: F,
        completion: Completion<F::Output>,
    }
}

/// Stores the result. If it is dropped without one, it stores [`JoinError::Aborted`].
struct Completion<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
}

impl<T> Completion<T> {
    fn complete(&self, result: Result<T, JoinError>) {
        let previous = std::mem::replace(&mut *self.outcome.borrow_mut(), Outcome::Done(result));
        if let Outcome::Running(waiter) = previous {
            waiter.wake();
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if matches!(*self.outcome.borrow(), Outcome::Running(_)) {
            self.complete(Err(JoinError::Aborted));
        }
    }
}

impl<F: Future> Future for Task<F> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (future, completion) = (this.future, this.completion);
        // The future is not polled again after a panic, so its broken state cannot be observed.
        match contained(|| future.poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => completion.complete(Ok(output)),
            Err(message) => completion.complete(Err(JoinError::Panicked(message))),
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::runtime::{Worker, WorkerOptions, spawn, yield_now};

    #[test]
    fn a_task_without_a_handle_is_as_large_as_its_future_and_contains_its_panic() {
        fn sizes<F>(future: F) -> (usize, usize) {
            (size_of_val(&Detached { future }), size_of::<F>())
        }
        let (task, future) = sizes(yield_now());
        assert_eq!(task, future);

        let ended = Rc::new(Cell::new(0));
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            for panics in [true, false] {
                let ended = Rc::clone(&ended);
                crate::runtime::spawn_detached(async move {
                    yield_now().await;
                    assert!(!panics, "this panic is a part of the test");
                    ended.set(ended.get() + 1);
                });
            }
            while Rc::strong_count(&ended) > 1 {
                yield_now().await;
            }
        });
        assert_eq!(ended.get(), 1);
    }

    /// A new task gets the key of an ended one after 2²⁴ uses of the slot. This test sets the key by hand.
    #[test]
    fn aborting_an_ended_task_does_not_affect_the_new_task_with_its_key() {
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let mut ended = spawn(async {});
            let aborted = spawn(pending::<()>());
            yield_now().await;
            let stranger = spawn(pending::<()>());
            ended.task = stranger.task;
            ended.abort();
            assert!(!stranger.is_finished());

            // A task that aborts itself leaves the table before it has ended.
            let aborted = Rc::new(RefCell::new(aborted));
            let itself = Rc::clone(&aborted);
            let key = stranger.task;
            *aborted.borrow_mut() = spawn(async move {
                itself.borrow().abort();
                itself.borrow_mut().task = key;
                itself.borrow().abort();
            });
            yield_now().await;
            assert!(aborted.borrow().is_finished() && !stranger.is_finished());
        });
    }
}
