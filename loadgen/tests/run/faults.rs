//! Servers that misbehave: the run continues, counts each failure by its kind, and includes the time of requests that
//! timed out in the percentiles.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::command::{begin, float, number, once_in_five, report, run};
use crate::server::{HELLO, Peer, Server, Tally, next_request};

on_both_drivers!(
    a_server_that_closes_at_once,
    a_server_that_resets,
    a_server_that_closes_instead_of_answering,
    garbage_is_no_http,
    half_a_head_is_incomplete,
    a_body_shorter_than_its_length_is_incomplete,
    chunks_without_an_end_are_incomplete,
    wrong_chunk_sizes_are_no_http,
    a_server_that_never_answers,
    a_body_that_stops_runs_into_the_timeout,
    timeouts_of_pipelined_requests,
    what_fails_with_the_first_in_flight_is_not_the_others_fault,
    nothing_counts_behind_the_last_answer_of_a_connection,
    bytes_that_no_request_asked_for_are_noted,
    a_connection_that_the_server_closes_while_it_is_idle_is_replaced,
    a_server_that_speaks_first_is_no_http,
    a_server_that_does_not_close_has_its_connections_closed,
    connections_that_timeouts_have_taken_do_not_pile_up,
    a_connection_that_the_server_has_not_waited_for_is_replaced,
    a_pipelined_request_has_the_time_from_its_own_send,
    an_answer_before_the_request_is_no_answer,
    an_answer_too_many_is_no_answer,
    interim_answers_without_end_are_stopped,
    a_head_without_end_is_stopped,
    a_server_that_goes_and_comes_back,
    a_number_of_requests_ends_when_nobody_answers,
    a_pause_before_a_connect_is_not_the_servers,
    a_rate_without_connections_is_told_why,
);

/// Runs against `serve`. All requests must fail, each with one of `kinds`.
#[track_caller]
fn all_fail(driver: &str, kinds: &[&str], serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Value {
    let server = Server::start(serve);
    let report = report(driver, &server.url(), &["-n", "60", "-c", "4", "--timeout", "20s"]);
    server.finish();
    assert_eq!(number(&report["requests"]["failed"]), 60, "{report}");
    assert_eq!(number(&report["requests"]["scheduled"]), 60, "{report}");
    assert_eq!(sum_of(&report, kinds), 60, "{report}");
    report
}

fn sum_of(report: &Value, kinds: &[&str]) -> u64 {
    kinds.iter().map(|kind| number(&report["errors"][kind])).sum()
}

/// Receives a request, sends `answer`, and closes.
fn answers_and_closes(answer: &'static [u8]) -> impl Fn(&mut Peer) + Send + Sync {
    move |peer| {
        if peer.request().is_some() {
            peer.send(answer);
            peer.stream.shutdown(Shutdown::Write).expect("it is connected");
            peer.wait_for_end();
        }
    }
}

fn a_server_that_closes_at_once(driver: &str) {
    // If the server's close and the request cross, the server resets the connection.
    all_fail(driver, &["closed", "reset"], |_| {});
}

fn a_server_that_resets(driver: &str) {
    let report = all_fail(driver, &["reset"], |peer| {
        if peer.request().is_some() {
            peer.reset();
        }
    });
    assert_eq!(report["error_examples"], serde_json::json!({}), "the kind says it all: {report}");
    // These requests failed at once and did not reach a time limit.
    assert_eq!(number(&report["latency_us"]["response"]["count"]), 0, "{report}");
    assert_eq!(number(&report["requests"]["sent"]), 60, "{report}");
}

fn a_server_that_closes_instead_of_answering(driver: &str) {
    let report = all_fail(driver, &["closed"], answers_and_closes(b""));
    assert_eq!(number(&report["requests"]["sent"]), 60, "{report}");
}

fn garbage_is_no_http(driver: &str) {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBroken Header\r\n\r\n",
    ] {
        let report = all_fail(driver, &["protocol"], answers_and_closes(answer));
        assert_eq!(number(&report["bytes_received"]), 60 * answer.len() as u64, "{report}");
    }
}

