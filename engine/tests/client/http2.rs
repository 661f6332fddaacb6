//! The client over HTTP/2: against this crate's server, against the `h2` crate's, and against peers that misbehave.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use ringtide::client::{
    ClientHandle, HttpVersion, PoolOptions, RemoteRequestBody, RequestBody, Timeouts, body_channel,
};
use ringtide::error::Phase;
use ringtide::proto::h2::{ErrorCode, Options};
use ringtide::runtime::{self, WorkerOptions};
use ringtide::server::{Answered, Exchange, Server, ServerOptions, ServiceOptions, Shutdown};
use ringtide::tls::{ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions};
use ringtide::{Address, Client, ClientOptions, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{SIZE_MAX, read, run};

/// Larger than the windows of a stream, on both sides.
const LARGE_SIZE: usize = 5_000_000;

fn http2() -> ClientOptions {
    ClientOptions::default().http_version(HttpVersion::Http2)
}

fn one_connection() -> ClientOptions {
    http2().pool(PoolOptions::default().connections_per_host_max(1))
}

fn large() -> Bytes {
    (0..LARGE_SIZE).map(|number| (number / 7) as u8).collect::<Vec<_>>().into()
}

/// A body that is produced in pieces.
struct Pieces {
    rest: Bytes,
    size: usize,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.size.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }
}

/// This crate's server.
struct OwnServer {
    server: Option<Server>,
    shutdown: Shutdown,
}

impl OwnServer {
    fn start(options: ServiceOptions) -> Self {
        let server = Server::start(
            &[Address::Tcp(([127, 0, 0, 1], 0).into())],
            &ServerOptions::default().workers(1).service(options),
            async move |exchange: Exchange<'_>| answer(exchange).await,
        )
        .unwrap();
        let shutdown = server.shutdown();
        Self { server: Some(server), shutdown }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.server.as_ref().unwrap().addresses()[0])
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.shutdown.begin();
        if let Some(server) = self.server.take()
            && !thread::panicking()
        {
            server.join();
        }
    }
}

async fn answer(mut exchange: Exchange<'_>) -> Result<Answered, Error> {
    let target = String::from_utf8(exchange.head().target().to_vec()).unwrap();
    match target.as_str() {
        "/large" => exchange.respond(StatusCode::OK, &[], large()),
        "/echo" => {
            let mut pieces = Vec::new();
            while let Some(piece) = exchange.data().await? {
                pieces.extend_from_slice(piece);
            }
            exchange.respond(StatusCode::OK, &[], pieces)
        }
        "/count" => {
            let mut size = 0;
            while let Some(piece) = exchange.data().await? {
                size += piece.len();
            }
            exchange.respond(StatusCode::OK, &[], size.to_string())
        }
        "/trailers" => {
            let body = exchange.body(SIZE_MAX).await?.unwrap_or_default();
            let size = body.len().to_string();
            let mut responder = exchange.stream(StatusCode::OK, &[], None)?;
            responder.send(body).await?;
            responder.finish_with_trailers(&[("x-sum", &size)])
        }
        "/early" => exchange.respond(StatusCode::FORBIDDEN, &[], "no"),
        _ => exchange.respond(StatusCode::OK, &[("x-target", &target)], target.as_str()),
    }
}

/// A request to the `h2` crate's server.
type Got = (Request<RecvStream>, SendResponse<Bytes>);

/// A server of the `h2` crate on its own thread, which ends with the test's process.
struct Peer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Peer {
    /// Handles each request in a task. `handle` gets the number of the connection, from 0.
    fn start<F: Future<Output = ()> + 'static>(
        builder: h2::server::Builder,
        handle: impl Fn(usize, Got) -> F + Clone + Send + 'static,
    ) -> Self {
        Self::serve(async move |number, stream| {
            let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
            while let Some(Ok(got)) = connection.accept().await {
                tokio::task::spawn_local(handle(number, got));
            }
        })
    }

    /// Runs `serve` for each connection.
    fn serve<S>(serve: S) -> Self
    where
        S: AsyncFn(usize, tokio::net::TcpStream) + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                let serve = std::rc::Rc::new(serve);
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    let serve = std::rc::Rc::clone(&serve);
                    tokio::task::spawn_local(async move { serve(number, stream).await });
                }
            });
        });
        Self { address: receiver.recv().unwrap(), accepted }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn respond(respond: &mut SendResponse<Bytes>, text: &str) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::copy_from_slice(text.as_bytes()), true).unwrap();
}

