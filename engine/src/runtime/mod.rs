//! One worker per core: a driver, a local executor, timers, and a way in for other threads.
//!
//! A [`Worker`] belongs to the thread that made it. Its tasks never move, so they need no `Send`, no lock and no atomic;
//! other threads reach it through a [`WorkerHandle`] alone. Nothing here knows HTTP.
//!
//! A task's waker may be called from any thread. A waker of another kind, as combinators and other executors make them, may use the
//! worker in all that it does: it is cloned, woken and dropped between the worker's steps.
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
//!
//! # Between workers
//!
//! Workers share nothing by themselves. What has to be said now and then goes through a [`WorkerHandle`], which has a closure called over
//! there; what it spawns there need not be `Send`:
//!
//! ```
//! use ringtide::runtime::{self, Worker, WorkerHandle, WorkerOptions};
//! use std::sync::mpsc;
//! use std::thread;
//!
//! let (ready, other) = mpsc::channel::<WorkerHandle>();
//! let (done, finished) = mpsc::channel();
//! let thread = thread::spawn(move || {
//!     let mut worker = Worker::new(&WorkerOptions::default()).expect("a worker can be made");
//!     ready.send(worker.handle()).expect("the other thread waits");
//!     // Tasks run while the worker is inside block_on.
//!     worker.block_on(runtime::spawn_blocking(move || finished.recv())).expect("nothing panics");
//! });
//! let other = other.recv()?;
//! other.call(move || {
//!     runtime::spawn(async move {
//!         runtime::yield_now().await;
//!         done.send("from the other worker").expect("it is waited for");
//!     });
//! })?;
//! thread.join().expect("the worker ends");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For a stream of messages, take any asynchronous channel that is `Send`: the wakers of tasks work from every thread, and a worker that
//! waits in the kernel is woken by them. Channels of the standard library block, and a worker with them. With those of tokio, which
//! need no tokio runtime:
//!
//! ```
//! use ringtide::runtime::{Worker, WorkerOptions};
//! use std::thread;
//! use tokio::sync::{mpsc, oneshot};
//!
//! // One worker asks, each time with the way back for the answer.
//! let (ask, mut questions) = mpsc::channel::<(u32, oneshot::Sender<u32>)>(16);
//! let squares = thread::spawn(move || {
//!     Worker::new(&WorkerOptions::default()).expect("a worker can be made").block_on(async {
//!         while let Some((number, answer)) = questions.recv().await {
//!             // Whoever has asked may have gone.
//!             let _ = answer.send(number * number);
//!         }
//!     });
//! });
//! let answer = Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let (answer, answered) = oneshot::channel();
//!     ask.send((7, answer)).await.expect("the other worker listens");
//!     answered.await
//! });
//! assert_eq!(answer, Ok(49));
//! drop(ask);
//! squares.join().expect("the worker ends");
//! # Ok::<(), ringtide::runtime::SetupError>(())
//! ```

mod blocking;
mod contained;
mod core;
mod driver;
mod inbox;
mod listener;
mod queue;
mod readiness;
mod run_queue;
mod socket;
mod socket_table;
mod system;
mod task;
mod timer;
mod timer_table;
mod unread;
mod waiter;
mod waker;
mod worker;

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

pub(crate) use self::blocking::BlockingPool;
pub use self::blocking::{BLOCKING_THREADS_MAX, BlockingHandle, spawn_blocking};
pub use self::core::{Statistics, WorkerId};
pub use self::driver::{DriverChoice, SetupError};
pub use self::inbox::{WorkerEnded, WorkerHandle};
pub(crate) use self::listener::Listener;
pub(crate) use self::queue::InlineQueue;
pub use self::readiness::{readable, writable};
pub(crate) use self::socket::Socket;
pub use self::task::{JoinError, JoinHandle};
pub use self::timer::Timer;
pub use self::timer_table::Spin;
pub use self::worker::{Worker, WorkerOptions};

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
    self::task::spawn(self::core::current().queue(), future)
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

/// Which worker this thread is inside of. Costs a look at a thread-local variable.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn worker_id() -> WorkerId {
    self::core::current().id()
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
