//! A bare `io_uring` client: it measures the cost of a request with no overhead except the kernel's.
//!
//! The engine's CPU time per request is compared with this floor. It is not a load generator: it parses no responses
//! and only counts bytes.
//!
//! ```text
//! floor_client --addr 127.0.0.1:PORT [--connections 64] [--duration 5] [--protocol http|echo]
//! ```
//!
//! These variants were tried to find the true floor, on a 2-core virtual machine, with 64 connections and both ends
//! pinned. The figures are medians of six interleaved runs of 1 s, in CPU µs per request. All differences are within
//! the noise of ±0.1, so the simplest variant is used.
//!
//! | variant | µs | requests/s |
//! |---|---|---|
//! | as it is: deferred task runs, registered ring, skip-success sends, one wait per turn | 3.08 | 322 k |
//! | sockets as registered files | 3.17 | 309 k |
//! | ring descriptor not registered | 3.21 | 308 k |
//! | without deferred task runs (cooperative ones) | 3.17 | 312 k |
//! | without the indirection of the submission queue (`NO_SQARRAY`) | 3.21 | 307 k |
//! | sends that complete | 3.11 | 318 k |
//! | waiting for at least 4 completions | 3.12 | 313 k |
//! | waiting outside the I/O-wait accounting (`NO_IOWAIT`) | 3.19 | 310 k |
//!
//! With `--protocol echo`, a request is a frame of 16 bytes, and so is its response.
//!
//! The server must send the same number of bytes in every response. The client prints one line of JSON at the end.

#[cfg(target_os = "linux")]
#[path = "floor/client.rs"]
mod floor;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod floor;

fn main() -> std::process::ExitCode {
    floor::main()
}
