//! Request and response bodies: framing, `100 Continue`, unread bodies, and handlers that fail.

use crate::site::{PIECE, Running, large};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nX-Name: the name\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

#[test]
fn bodies_are_sent_whole_in_every_framing() {
    let running = Running::start();
    let mut peer = running.peer();
    for _ in 0..2 {
        for target in ["/large", "/announced"] {
            let response = peer.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!(response.field("content-length"), Some("3000000"));
            assert!(response.body == large(), "{target}");
        }
        let response = peer.ask("GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
        assert!(response.body == PIECE.repeat(1000));
    }
}

#[test]
fn a_body_is_echoed_while_it_arrives() {
    let running = Running::start();
    let mut peer = running.peer();
    let body = large();
    let mut sender = peer.stream.try_clone().unwrap();
    let sending = std::thread::spawn({
        let request = post("/echo", &body);
        move || std::io::Write::write_all(&mut sender, &request).unwrap()
    });
    assert!(peer.response().body == body);
    sending.join().unwrap();
    for size in [0, 1, 20_000] {
        assert!(peer.ask(post("/echo", &body[..size])).body == body[..size], "{size}");
    }
}

#[test]
fn chunks_extensions_and_trailers_are_decoded_wherever_they_are_cut() {
    let running = Running::start();
    let mut peer = running.peer();
    let request = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;name=value\r\nhello\r\n7\r\n, world\r\n0\r\nX-Trailer: yes\r\n\r\n";
    assert_eq!(peer.ask(request).text(), "hello, world");
    for byte in request.bytes() {
        peer.send([byte]);
    }
    assert_eq!(peer.response().text(), "hello, world");
    // A pipelined request after the body, and then a bad chunk.
    peer.send(format!("{request}{GET}"));
    assert_eq!(peer.response().text(), "hello, world");
    assert_eq!(peer.response().text(), "hello world\n");
    let response =
        peer.ask("POST /whole HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n");
    assert_eq!(response.status, 400);
    assert_eq!(response.text(), "400 Bad Request: chunk data: not followed by CRLF at byte 0\n");
    peer.expect_end();
}

#[test]
fn a_body_can_be_read_into_memory_up_to_a_bound() {
    let running = Running::start();
    let mut peer = running.peer();
    assert_eq!(peer.ask(post("/whole", &[b'x'; 1000])).body, [b'x'; 1000]);
    assert_eq!(peer.ask(post("/whole", &[b'x'; 1001])).status, 413);
    assert_eq!(peer.ask(post("/whole", b"kept")).text(), "kept");
}

#[test]
fn the_head_outlives_its_buffer() {
    let running = Running::start();
    let mut peer = running.peer();
    assert_eq!(peer.ask(post("/head-after-body", b"")).text(), "the name");
    assert_eq!(peer.ask(post("/head-after-body", &large()[..100_000])).text(), "the name");
}

#[test]
fn a_client_gets_100_continue_when_the_handler_reads_the_body() {
    let running = Running::start();
    let mut peer = running.peer();
    for target in ["/whole", "/echo"] {
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        peer.send(head);
        assert_eq!(peer.response().status, 100);
        assert_eq!(peer.ask("body").text(), "body");
    }
    // RFC 9110 §10.1.1: a list. A server may ignore the items that it does not know.
    for expectations in ["100-continue, x", "x, 100-Continue", "x=y,100-continue"] {
        peer.send(format!(
            "POST /whole HTTP/1.1\r\nHost: h\r\nExpect: {expectations}\r\nContent-Length: 4\r\n\r\n"
        ));
        assert_eq!(peer.response().status, 100, "{expectations}");
        assert_eq!(peer.ask("body").text(), "body");
    }
    // A client that does not wait gets no 100 response.
    let response =
        peer.ask("POST /whole HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((response.status, response.text()), (200, "body"));
}

#[test]
fn a_client_gets_no_100_continue_when_the_body_is_not_read() {
    let running = Running::start();
    let mut peer = running.peer();
    let response =
        peer.ask("POST /early HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    // The server cannot know whether the client now sends the body, so it can read nothing else from this connection.
    assert_eq!((response.status, response.field("connection")), (403, Some("close")));
    peer.expect_end();
}

#[test]
fn a_small_unread_body_is_discarded() {
    let running = Running::start();
    let mut peer = running.peer();
    for size in [1, 10_000, 200_000] {
        let response = peer.ask(post("/early", &vec![0; size]));
        assert_eq!((response.status, response.field("connection")), (403, None));
    }
    assert_eq!(peer.ask(GET).status, 200);
    // The response does not wait for the body.
    let (head, body) = (post("/early", &[0; 1000]), [0; 500]);
    assert_eq!(peer.ask(&head[..head.len() - 500]).status, 403);
    peer.send(body);
    assert_eq!(peer.ask(GET).status, 200);
}

#[test]
fn a_large_unread_body_ends_the_connection_after_the_response() {
    let running = Running::start();
    let mut peer = running.peer();
    let response = peer.ask("POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\nthe start");
    assert_eq!((response.status, response.field("connection")), (403, Some("close")));
    peer.expect_end();

    // Chunked: the server learns the size only as it reads. The unread body must not cause a reset that discards the
    // response.
    let mut peer = running.peer();
    peer.send("POST /early HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n");
    peer.send(vec![b'x'; 200_000]);
    assert_eq!(peer.response().status, 403);
    peer.send("\r\n30d40\r\n");
    peer.send(vec![b'x'; 200_000]);
    peer.expect_end();
}

#[test]
fn a_client_that_ends_inside_its_body_gets_a_400() {
    let running = Running::start();
    for target in ["/whole", "/echo"] {
        let mut peer = running.peer();
        peer.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"));
        peer.finish();
        let response = peer.response();
        assert_eq!(response.status, 400);
        assert_eq!(
            response.text(),
            "400 Bad Request: the stream ended inside the body: 0 of 10 bytes received\n"
        );
    }
    // The server cannot take back a response that has begun. The missing end tells the client.
    let mut peer = running.peer();
    peer.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf.");
    assert!(peer.head().1.contains("content-length: 10"));
    peer.finish();
    assert_eq!(peer.rest(), b"half.");
    assert_eq!(running.peer().ask(GET).status, 200);
}

#[test]
fn a_handler_that_panics_or_fails_affects_only_its_connection() {
    let running = Running::start();
    let mut other = running.peer();
    assert_eq!(other.ask(GET).status, 200);
    for target in ["/panic", "/fail", "/impossible"] {
        let mut peer = running.peer();
        peer.send(format!("{GET}GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(peer.response().status, 200);
        let response = peer.response();
        assert_eq!((response.status, response.field("connection")), (500, Some("close")), "{target}");
        peer.expect_end();
    }
    for target in ["/begin-and-panic", "/short"] {
        let mut peer = running.peer();
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(peer.head().0, 200);
        assert!(!peer.rest().ends_with(b"0\r\n\r\n"));
    }
    let mut peer = running.peer();
    peer.send("GET /disconnect HTTP/1.1\r\nHost: h\r\n\r\n");
    peer.expect_end();
    assert_eq!(other.ask(GET).status, 200);
}