fn half_a_head_is_incomplete(driver: &str) {
    all_fail(driver, &["incomplete"], answers_and_closes(b"HTTP/1.1 200 OK\r\nContent-Le"));
    all_fail(driver, &["incomplete"], answers_and_closes(b"H"));
}

fn a_body_shorter_than_its_length_is_incomplete(driver: &str) {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    let report = all_fail(driver, &["incomplete"], answers_and_closes(answer));
    assert_eq!(report["status"], serde_json::json!({}), "half an answer has no status: {report}");
    let said = report["error_examples"]["incomplete"].as_str().unwrap_or_default();
    assert!(said.contains("5 of 100 bytes"), "{report}");
    assert_eq!(number(&report["bytes_received"]), 60 * answer.len() as u64, "{report}");
}

fn chunks_without_an_end_are_incomplete(driver: &str) {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        all_fail(driver, &["incomplete"], answers_and_closes(answer));
    }
}

fn wrong_chunk_sizes_are_no_http(driver: &str) {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello",
    ] {
        all_fail(driver, &["protocol"], answers_and_closes(answer));
    }
}

fn a_server_that_never_answers(driver: &str) {
    let server = Server::start(|peer| while peer.request().is_some() {});
    let report = report(driver, &server.url(), &["-n", "12", "-c", "4", "--timeout", "150ms"]);
    let tally = server.finish();
    assert_eq!(number(&report["errors"]["timeout"]), 12, "{report}");
    assert_eq!(number(&report["requests"]["sent"]), 12, "{report}");
    assert_eq!(tally.requests(), 12);
    for name in ["response", "service"] {
        let summary = &report["latency_us"][name];
        assert_eq!((number(&summary["count"]), number(&summary["censored"])), (12, 12), "{name}: {report}");
    }
    // A connection with an outstanding response cannot serve the next request.
    assert_eq!(tally.connections.load(SeqCst), 12);
}

fn a_body_that_stops_runs_into_the_timeout(driver: &str) {
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
            peer.wait_for_end();
        }
    });
    let report = report(driver, &server.url(), &["-n", "8", "-c", "4", "--timeout", "150ms"]);
    server.finish();
    assert_eq!(number(&report["errors"]["timeout"]), 8, "{report}");
    assert_eq!(number(&report["latency_us"]["response"]["count"]), 8, "{report}");
}

fn timeouts_of_pipelined_requests(driver: &str) {
    // The server responds to the first request only.
    let answers_the_first = |peer: &mut Peer| {
        if peer.request().is_some() {
            peer.send(HELLO);
            while peer.request().is_some() {}
        }
    };
    let flags = ["-n", "16", "-c", "1", "-p", "4", "--timeout", "300ms"];
    let measured = || {
        let server = Server::start(answers_the_first);
        let text = run(driver, &server.url(), &flags);
        server.finish();
        text
    };
    let says = "timeout 12 no complete response within 300ms, or behind a request without one";
    once_in_five(measured, |text| {
        text.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(says)
    });
    let server = Server::start(answers_the_first);
    let report = report(driver, &server.url(), &flags);
    let tally = server.finish();
    assert_eq!(number(&report["requests"]["sent"]), tally.requests(), "{report}");
    assert!(number(&report["errors"]["timeout"]) >= 12, "{report}");
    assert!(float(&report["latency_us"]["service"]["p50"]) >= 299_000.0, "{report}");
}

fn what_fails_with_the_first_in_flight_is_not_the_others_fault(driver: &str) {
    for (answer, kind) in [(&b"HTTP/1.1 200 OK\r\nCont"[..], "incomplete"), (b"garbage\r\n\r\n", "protocol")]
    {
        let server = Server::start(move |peer| {
            for _ in 0..4 {
                assert!(peer.request().is_some());
            }
            peer.send(answer);
            peer.stream.shutdown(Shutdown::Write).expect("it is connected");
            peer.wait_for_end();
        });
        let report = report(driver, &server.url(), &["-n", "4", "-c", "1", "-p", "4"]);
        server.finish();
        assert_eq!(number(&report["errors"][kind]), 1, "{report}");
        assert_eq!(number(&report["errors"]["closed"]), 3, "{report}");
        assert_eq!(number(&report["requests"]["sent"]), 4, "{report}");
    }
}

