//! The bytes on the wire: requests match the flags, and every form of HTTP/1.1 response is accepted.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::thread;

use crate::command::{not_checked, number, report};
use crate::server::{HELLO, Peer, Request, Server, Tally, next_request};

on_both_drivers!(
    the_plain_request_is_small,
    method_headers_and_body_arrive_as_typed,
    a_large_body_is_in_memory_once,
    a_host_header_takes_the_place_of_the_url,
    connect_to_keeps_the_host,
    a_unix_socket_is_a_place_to_connect_to,
    a_name_is_resolved,
    ipv6_is_spoken,
    every_form_of_answer_is_read,
    answers_in_pieces_are_whole,
    head_has_no_body,
    status_codes_are_counted_by_themselves,
    an_answer_that_ends_with_its_connection_is_followed_by_a_new_one,
    interim_answers_are_passed_over,
    http_1_0_closes,
);

/// Returns the only request of a run with `-n 1` and `flags`, as the server received it.
fn request(driver: &str, path: &str, flags: &[&str]) -> Request {
    let (seen, wait) = channel();
    let server = Server::start(move |peer| {
        while let Some(request) = peer.request() {
            let answer = if request.head.starts_with("HEAD ") { &HELLO[..HELLO.len() - 12] } else { HELLO };
            seen.send(request).expect("the test waits");
            peer.send(answer);
        }
    });
    let mut all = vec!["-n", "1"];
    all.extend(flags);
    let url = format!("http://{}{path}", server.address);
    let report = report(driver, &url, &all);
    assert_eq!(report["status"]["200"], 1, "{report}");
    server.finish();
    let request = wait.recv().expect("it has arrived");
    assert!(wait.try_recv().is_err(), "one was to be sent");
    request
}

fn the_plain_request_is_small(driver: &str) {
    let request = request(driver, "/a/b?c=%20d&e", &[]);
    let host = request.fields("host")[0];
    assert!(host.starts_with("127.0.0.1:"), "{request:?}");
    let agent = concat!("ringtide/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        request.head,
        format!("GET /a/b?c=%20d&e HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\r\n")
    );
}

fn method_headers_and_body_arrive_as_typed(driver: &str) {
    let flags = [
        "-X",
        "POST",
        "-H",
        "X-Case: aB; c",
        "-H",
        "Accept: */*",
        "-H",
        "accept: text/plain",
        "-H",
        "User-Agent: me",
        "-b",
        "{\"a\":\r\n1}",
    ];
    let sent = request(driver, "/in", &flags);
    assert!(sent.head.starts_with("POST /in HTTP/1.1\r\n"), "{sent:?}");
    assert!(sent.head.contains("\r\nX-Case: aB; c\r\n"), "{sent:?}");
    assert_eq!(sent.fields("accept"), ["*/*", "text/plain"]);
    assert_eq!(sent.fields("user-agent"), ["me"]);
    assert_eq!(sent.fields("content-length"), ["9"]);
    assert_eq!(sent.body, b"{\"a\":\r\n1}");
    // RFC 9110 §8.6: a POST without a body has a `Content-Length`.
    assert_eq!(request(driver, "/", &["-X", "POST"]).fields("content-length"), ["0"]);
    assert_eq!(request(driver, "/", &["-X", "DELETE"]).fields("content-length"), [""; 0]);
    let path = std::env::temp_dir().join(format!("ringtide-wire-{driver}-{}", std::process::id()));
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(&path, &bytes).expect("writable");
    let put = request(driver, "/", &["-X", "PUT", "-b", &format!("@{}", path.display())]);
    std::fs::remove_file(&path).expect("removable");
    assert_eq!(put.body, bytes);
}

