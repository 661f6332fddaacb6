//! Bodies in both directions, and the heads before them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body::{Body as _, Frame, SizeHint};
use ringtide::client::{RequestBody, Timeouts};
use ringtide::error::RequestError;
use ringtide::runtime;
use ringtide::{Client, Error};

use crate::server::{Server, echo_target};
use crate::{SIZE_MAX, read, run, with_timeouts};

/// A body of given pieces with any size hint.
struct Pieces<E> {
    rest: VecDeque<Result<Bytes, E>>,
    announced: Option<u64>,
    given: Rc<Cell<usize>>,
}

impl<E> Pieces<E> {
    fn new(pieces: impl IntoIterator<Item = Result<Bytes, E>>, announced: Option<u64>) -> Self {
        Self { rest: pieces.into_iter().collect(), announced, given: Rc::default() }
    }
}

impl<E: Unpin> http_body::Body for Pieces<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.given.set(self.given.get() + 1);
        Poll::Ready(self.rest.pop_front().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces(texts: &[&'static str], announced: Option<u64>) -> RequestBody {
    let pieces = texts.iter().map(|text| Ok::<_, Infallible>(Bytes::from_static(text.as_bytes())));
    RequestBody::stream(Pieces::new(pieces, announced))
}

/// Responds with the framing of the request's body and with the body.
fn echo_body() -> Server {
    Server::start(|_, peer| {
        while let Some(request) = peer.request() {
            let framing = match (request.field("content-length"), request.field("transfer-encoding")) {
                (Some(length), None) => format!("length {length}: "),
                (None, Some(coding)) => format!("{coding}: "),
                (None, None) => "nothing: ".to_owned(),
                both => panic!("{both:?}"),
            };
            peer.respond(&(framing + std::str::from_utf8(&request.body).unwrap()));
        }
    })
}

#[test]
fn request_bodies_are_framed_by_their_known_length() {
    let server = echo_body();
    let large = "0123456789".repeat(10_000);
    run(async {
        let client = Client::default();
        for (body, expected) in [
            (RequestBody::from(()), "length 0: ".to_owned()),
            ("static".into(), "length 6: static".to_owned()),
            (String::from("string").into(), "length 6: string".to_owned()),
            (b"vector".to_vec().into(), "length 6: vector".to_owned()),
            (b"slice".as_slice().into(), "length 5: slice".to_owned()),
            (large.clone().into(), format!("length 100000: {large}")),
            (pieces(&["one", "", "two"], Some(6)), "length 6: onetwo".to_owned()),
            (pieces(&["one", "", "two"], None), "chunked: onetwo".to_owned()),
            (pieces(&[], None), "chunked: ".to_owned()),
            (pieces(&[], Some(0)), "length 0: ".to_owned()),
            (RequestBody::stream(large.clone()), format!("length 100000: {large}")),
        ] {
            let answer = read(client.post(&server.url("/"), body).await).await.unwrap();
            assert_eq!(answer, (200, expected.into()));
        }
        assert_eq!(read(client.get(&server.url("/")).await).await.unwrap(), (200, "nothing: ".into()));
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn heads_arrive_with_all_their_fields() {
    let server = Server::start(|_, peer| {
        let request = peer.request().unwrap();
        assert!(request.is("OPTIONS", "/a/b?c=d"), "{request:?}");
        assert_eq!(request.field("x-one"), Some("1"));
        assert!(request.field("host").unwrap().starts_with("127.0.0.1:"));
        peer.send("HTTP/1.1 299 Odd\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nX-Latin: caf\u{e9}\r\nContent-Length: 0\r\n\r\n");
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri(server.url("/a/b?c=d"))
            .header("X-One", "1")
            .header("content-length", "17")
            .body(())
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (299, http::Version::HTTP_11));
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"].map(HeaderValue::from_static).iter().collect::<Vec<_>>());
        assert_eq!(response.headers()["x-latin"].as_bytes(), "caf\u{e9}".as_bytes());
        assert!(response.body().is_end_stream());
    });
}

#[test]
fn responses_without_a_body_have_none() {
    let server = Server::start(|_, peer| {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ] {
            peer.request();
            peer.send(head);
        }
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 200)] {
            let request = Request::builder().method(method).uri(server.url("/")).body(()).unwrap();
            assert_eq!(read(client.request(request).await).await.unwrap(), (status, Bytes::new()));
        }
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_continue_comes_before_the_final_response() {
    let server = Server::start(|_, peer| {
        let head = peer.head().unwrap();
        assert!(head.contains("expect: 100-continue"));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.take(4).unwrap(), b"body");
        peer.respond("done");
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        let request = Request::post(server.url("/")).header("expect", "100-continue").body("body").unwrap();
        assert_eq!(read(client.request(request).await).await.unwrap(), (200, "done".into()));
    });
}

#[test]
fn chunked_and_close_delimited_bodies_are_read_whole() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..100 {
            peer.send(format!("2710;a=b\r\n{}\r\n", "x".repeat(10_000)));
        }
        peer.send("0\r\nTrailer: 1\r\n\r\n");
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    });
    run(async {
        let client = Client::default();
        let (_, body) = read(client.get(&server.url("/")).await).await.unwrap();
        assert!(body.len() == 1_000_000 && body.iter().all(|byte| *byte == b'x'));
        assert_eq!(read(client.get(&server.url("/")).await).await.unwrap(), (200, "until the end".into()));
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_large_body_arrives_unchanged_and_not_faster_than_it_is_read() {
    const SIZE: usize = 32 * 1024 * 1024;
    let (progress, sent) = mpsc::channel();
    let progress = std::sync::Mutex::new(progress);
    let server = Server::start(move |_, peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let block: Vec<u8> = (0..64 * 1024_u32).map(|number| (number % 251) as u8).collect();
        for _ in 0..SIZE / block.len() {
            peer.send(&block);
            progress.lock().unwrap().send(block.len()).unwrap();
        }
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        let mut body = client.get(&server.url("/")).await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(SIZE as u64));
        // While the client does not read, the server can send only what the socket buffers and the limit for unread
        // bytes hold.
        let mut taken = 0;
        loop {
            runtime::sleep(Duration::from_millis(50)).await;
            let more: usize = sent.try_iter().sum();
            taken += more;
            if more == 0 {
                break;
            }
        }
        assert!(taken < SIZE / 2, "{taken} bytes were taken from the server without a reader");
        let (mut position, mut leased) = (0, 0);
        while let Some(piece) = body.data().await.unwrap() {
            for byte in &*piece {
                assert_eq!(usize::from(*byte), position % (64 * 1024) % 251);
                position += 1;
            }
            leased = leased.max(piece.len());
        }
        assert_eq!(position, SIZE);
    });
}

#[test]
fn a_body_is_polled_when_the_kernel_has_taken_the_previous_piece() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let server = Server::start(move |_, peer| {
        peer.head();
        held.lock().unwrap().recv().unwrap();
        let mut size = 0;
        while let Some(chunk) = peer.chunk().filter(|chunk| !chunk.is_empty()) {
            size += chunk.len();
        }
        peer.respond(&size.to_string());
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let body = Pieces::new((0..64).map(|_| Ok::<_, Infallible>(piece.clone())), None);
        let given = Rc::clone(&body.given);
        let url = server.url("/");
        let task = runtime::spawn({
            let client = client.clone();
            async move { read(client.post(&url, RequestBody::stream(body)).await).await.unwrap() }
        });
        let mut before = usize::MAX;
        while given.get() == 0 || given.get() != before {
            before = given.get();
            runtime::sleep(Duration::from_millis(50)).await;
        }
        assert!((1..32).contains(&given.get()), "{} MiB were taken without a reader", given.get());
        release.send(()).unwrap();
        assert_eq!(task.await.unwrap(), (200, (64 * 1024 * 1024).to_string().into()));
    });
}

