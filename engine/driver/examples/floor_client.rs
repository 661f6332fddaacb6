//! A bare `io_uring` client: what a request costs when nothing but the kernel is paid for. It is the floor that the
//! engine's CPU per request is judged against, and no load generator: it parses no response, it counts bytes.
//!
//! ```text
//! floor_client --addr 127.0.0.1:PORT [--connections 64] [--duration 5]
//! ```
//!
//! What was tried for it to be the true floor, on a 2-core virtual machine, 64 connections, both ends pinned: medians of
//! six interleaved runs of 1 s, CPU µs per request. All of it is within the noise of ±0.1, so the plainest is kept.
//!
//! | variant | µs | requests/s |
//! |---|---|---|
//! | as it is: deferred task runs, registered ring, skip-success sends, one wait a turn | 3.08 | 322 k |
//! | sockets as registered files | 3.17 | 309 k |
//! | ring descriptor not registered | 3.21 | 308 k |
//! | without deferred task runs (cooperative ones) | 3.17 | 312 k |
//! | without the indirection of the submission queue (`NO_SQARRAY`) | 3.21 | 307 k |
//! | sends that complete | 3.11 | 318 k |
//! | waiting for 4 completions at least | 3.12 | 313 k |
//! | waiting outside the I/O-wait accounting (`NO_IOWAIT`) | 3.19 | 310 k |
//!
//! The target has to answer every request with the same number of bytes. One line of JSON is printed at the end.

#[cfg(target_os = "linux")]
#[path = "floor/client.rs"]
mod floor;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod floor;

fn main() -> std::process::ExitCode {
    floor::main()
}