/// Sends `data` as the windows allow.
async fn send_all(stream: &mut h2::SendStream<Bytes>, mut data: Bytes) -> Option<()> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(100_000));
        let size = poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
        stream.send_data(data.split_to(size.min(data.len())), data.is_empty()).ok()?;
    }
    Some(())
}

/// Responds with the target, `/large` with a large body, `/echo` with the request's body while it comes.
async fn echo(_: usize, (request, mut sender): Got) {
    let target = request.uri().path().to_owned();
    match target.as_str() {
        "/large" => {
            let mut stream = sender.send_response(Response::new(()), false).unwrap();
            send_all(&mut stream, large()).await;
        }
        "/echo" => {
            let mut stream = sender.send_response(Response::new(()), false).unwrap();
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                let mut rest = data;
                while !rest.is_empty() {
                    stream.reserve_capacity(rest.len());
                    let Some(Ok(size)) = poll_fn(|context| stream.poll_capacity(context)).await else {
                        return;
                    };
                    stream.send_data(rest.split_to(size.min(rest.len())), false).unwrap();
                }
            }
            let _ = stream.send_data(Bytes::new(), true);
        }
        _ => respond(&mut sender, &target),
    }
}

/// Sends `count` requests at once, each from a task of its own.
async fn many(client: &Client, count: usize, url: impl Fn(usize) -> String) -> Vec<Result<Bytes, Error>> {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (client, url) = (client.clone(), url(number));
            runtime::spawn(async move { read(client.get(&url).await).await.map(|(_, body)| body) })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[test]
fn many_tasks_share_one_connection_to_this_server() {
    let server = OwnServer::start(ServiceOptions::default());
    run(async {
        let client = Client::new(one_connection());
        for _ in 0..3 {
            let bodies = many(&client, 100, |number| server.url(&format!("/{number}"))).await;
            for (number, body) in bodies.into_iter().enumerate() {
                assert_eq!(body.unwrap(), format!("/{number}"));
            }
        }
        let response = client.get(&server.url("/head")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.headers()["x-target"], "/head");
    });
}

#[test]
fn a_head_that_repeats_belongs_to_each_response() {
    let server = OwnServer::start(ServiceOptions::default());
    let urls: Vec<_> = ["/a", "/a", "/a", "/a", "/b", "/a", "/b", "/b", "/b"]
        .into_iter()
        .map(|target| (target, server.url(target)))
        .collect();
    run(async move {
        let client = Client::new(one_connection());
        let mut kept = Vec::new();
        for (target, url) in &urls {
            let mut response = client.get(url).await.unwrap();
            assert_eq!(response.headers()["x-target"], target);
            assert_eq!(response.headers()["content-length"], "2");
            // What one request does with its fields is not seen by others.
            response.headers_mut().insert("x-target", "changed".parse().unwrap());
            kept.push(response);
        }
        for ((target, _), response) in urls.iter().zip(kept) {
            assert_eq!(response.headers()["x-target"], "changed");
            assert_eq!(read(Ok(response)).await.unwrap().1, target);
        }
    });
}

#[test]
fn many_tasks_share_one_connection_to_another_server() {
    let peer = Peer::start(h2::server::Builder::new(), echo);
    run(async {
        // More than one would be allowed.
        let client = Client::new(http2());
        for _ in 0..3 {
            let bodies = many(&client, 100, |number| peer.url(&format!("/{number}"))).await;
            for (number, body) in bodies.into_iter().enumerate() {
                assert_eq!(body.unwrap(), format!("/{number}"));
            }
        }
    });
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn large_bodies_flow_both_ways() {
    let own = OwnServer::start(ServiceOptions::default());
    let peer = Peer::start(h2::server::Builder::new(), echo);
    run(async {
        for url in [own.url(""), peer.url("")] {
            let client = Client::new(one_connection());
            let (_, body) = read(client.get(&format!("{url}/large")).await).await.unwrap();
            assert!(body == large(), "{url}");
            // In memory, in pieces of unknown length, and both at once with others.
            let (_, body) = read(client.post(&format!("{url}/echo"), large()).await).await.unwrap();
            assert!(body == large(), "{url}");
            let uploads: Vec<_> = [1_000, 70_000, 300_000]
                .map(|size| {
                    let (client, url) = (client.clone(), format!("{url}/echo"));
                    runtime::spawn(async move {
                        let body = RequestBody::stream(Pieces { rest: large(), size });
                        read(client.post(&url, body).await).await.unwrap().1
                    })
                })
                .into();
            for upload in uploads {
                assert!(upload.await.unwrap() == large(), "{url}");
            }
        }
    });
}

/// RFC 9113 §5.2: flow control is for each stream.
#[test]
fn a_slow_reader_holds_back_its_own_stream_only() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let peer = Peer::start(h2::server::Builder::new(), move |number, got| {
        let count = Arc::clone(&count);
        async move {
            if got.0.uri().path() != "/endless" {
                return echo(number, got).await;
            }
            let (_, mut sender) = got;
            let mut stream = sender.send_response(Response::new(()), false).unwrap();
            while send_all_but_end(&mut stream, &count).await.is_some() {}
        }
    });
    run(async {
        let window = 300_000;
        let client = Client::new(one_connection().http2(Options::default().stream_window(window)));
        let mut slow: Vec<_> = Vec::new();
        for _ in 0..4 {
            slow.push(client.get(&peer.url("/endless")).await.unwrap().into_body());
        }
        for number in 0..30 {
            let target = format!("/{number}");
            assert_eq!(read(client.get(&peer.url(&target)).await).await.unwrap().1, target);
        }
        let (_, body) = read(client.get(&peer.url("/large")).await).await.unwrap();
        assert_eq!(body.len(), LARGE_SIZE);
        // What a stream's reader has not read is no more than its window.
        assert_eq!(sent.load(Ordering::SeqCst), 4 * window as usize);
        for body in &mut slow {
            let mut size = 0;
            while size < 2 * window as usize {
                size += body.data().await.unwrap().unwrap().len();
            }
        }
    });
    assert_eq!(peer.accepted(), 1);
}

/// Sends what the windows allow now, or waits until they allow more.
async fn send_all_but_end(stream: &mut h2::SendStream<Bytes>, count: &AtomicUsize) -> Option<()> {
    stream.reserve_capacity(50_000);
    let size = poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
    stream.send_data(vec![7; size].into(), false).ok()?;
    count.fetch_add(size, Ordering::SeqCst);
    Some(())
}

#[test]
fn dropping_a_request_or_a_body_resets_its_stream_only() {
    let (sender, resets) = mpsc::channel();
    let peer = Peer::start(h2::server::Builder::new(), move |number, got| {
        let resets = sender.clone();
        async move {
            let path = got.0.uri().path().to_owned();
            let (_, mut sender) = match path.as_str() {
                "/never" | "/half" => got,
                _ => return echo(number, got).await,
            };
            let reason = if path == "/never" {
                poll_fn(|context| sender.poll_reset(context)).await
            } else {
                let mut stream = sender.send_response(Response::new(()), false).unwrap();
                stream.send_data("half".into(), false).unwrap();
                poll_fn(|context| stream.poll_reset(context)).await
            };
            let _ = resets.send((path, reason.unwrap()));
        }
    });
    run(async {
        let client = Client::new(one_connection());
        let url = peer.url("/never");
        let waiting = client.get(&url);
        assert!(runtime::timeout(Duration::from_millis(50), waiting).await.is_none());
        let mut body = client.get(&peer.url("/half")).await.unwrap().into_body();
        assert_eq!(&*body.data().await.unwrap().unwrap(), b"half");
        drop(body);
        assert_eq!(read(client.get(&peer.url("/after")).await).await.unwrap().1, "/after");
    });
    for path in ["/never", "/half"] {
        let reset = resets.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(reset, (path.to_owned(), Reason::CANCEL));
    }
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn a_timeout_ends_its_request_only() {
    let peer = Peer::start(h2::server::Builder::new(), async |number, got| {
        if got.0.uri().path() == "/never" {
            return std::future::pending().await;
        }
        echo(number, got).await;
    });
    run(async {
        let timeouts = Timeouts::default().head(Duration::from_millis(50));
        let client = Client::new(one_connection().timeouts(timeouts));
        let late = client.get(&peer.url("/never")).await;
        assert!(matches!(late, Err(Error::Timeout(Phase::Head))), "{late:?}");
        assert_eq!(read(client.get(&peer.url("/after")).await).await.unwrap().1, "/after");
    });
    assert_eq!(peer.accepted(), 1);
}

/// More requests than the peer takes on one connection.
#[test]
fn the_connection_of_a_request_that_is_dropped_serves_those_that_wait_for_it() {
    let peer = Peer::start(h2::server::Builder::new(), echo);
    run(async {
        let client = Client::new(http2());
        let url = peer.url("/");
        let (mut dropped, mut waiting) = (Box::pin(client.get(&url)), Box::pin(client.get(&url)));
        poll_fn(|context| {
            assert!(dropped.as_mut().poll(context).is_pending());
            assert!(waiting.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        while peer.accepted() == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        drop(dropped);
        assert_eq!(read(waiting.await).await.unwrap(), (200, "/".into()));
    });
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn the_limit_of_the_peer_opens_further_connections_or_makes_requests_wait() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(5);
    let most = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicUsize::new(0));
    let counts = (Arc::clone(&open), Arc::clone(&most));
    let peer = Peer::start(builder, move |number, got| {
        let (open, most) = counts.clone();
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            open.fetch_sub(1, Ordering::SeqCst);
            echo(number, got).await;
        }
    });
    run(async {
        for (connections_max, expected) in [(1, 1), (3, 4)] {
            let pool = PoolOptions::default().connections_per_host_max(connections_max);
            let client = Client::new(http2().pool(pool));
            // The peer's limit is known from here on.
            read(client.get(&peer.url("/")).await).await.unwrap();
            most.store(0, Ordering::SeqCst);
            let bodies = many(&client, 40, |number| peer.url(&format!("/{number}"))).await;
            for (number, body) in bodies.into_iter().enumerate() {
                assert_eq!(body.unwrap(), format!("/{number}"));
            }
            assert_eq!(peer.accepted(), expected);
            let most = most.load(Ordering::SeqCst);
            assert!(most > 5 * (connections_max - 1) && most <= 5 * connections_max + 5, "{most}");
        }
    });
}

/// Before its SETTINGS, the peer's limit is unknown: what it then refuses is sent again.
#[test]
fn what_the_peer_refuses_is_sent_again_whatever_its_method() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let peer = Peer::start(h2::server::Builder::new(), move |number, got| {
        let count = Arc::clone(&count);
        async move {
            if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                let mut sender = got.1;
                return sender.send_reset(Reason::REFUSED_STREAM);
            }
            echo(number, got).await;
        }
    });
    run(async {
        let client = Client::new(one_connection());
        let (_, body) = read(client.post(&peer.url("/echo"), "not idempotent").await).await.unwrap();
        assert_eq!(body, "not idempotent");
        assert_eq!(refused.load(Ordering::SeqCst), 2);
        let client = Client::new(one_connection().replays_max(0));
        let error = client.post(&peer.url("/echo"), "x").await.unwrap_err();
        assert!(matches!(&error, Error::Stream(reset) if reset.code == ErrorCode::REFUSED_STREAM), "{error}");
    });
}

#[test]
fn another_reset_is_the_error_of_its_request() {
    let peer = Peer::start(h2::server::Builder::new(), async |number, got| {
        let (mut sender, path) = (got.1, got.0.uri().path().to_owned());
        match path.as_str() {
            "/reset" => sender.send_reset(Reason::INTERNAL_ERROR),
            "/half" => {
                let mut stream = sender.send_response(Response::new(()), false).unwrap();
                stream.send_data("half".into(), false).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            _ => echo(number, (got.0, sender)).await,
        }
    });
    run(async {
        let client = Client::new(one_connection());
        let is_it =
            |error: &Error| matches!(error, Error::Stream(reset) if reset.code == ErrorCode::INTERNAL_ERROR);
        let error = client.get(&peer.url("/reset")).await.unwrap_err();
        assert!(is_it(&error), "{error}");
        let mut body = client.get(&peer.url("/half")).await.unwrap().into_body();
        assert_eq!(&*body.data().await.unwrap().unwrap(), b"half");
        let error = body.data().await.unwrap_err();
        assert!(is_it(&error), "{error}");
        assert!(body.data().await.unwrap().is_none());
        assert_eq!(read(client.get(&peer.url("/after")).await).await.unwrap().1, "/after");
    });
    assert_eq!(peer.accepted(), 1);
}

/// RFC 9113 §6.8: a peer that closes gracefully finishes what it has taken, and the rest goes elsewhere.
#[test]
fn a_go_away_retires_the_connection_and_moves_what_it_excludes() {
    let peer = Peer::serve(async |number, stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut count = 0;
        while let Some(Ok(got)) = connection.accept().await {
            count += 1;
            if number == 0 && count == 3 {
                connection.graceful_shutdown();
            }
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                echo(number, got).await;
            });
        }
    });
    run(async {
        let client = Client::new(http2());
        let mut tasks = Vec::new();
        for number in 0..20 {
            let (client, url) = (client.clone(), peer.url("/echo"));
            tasks.push(runtime::spawn(async move {
                let text = format!("request {number}");
                let (_, body) = read(client.post(&url, text.clone()).await).await.unwrap();
                assert_eq!(body, text);
            }));
            runtime::sleep(Duration::from_millis(5)).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(peer.accepted(), 2);
}

/// The peer takes the first request and excludes the others, which are on their way.
#[test]
fn requests_that_a_go_away_excludes_are_replayed() {
    let peer = Peer::serve(async |number, mut stream| {
        if number > 0 {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok(got)) = connection.accept().await {
                tokio::task::spawn_local(echo(number, got));
            }
            return;
        }
        // SETTINGS, and after the requests a GOAWAY that includes none.
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut buffer = [0; 4096];
        let mut size = 0;
        while size < 400 {
            size += stream.read(&mut buffer).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    run(async {
        let client = Client::new(http2());
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let (client, url) = (client.clone(), peer.url("/echo"));
                let text = format!("request {number}, and what fills it: {}", "x".repeat(40));
                runtime::spawn(async move {
                    let (_, body) = read(client.post(&url, text.clone()).await).await.unwrap();
                    assert_eq!(body, text);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(peer.accepted(), 2);
}

#[test]
fn a_server_that_dies_fails_what_is_in_flight_and_the_next_request_connects_anew() {
    let peer = Peer::serve(async |number, stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok((request, mut sender))) = connection.accept().await {
            if number > 0 {
                tokio::task::spawn_local(echo(number, (request, sender)));
                continue;
            }
            let mut stream = sender.send_response(Response::new(()), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            held.push(stream);
            if held.len() == 3 {
                // What was sent goes out first.
                let _ = tokio::time::timeout(Duration::from_millis(100), connection.accept()).await;
                return;
            }
        }
    });
    run(async {
        let client = Client::new(one_connection());
        let results = many(&client, 3, |_| peer.url("/")).await;
        for result in results {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Incomplete(_) | Error::Network(_)), "{error:?}");
        }
        assert_eq!(read(client.get(&peer.url("/after")).await).await.unwrap().1, "/after");
    });
    assert_eq!(peer.accepted(), 2);
}

#[test]
fn a_request_on_a_connection_that_the_peer_has_just_closed_is_replayed() {
    let peer = Peer::serve(async |number, stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        if let Some(Ok((request, sender))) = connection.accept().await {
            tokio::task::spawn_local(echo(number, (request, sender)));
        }
        // The second request is read, and the connection is closed without a word about it.
        let _ = tokio::time::timeout(Duration::from_secs(10), connection.accept()).await;
    });
    run(async {
        let client = Client::new(http2());
        for number in 0..4 {
            let target = format!("/{number}");
            assert_eq!(read(client.get(&peer.url(&target)).await).await.unwrap().1, target);
        }
    });
    assert_eq!(peer.accepted(), 4);
}

#[test]
fn what_is_no_http_2_is_an_error_of_the_protocol() {
    let peer = Peer::serve(async |_, mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // Until the client closes.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    run(async {
        let client = Client::new(http2());
        let error = client.get(&peer.url("/")).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    });
}

#[test]
fn an_idle_connection_is_closed_after_a_time_and_with_its_client() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let peer = Peer::serve(async move |number, stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(got) = connection.accept().await {
            // Closing is graceful: GOAWAY comes first.
            tokio::task::spawn_local(echo(number, got.unwrap()));
        }
        count.fetch_add(1, Ordering::SeqCst);
    });
    run(async {
        let pool = PoolOptions::default().idle_timeout(Duration::from_millis(50));
        let client = Client::new(http2().pool(pool));
        read(client.get(&peer.url("/")).await).await.unwrap();
        while closed.load(Ordering::SeqCst) < 1 {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        let client = Client::new(http2());
        let body = client.get(&peer.url("/large")).await.unwrap().into_body();
        drop(client);
        // What is in flight can still be read.
        assert_eq!(body.bytes(SIZE_MAX).await.unwrap().len(), LARGE_SIZE);
        while closed.load(Ordering::SeqCst) < 2 {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_peer_that_does_not_answer_ping_is_given_up() {
    let peer = Peer::serve(async |number, mut stream| {
        if number > 0 {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok(got)) = connection.accept().await {
                tokio::task::spawn_local(echo(number, got));
            }
            return;
        }
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        // It is there, and says nothing more.
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
    run(async {
        let options =
            http2().ping_interval(Duration::from_millis(50)).ping_timeout(Duration::from_millis(50));
        let client = Client::new(options);
        let error = client.get(&peer.url("/")).await.unwrap_err();
        assert!(
            matches!(&error, Error::Network(error) if error.kind() == std::io::ErrorKind::TimedOut),
            "{error}"
        );
        // One that answers stays.
        read(client.get(&peer.url("/")).await).await.unwrap();
        runtime::sleep(Duration::from_millis(300)).await;
        read(client.get(&peer.url("/")).await).await.unwrap();
    });
    assert_eq!(peer.accepted(), 2);
}

#[test]
fn a_peer_that_a_request_waits_for_in_vain_must_answer_ping() {
    let peer = Peer::serve(async |number, stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        if number > 0 {
            while let Some(Ok(got)) = connection.accept().await {
                tokio::task::spawn_local(echo(number, got));
            }
            return;
        }
        let (_request, mut sender) = connection.accept().await.unwrap().unwrap();
        let _body = sender.send_response(Response::new(()), false).unwrap();
        let _unanswered = connection.accept().await.unwrap().unwrap();
        // It is there, and says nothing more.
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
    run(async {
        let timeouts = Timeouts::default().head(Duration::from_secs(2)).body_idle(None);
        let options = one_connection().timeouts(timeouts);
        let client = Client::new(options.ping_interval(None).ping_timeout(Duration::from_millis(50)));
        let waiting = client.get(&peer.url("/")).await.unwrap();
        let error = client.get(&peer.url("/")).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Head)), "{error}");
        let error = read(Ok(waiting)).await.unwrap_err();
        assert!(
            matches!(&error, Error::Network(error) if error.kind() == std::io::ErrorKind::TimedOut),
            "{error}"
        );
        assert_eq!(read(client.get(&peer.url("/next")).await).await.unwrap(), (200, "/next".into()));
    });
    assert_eq!(peer.accepted(), 2);
}

#[test]
fn trailers_come_after_the_body_and_as_a_frame() {
    let server = OwnServer::start(ServiceOptions::default());
    let url = server.url("/trailers");
    run(async {
        let client = Client::new(one_connection());
        for body in ["", "body"] {
            let mut response = client.post(&url, body).await.unwrap().into_body();
            while response.data().await.unwrap().is_some() {}
            assert_eq!(response.trailers().unwrap()["x-sum"], body.len().to_string());
            let mut frames = Box::pin(client.post(&url, body).await.unwrap().into_body());
            let mut last = None;
            // A reader that asks for the end does not stop before them.
            while !http_body::Body::is_end_stream(&*frames) {
                let frame = poll_fn(|context| http_body::Body::poll_frame(frames.as_mut(), context)).await;
                last = Some(frame.unwrap().unwrap());
            }
            assert_eq!(last.unwrap().into_trailers().unwrap()["x-sum"], body.len().to_string());
        }
        let mut response = client.get(&url.replace("trailers", "other")).await.unwrap().into_body();
        while response.data().await.unwrap().is_some() {}
        assert!(response.trailers().is_none());
    });
}

#[test]
fn a_response_before_the_end_of_the_upload_ends_it() {
    let server = OwnServer::start(ServiceOptions::default());
    run(async {
        let client = Client::new(one_connection());
        let (mut sender, body) = body_channel(None);
        let response = client.post(&server.url("/early"), RequestBody::stream(body)).await;
        assert_eq!(read(response).await.unwrap(), (403, "no".into()));
        while sender.send(vec![0; 100_000]).await.is_ok() {}
        let (_, body) = read(client.post(&server.url("/count"), large()).await).await.unwrap();
        assert_eq!(body, LARGE_SIZE.to_string());
    });
}

#[test]
fn a_handle_works_over_http_2() {
    let peer = Peer::start(h2::server::Builder::new(), echo);
    let handle = ClientHandle::spawn(one_connection(), WorkerOptions::default()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (handle, url) = (handle.clone(), peer.url(""));
            thread::spawn(move || {
                for _ in 0..20 {
                    let target = format!("/{number}");
                    let response = pollster::block_on(handle.get(&format!("{url}{target}"))).unwrap();
                    assert_eq!(response.version(), Version::HTTP_2);
                    assert_eq!(pollster::block_on(response.into_body().bytes(SIZE_MAX)).unwrap(), target);
                }
                let body = RemoteRequestBody::from(large());
                let response = pollster::block_on(handle.post(&format!("{url}/echo"), body)).unwrap();
                assert!(pollster::block_on(response.into_body().bytes(SIZE_MAX)).unwrap() == large());
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(peer.accepted(), 1);
}

/// The first request waits for the choice of the version, and the others for the first.
#[test]
fn alpn_chooses_the_version_and_requests_share_what_speaks_http_2() {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    for (offered, version) in [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)]
    {
        let tls = ServerTlsOptions::default().identity(identity.clone()).alpn(offered.iter().copied());
        let options = ServiceOptions::default().tls(ServerTls::new(&tls).unwrap());
        let server = OwnServer::start(options);
        let Address::Tcp(address) = server.server.as_ref().unwrap().addresses()[0] else { panic!("not TCP") };
        run(async {
            let tls = ClientTls::new(&ClientTlsOptions::default().insecure(true)).unwrap();
            let client = Client::new(ClientOptions::default().tls(tls));
            let tasks: Vec<_> = (0..20)
                .map(|number| {
                    let client = client.clone();
                    let url = format!("https://localhost:{}/{number}", address.port());
                    runtime::spawn(async move {
                        let response = client.get(&url).await.unwrap();
                        let version = response.version();
                        (version, read(Ok(response)).await.unwrap().1)
                    })
                })
                .collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), (version, format!("/{number}").into()));
            }
        });
    }
}
