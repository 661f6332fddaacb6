//! Lifetimes of connections and servers: disconnects, connection limits, shutdown, several threads, Unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::StatusCode;
use ringtide::server::{Answered, Exchange, Server, ServerOptions, ServiceOptions, StartError};
use ringtide::{Address, Error};

use crate::peer::Peer;
use crate::site::{Running, TEXT};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Starts a request that is in flight when this returns, and that ends when its four body bytes are sent.
fn in_flight(running: &Running) -> Peer {
    let mut peer = running.peer();
    peer.send("POST /whole HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(peer.response().status, 100);
    peer
}

#[test]
fn a_handler_whose_client_goes_away_is_dropped() {
    // A close looks like the end of one half, so it drops the handler only after the time limit for that. A reset always
    // drops it at once.
    let (reset, limit) = (Some(Duration::ZERO), Some(Duration::from_millis(20)));
    for (lingers, limit) in [(None, limit), (reset, limit), (reset, None)] {
        let running = Running::with(ServiceOptions::default().half_close_timeout(limit));
        let mut peer = running.peer();
        peer.send(format!("{GET}GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(peer.response().status, 200);
        let stream = socket2::Socket::from(peer.stream);
        stream.set_linger(lingers).unwrap();
        drop(stream);
        running.dropped.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(running.peer().ask(GET).status, 200);
    }
}

#[test]
fn a_shutdown_lets_requests_in_flight_end_and_closes_the_others() {
    let mut running = Running::start();
    let mut idle = running.peer();
    assert_eq!(idle.ask(GET).status, 200);
    let mut fresh = running.peer();
    let mut busy = in_flight(&running);
    let address = running.address().clone();
    running.shutdown.begin();
    idle.expect_end();
    fresh.expect_end();
    let response = busy.ask("body");
    assert_eq!((response.text(), response.field("connection")), ("body", Some("close")));
    busy.expect_end();
    running.server.take().unwrap().join();
    let Address::Tcp(address) = address else { unreachable!() };
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_shutdown_has_a_time_limit() {
    let shutdown_timeout = Duration::from_millis(50);
    let mut running = Running::with(ServiceOptions::default().shutdown_timeout(shutdown_timeout));
    let mut busy = in_flight(&running);
    let mut streaming = running.peer();
    streaming.send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(streaming.head().0, 200);
    running.shutdown.begin();
    running.shutdown.begin();
    running.server.take().unwrap().join();
    busy.expect_end();
}

#[test]
fn connections_above_the_limit_wait() {
    let running = Running::with(ServiceOptions::default().connections_max(2));
    let mut first = running.peer();
    let mut second = running.peer();
    assert_eq!((first.ask(GET).status, second.ask(GET).status), (200, 200));
    let mut third = running.peer();
    third.send(GET);
    third.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let error = third.stream.peek(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "not served yet");
    assert_eq!(second.ask(GET).status, 200);
    drop(first);
    third.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(third.response().status, 200);
    // And again, after the accept loop has paused and resumed.
    drop((second, third));
    for _ in 0..10 {
        assert_eq!(running.peer().ask(GET).status, 200);
    }
}

#[test]
fn connections_accepted_above_the_limit_do_not_wait_forever() {
    const CROWD: usize = 10;
    let (tell, told) = mpsc::channel();
    let service = ServiceOptions::default()
        .connections_max(2)
        .head_timeout(Duration::from_millis(500))
        .on_error(move |failure| tell.send(failure.to_string()).unwrap());
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let (entered, blocked) = mpsc::channel();
    let blocks = Arc::new(AtomicBool::new(true));
    let server = Server::start(&[any_port], &ServerOptions::default().workers(1).service(service), {
        let blocks = Arc::clone(&blocks);
        async move |_: Exchange<'_>| {
            entered.send(()).unwrap();
            // Blocks the worker, so that its next turn accepts the whole crowd.
            while blocks.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::future::pending::<Result<Answered, Error>>().await
        }
    })
    .unwrap();
    let connect = || {
        let mut peer = Peer::connect(&server.addresses()[0]);
        peer.send(GET);
        peer.stream
    };
    let mut first = connect();
    blocked.recv_timeout(Duration::from_secs(20)).unwrap();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| connect()).collect();
    blocks.store(false, Ordering::SeqCst);
    // One of them is served. The others are closed, and reset because the server did not read what they sent.
    let lines: Vec<String> =
        (0..CROWD).map(|_| told.recv_timeout(Duration::from_secs(20)).expect("nine are closed")).collect();
    assert_eq!(lines[0], "the limit of 2 connections is reached: further ones wait");
    for line in &lines[1..] {
        assert!(line.starts_with("from 127.0.0.1:") && line.contains("closed unserved"), "{line}");
    }
    let ended = crowd.iter_mut().filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        match (&**stream).read(&mut [0]) {
            Ok(0) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            Ok(_) => panic!("nobody is answered"),
        }
    });
    assert_eq!(ended.count(), CROWD - 1);
    first.set_nonblocking(true).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop((first, crowd));
    let shutdown = server.shutdown();
    shutdown.begin();
}

#[test]
fn all_threads_serve_one_address() {
    let running = Running::with_options(&ServerOptions::default().workers(3));
    let mut peers: Vec<_> = (0..30).map(|_| running.peer()).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask(GET).status, 200);
    }
}

#[test]
fn an_address_in_use_is_refused_for_any_number_of_threads() {
    let running = Running::with_options(&ServerOptions::default().workers(2));
    for workers in [1, 2] {
        let options = ServerOptions::default().workers(workers);
        let handler = async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &TEXT, "other\n");
        let error = Server::start(&[running.address().clone()], &options, handler).unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }), "{error}");
        assert!(error.to_string().starts_with("cannot listen at 127.0.0.1:"), "{error}");
    }
}

#[test]
fn a_handler_may_belong_to_its_thread() {
    let options = ServerOptions::default().workers(2);
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let server = Server::start_with(&[any_port], &options, |worker| {
        let count = std::rc::Rc::new(std::cell::Cell::new(0));
        async move |exchange: Exchange<'_>| {
            count.set(count.get() + 1);
            exchange.respond(StatusCode::OK, &TEXT, format!("{worker} {}", count.get()))
        }
    })
    .unwrap();
    let mut peer = Peer::connect(&server.addresses()[0]);
    let worker = peer.ask(GET).text()[..1].to_owned();
    assert_eq!(peer.ask(GET).text(), format!("{worker} 2"));
    server.shutdown().begin();
    server.join();
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let path = std::env::temp_dir().join(format!("ringtide-server-{}.sock", std::process::id()));
    let addresses = [Address::Unix(path.clone()), Address::Tcp(([127, 0, 0, 1], 0).into())];
    let options = ServerOptions::default().workers(2);
    let server = Server::start(&addresses, &options, async |exchange: Exchange<'_>| {
        let peer = exchange.peer_address().map_err(Error::Network)?;
        exchange.respond(StatusCode::OK, &TEXT, format!("{peer}"))
    })
    .unwrap();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.ends_with("\r\n\r\nunix:"), "{response}");
    }
    assert!(Peer::connect(&server.addresses()[1]).ask(GET).text().starts_with("127.0.0.1:"));
    server.shutdown().begin();
    server.join();
    assert!(!path.exists());
}
