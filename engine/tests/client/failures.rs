//! Failures, and the errors that describe them.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use ringtide::client::Timeouts;
use ringtide::error::{Culprit, Phase};
use ringtide::testing::{self, Script};
use ringtide::{Address, Client, ClientOptions, Error, resolve, runtime};

use crate::server::{Server, echo_target};
use crate::{SIMULATED, URL, read, run, with_timeouts};

/// A script that has read a request without a body.
fn asked() -> Script {
    Script::new().expect_until("\r\n\r\n")
}

#[test]
fn broken_responses_are_distinguished() {
    for (answer, culprit, text) in [
        ("", Culprit::Network, "the peer closed the connection before it answered"),
        ("HTTP/1.1 200 OK\r\nContent-", Culprit::Peer, "head"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Culprit::Peer, "the peer broke the protocol"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Culprit::Peer, "5"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", Culprit::Peer, "5"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Culprit::Peer, "chunk"),
        ("HTTP/1.1 100 Continue\r\n\r\n", Culprit::Peer, "head"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Culprit::Peer, "protocol"),
    ] {
        testing::every_split(answer, async |network, pieces| {
            network.serve(SIMULATED, asked().ignore_rest().send(pieces).end());
            let error = read(Client::default().get(URL).await).await.unwrap_err();
            assert_eq!(error.culprit(), culprit, "{answer:?}: {error}");
            assert!(error.to_string().contains(text), "{answer:?}: {error}");
        });
    }
}

#[test]
fn a_failed_body_returns_one_error_and_then_its_end() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort");
    });
    run(async {
        let mut body = Client::default().get(&server.url("/")).await.unwrap().into_body();
        assert_eq!(&*body.data().await.unwrap().unwrap(), b"short");
        assert!(matches!(body.data().await, Err(Error::Incomplete(_))));
        assert!(body.data().await.unwrap().is_none());
    });
}

#[test]
fn an_invalid_request_is_refused_before_anything_is_sent() {
    run(async {
        let client = Client::default();
        for (uri, text) in [
            ("http://127.0.0.1:0/", "'http://127.0.0.1:0/': port 0 cannot be connected to"),
            ("http://a b/", "'http://a b/': it cannot be parsed: invalid uri character"),
            ("/only/a/path", "'/only/a/path': it has no scheme: http:// or https://"),
        ] {
            let error = client.get(uri).await.unwrap_err();
            assert_eq!((error.to_string().as_str(), error.culprit()), (text, Culprit::Caller));
        }
    });
}

/// Returns an address with no listener.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_refused_connection_names_the_address() {
    let address = nobody();
    run(async {
        let client = Client::default();
        // This is more often than there may be connections: a failure must free its place.
        for _ in 0..200 {
            let error = client.get(&format!("http://{address}/")).await.unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("could not connect to {address}: Connection refused")),
                "{text}"
            );
            assert_eq!(error.culprit(), Culprit::Network);
        }
    });
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    run(async {
        let error = Client::default().get("http://does-not-exist.invalid/").await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("no address found for 'does-not-exist.invalid': "), "{text}");
        assert!(matches!(error, Error::Resolve { .. }));
    });
}

#[test]
fn names_are_looked_up_many_at_a_time_on_any_executor() {
    let found = pollster::block_on(resolve::lookup("localhost", 80)).unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
    assert_eq!(pollster::block_on(resolve::lookup("[::1]", 1)).unwrap(), ["[::1]:1".parse().unwrap()]);
    run(async {
        let tasks: Vec<_> = (0..100)
            .map(|_| runtime::spawn(async { resolve::lookup("localhost", 80).await.unwrap() }))
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            if number % 3 == 0 {
                task.abort();
            } else {
                assert_eq!(task.await.unwrap(), found);
            }
        }
    });
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    // The server listens only on 127.0.0.1. If localhost is also ::1, that address is refused first.
    let server = Server::start(echo_target);
    let port = server.address().port();
    run(async {
        let client = Client::default();
        for _ in 0..2 {
            let answer = read(client.get(&format!("http://LOCALHOST:{port}/x")).await).await.unwrap();
            assert_eq!(answer, (200, "/x".into()));
        }
    });
    assert_eq!(server.accepted(), 1);
}

/// Returns a client with `timeouts`.
fn limited(timeouts: Timeouts) -> Client {
    Client::new(with_timeouts(timeouts))
}

#[test]
fn a_missing_response_times_out_in_its_phase() {
    let short = Some(Duration::from_millis(300));
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 O";
    for (answer, timeouts, phase) in [
        ("", Timeouts::none().head(short), Phase::Head),
        (interim, Timeouts::none().head(short), Phase::Head),
        (half, Timeouts::none().body_idle(short), Phase::BodyIdle),
        (half, Timeouts::none().body(short), Phase::Body),
    ] {
        testing::run(async |network| {
            network.serve(SIMULATED, asked().send(answer).expect_end());
            let start_ns = runtime::now_ns();
            let error = read(limited(timeouts).get(URL).await).await.unwrap_err();
            assert!(matches!(error, Error::Timeout(found) if found == phase), "{answer}: {error}");
            assert!((300_000_000..301_000_000).contains(&(runtime::now_ns() - start_ns)));
            assert_eq!(error.culprit(), Culprit::Time);
        });
    }
}

/// A response whose body comes byte by byte, one each 5 ms.
fn dripping(length: usize, sent: usize) -> Script {
    let head = asked().send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
    (0..sent).fold(head, |script, _| script.delay(Duration::from_millis(5)).send("x"))
}

