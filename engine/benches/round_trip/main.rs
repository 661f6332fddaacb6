//! A driver's round trip over loopback TCP, and an HTTP exchange on top of it, with both ends on one thread.
//!
//! | group | one iteration | subjects |
//! |---|---|---|
//! | `64 bytes, 1 connection` | 64 bytes there, then 64 back | ringtide on io_uring and on the fallback, tokio, monoio, tokio-uring |
//! | `64 bytes, 64 connections` | the same on each of 64 connections at once | the same |
//! | `HTTP, 64 connections` | a GET and its 148-byte response, body read, on each of 64 connections at once | ringtide's `Connection`, hyper's HTTP/1 client connection on tokio, and the same bytes unparsed on both |
//!
//! A fair reading: every figure holds both ends, hence two sends and two receives, and most of it is the kernel's TCP. One
//! connection shows what a turn of the loop costs when there is nothing to batch; 64 show what batching gains. The far end
//! is the same script for all, written in the subject's own runtime: it counts bytes and answers from constant memory, so
//! no figure holds the parsing of a request. The price of HTTP in a client is therefore the difference between its line and
//! that of the same bytes on the same runtime, and that difference is what compares `Connection` with hyper. Ringtide's is
//! too small by one completion: that of a send which a constant request spares, and the stream's own `send` waits for. Each
//! is used as it is meant to be: ringtide sends one prepared request over and over, hyper is given a `Request` each time
//! and gives a `Response` with its map of fields. Neither is asked for a field. Ringtide is there on the driver that
//! `RINGTIDE_DRIVER` names, else on io_uring.
//!
//! Not shown: two machines, or two cores. There the ends work at once, and the generator's `ci/bench` measures that.

mod on_ringtide;
mod on_tokio;

#[cfg(target_os = "linux")]
mod on_monoio;
#[cfg(target_os = "linux")]
mod on_tokio_uring;

use std::time::Duration;

use criterion::{Criterion, Throughput};

/// What goes over each connection: this request, then this response, and so on.
#[derive(Clone, Copy)]
struct Script {
    request: &'static [u8],
    response: &'static [u8],
}

/// Does so many iterations, and says how long they took.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// A subject, and how to set it up with a script and a number of connections.
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

/// What one read of a peer takes at most.
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
        // Set up when it is first run: those that a filter leaves out are not.
        let mut run = None;
        group.bench_function(*subject, |bencher| {
            bencher.iter_custom(run.get_or_insert_with(|| start(script, connections)));
        });
    }
    group.finish();
}