fn a_large_body_is_in_memory_once(driver: &str) {
    const SIZE: u64 = 64 << 20;
    let path = std::env::temp_dir().join(format!("ringtide-large-{driver}-{}", std::process::id()));
    // A sparse file, which takes no space on the disk.
    std::fs::File::create(&path).and_then(|file| file.set_len(SIZE)).expect("writable");
    let server = Server::start(Peer::wait_for_end);
    let peak = |body: &str| {
        let flags = ["-d", "200ms", "-c", "2", "-t", "1", "-X", "PUT", "-b", body];
        let report = report(driver, &server.url(), &flags);
        (number(&report["plan"]["body_bytes"]), number(&report["generator"]["rss_peak_bytes"]))
    };
    let (_, small) = peak("x");
    let (size, large) = peak(&format!("@{}", path.display()));
    std::fs::remove_file(&path).expect("removable");
    server.finish();
    assert_eq!(size, SIZE);
    assert!((SIZE * 9 / 10..SIZE * 5 / 4).contains(&(large - small)), "{small} {large}");
}

fn a_host_header_takes_the_place_of_the_url(driver: &str) {
    assert_eq!(request(driver, "/", &["-H", "host: example.org"]).fields("host"), ["example.org"]);
}

fn connect_to_keeps_the_host(driver: &str) {
    let (seen, wait) = channel();
    let server = Server::start(move |peer| {
        while let Some(request) = peer.request() {
            seen.send(request).expect("the test waits");
            peer.send(HELLO);
        }
    });
    let there = server.address.to_string();
    // This name does not resolve, and `--connect-to` makes resolving it unnecessary.
    let report = report(driver, "http://shop.invalid:81/x", &["-n", "1", "--connect-to", &there]);
    assert_eq!(report["status"]["200"], 1, "{report}");
    server.finish();
    let request = wait.recv().expect("it has arrived");
    assert_eq!(request.fields("host"), ["shop.invalid:81"]);
    assert!(request.head.starts_with("GET /x "), "{request:?}");
}

fn a_unix_socket_is_a_place_to_connect_to(driver: &str) {
    let path = std::env::temp_dir().join(format!("ringtide-{driver}-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).expect("the path is free");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let (tally, mut buffer, mut hosts) = (Tally::default(), Vec::new(), Vec::new());
        while let Some(request) = next_request(&mut stream, &mut buffer, &tally) {
            hosts.extend(request.fields("host").iter().map(ToString::to_string));
            std::io::Write::write_all(&mut stream, HELLO).expect("it reads");
        }
        hosts
    });
    let place = path.display().to_string();
    let report = report(driver, "http://localhost/", &["-n", "20", "-c", "1", "--unix", &place]);
    assert_eq!(report["status"]["200"], 20, "{report}");
    assert_eq!(serving.join().expect("no panic"), vec!["localhost"; 20]);
    std::fs::remove_file(&path).expect("removable");
}

fn a_name_is_resolved(driver: &str) {
    let server = Server::answering(HELLO);
    let url = format!("http://localhost:{}/", server.address.port());
    // If the name also has an IPv6 address, that one is refused, and the client tries the next.
    let report = report(driver, &url, &["-n", "10", "-c", "2"]);
    assert_eq!(report["status"]["200"], 10, "{report}");
    assert_eq!(report["phases_us"]["dns"]["count"], 1, "{report}");
    server.finish();
}

fn ipv6_is_spoken(driver: &str) {
    let listener = match TcpListener::bind("[::1]:0") {
        Ok(listener) => listener,
        Err(error) => {
            return not_checked(&format!("`run` over IPv6 on {driver}, which this machine has not: {error}"));
        }
    };
    let address = listener.local_addr().expect("bound");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let request = next_request(&mut stream, &mut Vec::new(), &Tally::default()).expect("a request");
        std::io::Write::write_all(&mut stream, HELLO).expect("it reads");
        request
    });
    let report = report(driver, &format!("http://{address}/"), &["-n", "1"]);
    assert_eq!(report["status"]["200"], 1, "{report}");
    assert_eq!(serving.join().expect("no panic").fields("host"), [address.to_string()]);
}

