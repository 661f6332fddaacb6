//! TLS from end to end: our client with our server.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ringtide::bytes::Bytes;
use ringtide::http::{Method, Request, StatusCode};
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
use ringtide::stream::{Listener, Stream};
use ringtide::tls::{
    self, ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust, Version,
};
use ringtide::{Address, Client, ClientOptions, Connection, ConnectionOptions, Error, PreparedRequest};

fn pair(version: Version) -> (ClientTls, ServerTls) {
    let identity = Identity::self_signed(&["localhost", "127.0.0.1"]).unwrap();
    let server = ServerTls::new(&ServerTlsOptions::default().identity(identity.clone())).unwrap();
    let options = ClientTlsOptions::default()
        .trust(Trust::Given)
        .authorities(identity.chain().to_vec())
        .min_version(version)
        .max_version(version);
    (ClientTls::new(&options).unwrap(), server)
}

fn exchange(version: Version) {
    let (client_tls, server_tls) = pair(version);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let options = ServiceOptions::default().tls(server_tls);
        let server =
            runtime::spawn(serve(listener, options, shutdown.clone(), async |mut exchange: Exchange<'_>| {
                let body = exchange.body(10_000_000).await?.unwrap_or_default();
                exchange.respond(StatusCode::OK, &[], &body)
            }));
        let client = Rc::new(Client::new(ClientOptions::default().tls(client_tls)));
        for size in [0, 1, 5, 1000, 4096, 16_000, 16_384, 16_385, 40_000, 100_000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|at: usize| (at * 7 + at / 251) as u8).collect();
            let response = client.post(&format!("https://{address}/"), body.clone()).await.unwrap();
            let got = response.into_body().bytes(10_000_000).await.unwrap();
            assert_eq!(got.len(), size);
            assert!(got == body, "{size}");
        }
        drop(client);
        shutdown.begin();
        server.await.unwrap();
    });
}

#[test]
fn bodies_of_all_sizes_pass_both_ways() {
    exchange(Version::Tls13);
    exchange(Version::Tls12);
}

/// What a client gets from a server that sends `response` over TLS and then ends the stream, with close_notify or
/// without.
fn response_then_end(response: &'static str, with_close_notify: bool) -> Result<Vec<u8>, Error> {
    let (client_tls, server_tls) = pair(Version::Tls13);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let server = runtime::spawn(async move {
            let mut stream = listener.accept().await?.accept_tls(&server_tls).await?;
            stream.receive().await?;
            stream.send(response).await?;
            if with_close_notify {
                stream.shutdown().await?;
            }
            std::io::Result::Ok(())
        });
        let client = Client::new(ClientOptions::default().tls(client_tls));
        let response = client.get(&format!("https://{address}/")).await?;
        let body = response.into_body().bytes(1000).await;
        server.await.unwrap().unwrap();
        Ok(body?.to_vec())
    })
}

/// RFC 9112 §9.8: only where the end of the stream is the end of the message can a cut go unnoticed.
#[test]
fn an_end_without_close_notify_is_an_error_if_nothing_else_marks_the_end() {
    let framed = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    let unframed = "HTTP/1.1 200 OK\r\n\r\nbody";
    assert_eq!(response_then_end(framed, true).unwrap(), b"body");
    assert_eq!(response_then_end(framed, false).unwrap(), b"body");
    assert_eq!(response_then_end(unframed, true).unwrap(), b"body");
    let error = response_then_end(unframed, false).unwrap_err();
    assert!(matches!(error, Error::Tls(tls::Error::Truncated)), "{error}");
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody";
    for with_close_notify in [true, false] {
        let error = response_then_end(short, with_close_notify).unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
    }
    let error = response_then_end("", false).unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
}

/// A server announces the end of each connection, so that a body without a length is known to be whole.
#[test]
fn our_server_ends_with_close_notify() {
    let (client_tls, server_tls) = pair(Version::Tls13);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let options = ServiceOptions::default().tls(server_tls);
        let server =
            runtime::spawn(serve(listener, options, shutdown.clone(), async |exchange: Exchange<'_>| {
                exchange.respond(StatusCode::OK, &[], "hello")
            }));
        for head in
            ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "X\r\n\r\n"]
        {
            let mut stream = Stream::connect_tls(&address, "localhost", &client_tls).await.unwrap();
            stream.send(head).await.unwrap();
            let mut all = Vec::new();
            while let Some(bytes) = stream.receive().await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            assert!(all.starts_with(b"HTTP/1.1 "), "{}", all.escape_ascii());
        }
        shutdown.begin();
        server.await.unwrap();
    });
}

/// How a server treats early data.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EarlyData {
    Accepted,
    /// The server says in the handshake that it ignores it.
    Refused,
    /// The server takes it, and answers 425.
    TooEarly,
}

