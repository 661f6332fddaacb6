//! The completion contract of Ringtide over readiness: epoll on Linux, kqueue on macOS and the BSDs.
//!
//! [`Fallback`] does with `mio` what the `io_uring` driver does with a ring. It is for kernels and containers without
//! `io_uring`. No code in this crate is for a particular operating system: `mio`, `socket2` and `libc` handle the
//! differences.
//!
//! Not here: the choice of a driver (the engine's runtime), and the guarantees of a driver
//! ([`ringtide_driver::Driver`]).

mod buffers;
mod driver;
mod foreign;
mod socket;
mod wait;

pub use driver::Fallback;