fn every_form_of_answer_is_read(driver: &str) {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\nTrailer: X\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
    ] {
        for flags in [&["-n", "60", "-c", "3"][..], &["-n", "60", "-c", "3", "-p", "4"]] {
            let server = Server::answering(answer);
            let report = report(driver, &server.url(), flags);
            let tally = server.finish();
            assert_eq!(number(&report["requests"]["completed"]), 60, "{report}");
            assert_eq!(tally.connections.load(SeqCst), 3, "they were to be kept: {report}");
            assert_eq!(number(&report["bytes_received"]), 60 * answer.len() as u64, "{report}");
        }
    }
}

fn answers_in_pieces_are_whole(driver: &str) {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            // Each byte is a segment of its own, because TCP_NODELAY is set.
            for byte in HELLO {
                peer.send(&[*byte]);
            }
        }
    });
    let result = report(driver, &server.url(), &["-n", "20", "-c", "2"]);
    assert_eq!(result["status"]["200"], 20, "{result}");
    assert_eq!(number(&result["bytes_received"]), 20 * HELLO.len() as u64);
    server.finish();
    let large: &'static [u8] = {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 3_000_000, b'x');
        answer.leak()
    };
    let server = Server::answering(large);
    let result = report(driver, &server.url(), &["-n", "12", "-c", "3"]);
    assert_eq!(result["status"]["200"], 12, "{result}");
    assert_eq!(number(&result["bytes_received"]), 12 * large.len() as u64);
    assert_eq!(number(&result["phases_us"]["transfer"]["count"]), 12);
    assert!(result["phases_us"]["transfer"]["p50"].as_f64() > Some(0.0), "{result}");
    server.finish();
}

fn head_has_no_body(driver: &str) {
    let server = Server::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    let report = report(driver, &server.url(), &["-X", "HEAD", "-n", "40", "-c", "2"]);
    let tally = server.finish();
    assert_eq!(report["status"]["200"], 40, "{report}");
    assert_eq!(tally.connections.load(SeqCst), 2);
}

fn status_codes_are_counted_by_themselves(driver: &str) {
    let server = Server::start(|peer| {
        for number in 0.. {
            if peer.request().is_none() {
                break;
            }
            let code = ["200 OK", "404 Not Found", "503 Busy", "404 Not Found"][number % 4];
            peer.send(format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
    });
    let report = report(driver, &server.url(), &["-n", "40", "-c", "1"]);
    server.finish();
    assert_eq!(report["status"], serde_json::json!({"200": 10, "404": 20, "503": 10}));
    assert_eq!(number(&report["requests"]["failed"]), 0, "an answer is an answer");
}

fn an_answer_that_ends_with_its_connection_is_followed_by_a_new_one(driver: &str) {
    for answer in [
        &b"HTTP/1.1 200 OK\r\n\r\nuntil the end"[..],
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let server = Server::start(move |peer| {
            if peer.request().is_some() {
                peer.send(answer);
            }
        });
        let report = report(driver, &server.url(), &["-n", "50", "-c", "3"]);
        let tally = server.finish();
        assert_eq!(report["status"]["200"], 50, "{report}");
        assert_eq!(tally.requests(), 50);
        assert_eq!(number(&report["bytes_received"]), 50 * answer.len() as u64, "{report}");
        let connections = tally.connections.load(SeqCst);
        assert!((50..=52).contains(&connections), "{connections}");
    }
}

fn interim_answers_are_passed_over(driver: &str) {
    let server = Server::answering(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let report = report(driver, &server.url(), &["-n", "30", "-c", "2"]);
    assert_eq!(report["status"], serde_json::json!({"200": 30}));
    assert_eq!(server.finish().connections.load(SeqCst), 2);
}

fn http_1_0_closes(driver: &str) {
    let server =
        Server::answering(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    let report = report(driver, &server.url(), &["-n", "30", "-c", "2"]);
    assert_eq!(report["status"]["200"], 30, "{report}");
    // RFC 9112 §9.3: such a server may keep the connection if it announces this.
    assert_eq!(server.finish().connections.load(SeqCst), 2);
}
