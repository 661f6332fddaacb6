//! Tasks: futures that a worker polls when they are woken, and the handles to wait for them.

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

/// Starts a task on the worker. It runs until it ends, is aborted, or the worker is dropped.
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

/// Waits for a task's result. Dropping it leaves the task running. Cancel-safe.
///
/// # Panics
/// When it is awaited on another worker of the same thread while the task has not ended: the task's own worker does not run meanwhile, so
/// that would be for ever.
pub struct JoinHandle<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
    queue: Rc<RunQueue>,
    task: Handle,
    aborted: Cell<bool>,
}

impl<T> JoinHandle<T> {
    /// Drops the task's future, at the latest when its current poll has ended. Waiting gives [`JoinError::Aborted`]
    /// unless it had ended before. A panic in the future's `Drop` is contained, as one of the task is.
    pub fn abort(&self) {
        // The key of a task that is gone may be another's some day, as its generation wraps.
        if self.is_finished() || self.aborted.replace(true) {
            return;
        }
        // The future is dropped with no borrow held; one that is being polled is dropped when its poll has ended.
        drop_contained(self.queue.remove(self.task));
    }

    /// Whether the task has ended.
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
        // The result of a task that has ended may be taken anywhere.
        match self.outcome.replace(Outcome::Taken) {
            Outcome::Done(result) => Poll::Ready(result),
            _ => panic!("a JoinHandle was polled after it had given its result"),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({:?})", self.task)
    }
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinError {
    /// It panicked, with this message. The worker and its other tasks go on.
    Panicked(String),
    /// It was aborted, or its worker ended.
    Aborted,
    /// The system gave no thread to do it on, for this reason; [`spawn_blocking`](super::spawn_blocking) alone. Nothing was done.
    NoThread(io::ErrorKind),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
            Self::Aborted => f.write_str("the task was aborted"),
            Self::NoThread(kind) => write!(f, "the system gave no thread to do it on: {kind}"),
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
    /// A future with the place for its result, and panics contained.
    struct Task<F: Future> {
        #[pin]
        future: F,
        completion: Completion<F::Output>,
    }
}

/// Stores the result; when it is dropped without one, that is the result.
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
        // The future is not polled again after a panic, so nobody sees what state it was left in.
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

    /// A key of an ended task comes to be another's when its slot has been used 2²⁴ times, which here is done by hand.
    #[test]
    fn aborting_an_ended_task_leaves_whoever_has_its_key_alone() {
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let mut ended = spawn(async {});
            let aborted = spawn(pending::<()>());
            yield_now().await;
            let stranger = spawn(pending::<()>());
            ended.task = stranger.task;
            ended.abort();
            assert!(!stranger.is_finished());

            // One that aborts itself is gone from the table before it has ended.
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
