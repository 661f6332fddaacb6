//! One worker per core: a driver, a local executor, timers, and a way in for other threads.
//!
//! A [`Worker`] belongs to the thread that made it. Its tasks never move, so they need no `Send`, no lock and no atomic;
//! other threads reach it through a [`Remote`] alone. Nothing here knows HTTP.
//!
//! A waker that a future is given may be called from anywhere. Wakers are called while the worker's tables are in use, so one that
//! does more than note the wake (that polls something inline, for instance) must not call back into the worker.
//!
//! ```
//! use ringtide::runtime::{self, Worker, WorkerOptions};
//! use std::time::Duration;
//!
//! let mut worker = Worker::new(&WorkerOptions::default())?;
//! let answer = worker.block_on(async {
//!     let task = runtime::spawn(async {
//!         runtime::sleep(Duration::from_millis(1)).await;
//!         42
//!     });
//!     task.await.expect("the task did not panic")
//! });
//! assert_eq!(answer, 42);
//! # Ok::<(), ringtide::runtime::SetupError>(())
//! ```

mod core;
mod driver;
mod inbox;
mod queue;
mod socket;
mod system;
mod task;
mod timer;
mod unread;
mod waker;

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

pub use self::core::{Statistics, Worker, WorkerOptions};
pub use self::driver::{DriverChoice, SetupError};
pub use self::inbox::{Remote, RemoteError};
pub(crate) use self::queue::InlineQueue;
pub use self::socket::ready;
pub(crate) use self::socket::{Listener, Socket};
pub use self::task::{JoinError, JoinHandle};
pub use self::timer::{Spin, Timer};

/// Starts a task on the worker of this thread. It runs until it ends, is aborted, or the worker is dropped; dropping the handle
/// leaves it running.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    self::core::current().spawn(future)
}

/// The time on the worker's clock, in nanoseconds from an arbitrary start: that of the last look at the clock, which is
/// taken at each return from the kernel. All completions of one turn so carry the same time, that of their arrival.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn turn_time_ns() -> u64 {
    self::core::current().turn_time_ns()
}

/// The time on the worker's clock, in nanoseconds from an arbitrary start, read now.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn now_ns() -> u64 {
    self::core::current().now_ns()
}

/// What the worker of this thread has done so far.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn statistics() -> Statistics {
    self::core::current().statistics()
}

/// How many sockets of this thread's worker nobody holds any more, and stay open only until their peers close them.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn sockets_closing() -> usize {
    self::core::current().io().0.abandoned()
}

/// Waits for `duration`. Cancel-safe.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
pub async fn sleep(duration: Duration) {
    let mut timer = Timer::new();
    timer.set(now_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)));
    timer.elapsed().await;
}

/// Runs `future` for at most `duration`; `None` when the time was up, and the future has been dropped. Cancel-safe if `future` is.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    let mut timer = Timer::new();
    timer.set(now_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)));
    let mut future = std::pin::pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        timer.poll_elapsed(context).map(|()| None)
    })
    .await
}

/// Lets the other ready tasks, and the kernel, have a turn. Cancel-safe.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How many cores this process may run on, and so how many workers make sense.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