/// Returns a piece only after the echo of the previous one has arrived.
struct PingPong(Rc<Cell<(usize, usize)>>);
impl http_body::Body for PingPong {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (sent, seen) = self.0.get();
        if sent > seen {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.0.set((sent + 1, seen));
        Poll::Ready((sent < 10).then(|| Ok(Frame::data(Bytes::from(sent.to_string())))))
    }
}

#[test]
fn a_response_may_be_read_while_its_request_is_sent() {
    let server = Server::start(|_, peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(chunk) = peer.chunk().filter(|chunk| !chunk.is_empty()) {
            peer.send(format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8(chunk).unwrap()));
        }
        peer.send("0\r\n\r\n");
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        let state = Rc::new(Cell::new((0, 0)));
        let body = RequestBody::stream(PingPong(Rc::clone(&state)));
        let mut echo = client.post(&server.url("/"), body).await.unwrap().into_body();
        let mut seen = String::new();
        while let Some(piece) = echo.data().await.unwrap() {
            seen += std::str::from_utf8(&piece).unwrap();
            state.set((state.get().0, state.get().1 + 1));
        }
        assert_eq!(seen, "0123456789");
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn an_early_response_ends_the_upload_and_the_connection() {
    let server = Server::start(|number, peer| {
        if number > 0 {
            return echo_target(number, peer);
        }
        peer.head();
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
        peer.drain();
    });
    run(async {
        let client = Client::default();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let body = Pieces::new((0..10_000).map(|_| Ok::<_, Infallible>(piece.clone())), None);
        let answer = read(client.post(&server.url("/"), RequestBody::stream(body)).await).await;
        assert_eq!(answer.unwrap(), (413, "big".into()));
        assert_eq!(read(client.get(&server.url("/next")).await).await.unwrap(), (200, "/next".into()));
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_connection_that_still_sends_a_body_is_not_used_again() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let server = Server::start(move |number, peer| {
        if number > 0 {
            return echo_target(number, peer);
        }
        peer.head();
        peer.respond("early");
        held.lock().unwrap().recv().unwrap();
        peer.drain();
    });
    run(async {
        let client = Client::default();
        let answer = read(client.post(&server.url("/"), vec![b'x'; 64 * 1024 * 1024]).await).await;
        assert_eq!(answer.unwrap(), (200, "early".into()));
        let next = server.url("/next");
        let next = runtime::timeout(Duration::from_secs(10), async { read(client.get(&next).await).await });
        let next = next.await;
        release.send(()).unwrap();
        assert_eq!(next.unwrap().unwrap(), (200, "/next".into()));
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_response_before_a_close_in_the_middle_of_an_upload_is_read() {
    let server = Server::start(|_, peer| {
        peer.head();
        peer.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
        peer.end();
        peer.drain();
    });
    run(async {
        let client = Client::default();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let body = Pieces::new((0..10_000).map(|_| Ok::<_, Infallible>(piece.clone())), Some(10_000 << 20));
        let answer = read(client.post(&server.url("/"), RequestBody::stream(body)).await).await;
        assert_eq!(answer.unwrap(), (403, "no".into()));
    });
}

/// A body of two pieces. Before the second it blocks its worker until it receives a message.
struct Blocking(usize, mpsc::Receiver<()>);

impl http_body::Body for Blocking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        if self.0 == 2 {
            self.1.recv().unwrap();
        }
        Poll::Ready((self.0 <= 2).then(|| Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

#[test]
fn a_response_before_a_reset_in_the_middle_of_an_upload_is_read() {
    let (reset, seen) = mpsc::channel();
    let reset = std::sync::Mutex::new(reset);
    let server = Server::start(move |_, peer| {
        peer.head();
        peer.chunk();
        peer.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
        peer.reset();
        reset.lock().unwrap().send(()).unwrap();
    });
    run(async {
        let client = Client::default();
        let body = RequestBody::stream(Blocking(0, seen));
        let answer = read(client.post(&server.url("/"), body).await).await;
        assert_eq!(answer.unwrap(), (403, "no".into()));
    });
}

/// Returns a piece every 60 ms.
struct Ticking(usize, runtime::Timer);

impl http_body::Body for Ticking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.1.poll_elapsed(context));
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        self.1.set(runtime::now_ns() + 60_000_000);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"tick")))))
    }
}

