//! What connections cost the server. A test program of its own, as it counts all memory.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use ringtide::Address;
use ringtide::server::{Exchange, PreparedResponse, Server, ServerOptions};
use ringtide_driver::allocator::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const GREEDY: usize = 4;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const BODY_SIZE: usize = 1_000;

/// What a connection may hold: the unread requests, as copies when many connections do so, and the queued answers.
const HELD_MAX: usize = ringtide::limits::UNREAD_SIZE_MAX as usize * 3;

/// One test, as the harness allocates when one ends and another begins.
#[test]
fn connections_cost_what_they_may() {
    a_request_costs_no_allocation_and_an_idle_connection_no_buffer();
    a_client_that_does_not_read_costs_a_bounded_amount_and_gets_all_in_the_end();
}

fn a_client_that_does_not_read_costs_a_bounded_amount_and_gets_all_in_the_end() {
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let options = ServerOptions { workers: 1, ..ServerOptions::default() };
    let server = Server::start(&[any_port], &options, async move |exchange: Exchange<'_>| {
        count.fetch_add(1, Ordering::SeqCst);
        exchange.answer(StatusCode::OK, [("X-Body", "constant")], &[b'x'; BODY_SIZE][..])
    })
    .unwrap();
    let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    // Whatever the server makes once has been made.
    let mut other = connect();
    let response_size = ask(&mut other);
    let before = ALLOCATOR.live_bytes();

    let mut greedy: Vec<_> = (0..GREEDY).map(|_| connect()).collect();
    let requests = REQUEST.repeat(1000);
    let mut sent = [0; GREEDY];
    for (stream, sent) in greedy.iter_mut().zip(&mut sent) {
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        loop {
            match stream.write(&requests[*sent % REQUEST.len()..]) {
                Ok(count) => *sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(*sent / REQUEST.len() * response_size > 50_000_000, "the answers would be much to hold");
    }
    let held = ALLOCATOR.live_bytes() - before;
    assert!(held < GREEDY * HELD_MAX, "{held} bytes for {GREEDY} connections");
    assert!(handled.load(Ordering::SeqCst) * 2 < sent.iter().sum::<usize>() / REQUEST.len());
    // The others do not notice.
    assert_eq!(ask(&mut other), response_size);

    for (stream, sent) in greedy.iter_mut().zip(sent) {
        let expected = sent / REQUEST.len() * response_size;
        let mut received = 0;
        let mut buffer = vec![0; 256 * 1024];
        while received < expected {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "ended after {received} of {expected} bytes");
            received += count;
        }
        assert_eq!(received, expected);
    }
    drop(greedy);
    server.shutdown().begin();
    server.join();
}

fn a_request_costs_no_allocation_and_an_idle_connection_no_buffer() {
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let options = ServerOptions { workers: 1, ..ServerOptions::default() };
    let body = [b'x'; BODY_SIZE].as_slice();
    let response = PreparedResponse::new(StatusCode::OK, [("X-Body", "constant")], body).unwrap();
    let server = Server::start(&[any_port], &options, async move |exchange: Exchange<'_>| {
        Ok::<_, Infallible>(exchange.respond(&response))
    })
    .unwrap();
    let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
    let mut stream = TcpStream::connect(address).unwrap();
    let response_size = ask(&mut stream);
    let mut buffer = vec![0; response_size];
    let mut exchange = || {
        stream.write_all(REQUEST).unwrap();
        stream.read_exact(&mut buffer).unwrap();
    };
    (0..10).for_each(|_| exchange());

    ALLOCATOR.reset_peak();
    let busy = ALLOCATOR.live_bytes();
    (0..1000).for_each(|_| exchange());
    assert_eq!(ALLOCATOR.peak_bytes() - busy, 0, "bytes were allocated");

    let idle_since = Instant::now();
    while ALLOCATOR.live_bytes() + response_size > busy {
        assert!(
            idle_since.elapsed() < Duration::from_secs(20),
            "the buffer of the last answer is still there"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    exchange();
    server.shutdown().begin();
    server.join();
}

/// The size of the whole response.
fn ask(stream: &mut TcpStream) -> usize {
    stream.write_all(REQUEST).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        size += stream.read(&mut buffer[size..]).unwrap();
        if let Some(end) = buffer[..size].windows(4).position(|window| window == b"\r\n\r\n")
            && size >= end + 4 + BODY_SIZE
        {
            return size;
        }
    }
}
