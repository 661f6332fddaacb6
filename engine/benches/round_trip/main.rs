//! A driver's round trip over loopback TCP, and an HTTP exchange on top of it, with both ends on one thread.
//!
//! | group | one iteration | subjects |
//! |---|---|---|
//! | `64 bytes, 1 connection` | 64 bytes to the peer, then 64 bytes back | ringtide on io_uring and on the fallback, tokio, monoio, tokio-uring |
//! | `64 bytes, 64 connections` | the same on each of 64 connections at once | the same |
//! | `HTTP, 64 connections` | a GET and its 148-byte response, body read, on each of 64 connections at once | ringtide's `Connection`, hyper's HTTP/1 client connection on tokio, and the same bytes unparsed on both |
//!
//! How to read the figures:
//!
//! - Every figure includes both ends, so two sends and two receives. Most of it is the kernel's TCP.
//! - One connection shows the cost of a turn of the loop without batching. 64 connections show what batching gains.
//! - The server end is the same script for all subjects, written for each runtime. It counts bytes and sends a constant
//!   response, so no figure includes the parsing of a request.
//! - The cost of HTTP in a client is the difference between its line and the line of the same bytes on the same
//!   runtime. Compare `Connection` and hyper by this difference. Ringtide's difference is too small by one completion:
//!   `Connection` sends a constant request without a completion, while the stream's own `send` waits for one.
//! - Each client is used as intended. Ringtide sends one prepared request again and again. hyper gets a new `Request`
//!   each time and returns a `Response` with a map of its fields. No field is read from either.
//! - In the HTTP group, ringtide runs on the driver that `RINGTIDE_DRIVER` names, or else on io_uring.
//!
//! Not measured: two machines or two cores, where both ends work at the same time. The load generator's `ci/bench`
//! measures that.

mod on_ringtide;
mod on_tokio;

#[cfg(target_os = "linux")]
mod on_monoio;
#[cfg(target_os = "linux")]
mod on_tokio_uring;

use std::time::Duration;

use criterion::{Criterion, Throughput};

/// The messages of each connection: this request, then this response, again and again.
#[derive(Clone, Copy)]
struct Script {
    request: &'static [u8],
    response: &'static [u8],
}

/// Runs the given number of iterations. Returns how long they took.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// The name of a subject, and its setup function for a script and a number of connections.
type Subject = (&'static str, fn(Script, usize) -> Run);

const SMALL: Script = Script { request: &[b'>'; 64], response: &[b'<'; 64] };

const HTTP: Script = Script {
    request: b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    response: b"HTTP/1.1 200 OK\r\n\
        Server: example/1.26\r\n\
        Date: Tue, 01 Jul 2025 12:00:00 GMT\r\n\
        Content-Type: text/plain\r\n\
        Content-Length: 12\r\n\
        ETag: \"a1\"\r\n\
        \r\n\
        hello world\n",
};

const _: () = assert!(HTTP.response.len() == 148);

/// Maximum size of one read by a peer.
const READ_SIZE: usize = 4096;

#[cfg(target_os = "linux")]
const ROUND_TRIP: [Subject; 5] = [
    ("ringtide on io_uring", on_ringtide::bytes_on_io_uring),
    ("ringtide on the fallback", on_ringtide::bytes_on_fallback),
    ("tokio", on_tokio::bytes),
    ("monoio", on_monoio::bytes),
    ("tokio-uring", on_tokio_uring::bytes),
];

#[cfg(not(target_os = "linux"))]
const ROUND_TRIP: [Subject; 2] =
    [("ringtide on the fallback", on_ringtide::bytes_on_fallback), ("tokio", on_tokio::bytes)];

const EXCHANGE: [Subject; 4] = [
    ("the bytes on ringtide", on_ringtide::bytes),
    ("ringtide's Connection", on_ringtide::exchange),
    ("the bytes on tokio", on_tokio::bytes),
    ("hyper on tokio", on_tokio::exchange),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion, "64 bytes, 1 connection", SMALL, 1, &ROUND_TRIP);
    compare(&mut criterion, "64 bytes, 64 connections", SMALL, 64, &ROUND_TRIP);
    compare(&mut criterion, "HTTP, 64 connections", HTTP, 64, &EXCHANGE);
    criterion.final_summary();
}

fn compare(criterion: &mut Criterion, name: &str, script: Script, connections: usize, subjects: &[Subject]) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(connections as u64));
    for (subject, start) in subjects {
        // Each subject is set up at its first run, so those that a filter skips are not set up.
        let mut run = None;
        group.bench_function(*subject, |bencher| {
            bencher.iter_custom(run.get_or_insert_with(|| start(script, connections)));
        });
    }
    group.finish();
}
