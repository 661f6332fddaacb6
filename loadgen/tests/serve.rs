//! The embedded server from outside: the response of each path, and exact counts.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ringtide::Address;
use ringtide::server::StartError;
use ringtide_loadgen::serve::{Requests, ServeHandle, ServeOptions, serve};

struct Running(Option<ServeHandle>);

impl Running {
    fn start(options: &ServeOptions) -> Self {
        Self(Some(serve(options).unwrap()))
    }

    fn handle(&self) -> &ServeHandle {
        self.0.as_ref().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let Address::Tcp(address) = self.handle().addresses()[0] else { unreachable!() };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends requests on a new connection; the last request closes it. Returns all bytes received.
    fn ask(&self, requests: &str) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        response
    }

    /// Returns status and body of the response to one request.
    fn get(&self, target: &str) -> (u16, Vec<u8>) {
        split(&self.ask(&request("GET", target, "")))
    }

    fn end(mut self) -> Requests {
        let handle = self.0.take().unwrap();
        handle.shutdown();
        handle.join()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.shutdown();
        }
    }
}

fn one_thread() -> ServeOptions {
    ServeOptions { threads: 1, ..ServeOptions::default() }
}

fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n")
}

fn split(response: &[u8]) -> (u16, Vec<u8>) {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    (text(&response[9..12]).parse().unwrap(), response[end..].to_vec())
}

fn text(response: &[u8]) -> &str {
    std::str::from_utf8(response).unwrap()
}

#[test]
fn every_path_answers() {
    let running = Running::start(&one_thread());
    assert_eq!(running.get("/"), (200, b"hello world\n".to_vec()));
    assert_eq!(running.get("http://elsewhere/"), (200, b"hello world\n".to_vec()));
    for status in [200, 204, 205, 304, 404, 500, 599, 999] {
        assert_eq!(running.get(&format!("/status/{status}")).0, status);
    }
    let started = Instant::now();
    assert_eq!(running.get("/delay/30").0, 200);
    assert!(started.elapsed() >= Duration::from_millis(30));
    let fields = running.ask(&request("GET", "/headers", "X-One: 1\r\nx-two:  2 \r\n"));
    assert!(text(&fields).ends_with("\r\n\r\nHost: h\nConnection: close\nX-One: 1\nx-two: 2\n"));
    assert_eq!(running.get("/flaky?p=0"), (200, b"hello world\n".to_vec()));
    for target in ["/nope", "/sse?n=1", "/ws"] {
        let (status, body) = running.get(target);
        assert_eq!(status, 404);
        assert!(text(&body).starts_with("nothing is at '/"), "{}", text(&body));
    }
    let (status, body) = running.get("/bytes/many");
    assert_eq!((status, text(&body)), (400, "'many' is not a number of bytes\n"));
}

#[test]
fn what_scenarios_need_is_there() {
    let running = Running::start(&one_thread());
    assert_eq!(running.get("/id"), (201, b"{\"id\":1}\n".to_vec()));
    let id = running.ask(&request("POST", "/id", "Content-Length: 0\r\n"));
    assert!(text(&id).contains("\r\nLocation: /id?2\r\n") && id.ends_with(b"{\"id\":2}\n"), "{id:?}");
    let cookie = running.ask(&request("GET", "/cookie/sid/a-1", ""));
    assert!(text(&cookie).contains("\r\nSet-Cookie: sid=a-1; Path=/; HttpOnly\r\n"), "{cookie:?}");
    for (path, location) in [("/redirect/2", "/redirect/1"), ("/redirect/1", "/")] {
        let redirect = running.ask(&request("GET", path, ""));
        assert!(text(&redirect).starts_with("HTTP/1.1 302 "), "{redirect:?}");
        assert!(text(&redirect).contains(&format!("\r\nLocation: {location}\r\n")), "{redirect:?}");
    }
}

#[test]
fn bytes_are_as_many_as_asked_for() {
    let running = Running::start(&one_thread());
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20, (1 << 20) + 1, 10_000_000] {
        let (status, body) = running.get(&format!("/bytes/{size}"));
        assert_eq!((status, body.len()), (200, size));
        let line = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+\n";
        assert!(body.chunks(64).all(|found| found == &line[..found.len()]));
        let head = running.ask(&request("HEAD", &format!("/bytes/{size}"), ""));
        assert!(text(&head).contains(&format!("Content-Length: {size}\r\n")) && head.ends_with(b"\r\n\r\n"));
    }
    let head = running.ask(&request("HEAD", "/bytes/1099511627776", ""));
    assert!(text(&head).contains("Content-Length: 1099511627776\r\n"));
}

#[test]
fn a_stream_has_as_many_chunks_as_asked_for() {
    let running = Running::start(&one_thread());
    for count in [0, 1, 1000] {
        let (status, body) = running.get(&format!("/stream/{count}"));
        assert_eq!(status, 200);
        assert_eq!(text(&body), "c\r\nhello world\n\r\n".repeat(count) + "0\r\n\r\n");
    }
}

