//! Tasks: futures that a worker polls when they are woken, and the handles to wait for them.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use ringtide_driver::Handle;

use super::core::Core;

/// Starts a task on the worker. It runs until it ends, is aborted, or the worker is dropped.
#[track_caller]
pub(super) fn spawn<F>(core: &Rc<Core>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let outcome = Rc::new(RefCell::new(Outcome::Running(None)));
    let completion = Completion { outcome: Rc::clone(&outcome) };
    let task = core.queue().insert(Box::pin(Task { future, completion }));
    JoinHandle { outcome, core: Rc::downgrade(core), task }
}

/// Waits for a task's result. Dropping it leaves the task running. Cancel-safe.
pub struct JoinHandle<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
    core: Weak<Core>,
    task: Handle,
}

impl<T> JoinHandle<T> {
    /// Drops the task's future, at the latest when its current poll has ended. Waiting gives [`JoinError::Aborted`]
    /// unless it had ended before.
    pub fn abort(&self) {
        if let Some(core) = self.core.upgrade() {
            // The future is dropped with no borrow held; one that is being polled is dropped when its poll has ended.
            drop(core.queue().remove(self.task));
        }
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.borrow(), Outcome::Running(_))
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = self.outcome.borrow_mut();
        match &mut *outcome {
            Outcome::Running(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            done => match std::mem::replace(done, Outcome::Taken) {
                Outcome::Done(result) => Poll::Ready(result),
                _ => panic!("a JoinHandle was polled after it had given its result"),
            },
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
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
            Self::Aborted => f.write_str("the task was aborted"),
        }
    }
}

impl std::error::Error for JoinError {}

enum Outcome<T> {
    Running(Option<Waker>),
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
        if let Outcome::Running(Some(waker)) = previous {
            waker.wake();
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
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => completion.complete(Ok(output)),
            Err(panic) => completion.complete(Err(JoinError::Panicked(panic_message(&*panic)))),
        }
        Poll::Ready(())
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "a value that is no message".to_owned()
    }
}
