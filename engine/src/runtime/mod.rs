//! The runtime: one worker per core, with a driver, a local executor, timers, and an inbox for other threads.
//!
//! A [`Worker`] belongs to the thread that created it. Its tasks never move to another thread, so they need no `Send`,
//! no locks and no atomics. Other threads reach the worker only through a [`WorkerHandle`]. This module knows nothing
//! about HTTP.
//!
//! Any thread may call the waker of a task. Wakers of other kinds, such as those of combinators and other executors,
//! may use every part of the worker: the worker clones, wakes and drops them only while it borrows none of its own
//! state.
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
//! # Tasks that belong together
//!
//! A [`JoinSet`] waits for several tasks and aborts them when it is dropped. [`sync`] lets the tasks of one worker wait
//! for each other: [`Notify`](sync::Notify) wakes them, [`Semaphore`](sync::Semaphore) limits how many do something at
//! the same time.
//!
//! # Communication between workers
//!
//! Workers share nothing. For occasional messages, use a [`WorkerHandle`]: it makes the other worker call a closure.
//! What the closure spawns there does not have to be `Send`:
//!
//! ```
//! use ringtide::runtime::{self, Worker, WorkerHandle, WorkerOptions};
//! use std::sync::mpsc;
//! use std::thread;
//!
//! let (ready, other) = mpsc::channel::<WorkerHandle>();
//! let (done, finished) = mpsc::channel();
//! let thread = thread::spawn(move || {
//!     let mut worker = Worker::new(&WorkerOptions::default()).expect("the worker is created");
//!     ready.send(worker.handle()).expect("the other thread receives the handle");
//!     // Tasks run while the worker is inside block_on.
//!     worker.block_on(runtime::spawn_blocking(move || finished.recv())).expect("nothing panics");
//! });
//! let other = other.recv()?;
//! other.call(move || {
//!     runtime::spawn(async move {
//!         runtime::yield_now().await;
//!         done.send("from the other worker").expect("the other thread receives the message");
//!     });
//! })?;
//! thread.join().expect("the worker ends");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For a stream of messages, use any asynchronous channel that is `Send`. Wakers of tasks work from every thread, and
//! they wake a worker that waits in the kernel. Do not use the channels of the standard library in a task: they block
//! the whole worker. The channels of tokio work, and they do not need a tokio runtime:
//!
//! ```
//! use ringtide::runtime::{Worker, WorkerOptions};
//! use std::thread;
//! use tokio::sync::{mpsc, oneshot};
//!
//! // Each question carries the channel for its answer.
//! let (ask, mut questions) = mpsc::channel::<(u32, oneshot::Sender<u32>)>(16);
//! let squares = thread::spawn(move || {
//!     Worker::new(&WorkerOptions::default()).expect("the worker is created").block_on(async {
//!         while let Some((number, answer)) = questions.recv().await {
//!             // Fails if the sender of the question no longer waits.
//!             let _ = answer.send(number * number);
//!         }
//!     });
//! });
//! let answer = Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let (answer, answered) = oneshot::channel();
//!     ask.send((7, answer)).await.expect("the other worker receives questions");
//!     answered.await
//! });
//! assert_eq!(answer, Ok(49));
//! drop(ask);
//! squares.join().expect("the worker ends");
//! # Ok::<(), ringtide::runtime::SetupError>(())
//! ```

mod answer_spin;
mod blocking;
mod bulk_spin;
mod contained;
mod core;
mod core_share;
mod driver;
mod expected;
mod inbox;
mod join_set;
mod listener;
mod parking;
mod queue;
mod readiness;
mod received;
mod run_queue;
mod socket;
mod socket_table;
mod spin;
pub mod sync;
mod system;
mod task;
mod timer;
mod timer_table;
mod unread;
mod waiter;
mod waker;
mod worker;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use ringtide_driver::{Address, Driver as _};

pub(crate) use self::blocking::BlockingPool;
pub use self::blocking::{BLOCKING_THREADS_MAX, BlockingHandle, spawn_blocking};
pub use self::core::{Statistics, WorkerId};
pub use self::core_share::RunQueueMeter;
pub(crate) use self::driver::AnyDriver;
pub use self::driver::{DriverChoice, SetupError};
pub use self::inbox::{WorkerEnded, WorkerHandle};
pub use self::join_set::JoinSet;
pub(crate) use self::listener::Listener;
pub(crate) use self::queue::InlineQueue;
pub use self::readiness::{readable, writable};
pub(crate) use self::socket::Socket;
pub use self::spin::Spin;
pub use self::task::{JoinError, JoinHandle};
pub use self::timer::Timer;
pub use self::worker::{Worker, WorkerOptions};

/// Spawns a task on the worker of this thread.
///
/// The task runs until it ends, is aborted, or the worker is dropped. Dropping the handle does not stop the task.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on), or if the worker has 16,777,215 tasks already.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    self::task::spawn(self::core::current().queue(), future)
}

