//! A bare `io_uring` server for HTTP/2 with one fixed response: the server that load generators are measured against.
//!
//! Like `floor_server`, its purpose is never to be the bottleneck, and it is not suitable for any other. It decodes no
//! header fields: each HEADERS frame is a request without a body. It pays no attention to flow control, as it sends 12
//! bytes for a request.
//!
//! ```text
//! h2_floor_server [--addr 127.0.0.1:0]
//! ```
//!
//! It prints the address that it listens on, then serves until it is killed. Clients must know beforehand that it speaks
//! HTTP/2 (RFC 9113 §3.3).

#[cfg(target_os = "linux")]
#[path = "floor/h2_server.rs"]
mod floor;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod floor;

fn main() -> std::process::ExitCode {
    floor::main()
}
