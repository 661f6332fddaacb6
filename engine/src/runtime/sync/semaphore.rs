//! `Semaphore`: limits how many tasks do something at the same time.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::line::{Line, Outcome};

/// A number of permits that the tasks of one worker share.
///
/// Tasks that wait get their permits in the order in which they began to wait. No other task overtakes them, not even
/// by [`try_acquire`](Self::try_acquire).
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// use ringtide::runtime::sync::Semaphore;
/// use ringtide::runtime::{JoinSet, Worker, WorkerOptions, yield_now};
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let semaphore = Rc::new(Semaphore::new(2));
///     let mut tasks = JoinSet::new();
///     for _ in 0..10 {
///         let semaphore = Rc::clone(&semaphore);
///         tasks.spawn(async move {
///             let _permit = semaphore.acquire().await.expect("the semaphore is not closed");
///             // At most two tasks are here at the same time.
///             yield_now().await;
///         });
///     }
///     while tasks.join_next().await.is_some() {}
///     assert_eq!(semaphore.available_permits(), 2);
/// });
/// # Ok::<(), ringtide::runtime::SetupError>(())
/// ```
#[derive(Debug)]
pub struct Semaphore {
    /// The free permits. Without any, tasks wait; while tasks wait, there are none.
    available: Cell<usize>,
    /// All permits, acquired ones included.
    total: Cell<usize>,
    closed: Cell<bool>,
    line: Line,
}

impl Semaphore {
    /// Creates a semaphore with this number of permits.
    pub const fn new(permits: usize) -> Self {
        Self {
            available: Cell::new(permits),
            total: Cell::new(permits),
            closed: Cell::new(false),
            line: Line::new(),
        }
    }

    /// Returns the number of free permits.
    pub fn available_permits(&self) -> usize {
        self.available.get()
    }

    /// Adds new permits. They go to waiting tasks first.
    ///
    /// # Panics
    /// If there would be more than [`usize::MAX`] permits, acquired ones included.
    pub fn add_permits(&self, count: usize) {
        let total = self.total.get().checked_add(count);
        self.total.set(total.expect("a semaphore has at most usize::MAX permits"));
        self.release(count);
    }

    /// Acquires a permit, and waits until there is one.
    ///
    /// # Errors
    /// If the semaphore is closed, also while the task waits.
    ///
    /// # Cancel safety
    /// Cancel-safe: a permit that was given to a dropped future goes to the next task. A future that is dropped loses
    /// its place in the line.
    pub async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        Acquire { semaphore: self, ticket: None }.await?;
        Ok(SemaphorePermit { semaphore: self })
    }

    /// Does what [`acquire`](Self::acquire) does. The permit owns the semaphore, so it can go to a spawned task.
    ///
    /// # Errors
    /// If the semaphore is closed, also while the task waits.
    ///
    /// # Cancel safety
    /// Cancel-safe, like [`acquire`](Self::acquire).
    pub async fn acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        Acquire { semaphore: &self, ticket: None }.await?;
        Ok(OwnedSemaphorePermit { semaphore: self })
    }

    /// Acquires a permit if there is a free one.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.take()?;
        Ok(SemaphorePermit { semaphore: self })
    }

    /// Does what [`try_acquire`](Self::try_acquire) does. The permit owns the semaphore, so it can go to a spawned
    /// task.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.take()?;
        Ok(OwnedSemaphorePermit { semaphore: self })
    }

    /// Closes the semaphore: it gives no more permits, and all tasks that wait get an error. Permits that were already
    /// given stay valid, also those that their tasks have not taken yet.
    pub fn close(&self) {
        self.closed.set(true);
        self.line.dismiss_all();
    }

    /// Returns whether the semaphore is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn take(&self) -> Result<(), TryAcquireError> {
        if self.closed.get() {
            return Err(TryAcquireError::Closed);
        }
        let left = self.available.get().checked_sub(1).ok_or(TryAcquireError::NoPermits)?;
        self.available.set(left);
        Ok(())
    }

    /// Gives `count` permits to tasks that wait, and keeps the rest.
    fn release(&self, mut count: usize) {
        // A foreign waker may join the line or release a permit here, so the line is asked again each time.
        while count > 0 && self.line.call_next() {
            count -= 1;
        }
        self.available.set(self.available.get() + count);
    }
}

