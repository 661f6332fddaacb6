//! The completion contract of Ringtide over readiness: epoll on Linux, kqueue on macOS and the BSDs.
//!
//! [`Fallback`] does with `mio` what the `io_uring` driver does with a ring, for kernels and containers that have no
//! `io_uring`. Nothing here asks which operating system it is: what differs between them is left to `mio`, `socket2` and
//! `libc`.
//!
//! Not here: how a driver is chosen (the engine's runtime), and what a driver owes its caller ([`ringtide_driver::Driver`]).

mod buffers;
mod driver;
mod foreign;
mod socket;
mod wait;

pub use driver::Fallback;