/// Spawns a task like [`spawn`], whose end nobody waits for. It takes less memory, which matters to programs with tens
/// of thousands of tasks. If it panics, it ends; only the panic hook learns of that.
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn spawn_detached(future: impl Future<Output = ()> + 'static) {
    self::task::spawn_detached(self::core::current().queue(), future);
}

/// Returns the time of the current turn on the worker's clock, in nanoseconds from an arbitrary start.
///
/// The worker reads the clock each time it returns from the kernel. So all completions of one turn have the same time:
/// the time of their arrival.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[inline]
#[track_caller]
pub fn turn_time_ns() -> u64 {
    self::core::current_turn_time_ns()
}

/// Reads the worker's clock: nanoseconds from an arbitrary start.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn now_ns() -> u64 {
    self::core::current().now_ns()
}

/// Returns the identity of the worker that this thread is inside of. The cost is one thread-local access.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn worker_id() -> WorkerId {
    self::core::current().id()
}

/// Returns the statistics of this thread's worker, counted since its start.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn statistics() -> Statistics {
    self::core::current().statistics()
}

/// Lets this thread's worker wait until `count` completions are there, but for `within_ns` at most if there is one.
///
/// Initially, and with a `count` of 1, the first completion ends a wait. More save wake-ups where very many completions
/// come one by one: each that came early is handled up to `within_ns` late. Timers are not. Only the io_uring driver
/// does this, from Linux 6.12 on; the others ignore it.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn gather_completions(count: u32, within_ns: u64) {
    self::core::current().io().1.gather(count, within_ns);
}

/// Returns how many sockets of this thread's worker have no owner and stay open only until their peers close them.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
#[track_caller]
pub fn sockets_closing() -> usize {
    self::core::current().io().0.abandoned()
}

/// Makes the close of a stream on the simulated network reset the connection. Returns whether the stream was found.
#[track_caller]
pub(crate) fn reset_at_close(local: &Address, peer: &Address) -> bool {
    self::core::current().driver().reset_at_close(local, peer)
}

/// Waits for `duration`.
///
/// # Cancel safety
/// Cancel-safe.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
pub async fn sleep(duration: Duration) {
    let mut timer = Timer::new();
    timer.set(time_after_ns(duration));
    timer.elapsed().await;
}

/// Runs `future` for at most `duration`. Returns `None` after that time, when it has dropped the future.
///
/// # Cancel safety
/// Cancel-safe if `future` is.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    let mut timer = Timer::new();
    timer.set(time_after_ns(duration));
    let mut future = pin!(future);
    poll_fn(|context| poll_before(&mut timer, future.as_mut(), context)).await
}

/// Runs `future` until `at_ns` at most, on the clock of [`now_ns`]. Returns `None` after that time, when it has dropped
/// the future. [`u64::MAX`] means never. The future is polled at least once, even if the time has passed.
///
/// Use it to give several steps one time limit in all. The clock is the worker's, not [`Instant`](std::time::Instant),
/// so that it also works in the virtual time of a [simulated](Worker::simulated) worker.
///
/// ```
/// use std::time::Duration;
///
/// use ringtide::runtime::{self, Worker, WorkerOptions};
///
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let at_ns = runtime::now_ns() + 20_000_000;
///     let first = runtime::deadline(at_ns, runtime::sleep(Duration::from_millis(1))).await;
///     let second = runtime::deadline(at_ns, std::future::pending::<()>()).await;
///     assert_eq!((first, second), (Some(()), None));
/// });
/// # Ok::<(), ringtide::runtime::SetupError>(())
/// ```
///
/// # Cancel safety
/// Cancel-safe if `future` is.
///
/// # Panics
/// Outside a worker's [`block_on`](Worker::block_on).
pub async fn deadline<F: Future>(at_ns: u64, future: F) -> Option<F::Output> {
    let mut timer = Timer::new();
    timer.set(at_ns);
    let mut future = pin!(future);
    poll_fn(|context| poll_before(&mut timer, future.as_mut(), context)).await
}

/// Returns the time on the worker's clock when `duration` has passed; [`u64::MAX`] if that is too far away.
#[track_caller]
fn time_after_ns(duration: Duration) -> u64 {
    now_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Polls `future`, and then `timer`, which ends the wait with `None`.
fn poll_before<F: Future>(
    timer: &mut Timer,
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    if let Poll::Ready(output) = future.poll(context) {
        return Poll::Ready(Some(output));
    }
    timer.poll_elapsed(context).map(|()| None)
}

/// Yields to the other ready tasks and to the kernel, once.
///
/// # Cancel safety
/// Cancel-safe.
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

/// Returns how many cores this process may run on. This is a good number of workers.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