#[test]
fn an_echo_has_the_body_and_its_type() {
    let running = Running::start(&one_thread());
    let fields = "Content-Type: x/y\r\nContent-Length: 5\r\n";
    let response = running.ask(&(request("POST", "/echo", fields) + "hello"));
    assert!(text(&response).contains("Content-Type: x/y\r\nContent-Length: 5\r\n"), "{}", text(&response));
    assert!(response.ends_with(b"\r\n\r\nhello"));
    let chunked = request("PUT", "/echo", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n";
    let response = running.ask(&chunked);
    assert!(text(&response).ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{}", text(&response));
    assert_eq!(running.get("/echo"), (200, Vec::new()));
}

#[test]
fn flaky_requests_fail_as_often_as_asked_for_and_the_seed_decides_which() {
    let outcomes = || {
        let running = Running::start(&ServeOptions { seed: 7, ..one_thread() });
        let ask = |number| {
            let mut stream = running.connect();
            stream.write_all(request("GET", "/flaky?p=0.5", "").as_bytes()).unwrap();
            // The order in which requests arrive decides what becomes of them.
            while running.handle().requests().received == number {
                std::thread::yield_now();
            }
            stream
        };
        let asked: Vec<_> = (0..100).map(ask).collect();
        // The server gives up a stalled request when its client seems to be gone.
        for stream in &asked {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let outcomes: Vec<_> = asked.into_iter().map(flaky_outcome).collect();
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count() as u64;
        let answered = count("fine") + count("error");
        assert_eq!(running.end(), Requests { received: 100, answered });
        assert!((25..75).contains(&count("fine")), "{outcomes:?}");
        assert!(count("error") > 4 && count("nothing") > 10, "{outcomes:?}");
        outcomes
    };
    assert_eq!(outcomes(), outcomes());
}

fn flaky_outcome(mut stream: TcpStream) -> &'static str {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    match response.get(..12) {
        None => "nothing",
        Some(b"HTTP/1.1 500") => "error",
        Some(_) => "fine",
    }
}

#[test]
fn a_client_that_closes_its_sending_half_is_answered_for_a_second() {
    let running = Running::start(&one_thread());
    let ask = |target: &str| {
        let mut stream = running.connect();
        stream.write_all(request("GET", target, "").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        response
    };
    for target in ["/", "/headers", "/delay/5", "/delay/200", "/stream/1000", "/bytes/3000000"] {
        for _ in 0..5 {
            assert!(ask(target).starts_with(b"HTTP/1.1 200 OK\r\n"), "{target}");
        }
    }
    // The client may be gone, so the request ends long before its time.
    let started = Instant::now();
    assert_eq!(ask("/delay/60000"), b"");
    assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&started.elapsed()));
}

#[test]
fn flaky_requests_without_an_answer_are_closed_or_stalled() {
    let running = Running::start(&one_thread());
    let (mut closed, mut stalled) = (false, false);
    for _ in 0..200 {
        let mut stream = running.connect();
        stream.write_all(request("GET", "/flaky?p=1", "").as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        match stream.read(&mut [0; 1024]) {
            Ok(0) => closed = true,
            Ok(_) => {}
            Err(_) => stalled = true,
        }
        if closed && stalled {
            return;
        }
    }
    panic!("closed: {closed}, stalled: {stalled}");
}

#[test]
fn a_burn_takes_its_time() {
    let burn = Duration::from_millis(20);
    let running = Running::start(&ServeOptions { burn, ..one_thread() });
    let started = Instant::now();
    let two = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned() + &request("GET", "/", "");
    assert_eq!(text(&running.ask(&two)).matches("hello world").count(), 2);
    assert!(started.elapsed() >= 2 * burn);
}

#[test]
fn the_counts_are_exact_over_all_threads() {
    let running = Running::start(&ServeOptions { threads: 3, ..ServeOptions::default() });
    let requests = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(99) + &request("GET", "/status/500", "");
    for round in 1..=20 {
        let answers = running.ask(&requests);
        assert_eq!(text(&answers).matches("HTTP/1.1 200 OK").count(), 99);
        // A response is counted before it arrives.
        let expected = Requests { received: round * 100, answered: round * 100 };
        assert_eq!(running.handle().requests(), expected);
    }
    // Bytes that are not a request are not counted.
    assert_eq!(split(&running.ask("nonsense\r\n\r\n")).0, 400);
    assert_eq!(running.get("/bytes/1").0, 200);
    assert_eq!(running.end(), Requests { received: 2001, answered: 2001 });
}

#[test]
fn an_address_that_cannot_be_listened_at_is_named() {
    let running = Running::start(&one_thread());
    let addresses = running.handle().addresses().to_vec();
    let error = serve(&ServeOptions { addresses, ..ServeOptions::default() }).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("cannot listen at 127.0.0.1:") && text.contains("ddress already in use"),
        "{text}"
    );
}
