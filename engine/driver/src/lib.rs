//! The completion contract of Ringtide, and two of its three drivers.
//!
//! A driver starts operations on sockets and reports their completions: connect, accept, receive, send, poll, shut
//! down, close and cancel. It waits until an operation completes, a deadline passes, or another thread wakes it. It
//! has no tasks, no timers except that deadline, and no HTTP.
//!
//! - [`Driver`] is the contract. Its documentation states what every implementation guarantees, and the tests in
//!   `tests/contract` check each implementation against it.
//! - `IoUring` (Linux 6.1 and later) is the main driver.
//! - [`sim`] is a seeded, in-memory driver for tests. It does everything that a real kernel may do but seldom does.
//! - `ringtide-fallback`, a separate crate, implements the same contract over epoll and kqueue.
//!
//! [`allocator`] contains an allocator that counts allocated bytes, to measure memory use.
//!
//! Not here: tasks, wakers and timers (the engine's runtime), and HTTP (the engine's `proto`).

// This crate owns the memory that it lends to the kernel. Its unsafe blocks are the reason why it is a separate crate.
#![allow(unsafe_code)]

#[cfg(windows)]
compile_error!("ringtide does not support Windows: use it under WSL 2, where io_uring or epoll drives it");

// The contract suite's ledger imports this crate by name. A unit test in this crate includes the ledger too.
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
pub mod tcp_queues;

pub use address::{Address, AddressError};
pub use buffer::{BufferPool, Lease, SendBuffer};
pub use contract::{
    Completion, CutSend, Driver, Event, Handle, Interest, Notifier, ReceiveEnd, monotonic_ns,
};
pub use tcp_queues::TcpQueues;
