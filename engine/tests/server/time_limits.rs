//! Time limits: clients that are too slow.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use ringtide::server::ServiceOptions;
use ringtide::testing::{self, Script};

use crate::site::{Running, SIMULATED, serve_simulated};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

/// Goes on with `script`: sends `count` bytes, one each 5 ms.
fn dripping(script: Script, count: usize) -> Script {
    (0..count).fold(script, |script, _| script.delay(Duration::from_millis(5)).send("x"))
}

#[test]
fn a_head_that_arrives_too_slowly_is_refused() {
    let options = ServiceOptions::default().head_timeout(Duration::from_millis(300));
    // The limit runs from the accept, and for a later head from its first byte.
    let first = Script::new();
    let later = Script::new().send(GET).expect_until("hello world\n").delay(Duration::from_secs(5));
    for script in [first, later] {
        for (count, (status, end)) in
            [(55, ("200 OK", "hello world\n")), (60, ("408 Request Timeout", "Connection: close\r\n"))]
        {
            testing::run(async |network| {
                serve_simulated(options.clone());
                let head = script.clone().send("GET / HTTP/1.1\r\nHost: h\r\nX: ");
                let head = dripping(head, count).send("\r\n\r\n");
                let answer = head.expect(format!("HTTP/1.1 {status}\r\n")).expect_until(end);
                network.connect(SIMULATED, answer.ignore_rest());
            });
        }
    }
}

#[test]
fn a_connection_without_a_first_request_is_closed() {
    let running = Running::with(ServiceOptions::default().head_timeout(SHORT));
    running.peer().expect_end();
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let idle_timeout = Duration::from_millis(1200);
    let running = Running::with(ServiceOptions::default().idle_timeout(idle_timeout));
    let mut peer = running.peer();
    let started = Instant::now();
    assert_eq!(peer.ask(GET).status, 200);
    peer.expect_end();
    assert!(started.elapsed() >= idle_timeout);
}

#[test]
fn a_body_that_stalls_is_refused() {
    let running = Running::with(ServiceOptions::default().stall_timeout(SHORT));
    let mut peer = running.peer();
    let started = Instant::now();
    let response = peer.ask("POST /whole HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
    assert_eq!((response.status, response.field("connection")), (408, Some("close")));
    assert!(started.elapsed() >= SHORT);

    // The limit also applies to an unread body, after its response.
    let mut peer = running.peer();
    assert_eq!(peer.ask("POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo").status, 403);
    peer.expect_end();
}

#[test]
fn a_slow_body_that_continues_is_accepted() {
    testing::run(async |network| {
        serve_simulated(ServiceOptions::default().stall_timeout(Duration::from_millis(6)));
        let head = Script::new().send("POST /whole HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n");
        let script = dripping(head, 12).expect("HTTP/1.1 200 OK\r\n").ignore_rest();
        network.connect(SIMULATED, script).played().await;
    });
}

#[test]
fn a_request_has_a_total_time_limit() {
    let request_timeout = Some(SHORT);
    // The last handler of this test never ends by itself.
    let shutdown_timeout = SHORT;
    let running = Running::with(
        ServiceOptions::default().request_timeout(request_timeout).shutdown_timeout(shutdown_timeout),
    );
    let mut peer = running.peer();
    let response = peer.ask("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((response.status, response.field("connection")), (503, Some("close")));
    running.dropped.recv_timeout(Duration::from_secs(20)).unwrap();

    let mut peer = running.peer();
    peer.send("POST /whole HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    let mut sender = peer.stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        while std::io::Write::write_all(&mut sender, b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(peer.response().status, 408);
    peer.stream.shutdown(Shutdown::Both).unwrap();
    dripping.join().unwrap();

    // A response that has begun may take longer.
    let mut peer = running.peer();
    peer.send("GET /begin-and-wait HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(peer.head().0, 200);
    peer.stream.set_read_timeout(Some(SHORT * 2)).unwrap();
    peer.take(26);
    let mut byte = [0];
    let error = std::io::Read::read(&mut peer.stream, &mut byte).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_client_that_does_not_receive_its_response_is_closed() {
    let running = Running::with(ServiceOptions::default().stall_timeout(SHORT));
    let mut peer = running.peer();
    peer.send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n");
    // The client reads nothing, so it notices the end only when a write fails.
    let started = Instant::now();
    while std::io::Write::write_all(&mut peer.stream, b"x").is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "still connected");
        std::thread::sleep(Duration::from_millis(5));
    }
}