/// A server on a thread of its own. Returns its port, and how it got the request of each connection that follows.
fn early_data_server(
    identity: &Identity,
    treatment: EarlyData,
    early_size_max: u32,
) -> (u16, mpsc::Receiver<&'static str>) {
    let config = |early_data_size| {
        let mut config =
            (**ServerTls::new(&ServerTlsOptions::default().identity(identity.clone())).unwrap().config())
                .clone();
        config.max_early_data_size = early_data_size;
        // rustls takes early data only with sessions that it keeps itself.
        config.ticketer = Arc::new(NoTickets);
        config.session_storage = tls::rustls::server::ServerSessionMemoryCache::new(16);
        config
    };
    let config = config(early_size_max);
    let mut refusing = config.clone();
    refusing.max_early_data_size = 0;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, how) = mpsc::channel();
    thread::spawn(move || {
        for (count, socket) in listener.incoming().enumerate() {
            let mut socket = socket.unwrap();
            let refuses = count > 0 && treatment == EarlyData::Refused;
            let config = Arc::new(if refuses { refusing.clone() } else { config.clone() });
            let mut connection = tls::rustls::ServerConnection::new(config).unwrap();
            let mut request = Vec::new();
            let mut how = "after the handshake";
            while !request.ends_with(b"\r\n\r\n") {
                match connection.read_tls(&mut socket) {
                    Ok(size) if size > 0 => {}
                    end => panic!("{end:?} after {}", request.escape_ascii()),
                }
                connection.process_new_packets().unwrap();
                if let Some(mut early) = connection.early_data() {
                    early.read_to_end(&mut request).unwrap();
                    if !request.is_empty() {
                        how = "early";
                    }
                }
                let _ = connection.reader().read_to_end(&mut request);
                while connection.wants_write() {
                    connection.write_tls(&mut socket).unwrap();
                }
            }
            assert!(request.starts_with(b"GET / HTTP/1.1\r\n") || request.starts_with(b"PUT / HTTP/1.1\r\n"));
            assert_eq!(request.windows(4).filter(|bytes| bytes == b"\r\n\r\n").count(), 1, "once");
            seen.send(how).unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut socket).unwrap();
            }
            let status =
                if how == "early" && treatment == EarlyData::TooEarly { "425 Too Early" } else { "200 OK" };
            let response = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            connection.writer().write_all(response.as_bytes()).unwrap();
            connection.send_close_notify();
            while connection.wants_write() {
                connection.write_tls(&mut socket).unwrap();
            }
        }
    });
    (port, how)
}

#[derive(Debug)]
struct NoTickets;

impl tls::rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }
    fn lifetime(&self) -> u32 {
        0
    }
    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn early_data_carries_safe_requests_if_it_is_allowed() {
    let identity = Identity::self_signed(&["127.0.0.1"]).unwrap();
    let handshake = "after the handshake";
    for (treatment, size_max, opted_in, method, expected) in [
        (EarlyData::Accepted, 4096, true, Method::GET, &["after the handshake", "early"][..]),
        // The rest of the request waits for the end of the handshake.
        (EarlyData::Accepted, 10, true, Method::GET, &[handshake, "early"]),
        (EarlyData::Refused, 10, true, Method::GET, &[handshake, handshake]),
        (EarlyData::Accepted, 4096, false, Method::GET, &["after the handshake", "after the handshake"]),
        // RFC 8470 §4: others must not be sent early.
        (EarlyData::Accepted, 4096, true, Method::PUT, &["after the handshake", "after the handshake"]),
        (EarlyData::Refused, 4096, true, Method::GET, &["after the handshake", "after the handshake"]),
        (
            EarlyData::TooEarly,
            4096,
            true,
            Method::GET,
            &["after the handshake", "early", "after the handshake"],
        ),
    ] {
        let (port, how) = early_data_server(&identity, treatment, size_max);
        let options = ClientTlsOptions::default()
            .trust(Trust::Given)
            .authorities(identity.chain().to_vec())
            .early_data(opted_in);
        let tls = ClientTls::new(&options).unwrap();
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let client = Client::new(ClientOptions::default().tls(tls));
            for _ in 0..2 {
                let request = Request::builder().method(&method).uri(format!("https://127.0.0.1:{port}/"));
                let response = client.request(request.body(()).unwrap()).await;
                let response =
                    response.unwrap_or_else(|error| panic!("{treatment:?} {opted_in} {method}: {error}"));
                assert_eq!(response.status(), StatusCode::OK);
                assert_eq!(response.into_body().text(10).await.unwrap(), "ok");
            }
        });
        let how: Vec<_> = how.try_iter().collect();
        assert_eq!(how, expected, "{treatment:?} {size_max} {opted_in} {method}");
    }
}

