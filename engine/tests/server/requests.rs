//! Requests and responses: keep-alive, pipelining, versions, methods, and refused requests.

use std::time::Duration;

use ringtide::server::ServiceOptions;
use ringtide::testing::{self, Script};

use crate::site::{PIECE, Running, SIMULATED, serve_simulated};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_connection_is_kept_for_further_requests() {
    let running = Running::start();
    let mut peer = running.peer();
    for _ in 0..3 {
        let response = peer.ask(GET);
        assert_eq!((response.status, response.text()), (200, "hello world\n"));
        assert_eq!(response.field("connection"), None);
        assert!(response.field("date").is_some_and(|date| date.ends_with(" gmt")), "{}", response.head);
    }
    assert_eq!(peer.ask("GET /prepared HTTP/1.1\r\nHost: h\r\n\r\n").text(), "prepared\n");
    let response = peer.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    peer.expect_end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = Running::start();
    let mut peer = running.peer();
    let targets = ["/", "/large", "/prepared", "/pieces", "/empty", "/nowhere", "/"];
    let requests = targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).concat();
    for _ in 0..20 {
        peer.send(&requests);
    }
    for _ in 0..20 {
        let answers: Vec<_> =
            targets.iter().map(|_| peer.response()).map(|r| (r.status, r.body.len())).collect();
        assert_eq!(
            answers,
            [(200, 12), (200, 3_000_000), (200, 9), (200, 22_000), (204, 0), (404, 13), (200, 12)]
        );
    }
}

#[test]
fn responses_to_requests_of_one_segment_are_sent_together() {
    let running = Running::start();
    let mut peer = running.peer();
    peer.send(GET.repeat(50));
    let first = peer.response();
    let size = first.head.len() + 4 + first.body.len();
    // The other 49 have arrived with it, so no read has to wait.
    peer.stream.set_nonblocking(true).unwrap();
    for _ in 1..50 {
        assert_eq!(peer.response().text(), "hello world\n");
    }
    assert!(50 * size < 16 * 1024, "one send is the claim as far as they fit into one");
}

