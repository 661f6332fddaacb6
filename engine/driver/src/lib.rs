//! The completion contract of Ringtide, and two of its three drivers.
//!
//! A driver takes operations on sockets and gives back completions. It knows no task, no HTTP and no
//! timer beyond one deadline: `connect`, `accept`, `receive`, `send`, `poll`, `shutdown`, `close`,
//! `cancel`, a deadline for the wait, and a wake from another thread.
//!
//! - [`Driver`] is the contract; its documentation says what every implementation owes its caller, and
//!   `tests/contract` holds each of them to it.
//! - `IoUring` (Linux 6.1 and later) is the driver that the project exists for.
//! - [`sim`] is a seeded, in-memory driver for tests: it does everything that a kernel may do and seldom does.
//! - `ringtide-fallback`, a crate of its own, gives the same contract over epoll and kqueue.
//!
//! [`allocator`] is the allocator that counts, for those who publish figures about memory.
//!
//! Not here: tasks, wakers, timers (the engine's runtime) and HTTP (the engine's `proto`).

// This crate owns the memory that it lends to the kernel; its unsafe blocks are the reason it is a crate of its own.
#![allow(unsafe_code)]

#[cfg(windows)]
compile_error!("ringtide does not support Windows: use it under WSL 2, where io_uring or epoll drives it");

// The contract suite's ledger knows this crate by its name, and is used in here as well.
#[cfg(test)]
extern crate self as ringtide_driver;

pub mod address;
pub mod allocator;
pub mod buffer;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod io_uring;
pub mod limits;
pub mod net;
pub mod sim;
pub mod slots;

pub use address::{Address, AddressError};
pub use buffer::{BufferPool, Lease, SendBuffer};
pub use contract::{
    Completion, CutSend, Driver, Event, Handle, Interest, Notifier, ReceiveEnd, monotonic_ns,
};