#[test]
fn a_slow_body_avoids_the_idle_limit_but_not_the_total_limit() {
    testing::run(async |network| {
        network.serve(SIMULATED, dripping(1_000_000, 19).expect_end());
        let limits = Timeouts::none().body_idle(Duration::from_millis(6)).body(Duration::from_millis(100));
        let error = read(limited(limits).get(URL).await).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Body)), "{error}");
    });
}

#[test]
fn the_idle_limit_starts_again_with_each_piece() {
    testing::run(async |network| {
        network.serve(SIMULATED, dripping(12, 12).expect_end());
        let client = limited(Timeouts::none().body_idle(Duration::from_millis(6)));
        assert_eq!(read(client.get(URL).await).await.unwrap(), (200, "x".repeat(12).into()));
    });
}

#[test]
fn a_body_that_is_read_too_slowly_exceeds_the_total_limit() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.respond(&"x".repeat(1_000_000));
        peer.drain();
    });
    run(async {
        let client = Client::new(with_timeouts(Timeouts::none().body(Duration::from_secs(1))));
        let mut body = client.get(&server.url("/")).await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        runtime::sleep(Duration::from_millis(1010)).await;
        assert!(matches!(body.data().await, Err(Error::Timeout(Phase::Body))));
        assert!(body.data().await.unwrap().is_none());
    });
}

#[test]
fn a_limit_of_one_request_does_not_apply_to_the_next_on_its_connection() {
    testing::run(async |network| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let first = asked().send(head).delay(Duration::from_millis(20)).send("body");
        let second = first.expect_until("\r\n\r\n").delay(Duration::from_millis(400));
        network.serve(SIMULATED, second.send(head).send("late").expect_end());
        let client = limited(Timeouts::none().body_idle(Duration::from_millis(200)));
        assert_eq!(read(client.get(URL).await).await.unwrap(), (200, "body".into()));
        assert_eq!(read(client.get(URL).await).await.unwrap(), (200, "late".into()));
    });
}

#[test]
fn time_that_the_reader_takes_does_not_count_as_idle() {
    testing::run(async |network| {
        network
            .serve(SIMULATED, asked().send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd").expect_end());
        let client = limited(Timeouts::none().body_idle(Duration::from_millis(200)));
        let response = client.get(URL).await.unwrap();
        runtime::sleep(Duration::from_millis(300)).await;
        assert_eq!(read(Ok(response)).await.unwrap(), (200, "abcd".into()));
    });
}

#[test]
fn waiting_for_a_connection_is_a_phase_of_its_own() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        peer.drain();
    });
    run(async {
        let limit = Duration::from_millis(300);
        for (timeouts, timed_out) in [
            (Timeouts::none().pool(limit), true),
            // Only the wait for a connection takes long.
            (Timeouts::none().connect(limit).head(limit).body_idle(limit).body(limit), false),
        ] {
            let mut options = with_timeouts(timeouts);
            options.pool.connections_per_host_max = 1;
            let client = Client::new(options);
            let unread = client.get(&server.url("/")).await.unwrap();
            let start_ns = runtime::now_ns();
            let waiting = runtime::spawn({
                let (client, url) = (client.clone(), server.url("/"));
                async move { client.get(&url).await.map(|_| ()) }
            });
            runtime::sleep(limit * 2).await;
            assert_eq!(waiting.is_finished(), timed_out);
            drop(unread);
            match waiting.await.unwrap() {
                Ok(()) => assert!(!timed_out),
                Err(error) => {
                    assert!(timed_out && matches!(error, Error::Timeout(Phase::Pool)), "{error}");
                    assert_eq!(error.to_string(), "timed out waiting for a free connection to the host");
                }
            }
            assert!(runtime::now_ns() - start_ns >= 300_000_000);
            client.get(&server.url("/")).await.unwrap();
        }
    });
}

#[test]
fn connecting_times_out() {
    // A listener with a full accept queue takes no more connections: the kernel drops their SYNs, and the client's
    // connect hangs.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    run(async {
        let client = Client::new(with_timeouts(Timeouts::none().connect(Duration::from_millis(50))));
        let error = client.get(&format!("http://{address}/")).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Connect)), "{error}");
        assert_eq!(error.to_string(), "timed out connecting");
    });
}

/// A path for a socket, removed when dropped.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringtide-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn unix_sockets_carry_requests_for_any_host() {
    let path = SocketPath::new("client");
    let server = Server::start_unix(&path.0, |_, peer| {
        while let Some(request) = peer.request() {
            let host = request.field("host").unwrap().to_owned();
            peer.respond(&host);
        }
    });
    run(async {
        let options = ClientOptions::default().connect_to(Address::Unix(path.0.clone()));
        let client = Client::new(options);
        for _ in 0..3 {
            let answer = read(client.get("http://docker.invalid/v1").await).await.unwrap();
            assert_eq!(answer, (200, "docker.invalid".into()));
        }
        let request = Request::get("http://other.invalid:81/").body(()).unwrap();
        assert_eq!(read(client.request(request).await).await.unwrap(), (200, "other.invalid:81".into()));
    });
    assert_eq!(server.accepted(), 2, "one for each host");
}

#[test]
fn a_unix_socket_that_is_not_there_is_named() {
    let path = SocketPath::new("nobody");
    run(async {
        let options = ClientOptions::default().connect_to(Address::Unix(path.0.clone()));
        let error = Client::new(options).get("http://localhost/").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("nobody: No such file"), "{text}");
    });
}
