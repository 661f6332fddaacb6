//! Signals and permits between the tasks of one worker, without locks and atomics.
//!
//! [`Notify`] wakes tasks, [`Semaphore`] limits how many do something at the same time. Both serve waiting tasks in the
//! order in which they began to wait. A waiter that is dropped loses nothing: what it was given and did not take goes
//! to the next one.
//!
//! Tasks share them by reference or by [`Rc`](std::rc::Rc). They cannot go to another thread:
//!
//! ```compile_fail,E0277
//! let semaphore = ringtide::runtime::sync::Semaphore::new(1);
//! std::thread::spawn(move || drop(semaphore));
//! ```
//!
//! Nor do they connect two workers of one thread: while one worker runs, no task of the other can wake its tasks. They
//! can be created anywhere, also outside a worker. To reach other threads, see [`runtime`](super).

mod line;
mod notify;
mod semaphore;

pub use self::notify::{Notified, Notify};
pub use self::semaphore::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError};
