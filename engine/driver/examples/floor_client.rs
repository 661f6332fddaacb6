//! A bare `io_uring` client: what a request costs when nothing but the kernel is paid for. It is the floor that the
//! engine's CPU per request is judged against, and no load generator: it parses no response, it counts bytes.
//!
//! ```text
//! floor_client --addr 127.0.0.1:PORT [--connections 64] [--duration 5]
//! ```
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