/// Some servers wait for the client's close_notify before they close the connection (RFC 5246 §7.2.1).
#[test]
fn close_notify_is_answered() {
    let (client_tls, server_tls) = pair(Version::Tls13);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = tls::rustls::ServerConnection::new(server_tls.config().clone()).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            connection.complete_io(&mut socket).unwrap();
            let _ = connection.reader().read_to_end(&mut request);
        }
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        connection.writer().write_all(response).unwrap();
        connection.send_close_notify();
        while connection.wants_write() {
            connection.write_tls(&mut socket).unwrap();
        }
        let since = Instant::now();
        loop {
            assert!(connection.read_tls(&mut socket).unwrap() > 0, "an end without close_notify");
            if connection.process_new_packets().unwrap().peer_has_closed() {
                return since.elapsed();
            }
        }
    });
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let stream = Stream::connect_tls(&address, "localhost", &client_tls).await.unwrap();
        let mut connection = Connection::new(stream, &ConnectionOptions::default());
        let request = Request::get("https://localhost/").body(Bytes::new()).unwrap();
        let mut response = connection.send(&PreparedRequest::new(&request).unwrap()).await.unwrap();
        assert_eq!(response.discard().await.unwrap(), 2);
        drop(response);
        // What the peer does next has arrived.
        while connection.is_reusable() {
            runtime::yield_now().await;
        }
        runtime::sleep(Duration::from_millis(20)).await;
        connection.close_after_peer();
        runtime::sleep(Duration::from_millis(100)).await;
    });
    let waited = server.join().unwrap();
    assert!(waited < Duration::from_millis(800), "{waited:?}");
}

#[test]
fn a_stream_has_tls_once() {
    let (client_tls, server_tls) = pair(Version::Tls13);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let server = runtime::spawn(async move { listener.accept().await?.accept_tls(&server_tls).await });
        let stream = Stream::connect_tls(&address, "localhost", &client_tls).await.unwrap();
        let error = stream.start_tls("localhost", &client_tls).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        drop(server);
    });
}

/// Every call after a failure names the same reason.
#[test]
fn a_send_after_a_failure_of_tls_names_it() {
    let (client_tls, server_tls) = pair(Version::Tls13);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = tls::rustls::ServerConnection::new(server_tls.config().clone()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        connection.complete_io(&mut socket).unwrap();
        // A record that nobody has encrypted.
        socket.write_all(b"\x17\x03\x03\x00\x14aaaaaaaaaaaaaaaaaaaa").unwrap();
        loop {
            connection.read_tls(&mut socket).unwrap();
            if let Err(error) = connection.process_new_packets() {
                break error;
            }
        }
    });
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let mut stream = Stream::connect_tls(&address, "localhost", &client_tls).await.unwrap();
        stream.send("hello").await.unwrap();
        let read = stream.receive().await.unwrap_err();
        let sent = stream.send("more").await.unwrap_err();
        for error in [read, sent] {
            assert!(matches!(tls::Error::of_io(&error), Some(tls::Error::PeerMisbehaved { .. })), "{error}");
        }
        // The peer has been told.
        runtime::sleep(Duration::from_millis(50)).await;
    });
    let heard = server.join().unwrap();
    assert!(matches!(heard, tls::rustls::Error::AlertReceived(_)), "{heard}");
}

/// RFC 8470 §5.2: 425 is an answer like any other to a request that was not sent early.
#[test]
fn too_early_is_no_reason_to_repeat_what_was_not_early() {
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let requests = Rc::new(Cell::new(0));
        let seen = Rc::clone(&requests);
        let handler = async move |exchange: Exchange<'_>| {
            seen.set(seen.get() + 1);
            exchange.respond(StatusCode::TOO_EARLY, &[], "")
        };
        let server = runtime::spawn(serve(listener, ServiceOptions::default(), shutdown.clone(), handler));
        let client = Client::default();
        let response = client.get(&format!("http://{address}/")).await.unwrap();
        assert_eq!((response.status(), requests.get()), (StatusCode::TOO_EARLY, 1));
        drop((response, client));
        shutdown.begin();
        server.await.unwrap();
    });
}

/// A client that does not finish its handshake costs a server no more than one that does not finish its head.
#[test]
fn the_handshake_counts_under_the_head_timeout_and_the_connection_limit() {
    let (client_tls, server_tls) = pair(Version::Tls13);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let head_timeout = Duration::from_millis(300);
        let options = ServiceOptions::default().tls(server_tls).head_timeout(head_timeout).connections_max(1);
        let handler = async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &[], "hello");
        let server = runtime::spawn(serve(listener, options, shutdown.clone(), handler));
        let since = Instant::now();
        let mut silent = Stream::connect(&address).await.unwrap();
        // The beginning of a record, and nothing more.
        silent.send("\x16\x03\x01\x02").await.unwrap();
        runtime::yield_now().await;
        // There is room for this one when the silent one is gone.
        let mut second = Stream::connect_tls(&address, "localhost", &client_tls).await.unwrap();
        assert!(since.elapsed() >= head_timeout, "{:?}", since.elapsed());
        assert!(silent.receive().await.unwrap().is_none(), "it was closed");
        second.send("GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let answer = second.receive().await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        shutdown.begin();
        server.await.unwrap();
    });
}
