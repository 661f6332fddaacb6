//! A bare `io_uring` server with one fixed response: the server that load generators are measured against.
//!
//! Its purpose is never to be the bottleneck: one thread, multishot accept and receive, and no HTTP except finding the
//! ends of requests. It does not use the `Driver` contract, and it is not suitable for any other purpose.
//!
//! ```text
//! floor_server [--addr 127.0.0.1:0] [--protocol http|echo]
//! ```
//!
//! It prints the address that it listens on, then serves until it is killed. With `--protocol echo`, a request is one
//! certain frame of 16 bytes, and the response is the same frame.

#[cfg(target_os = "linux")]
#[path = "floor/server.rs"]
mod floor;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod floor;

fn main() -> std::process::ExitCode {
    floor::main()
}