fn nothing_counts_behind_the_last_answer_of_a_connection(driver: &str) {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for (last, status) in [
        ("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "404"),
        ("HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        (upgrade, "101"),
    ] {
        let server = Server::start(move |peer| {
            assert!(peer.request().is_some());
            peer.send(HELLO);
            assert!(peer.request().is_some());
            // The client has not requested the second response, and the server does not close the connection.
            peer.send(format!("{last}HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n").as_bytes());
            peer.wait_for_end();
        });
        let upgrades = ["-H", "Connection: upgrade", "-H", "Upgrade: x"];
        let flags = [&["-n", "8", "-c", "1", "-p", "4", "--timeout", "20s"][..], &upgrades].concat();
        let report = report(driver, &server.url(), &flags);
        let tally = server.finish();
        // The first connection had five requests and two responses, the second three requests and two responses.
        assert_eq!(report["status"], serde_json::json!({"200": 2, status: 2}), "{report}");
        assert_eq!(number(&report["errors"]["closed"]), 4, "{report}");
        // Only `Connection: close` says that the server does not process them.
        let ruled_out = "4 of the 4 failed requests were pipelined behind a response";
        assert_eq!(report["notes"].to_string().contains(ruled_out), last.contains("close"), "{report}");
        assert_eq!(tally.connections.load(SeqCst), 2);
        assert!(float(&report["duration_s"]) < 10.0, "{report}");
    }
}

fn bytes_that_no_request_asked_for_are_noted(driver: &str) {
    for doubles in [false, true] {
        let server = Server::start(move |peer| {
            while peer.request().is_some() {
                peer.send(&HELLO.repeat(1 + usize::from(doubles)));
            }
        });
        let report = report(driver, &server.url(), &["-n", "3", "-c", "1"]);
        let tally = server.finish();
        assert_eq!(report["status"], serde_json::json!({"200": 3}), "{report}");
        let connections = if doubles { 3 } else { 1 };
        assert_eq!(tally.connections.load(SeqCst), connections);
        let noted = report["notes"].to_string().contains("bytes that no request had asked for: ");
        assert_eq!(noted, doubles, "{report}");
    }
}

/// Every server does this some time after the last request, or before the first.
fn a_connection_that_the_server_closes_while_it_is_idle_is_replaced(driver: &str) {
    let server = Server::start(|peer| {
        peer.stream.set_read_timeout(Some(Duration::from_millis(250))).expect("it is TCP");
        while peer.request().is_some() {
            peer.send(HELLO);
        }
    });
    // When the second and the third request are due, their connections are gone.
    let report = report(driver, &server.url(), &["-R", "2", "-n", "4", "-c", "3", "-t", "1"]);
    let tally = server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 4, "{report}");
    assert_eq!(tally.connections.load(SeqCst), 6, "{report}");
}

fn a_server_that_speaks_first_is_no_http(driver: &str) {
    let server = Server::start(|peer| {
        peer.send(HELLO);
        peer.wait_for_end();
    });
    // Only the first request is due so soon that the response may not have arrived on its connection.
    let report = report(driver, &server.url(), &["-R", "10", "-n", "4", "-c", "4", "-t", "1"]);
    server.finish();
    assert!(number(&report["errors"]["protocol"]) >= 3, "{report}");
    let said = report["error_examples"]["protocol"].as_str().unwrap_or_default();
    assert!(said.contains("before it was asked"), "{report}");
}

fn connections_that_timeouts_have_taken_do_not_pile_up(driver: &str) {
    let (open, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let (now, peak) = (Arc::clone(&open), Arc::clone(&most));
    let server = Server::start(move |peer| {
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        // The server never responds, and keeps the connection until the client closes it.
        while peer.request().is_some() {}
        peer.wait_for_reset();
        now.fetch_sub(1, SeqCst);
    });
    let flags = ["-n", "2000", "-c", "10", "-t", "1", "-p", "2", "--timeout", "20ms"];
    let report = report(driver, &server.url(), &flags);
    server.finish();
    assert_eq!(number(&report["errors"]["timeout"]), 2000, "{report}");
    // 10 in use and 16 that are closing, plus those whose server threads have not noticed the end yet. All are 1,000.
    let most = most.load(SeqCst);
    assert!(most < 500, "{most} were open at once");
}

/// The server closes the connection with a 408, because it has waited too long for a request.
fn a_connection_that_the_server_has_not_waited_for_is_replaced(driver: &str) {
    let server = Server::start(|peer| {
        peer.stream.set_read_timeout(Some(Duration::from_millis(250))).expect("it is TCP");
        if peer.request().is_none() {
            peer.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        peer.send(HELLO);
        peer.stream.set_read_timeout(None).expect("it is TCP");
        peer.wait_for_end();
    });
    // When the second and the third request are due, their connections are gone.
    let report = report(driver, &server.url(), &["-R", "2", "-n", "3", "-c", "3", "-t", "1"]);
    server.finish();
    assert_eq!(report["status"], serde_json::json!({"200": 3}), "{report}");
}

/// The server leaves it to the client to close the connections (`Connection: close` in the request).
fn a_server_that_does_not_close_has_its_connections_closed(driver: &str) {
    let (open, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let (now, peak) = (Arc::clone(&open), Arc::clone(&most));
    let server = Server::start(move |peer| {
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        while peer.request().is_some() {
            peer.send(HELLO);
        }
        now.fetch_sub(1, SeqCst);
    });
    let flags = ["-n", "1000", "-c", "4", "-t", "1", "--no-keepalive"];
    let report = report(driver, &server.url(), &flags);
    let tally = server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 1000, "{report}");
    assert!(tally.connections.load(SeqCst) >= 1000);
    // 4 in use and 16 that are closing, plus those whose server threads have not noticed the end yet. All are 1,000.
    let most = most.load(SeqCst);
    assert!(most < 500, "{most} were open at once");
}

/// Two requests are sent together. The first response comes late, and the second request has its own time limit.
fn a_pipelined_request_has_the_time_from_its_own_send(driver: &str) {
    let server = Server::start(|peer| {
        for _ in 0..2 {
            if peer.request().is_none() {
                return;
            }
        }
        thread::sleep(Duration::from_millis(600));
        peer.send(HELLO);
        peer.wait_for_end();
    });
    let report = report(driver, &server.url(), &["-n", "2", "-c", "1", "-p", "2", "--timeout", "1s"]);
    server.finish();
    assert_eq!(report["status"], serde_json::json!({"200": 1}), "{report}");
    assert_eq!(number(&report["errors"]["timeout"]), 1, "{report}");
    let max_us = float(&report["latency_us"]["service"]["max"]);
    assert!((1_000_000.0..1_500_000.0).contains(&max_us), "{report}");
}

fn an_answer_before_the_request_is_no_answer(driver: &str) {
    for flags in [&["-c", "4"][..], &["-c", "4", "-p", "2"]] {
        let server = Server::start(|peer| {
            peer.send(HELLO);
            peer.wait_for_end();
        });
        let mut all = vec!["-n", "60", "--timeout", "200ms"];
        all.extend(flags);
        let report = report(driver, &server.url(), &all);
        server.finish();
        // If the response arrived while the request was already in flight, a client cannot tell that it is not the
        // request's response.
        let (completed, failed) =
            (number(&report["requests"]["completed"]), number(&report["requests"]["failed"]));
        assert_eq!(completed + failed, 60, "{report}");
        assert_eq!(sum_of(&report, &["protocol", "closed", "timeout"]), failed, "{report}");
    }
}

fn an_answer_too_many_is_no_answer(driver: &str) {
    // The extra response arrives together with the requested one, so the client does not reuse the connection.
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            peer.send(&[HELLO, b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n"].concat());
        }
    });
    let report = report(driver, &server.url(), &["-n", "40", "-c", "2"]);
    let tally = server.finish();
    assert_eq!(report["status"], serde_json::json!({"200": 40}), "{report}");
    assert_eq!(tally.connections.load(SeqCst), 40);
}

fn interim_answers_without_end_are_stopped(driver: &str) {
    all_fail(driver, &["protocol"], |peer| {
        if peer.request().is_some() {
            flood(peer, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    });
}

fn a_head_without_end_is_stopped(driver: &str) {
    for line in [&b"X-More: and more\r\n"[..], b"x"] {
        let report = all_fail(driver, &["protocol"], move |peer| {
            if peer.request().is_some() {
                peer.send(b"HTTP/1.1 200 OK\r\n");
                flood(peer, line);
            }
        });
        assert!(number(&report["generator"]["rss_peak_bytes"]) < 100_000_000, "{report}");
    }
}

/// Sends `piece` repeatedly until the client closes the connection.
fn flood(peer: &mut Peer, piece: &[u8]) {
    let many = piece.repeat(4096 / piece.len());
    while std::io::Write::write_all(&mut peer.stream, &many).is_ok() {}
}

/// A port that stays reserved for this test, even while no socket listens at it.
struct Port {
    address: SocketAddr,
    _kept: Socket,
}

impl Port {
    fn new() -> Self {
        let kept = Self::bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self { address: kept.local_addr().expect("bound").as_socket().expect("TCP"), _kept: kept }
    }

    /// Returns a socket bound to `address`. With `SO_REUSEADDR` on all of them, several sockets can share a port while
    /// one of them listens.
    fn bound(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("it is TCP");
        socket.bind(&SockAddr::from(address)).expect("the port is ours");
        socket
    }

    /// Runs a server that answers `lifetime` requests over all connections, and then closes everything. Returns how
    /// many it answered.
    fn live(&self, lifetime: u64) -> u64 {
        let listener = Self::bound(self.address);
        listener.listen(128).expect("bound");
        let served = Arc::new(AtomicU64::new(0));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (over, wait) = channel();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let accepting = {
            let (served, open, stop) = (Arc::clone(&served), Arc::clone(&open), Arc::clone(&stop));
            let listener: std::net::TcpListener = listener.into();
            thread::spawn(move || {
                let mut threads = Vec::new();
                for stream in listener.incoming() {
                    let mut stream = stream.expect("there are descriptors");
                    if stop.load(SeqCst) {
                        break;
                    }
                    open.lock().expect("no panic").push(stream.try_clone().expect("there are descriptors"));
                    let (served, over) = (Arc::clone(&served), over.clone());
                    threads.push(thread::spawn(move || {
                        let (tally, mut buffer) = (Tally::default(), Vec::new());
                        while next_request(&mut stream, &mut buffer, &tally).is_some() {
                            let number = served.fetch_add(1, SeqCst) + 1;
                            if number <= lifetime {
                                let _ = std::io::Write::write_all(&mut stream, HELLO);
                            }
                            if number == lifetime {
                                let _ = over.send(());
                            }
                        }
                    }));
                }
                drop((over, listener));
                for thread in threads {
                    thread.join().expect("no panic");
                }
            })
        };
        // Returns when enough requests have arrived, or when all clients have gone.
        let _ = wait.recv_timeout(Duration::from_secs(30));
        stop.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        for stream in open.lock().expect("no panic").iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        accepting.join().expect("no panic");
        served.load(SeqCst).min(lifetime)
    }
}

fn a_server_that_goes_and_comes_back(driver: &str) {
    for flags in [&["-c", "4"][..], &["-c", "4", "-R", "2k"]] {
        let port = Port::new();
        let address = port.address;
        let serving = thread::spawn(move || {
            let first = port.live(100);
            // Long enough that the client's connects are refused.
            thread::sleep(Duration::from_millis(200));
            (first, port.live(100))
        });
        // The test can only see that the server is up by connecting to it.
        while TcpStream::connect(address).is_err() {
            thread::yield_now();
        }
        let mut all = vec!["-d", "1m", "--format", "json"];
        all.extend(flags);
        let running = begin(driver, &format!("http://{address}/"), &all);
        let (first, second) = serving.join().expect("no panic");
        running.interrupt();
        let report = running.wait().report(130);
        assert!(first >= 100 && second >= 100, "{first} {second} {report}");
        assert!(number(&report["status"]["200"]) >= 200 - 8, "{report}");
        // The server went away with requests in flight or between two requests, and stayed away for a while.
        assert!(number(&report["errors"]["connect"]) > 0, "{report}");
        let said = report["error_examples"]["connect"].as_str().unwrap_or_default();
        // Refused, or reset if the server went away during a handshake.
        assert!(said.starts_with(&format!("could not connect to {address}: ")), "{report}");
        let failed = number(&report["requests"]["failed"]);
        assert_eq!(sum_of(&report, &["connect", "closed", "reset", "incomplete"]), failed, "{report}");
    }
}

fn a_number_of_requests_ends_when_nobody_answers(driver: &str) {
    // The server accepts the first connections, and then goes away for good.
    let port = Port::new();
    let address = port.address;
    let serving = thread::spawn(move || {
        port.live(20);
        port
    });
    while TcpStream::connect(address).is_err() {
        thread::yield_now();
    }
    let ended = run(driver, &format!("http://{address}/"), &["-n", "40", "-c", "4", "--format", "json"]);
    let report = ended.report(0);
    assert_eq!(number(&report["requests"]["scheduled"]), 40, "{report}");
    assert!(number(&report["errors"]["connect"]) > 0, "{report}");
    serving.join().expect("no panic");
}

/// Starts a server that accepts four connections, responds to ten requests on each, and goes away. From then on each
/// connect is refused.
fn goes_away() -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let serving = thread::spawn(move || {
        let mut streams: Vec<_> = (0..4).map(|_| listener.accept().expect("it connects").0).collect();
        drop(listener);
        let (tally, mut buffers) = (Tally::default(), [const { Vec::new() }; 4]);
        for _ in 0..10 {
            for (stream, buffer) in streams.iter_mut().zip(&mut buffers) {
                if next_request(stream, buffer, &tally).is_some() {
                    std::io::Write::write_all(stream, HELLO).expect("it is there");
                }
            }
        }
    });
    (url, serving)
}

/// Between two connects that are refused the generator pauses for up to a quarter of a second. The end finds each
/// connection in such a pause.
fn a_pause_before_a_connect_is_not_the_servers(driver: &str) {
    let (url, serving) = goes_away();
    let report = report(driver, &url, &["-c", "4", "-t", "1", "-d", "1200ms"]);
    serving.join().expect("no panic");
    let requests = &report["requests"];
    assert_eq!((number(&requests["completed"]), number(&requests["censored"])), (40, 0), "{report}");
    assert!(number(&report["errors"]["connect"]) >= 16, "{report}");
    for name in ["response", "queue_wait"] {
        assert_eq!(number(&report["latency_us"][name]["count"]), 40, "{name}: {report}");
        assert!(float(&report["latency_us"][name]["max"]) < 200_000.0, "{name}: {report}");
    }
}

fn a_rate_without_connections_is_told_why(driver: &str) {
    let (url, serving) = goes_away();
    let report = report(driver, &url, &["-R", "100", "-c", "4", "-t", "1", "-d", "2s"]);
    serving.join().expect("no panic");
    let notes = report["notes"].to_string();
    let failed = number(&report["errors"]["connect"]);
    let why = format!("never found a free connection; for {failed} others a connect failed");
    assert!(failed > 0 && notes.contains(&why) && !notes.contains("too slow"), "{report}");
}
