//! Frames of 16 bytes sent to a server and back, again and again, on each runtime's own streams. `ci/bench` runs this
//! program pinned to a core, as client or as server, with the floor's server or client at the other end
//! (`--protocol echo`), and counts the CPU time of the process.
//!
//! ```text
//! echo RUNTIME server                    prints the address that it listens on, then serves until it is killed
//! echo RUNTIME client ADDRESS CONNECTIONS MILLISECONDS
//! ```
//!
//! RUNTIME is `ringtide`, `tokio`, `monoio` or `tokio-uring`. Each has one thread, its defaults, and a task for each
//! connection. A client sends a frame, receives it back, compares it and looks at the clock; it prints one line of JSON
//! at the end. A server sends back whatever it receives, whole frames or not. All turn off Nagle's algorithm, as the
//! other end does.

mod on_ringtide;
mod on_tokio;

#[cfg(target_os = "linux")]
mod on_monoio;
#[cfg(target_os = "linux")]
mod on_tokio_uring;

use std::convert::Infallible;
use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The frame of the floor's server, which sends no other one.
const FRAME: &[u8; 16] = b"twelve bytes\r\n\r\n";

/// Maximum size of one read.
const READ_SIZE: usize = 4096;

/// What a client does.
#[derive(Clone, Copy)]
struct Plan {
    server: SocketAddr,
    connections: usize,
    end: Instant,
}

/// A runtime by name, and what it does as server and as client. The client returns the number of echoes.
type Subject = (&'static str, fn() -> io::Result<Infallible>, fn(Plan) -> io::Result<u64>);

#[cfg(target_os = "linux")]
const SUBJECTS: [Subject; 4] = [
    ("ringtide", on_ringtide::serve, on_ringtide::ask),
    ("tokio", on_tokio::serve, on_tokio::ask),
    ("monoio", on_monoio::serve, on_monoio::ask),
    ("tokio-uring", on_tokio_uring::serve, on_tokio_uring::ask),
];

#[cfg(not(target_os = "linux"))]
const SUBJECTS: [Subject; 2] =
    [("ringtide", on_ringtide::serve, on_ringtide::ask), ("tokio", on_tokio::serve, on_tokio::ask)];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let Some(done) = run(&arguments) else {
        let names = SUBJECTS.map(|(name, ..)| name).join("|");
        eprintln!("usage: echo {names} server\n       echo {names} client ADDRESS CONNECTIONS MILLISECONDS");
        return ExitCode::from(2);
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns `None` if the arguments are not those of the usage.
fn run(arguments: &[String]) -> Option<io::Result<()>> {
    let (name, arguments) = arguments.split_first()?;
    let (_, serve, ask) = SUBJECTS.iter().find(|(known, ..)| known == name)?;
    match arguments {
        [role] if role == "server" => Some(serve().map(|never| match never {})),
        [role, server, connections, milliseconds] if role == "client" => {
            let duration = Duration::from_millis(milliseconds.parse().ok()?);
            let (server, connections) = (server.parse().ok()?, connections.parse().ok()?);
            Some(ask(Plan { server, connections, end: Instant::now() + duration }).map(|echoes| {
                let rate = echoes as f64 / duration.as_secs_f64();
                println!(r#"{{"requests": {echoes}, "requests_per_second": {rate:.1}}}"#);
            }))
        }
        _ => None,
    }
}

/// Prints the address of a server.
fn announce(address: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{address}")
}

/// Checks the bytes that continue a frame of which `received` bytes are there. Returns how many are there now.
fn check(received: usize, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Err(io::Error::other("the server closed a connection"));
    }
    if !FRAME[received..].starts_with(bytes) {
        return Err(io::Error::other("the server sends other bytes back"));
    }
    Ok(received + bytes.len())
}
