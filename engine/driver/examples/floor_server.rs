//! A bare `io_uring` server with one fixed response: the server that generators are measured against.
//!
//! It exists so that the server is never the bottleneck: one thread, multishot accept and receive, no HTTP beyond
//! finding the ends of requests. It is no user of the `Driver` contract, and no server to put anywhere else.
//!
//! ```text
//! floor_server [--addr 127.0.0.1:0]        prints the address that it listens at, then serves until it is killed
//! ```

#[cfg(target_os = "linux")]
#[path = "floor/server.rs"]
mod floor;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod floor;

fn main() -> std::process::ExitCode {
    floor::main()
}
