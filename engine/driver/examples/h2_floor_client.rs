//! A bare `io_uring` client for HTTP/2: it measures the cost of a request with no overhead except the kernel's.
//!
//! The engine's CPU time per request is compared with this floor. It is not a load generator: of the responses it only
//! counts the ends of streams. Each request is a HEADERS frame of 4 bytes, encoded once, with a new stream; the
//! `:authority` is in the server's header table since the first request.
//!
//! ```text
//! h2_floor_client --addr 127.0.0.1:PORT [--connections 10] [--streams 100] [--duration 5]
//! ```
//!
//! The server must speak HTTP/2 without negotiation, allow `--streams` streams, and send responses below 1 MiB. The
//! client prints one line of JSON at the end.

#[cfg(target_os = "linux")]
#[path = "floor/h2_client.rs"]
mod floor;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod floor;

fn main() -> std::process::ExitCode {
    floor::main()
}
