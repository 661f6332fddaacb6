//! The memory that connections cost the server. A test program of its own, because it counts all memory of the process.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringtide::Address;
use ringtide::limits::{STRAINED_RECEIVE_SIZE_MAX, UNREAD_SIZE_MAX, WORKER_UNREAD_SIZE_MAX};
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::server::{Exchange, PreparedResponse, Server, ServerOptions, ServiceOptions};
use ringtide_driver::allocator::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const GREEDY: usize = 4;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const BODY_SIZE: usize = 1_000;

/// What a connection may hold besides unread bytes: its state, the requests in progress, and the responses that are
/// queued or being sent. Each buffer may have grown to twice its content.
const AT_WORK_SIZE: usize = (16 + 32 + 32 + 8) * 1024;

/// What a multishot receive may deliver before it stops, on kernels that do not limit it (before Linux 6.17).
const BURST_SIZE: usize = 32 * 16 * 1024;

/// No client is to be closed because this machine is busy.
const PATIENCE: Duration = Duration::from_mins(5);

/// Connections that pipeline while their handlers wait. Each of these sends more than a connection may hold.
const FEW: usize = 300;
const FEW_FLOOD_SIZE: usize = 400 * 1024;

/// All of these together send more than a worker may hold.
const MANY: usize = 1_200;
const MANY_FLOOD_SIZE: usize = 100 * 1024;
const _: () = assert!(MANY * MANY_FLOOD_SIZE > WORKER_UNREAD_SIZE_MAX * 3 / 2);

fn options() -> ServerOptions {
    let service =
        ServiceOptions::default().head_timeout(PATIENCE).stall_timeout(PATIENCE).request_timeout(PATIENCE);
    ServerOptions::default().workers(1).service(service)
}

/// A single test, because the harness allocates memory between tests.
#[test]
fn connections_stay_within_their_memory_bounds() {
    what_is_received_while_handlers_wait_is_bounded();
    a_request_costs_no_allocation_and_an_idle_connection_no_buffer();
    a_client_that_does_not_read_costs_bounded_memory_and_loses_nothing();
    http2::a_request_costs_no_allocation_and_a_stream_little_memory();
    http2::a_client_that_does_not_read_costs_bounded_memory_and_loses_nothing();
    http2::unread_bodies_stay_within_the_memory_of_the_worker_and_arrive_whole();
}