#[test]
fn an_earlier_response_does_not_wait_for_a_later_handler() {
    // The later handler never ends by itself.
    let running = Running::with(ServiceOptions::default().shutdown_timeout(Duration::from_millis(50)));
    let mut peer = running.peer();
    peer.send(format!("{GET}GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(peer.response().text(), "hello world\n");
}

#[test]
fn a_head_may_be_cut_anywhere() {
    // The second one also begins in the piece that ends the first.
    let requests = format!("{GET}GET /nowhere HTTP/1.1\r\nHost: h\r\nX-Long: 1234567890\r\n\r\n");
    testing::every_split(requests, async |network, pieces| {
        serve_simulated(ServiceOptions::default());
        let script = Script::new().send(pieces).expect("HTTP/1.1 200 OK\r\n").expect_until("hello world\n");
        let script = script.expect("HTTP/1.1 404 Not Found\r\n").expect_until("no such page\n");
        network.connect(SIMULATED, script.end().expect_end());
    });
}

#[test]
fn a_response_to_head_has_no_body() {
    let running = Running::start();
    let mut peer = running.peer();
    for (target, length) in
        [("/", "12"), ("/prepared", "9"), ("/large", "3000000"), ("/announced", "3000000")]
    {
        peer.send(format!("HEAD {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let (status, head) = peer.head();
        assert_eq!(status, 200);
        assert!(head.contains(&format!("content-length: {length}")), "{head}");
    }
    peer.send("HEAD /pieces HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(peer.head().1.contains("transfer-encoding: chunked"));
    assert_eq!(peer.ask(GET).text(), "hello world\n");
}

#[test]
fn clients_of_http_1_0_are_served() {
    let running = Running::start();
    let mut peer = running.peer();
    let response = peer.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    peer.expect_end();

    let mut peer = running.peer();
    for _ in 0..2 {
        let response = peer.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((response.text(), response.field("connection")), ("hello world\n", Some("keep-alive")));
    }
    // The body is not chunked. The end of the connection ends it.
    let response = peer.ask("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!((response.field("connection"), response.body.len()), (Some("close"), 22_000));
}

#[test]
fn invalid_requests_are_refused_with_the_right_status() {
    let running = Running::start();
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(9000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(101));
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        ("\u{16}\u{3}\u{1}garbage\r\n\r\n", 400),
        (long_target.as_str(), 414),
        (long_head.as_str(), 431),
        (many_fields.as_str(), 431),
    ];
    for (request, status) in cases {
        let start = &request[..request.len().min(60)];
        // Once alone, and once after a valid request, whose response comes first.
        for before in ["", GET] {
            let mut peer = running.peer();
            peer.send(format!("{before}{request}"));
            if !before.is_empty() {
                assert_eq!(peer.response().text(), "hello world\n");
            }
            let response = peer.response();
            assert_eq!(response.status, status, "{start:?}: {}", response.text());
            assert_eq!(response.field("connection"), Some("close"));
            assert!(response.text().starts_with(&status.to_string()), "{}", response.text());
            peer.expect_end();
        }
    }
    assert_eq!(running.peer().ask(GET).status, 200);
}

#[test]
fn a_request_after_the_last_one_is_not_processed() {
    let running = Running::start();
    let mut peer = running.peer();
    peer.send(format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{GET}"));
    assert_eq!(peer.response().field("connection"), Some("close"));
    peer.expect_end();
    assert_eq!(running.handled(), 1);
}

#[test]
fn a_client_that_closes_its_sending_half_gets_its_response() {
    let running = Running::start();
    let mut peer = running.peer();
    peer.send(format!("{GET}GET /large HTTP/1.1\r\nHost: h\r\n\r\n{GET}GET / HT"));
    peer.finish();
    assert_eq!(peer.response().status, 200);
    assert_eq!(peer.response().body, crate::site::large());
    assert_eq!(peer.response().status, 200);
    let response = peer.response();
    assert_eq!(
        (response.status, response.text()),
        (400, "400 Bad Request: the stream ended inside a head\n")
    );
    peer.expect_end();
}

#[test]
fn a_client_that_closes_its_sending_half_gets_a_late_response() {
    let running = Running::start();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let post = |target: &str| format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    for (request, body) in [
        (get("/"), b"hello world\n".to_vec()),
        (get("/later"), b"later\n".to_vec()),
        (get("/pieces"), PIECE.repeat(1000)),
        (get("/later-pieces"), PIECE.repeat(3)),
        (post("/echo"), b"body".to_vec()),
        (post("/later-echo"), b"body".to_vec()),
    ] {
        let mut peer = running.peer();
        // The server handles the second request after it has seen the end of the stream.
        peer.send(format!("{request}{request}"));
        peer.finish();
        for _ in 0..2 {
            let response = peer.response();
            assert_eq!(
                (response.status, response.body.escape_ascii().to_string()),
                (200, body.escape_ascii().to_string())
            );
        }
        peer.expect_end();
    }
}

#[test]
fn a_client_that_closes_its_sending_half_is_waited_for_as_long_as_the_limit_says() {
    let zero = ServiceOptions::default().half_close_timeout(Duration::ZERO);
    let running = Running::with(zero.clone().half_close_timeout(Duration::from_millis(50)));
    let running_zero = Running::with(zero);
    for running in [&running, &running_zero] {
        for target in ["/wait", "/begin-and-wait"] {
            let mut peer = running.peer();
            peer.send(format!("{GET}GET {target} HTTP/1.1\r\nHost: h\r\n\r\n{GET}"));
            // The client's end arrives while the second handler waits.
            assert_eq!(peer.response().status, 200);
            if target == "/begin-and-wait" {
                assert_eq!(peer.head().0, 200);
            }
            peer.finish();
            let rest = peer.rest();
            assert!(!rest.windows(4).any(|window| window == b"HTTP"), "{}", rest.escape_ascii());
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
        }
        let dropped = running.dropped.recv_timeout(Duration::from_secs(20));
        assert!(dropped.is_ok(), "the handler of /wait");
        // What needs no waiting is sent in any case.
        for (request, statuses) in [(GET.repeat(2), vec![200; 2]), (format!("{GET}GET / HT"), vec![200, 400])]
        {
            let mut peer = running.peer();
            peer.send(request);
            peer.finish();
            for status in statuses {
                assert_eq!(peer.response().status, status);
            }
            peer.expect_end();
        }
    }
    // Here the client is waited for long enough.
    let running = Running::with(ServiceOptions::default().half_close_timeout(Duration::from_secs(20)));
    let mut peer = running.peer();
    peer.send("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    peer.finish();
    assert_eq!(peer.response().text(), "later\n");
    peer.expect_end();
}

#[test]
fn a_refused_head_request_has_no_content() {
    let running = Running::with(ServiceOptions::default().head_timeout(Duration::from_millis(500)));
    let long = "x".repeat(70_000);
    let cases = [
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("\r\nHEAD / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n".to_owned(), 400),
        (format!("HEAD / HTTP/1.1\r\nHost: h\r\nX: {long}"), 431),
        ("HEAD / HTTP/2.0\r\nHost: h\r\n\r\n".to_owned(), 505),
        ("HEAD / HTTP/1.1\r\nHost: h\r\n".to_owned(), 408),
        ("HEAD /panic HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 500),
    ];
    for (request, status) in cases {
        for before in ["", GET] {
            let mut peer = running.peer();
            peer.send(format!("{before}{request}"));
            if !before.is_empty() {
                assert_eq!(peer.response().text(), "hello world\n");
            }
            let (found, head) = peer.head();
            assert_eq!(found, status, "{head}");
            assert!(head.contains("connection: close"), "{head}");
            peer.expect_end();
        }
    }
    // This applies to HEAD only, not to a method that begins like it.
    let response = running.peer().ask("HEADER / HTTP/1.1\r\n\r\n");
    assert!(response.status == 400 && !response.body.is_empty(), "{response:?}");
}

#[test]
fn a_head_request_with_too_large_a_body_is_refused_without_content() {
    let running = Running::start();
    let head = |fields: &str| format!("HEAD /whole HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    let chunked = head("Transfer-Encoding: chunked");
    let extension = "x".repeat(70_000);
    let cases = [
        // By the handler, which takes 1000 bytes, with a body that is not sent.
        (format!("{}{}", head("Connection: close\r\nContent-Length: 1001"), "x".repeat(1001)), 413),
        // By the server.
        (format!("{chunked}1;{extension}"), 413),
        (format!("{chunked}no size\r\n"), 400),
    ];
    for (request, status) in cases {
        let mut peer = running.peer();
        peer.send(request);
        let (found, head) = peer.head();
        assert_eq!(found, status, "{head}");
        assert!(head.contains("connection: close"), "{head}");
        peer.expect_end();
    }
}

#[test]
fn a_connection_without_a_request_ends_quietly() {
    let running = Running::start();
    let mut peer = running.peer();
    peer.finish();
    peer.expect_end();
}