#[test]
fn progress_of_the_upload_restarts_the_idle_limit() {
    let server = Server::start(|_, peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        while peer.chunk().is_some_and(|chunk| !chunk.is_empty()) {}
        peer.send("done");
        peer.expect_close();
    });
    run(async {
        let timeouts = Timeouts::default().body_idle(Duration::from_secs(1));
        let client = Client::new(with_timeouts(timeouts));
        let mut timer = runtime::Timer::new();
        timer.set(0);
        let body = RequestBody::stream(Ticking(20, timer));
        let answer = read(client.post(&server.url("/"), body).await).await;
        assert_eq!(answer.unwrap(), (200, "done".into()));
    });
}

#[test]
fn a_request_body_that_fails_or_has_a_wrong_length_ends_the_request_and_the_connection() {
    let server = Server::start(|number, peer| {
        if number == 4 {
            return echo_target(number, peer);
        }
        peer.head();
        peer.drain();
    });
    run(async {
        let client = Client::default();
        let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let failing = Pieces::new([piece("some"), Err("the disk is gone")], None);
        let error = client.post(&server.url("/"), RequestBody::stream(failing)).await.unwrap_err();
        assert_eq!(error.to_string(), "the request's body failed: the disk is gone");
        for (texts, announced, given) in
            [(vec!["short"], 6, 5), (vec![], 1, 0), (vec!["1234", "56", "78"], 7, 8)]
        {
            let error = client.post(&server.url("/"), pieces(&texts, Some(announced))).await.unwrap_err();
            match error {
                Error::Request(RequestError::BodyLength { announced: said, given: had }) => {
                    assert_eq!((said, had), (announced, given));
                }
                error => panic!("{error}"),
            }
        }
        assert_eq!(read(client.get(&server.url("/next")).await).await.unwrap(), (200, "/next".into()));
    });
    assert_eq!(server.accepted(), 5);
}