fn a_client_that_does_not_read_costs_bounded_memory_and_loses_nothing() {
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let options = options();
    let server = Server::start(&[any_port], &options, async move |exchange: Exchange<'_>| {
        count.fetch_add(1, Ordering::SeqCst);
        exchange.respond(StatusCode::OK, &[("X-Body", "constant")], &[b'x'; BODY_SIZE][..])
    })
    .unwrap();
    let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    // The first request makes the server do its one-time allocations.
    let mut other = connect();
    let response_size = ask(&mut other);
    let unread_max = unread_max();
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
    assert!(held < GREEDY * (unread_max + AT_WORK_SIZE), "{held} bytes for {GREEDY} connections");
    assert!(handled.load(Ordering::SeqCst) * 2 < sent.iter().sum::<usize>() / REQUEST.len());
    // Other clients are not affected.
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
    let options = options();
    let body = [b'x'; BODY_SIZE].as_slice();
    let response = PreparedResponse::new(StatusCode::OK, [("X-Body", "constant")], body).unwrap();
    let server = Server::start(&[any_port], &options, async move |exchange: Exchange<'_>| {
        Ok::<_, Infallible>(exchange.respond_with(&response))
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

    let busy = ALLOCATOR.live_bytes();
    let allocations = ALLOCATOR.allocations();
    (0..1000).for_each(|_| exchange());
    assert_eq!(ALLOCATOR.allocations() - allocations, 0, "in 1000 exchanges");

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

fn what_is_received_while_handlers_wait_is_bounded() {
    // Both ends are in this process.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let options = options();
    let (release, waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let server = Server::start(&[any_port], &options, {
        let (release, waiting) = (Arc::clone(&release), Arc::clone(&waiting));
        async move |mut exchange: Exchange<'_>| {
            let mut size = 0;
            if exchange.head().path() == "/wait" {
                waiting.fetch_add(1, Ordering::SeqCst);
                while !release.load(Ordering::SeqCst) {
                    runtime::sleep(Duration::from_millis(50)).await;
                }
            } else {
                while let Some(piece) = exchange.data().await? {
                    size += piece.len();
                }
            }
            exchange.respond(StatusCode::OK, &[], format!("{size:07}"))
        }
    })
    .unwrap();
    let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
    let unread_max = unread_max();
    let before = ALLOCATOR.live_bytes();
    let request = format!("GET /wait HTTP/1.1\r\nHost: h\r\nX-Padding: {}\r\n\r\n", "x".repeat(2_000));
    let mut clients = Vec::new();
    for (count, flood_size) in [(FEW, FEW_FLOOD_SIZE), (MANY, MANY_FLOOD_SIZE)] {
        let requests = flood_size / request.len();
        let flood = request.repeat(requests);
        while clients.len() < count {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
            // The buffers of the socket hold what the server does not read.
            stream.write_all(flood.as_bytes()).unwrap();
            clients.push((stream, requests));
        }
        settle(|| waiting.load(Ordering::SeqCst) == count);
        let held = ALLOCATOR.live_bytes() - before;
        let (together, each) = match count {
            FEW => (0, unread_max),
            _ => (WORKER_UNREAD_SIZE_MAX, STRAINED_RECEIVE_SIZE_MAX as usize),
        };
        assert!(
            held < together + count * (each + AT_WORK_SIZE / 4),
            "{held} bytes for {count} connections: {} KiB each",
            held / count / 1024
        );
    }

    // Meanwhile, other clients are served, even if a request is larger than what a connection may leave unread.
    let body = vec![b'x'; 1_000_000];
    let mut other = TcpStream::connect(address).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for _ in 0..2 {
        other.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        other.write_all(&body).unwrap();
        assert_eq!(responses(&mut other, 1), b"1000000");
    }

    // Finally, every waiting client gets its responses.
    release.store(true, Ordering::SeqCst);
    for (client, requests) in &mut clients {
        assert_eq!(responses(client, *requests), b"0000000");
    }
    drop((clients, other));
    server.shutdown().begin();
    server.join();
}

/// Returns how many unread bytes a connection may hold.
fn unread_max() -> usize {
    // On a thread of its own, because the end of a ring may interrupt system calls of its thread.
    let statistics = std::thread::spawn(|| {
        let mut worker = Worker::new(&WorkerOptions::default()).unwrap();
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        // Only a worker that listens asks whether the kernel limits receives.
        worker.block_on(async move {
            let _listener = ringtide::stream::Listener::bind(&any_port, false).unwrap();
            runtime::statistics()
        })
    });
    let statistics = statistics.join().unwrap();
    let stops = statistics.driver != "io_uring" || statistics.driver_features.contains(&"receive_limit");
    UNREAD_SIZE_MAX as usize + if stops { 0 } else { BURST_SIZE }
}

/// Waits until `done` returns true, and then until the memory in use is stable.
fn settle(done: impl Fn() -> bool) {
    let started = Instant::now();
    let mut last = 0;
    while !done() || ALLOCATOR.live_bytes() != last {
        assert!(started.elapsed() < Duration::from_mins(1), "it does not settle");
        last = ALLOCATOR.live_bytes();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Reads `count` responses with bodies of seven bytes. Returns the last body.
fn responses(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut found, mut from) = (0, 0);
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(end) = bytes[from..].windows(4).position(|window| window == b"\r\n\r\n")
            && bytes.len() >= from + end + 4 + 7
        {
            from += end + 4 + 7;
            found += 1;
        }
        if found == count {
            assert_eq!(from, bytes.len());
            return bytes.split_off(from - 7);
        }
        let size = stream.read(&mut buffer).unwrap();
        assert!(size > 0, "ended after {found} of {count} responses");
        bytes.extend_from_slice(&buffer[..size]);
    }
}

/// Returns the size of the whole response.
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

/// The same over HTTP/2.
mod http2 {
    use ringtide::proto::h2::{PREFACE, hpack};

    use super::*;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const CONNECTIONS: usize = 20;
    const STREAMS: usize = 100;

    fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
        let size = (payload.len() as u32).to_be_bytes();
        [&size[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
    }

    fn request(id: u32, method: &str, path: &str) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in [(":method", method), (":scheme", "http"), (":authority", "h"), (":path", path)]
        {
            hpack::encode_stateless(name.as_bytes(), value.as_bytes(), false, &mut block);
        }
        frame(HEADERS, 4 | u8::from(method == "GET"), id, &block)
    }

    fn connect(address: std::net::SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let large_window = frame(8, 0, 0, &0x7000_0000_u32.to_be_bytes());
        stream
            .write_all(
                &[PREFACE, &frame(SETTINGS, 0, 0, b"")[..], &frame(SETTINGS, 1, 0, b""), &large_window]
                    .concat(),
            )
            .unwrap();
        stream
    }

    /// Reads frames until so many of the kind have the flags.
    fn read_until(stream: &mut impl Read, kind: u8, flags: u8, count: usize) {
        let mut found = 0;
        while found < count {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let mut payload = [0; 16 * 1024];
            let size = usize::from(head[1]) << 8 | usize::from(head[2]);
            stream.read_exact(&mut payload[..size]).unwrap();
            assert!(!matches!(head[3], 3 | 7), "a reset");
            found += usize::from(head[3] == kind && head[4] == flags);
        }
    }

    fn start() -> (Server, std::net::SocketAddr, Arc<AtomicBool>) {
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let release = Arc::new(AtomicBool::new(false));
        let released = Arc::clone(&release);
        let response = PreparedResponse::new(StatusCode::OK, [("x-body", "constant")], "hello\n").unwrap();
        let server = Server::start(&[any_port], &options(), async move |exchange: Exchange<'_>| {
            if exchange.head().path() == "/wait" {
                while !released.load(Ordering::SeqCst) {
                    runtime::sleep(Duration::from_millis(20)).await;
                }
            }
            Ok::<_, Infallible>(exchange.respond_with(&response))
        })
        .unwrap();
        let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
        (server, address, release)
    }

    pub(super) fn a_request_costs_no_allocation_and_a_stream_little_memory() {
        let (server, address, release) = start();
        let mut ids = (0..).map(|number| 2 * number + 1);
        let mut stream = connect(address);
        let mut batch = |stream: &mut TcpStream, count: usize| {
            let requests: Vec<u8> = ids.by_ref().take(count).flat_map(|id| request(id, "GET", "/")).collect();
            stream.write_all(&requests).unwrap();
            read_until(stream, DATA, 1, count);
        };
        // The date of the first second becomes an entry of the table, and each later one too.
        (0..50).for_each(|_| batch(&mut stream, STREAMS));
        let requests: Vec<_> = (0..20)
            .map(|round| {
                (0..STREAMS as u32)
                    .flat_map(|number| request(20_001 + 200 * round + 2 * number, "GET", "/"))
                    .collect::<Vec<u8>>()
            })
            .collect();
        let allocations = ALLOCATOR.allocations();
        for bytes in &requests {
            stream.write_all(bytes).unwrap();
            read_until(&mut stream, DATA, 1, STREAMS);
        }
        let allocations = ALLOCATOR.allocations() - allocations;
        // A new second gives a few; 2,000 requests give none.
        assert!(allocations < 40, "{allocations} allocations in {} requests", requests.len() * STREAMS);

        let before = ALLOCATOR.live_bytes();
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
        for client in &mut clients {
            read_until(client, SETTINGS, 1, 1);
        }
        // Also what was kept for the next request of the first connection is gone by then.
        std::thread::sleep(Duration::from_millis(2500));
        settle(|| true);
        let idle = ALLOCATOR.live_bytes().saturating_sub(before) / CONNECTIONS;
        assert!(idle <= 4 * 1024, "{idle} bytes for each idle connection");
        let before = ALLOCATOR.live_bytes();
        for client in &mut clients {
            let requests: Vec<u8> =
                (0..STREAMS as u32).flat_map(|number| request(2 * number + 1, "GET", "/wait")).collect();
            client.write_all(&requests).unwrap();
        }
        settle(|| ALLOCATOR.live_bytes() > before + CONNECTIONS * STREAMS * 100);
        let in_flight = (ALLOCATOR.live_bytes() - before) / CONNECTIONS / STREAMS;
        eprintln!("{idle} bytes for each idle connection of HTTP/2, {in_flight} for each stream in flight");
        assert!(in_flight < 1024, "{in_flight} bytes for each stream in flight");
        release.store(true, Ordering::SeqCst);
        for client in &mut clients {
            read_until(client, DATA, 1, STREAMS);
        }
        server.shutdown().begin();
        server.join();
    }

    /// The peer sends a body by single bytes, which nobody reads, and PINGs between them, whose answers it does not read.
    pub(super) fn a_client_that_does_not_read_costs_bounded_memory_and_loses_nothing() {
        let (server, address, release) = start();
        let unread_max = unread_max();
        let before = ALLOCATOR.live_bytes();
        let mut stream = connect(address);
        stream.write_all(&request(1, "POST", "/wait")).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let part = [frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, b"12345678").repeat(3)].concat();
        let parts = part.repeat(1000);
        let mut sent = 0;
        let blocked = loop {
            match stream.write(&parts[sent % part.len()..]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
            assert!(sent < part.len() * 1_000_000, "it takes all");
        };
        assert!(matches!(blocked.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{blocked}");
        let held = ALLOCATOR.live_bytes() - before;
        let unread_body_max = 2 * sent / part.len();
        let answers_max = 4 * 64 * 1024;
        eprintln!("{held} bytes held for a client of HTTP/2 that has sent {sent} and reads nothing");
        assert!(held < unread_max + AT_WORK_SIZE + answers_max + unread_body_max, "{held} bytes of {sent}");
        // All answers come once it reads.
        let mut reader = std::io::BufReader::with_capacity(256 * 1024, stream.try_clone().unwrap());
        let whole = sent / part.len();
        assert!(3 * whole * 17 > 2 * answers_max, "the answers would be much to hold");
        read_until(&mut reader, PING, 1, 3 * whole);
        release.store(true, Ordering::SeqCst);
        drop((stream, reader));
        server.shutdown().begin();
        server.join();
    }

    /// Clients whose bodies nobody reads for now. They send more than a worker may hold, in full frames and as far as the
    /// windows allow.
    const UPLOADS: usize = 150;
    const UPLOAD_STREAMS: u32 = 3;
    const UPLOAD_FRAMES: usize = 16;
    const FRAME_SIZE: usize = 16 * 1024;
    const _: () = assert!(
        UPLOADS * UPLOAD_STREAMS as usize * UPLOAD_FRAMES * FRAME_SIZE > WORKER_UNREAD_SIZE_MAX * 3 / 2
    );

    pub(super) fn unread_bodies_stay_within_the_memory_of_the_worker_and_arrive_whole() {
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let release = Arc::new(AtomicBool::new(false));
        let whole = Arc::new(AtomicUsize::new(0));
        let (released, count) = (Arc::clone(&release), Arc::clone(&whole));
        let server = Server::start(&[any_port], &options(), async move |mut exchange: Exchange<'_>| {
            while !released.load(Ordering::SeqCst) {
                runtime::sleep(Duration::from_millis(20)).await;
            }
            let mut size = 0;
            while let Some(piece) = exchange.data().await? {
                size += piece.len();
            }
            count.fetch_add(usize::from(size == UPLOAD_FRAMES * FRAME_SIZE), Ordering::SeqCst);
            exchange.respond(StatusCode::OK, &[], "read\n")
        })
        .unwrap();
        let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
        let ids = || (0..UPLOAD_STREAMS).map(|number| 2 * number + 1);
        let mut flood: Vec<u8> = ids().flat_map(|id| request(id, "POST", "/")).collect();
        for number in 1..=UPLOAD_FRAMES {
            let ends = u8::from(number == UPLOAD_FRAMES);
            flood.extend(ids().flat_map(|id| frame(DATA, ends, id, &[b'x'; FRAME_SIZE])));
        }
        let flood = Arc::new(flood);
        let before = ALLOCATOR.live_bytes();
        let clients: Vec<_> = (0..UPLOADS)
            .map(|_| {
                let mut stream = connect(address);
                // The windows of the server are larger than those that a client begins with.
                read_until(&mut stream, SETTINGS, 1, 1);
                let flood = Arc::clone(&flood);
                std::thread::spawn(move || {
                    stream.write_all(&flood).unwrap();
                    read_until(&mut stream, DATA, 1, UPLOAD_STREAMS as usize);
                })
            })
            .collect();
        // More than the worker's limit would be there if nothing held it back, so it comes near to it.
        settle(|| ALLOCATOR.live_bytes() - before > WORKER_UNREAD_SIZE_MAX / 3);
        let mut held = 0;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(10));
            held = held.max(ALLOCATOR.live_bytes() - before);
        }
        eprintln!("{held} bytes held of {} in unread bodies of HTTP/2", UPLOADS * flood.len());
        let each = STRAINED_RECEIVE_SIZE_MAX as usize + AT_WORK_SIZE / 4;
        assert!(held < WORKER_UNREAD_SIZE_MAX + UPLOADS * each, "{held} bytes");
        release.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(whole.load(Ordering::SeqCst), UPLOADS * UPLOAD_STREAMS as usize);
        server.shutdown().begin();
        server.join();
    }
}
