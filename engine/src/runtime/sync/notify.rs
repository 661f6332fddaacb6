//! `Notify`: wakes tasks that wait for a change.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::line::{Line, Outcome};

/// Wakes waiting tasks of one worker: one at a time, or all of them.
///
/// It carries no value. The tasks keep what changes elsewhere, and look at it again when they are notified.
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use ringtide::runtime::sync::Notify;
/// use ringtide::runtime::{self, Worker, WorkerOptions};
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let mailbox = Rc::new((Cell::new(None), Notify::new()));
///     let task = runtime::spawn({
///         let mailbox = Rc::clone(&mailbox);
///         async move {
///             loop {
///                 if let Some(letter) = mailbox.0.take() {
///                     return letter;
///                 }
///                 mailbox.1.notified().await;
///             }
///         }
///     });
///     mailbox.0.set(Some("hello"));
///     mailbox.1.notify_one();
///     assert_eq!(task.await, Ok("hello"));
/// });
/// # Ok::<(), ringtide::runtime::SetupError>(())
/// ```
#[derive(Debug)]
pub struct Notify {
    /// Whether a notification waits for a task. Then no task waits.
    stored: Cell<bool>,
    /// The number of calls of `notify_waiters`.
    rounds: Cell<u64>,
    line: Line,
}

impl Notify {
    /// Creates a `Notify` without a stored notification.
    pub const fn new() -> Self {
        Self { stored: Cell::new(false), rounds: Cell::new(0), line: Line::new() }
    }

    /// Notifies the task that has waited longest. If none waits, stores the notification for the next one that does. At
    /// most one is stored.
    pub fn notify_one(&self) {
        if !self.line.call_next() {
            self.stored.set(true);
        }
    }

    /// Notifies all tasks that wait, and every [`Notified`] that exists, polled or not. Stores nothing.
    pub fn notify_waiters(&self) {
        self.rounds.set(self.rounds.get() + 1);
        self.line.dismiss_all();
    }

    /// Waits for a notification.
    ///
    /// The future joins the line when it is first polled. Before that, [`notify_one`](Self::notify_one) does not see
    /// it, but stores its notification for it or another one.
    ///
    /// # Cancel safety
    /// Cancel-safe: if a future that was notified by [`notify_one`](Self::notify_one) is dropped before it returns, the
    /// notification goes to the next task, or is stored. A future that is dropped loses its place in the line.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, stage: Stage::New { round: self.rounds.get() } }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for a notification of a [`Notify`]. Once it has returned, it returns again at each poll.
///
/// # Cancel safety
/// Cancel-safe, see [`Notify::notified`].
///
/// # Examples
/// Created before a check, it misses no [`notify_waiters`](Notify::notify_waiters) between the check and the wait:
///
/// ```
/// # use ringtide::runtime::{Worker, WorkerOptions};
/// use ringtide::runtime::sync::Notify;
///
/// # Worker::new(&WorkerOptions::default())?.block_on(async {
/// let changed = Notify::new();
/// let notified = changed.notified();
/// changed.notify_waiters();
/// notified.await;
/// # });
/// # Ok::<(), ringtide::runtime::SetupError>(())
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Notified<'n> {
    notify: &'n Notify,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Not polled yet. Created after so many calls of `notify_waiters`.
    New {
        round: u64,
    },
    /// In the line, or called from it.
    Waiting {
        ticket: u64,
    },
    Done,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let notify = self.notify;
        match self.stage {
            Stage::Done => return Poll::Ready(()),
            // A stored notification is left to others if this one does not need it.
            Stage::New { round } if round != notify.rounds.get() || notify.stored.take() => {}
            Stage::New { .. } => {
                self.stage = Stage::Waiting { ticket: notify.line.join(waker) };
                return Poll::Pending;
            }
            Stage::Waiting { ticket } => match notify.line.poll(ticket, waker) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Outcome::Called | Outcome::Dismissed) => {}
            },
        }
        self.stage = Stage::Done;
        Poll::Ready(())
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if let Stage::Waiting { ticket } = self.stage
            && self.notify.line.leave(ticket)
        {
            self.notify.notify_one();
        }
    }
}