#[test]
fn the_size_limit_of_the_caller_is_enforced() {
    let server = Server::start(|_, peer| {
        while let Some(request) = peer.request() {
            if request.is("GET", "/chunked") {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n");
            } else {
                peer.respond("1234567890");
            }
        }
    });
    run(async {
        let client = Client::default();
        for target in ["/", "/chunked"] {
            let response = client.get(&server.url(target)).await.unwrap();
            let error = response.into_body().bytes(9).await.unwrap_err();
            assert!(matches!(error, Error::BodyTooLarge { size_max: 9 }), "{error}");
        }
        assert_eq!(
            client.get(&server.url("/")).await.unwrap().into_body().bytes(10).await.unwrap().len(),
            10
        );
    });
}

#[test]
fn invalid_utf8_is_replaced_in_text() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab\xffcd");
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        let text = client.get(&server.url("/")).await.unwrap().into_body().text(SIZE_MAX).await.unwrap();
        assert_eq!(text, "ab\u{fffd}cd");
    });
}

#[test]
fn a_response_can_be_passed_on_as_a_request() {
    let server = echo_body();
    run(async {
        let client = Client::default();
        let source = client.post(&server.url("/"), "over and over").await.unwrap().into_body();
        let answer = read(client.post(&server.url("/"), RequestBody::stream(source)).await).await.unwrap();
        assert_eq!(answer, (200, "length 24: length 13: over and over".into()));
    });
}

#[test]
fn frames_are_those_of_http_body() {
    let server = Server::start(echo_target);
    run(async {
        let client = Client::default();
        let mut body = client.get(&server.url("/frames")).await.unwrap().into_body();
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap().unwrap();
        assert_eq!(&*frame.into_data().unwrap(), b"/frames");
        assert!(poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_none());
    });
}