/// A permit of a [`Semaphore`]. Dropping it gives it back.
///
/// ```
/// use ringtide::runtime::sync::Semaphore;
///
/// let semaphore = Semaphore::new(1);
/// let permit = semaphore.try_acquire()?;
/// assert_eq!(semaphore.available_permits(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available_permits(), 1);
/// # Ok::<(), ringtide::runtime::sync::TryAcquireError>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct SemaphorePermit<'s> {
    semaphore: &'s Semaphore,
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.release(1);
    }
}

/// A permit that owns its [`Semaphore`]. Dropping it gives it back.
///
/// # Examples
/// A loop that waits for a permit before it starts a task:
///
/// ```
/// use std::rc::Rc;
///
/// use ringtide::runtime::sync::Semaphore;
/// use ringtide::runtime::{self, Worker, WorkerOptions};
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let semaphore = Rc::new(Semaphore::new(8));
///     for number in 0..100 {
///         let permit = Rc::clone(&semaphore).acquire_owned().await?;
///         runtime::spawn(async move {
///             println!("at most eight tasks exist: {number}");
///             drop(permit);
///         });
///     }
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct OwnedSemaphorePermit {
    semaphore: Rc<Semaphore>,
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        self.semaphore.release(1);
    }
}

/// The semaphore is closed.
///
/// ```
/// use ringtide::runtime::sync::Semaphore;
/// use ringtide::runtime::{Worker, WorkerOptions};
///
/// let semaphore = Semaphore::new(1);
/// semaphore.close();
/// let refused = Worker::new(&WorkerOptions::default())?.block_on(semaphore.acquire());
/// assert_eq!(refused.unwrap_err().to_string(), "the semaphore is closed");
/// # Ok::<(), ringtide::runtime::SetupError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError(());

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TryAcquireError::Closed.fmt(f)
    }
}

impl Error for AcquireError {}

/// Why [`Semaphore::try_acquire`] gave no permit.
///
/// ```
/// use ringtide::runtime::sync::{Semaphore, TryAcquireError};
///
/// let semaphore = Semaphore::new(1);
/// let permit = semaphore.try_acquire()?;
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
/// drop(permit);
/// semaphore.close();
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
/// # Ok::<(), TryAcquireError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// There is no free permit.
    NoPermits,
    /// The semaphore is closed.
    Closed,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPermits => "the semaphore has no free permit",
            Self::Closed => "the semaphore is closed",
        })
    }
}

impl Error for TryAcquireError {}

/// Waits until a permit belongs to the caller, who must release it. Releases it itself if it is dropped before.
struct Acquire<'s> {
    semaphore: &'s Semaphore,
    /// The place in the line, from the first poll on until the wait is over.
    ticket: Option<u64>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = context.waker().clone();
        let semaphore = self.semaphore;
        let Some(ticket) = self.ticket else {
            return match semaphore.take() {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TryAcquireError::Closed) => Poll::Ready(Err(AcquireError(()))),
                Err(TryAcquireError::NoPermits) => {
                    self.ticket = Some(semaphore.line.join(waker));
                    Poll::Pending
                }
            };
        };
        semaphore.line.poll(ticket, waker).map(|outcome| {
            self.ticket = None;
            match outcome {
                Outcome::Called => Ok(()),
                Outcome::Dismissed => Err(AcquireError(())),
            }
        })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket
            && self.semaphore.line.leave(ticket)
        {
            self.semaphore.release(1);
        }
    }
}
