//! HTTP/2, with the `h2` crate as the client; and what bytes that are no HTTP/2 lead to.

use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use ringtide::Address;
use ringtide::conn::{Connection, ConnectionOptions, PreparedRequest};
use ringtide::runtime::{Worker, WorkerOptions};
use ringtide::server::{Exchange, Server, ServerOptions, ServiceOptions};
use ringtide::stream::Stream;
use ringtide::tls::{ClientTls, ClientTlsOptions, ServerTls};

use crate::http2_raw::{
    DATA, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, Raw, frame, get as raw_get, request,
};
use crate::site::{LARGE_SIZE, PIECE, Running, large};

/// Longer than any step of these tests. A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(60);

/// Runs `test` with a client that is connected to the site.
fn with_client<F: Future<Output = ()>>(running: &Running, test: impl FnOnce(SendRequest<Bytes>) -> F) {
    let Address::Tcp(address) = *running.address() else { panic!("not TCP") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let done = tokio::time::timeout(PATIENCE, test(client)).await;
        assert!(done.is_ok(), "the test hangs");
    });
}

fn get(target: &str) -> Request<()> {
    Request::get(format!("http://h{target}")).body(()).unwrap()
}

fn post(target: &str) -> Request<()> {
    Request::post(format!("http://h{target}")).body(()).unwrap()
}

/// Reads a body to its end, and returns its windows.
async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Sends a request without a body, and reads its response.
async fn ask(
    client: &SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(http::response::Parts, Vec<u8>), h2::Error> {
    let mut client = client.clone().ready().await?;
    let (response, _) = client.send_request(request, true)?;
    let (head, body) = response.await?.into_parts();
    Ok((head, read(body).await?))
}

/// Sends a request with a body, and reads its response at the same time.
async fn upload(
    client: &SendRequest<Bytes>,
    target: &str,
    mut data: Bytes,
) -> Result<(StatusCode, Vec<u8>), h2::Error> {
    let mut client = client.clone().ready().await?;
    let (response, mut sender) = client.send_request(post(target), false)?;
    let send = async {
        while !data.is_empty() {
            sender.reserve_capacity(data.len().min(100_000));
            let Some(Ok(size)) = std::future::poll_fn(|context| sender.poll_capacity(context)).await else {
                return;
            };
            if sender.send_data(data.split_to(size.min(data.len())), data.is_empty()).is_err() {
                return;
            }
        }
    };
    let receive = async {
        let (head, body) = response.await?.into_parts();
        Ok((head.status, read(body).await?))
    };
    futures_util::future::join(send, receive).await.1
}

/// Waits until a handler of `/wait` was dropped.
async fn dropped(running: &Running) {
    while running.dropped.try_recv().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn reason(error: &h2::Error) -> Reason {
    error.reason().unwrap_or_else(|| panic!("no code: {error}"))
}

#[test]
fn both_versions_give_the_same_responses() {
    let running = Running::start();
    let mut peer = running.peer();
    let mut known = Vec::new();
    for target in
        ["/", "/prepared", "/empty", "/large", "/pieces", "/announced", "/early", "/later", "/nowhere"]
    {
        let response = peer.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let length = response.field("content-length").map(str::to_owned);
        known.push((target, response.status, length, response.body));
    }
    with_client(&running, async |client| {
        // More than once, as what was sent before may be sent again in a shorter form.
        for _ in 0..4 {
            for (target, status, length, body) in &known {
                let (head, found) = ask(&client, get(target)).await.unwrap();
                assert_eq!((head.status.as_u16(), found.len()), (*status, body.len()), "{target}");
                assert!(found == *body, "{target}");
                let found = head.headers.get("content-length").map(|value| value.to_str().unwrap());
                assert_eq!(found, length.as_deref(), "{target}");
                assert!(head.headers["date"].to_str().unwrap().ends_with(" GMT"));
                assert_eq!(head.headers["content-type"], "text/plain");
            }
        }
    });
}

#[test]
fn a_response_to_head_has_no_body() {
    let running = Running::start();
    with_client(&running, async |client| {
        for target in ["/", "/prepared", "/large", "/announced", "/pieces"] {
            let request = Request::head(format!("http://h{target}")).body(()).unwrap();
            let (head, body) = ask(&client, request).await.unwrap();
            assert_eq!((head.status.as_u16(), body.len()), (200, 0), "{target}");
            assert_eq!(head.headers.contains_key("content-length"), target != "/pieces", "{target}");
        }
    });
}

#[test]
fn requests_run_side_by_side_and_their_bodies_share_the_connection() {
    let running = Running::start();
    with_client(&running, async |client| {
        let wait = client.clone().ready().await.unwrap().send_request(get("/wait"), true).unwrap().0;
        let requests = (0..200).map(|number| {
            let target = ["/", "/large", "/later-pieces", "/pieces", "/later"][number % 5];
            let client = client.clone();
            async move {
                let (head, body) = ask(&client, get(target)).await.unwrap();
                assert_eq!(head.status, 200);
                let sizes = [12, LARGE_SIZE, 3 * PIECE.len(), 1000 * PIECE.len(), 6];
                assert_eq!(body.len(), sizes[number % 5], "{target}");
            }
        });
        futures_util::future::join_all(requests).await;
        drop(wait);
        dropped(&running).await;
    });
}

#[test]
fn bodies_are_streamed_both_ways() {
    let running = Running::start();
    with_client(&running, async |client| {
        let uploads = (0..8).map(|number| {
            let client = client.clone();
            async move {
                let body = large().slice(number * 1000..);
                let (status, echoed) = upload(&client, "/echo", body.clone()).await.unwrap();
                assert_eq!(status, 200);
                assert!(echoed == body, "{number}: {} bytes of {}", echoed.len(), body.len());
            }
        });
        futures_util::future::join_all(uploads).await;
        let (status, body) = upload(&client, "/whole", Bytes::from_static(b"small")).await.unwrap();
        assert_eq!((status.as_u16(), &body[..]), (200, &b"small"[..]));
        let (status, _) = upload(&client, "/whole", large().slice(..2000)).await.unwrap();
        assert_eq!(status, 413);
    });
}

/// A handler that does not read takes nothing from the others, and a response ends what is left of a request.
#[test]
fn a_body_that_nobody_reads_stops_only_its_stream() {
    let running = Running::start();
    with_client(&running, async |client| {
        for _ in 0..20 {
            // Its error comes after the response, or instead of it.
            let (response, mut sender) =
                client.clone().ready().await.unwrap().send_request(post("/early"), false).unwrap();
            let _ = sender.send_data(large().slice(..200_000), false);
            assert_eq!(response.await.unwrap().status(), 403);
        }
        let (status, echoed) = upload(&client, "/echo", large()).await.unwrap();
        assert_eq!((status.as_u16(), echoed.len()), (200, LARGE_SIZE));
    });
}

#[test]
fn a_client_that_resets_a_stream_drops_its_handler() {
    let running = Running::start();
    with_client(&running, async |client| {
        let (response, mut sender) =
            client.clone().ready().await.unwrap().send_request(post("/wait"), false).unwrap();
        assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
        sender.send_reset(Reason::CANCEL);
        drop(response);
        dropped(&running).await;
        assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
    });
}

#[test]
fn a_failure_ends_its_stream_alone() {
    let (sender, told) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let options = ServiceOptions::default().on_error(move |failure| {
        let status = failure.status.map(|status| status.as_u16());
        let told = (failure.target.to_owned(), failure.kind.to_string(), status);
        sender.lock().unwrap().send(told).unwrap();
    });
    let running = Running::with(options);
    with_client(&running, async |client| {
        let failed = "the handler failed";
        let panicked = "the handler panicked: as planned";
        for (target, kind, status) in [
            ("/panic", panicked, Some(500)),
            ("/fail", failed, Some(500)),
            ("/impossible", failed, Some(500)),
            ("/begin-and-panic", panicked, None),
            ("/short", failed, None),
        ] {
            let outcome = ask(&client, get(target)).await;
            match status {
                Some(status) => assert_eq!(outcome.unwrap().0.status.as_u16(), status, "{target}"),
                None => assert_eq!(reason(&outcome.unwrap_err()), Reason::INTERNAL_ERROR, "{target}"),
            }
            let (told_target, told_kind, told_status) = told.recv_timeout(PATIENCE).unwrap();
            assert_eq!((&told_target[..], told_status), (target, status));
            assert!(told_kind.starts_with(kind), "{target}: {told_kind}");
        }
        assert_eq!(reason(&ask(&client, get("/disconnect")).await.unwrap_err()), Reason::CANCEL);
        assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
        let mut connect = Request::connect("h:80").body(()).unwrap();
        *connect.version_mut() = http::Version::HTTP_2;
        assert_eq!(ask(&client, connect).await.unwrap().0.status, 501);
    });
}

#[test]
fn a_head_that_is_too_large_is_refused_alone() {
    let running = Running::start();
    with_client(&running, async |client| {
        let mut request = get("/");
        for number in 0..200 {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            request.headers_mut().insert(name, http::HeaderValue::from_static("v"));
        }
        assert_eq!(ask(&client, request).await.unwrap().0.status, 431);
        assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
    });
}

#[test]
fn a_stream_has_time_limits_of_its_own() {
    let stalls = ServiceOptions::default().stall_timeout(SHORT);
    let slow = ServiceOptions::default().request_timeout(SHORT);
    for (options, target, expected) in
        [(stalls, "/whole", 408), (slow.clone(), "/whole", 408), (slow, "/wait", 503)]
    {
        let running = Running::with(options);
        with_client(&running, async |client| {
            let ends = expected == 503;
            let mut ready = client.clone().ready().await.unwrap();
            let (response, _sender) = ready.send_request(post(target), ends).unwrap();
            assert_eq!(response.await.unwrap().status(), expected, "{target}");
            assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
        });
    }
    // A client that does not read loses the stream that it does not read.
    let running = Running::with(ServiceOptions::default().stall_timeout(Duration::from_secs(1)));
    with_client(&running, async |client| {
        let (response, _) =
            client.clone().ready().await.unwrap().send_request(get("/endless"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let error = loop {
            match body.data().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(reason(&error), Reason::CANCEL);
        // With it goes what it took of the connection's window.
        drop(body);
        assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
    });
}

#[test]
fn an_idle_connection_is_closed() {
    let running = Running::with(ServiceOptions::default().idle_timeout(SHORT));
    with_client(&running, async |client| {
        assert_eq!(ask(&client, get("/later")).await.unwrap().0.status, 200);
        while client.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_shutdown_finishes_what_has_begun() {
    let mut running = Running::start();
    with_client(&running, async |client| {
        let mut ready = client.clone().ready().await.unwrap();
        let (response, mut sender) = ready.send_request(post("/whole"), false).unwrap();
        assert_eq!(ask(&client, get("/")).await.unwrap().0.status, 200);
        running.shutdown.begin();
        while client.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sender.send_data(Bytes::from_static(b"in time"), true).unwrap();
        assert_eq!(read(response.await.unwrap().into_body()).await.unwrap(), b"in time");
    });
    running.server.take().unwrap().join();
}

#[test]
fn a_preface_is_found_however_it_is_cut_and_nothing_else_is_taken_for_one() {
    let running = Running::with(ServiceOptions::default().head_timeout(Duration::from_secs(1)));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for cut in 1..preface.len() {
        let mut peer = running.peer();
        peer.send(&preface[..cut]);
        std::thread::sleep(Duration::from_millis(2));
        peer.send(&preface[cut..]);
        let frame = peer.take(9);
        assert_eq!((frame[3], frame[4]), (4, 0), "SETTINGS come first; cut at {cut}");
    }
    for (request, status) in [("PRI * HTTP/2.0\r\n\r\nXX", 505), ("PRI /x HTTP/1.1\r\nHost: h\r\n\r\n", 404)]
    {
        let mut peer = running.peer();
        assert_eq!(peer.ask(request).status, status, "{request}");
    }
    // Another protocol may be offered, and need not be taken.
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let mut peer = running.peer();
    assert_eq!(peer.ask(upgrade).text(), "hello world\n");
    // A preface that stays incomplete is a head that does.
    let mut peer = running.peer();
    peer.send(&preface[..10]);
    assert_eq!(peer.response().status, 408);
}

#[test]
fn what_is_no_http2_ends_the_connection_with_its_reason() {
    let running = Running::start();
    let mut peer = running.peer();
    // DATA on a stream that has not begun (RFC 9113 §5.1).
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\x01x");
    let rest = peer.rest();
    let mut frames = Vec::new();
    let mut bytes = &rest[..];
    while bytes.len() >= 9 {
        let size = usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        frames.push((bytes[3], bytes[9..9 + size].to_vec()));
        bytes = &bytes[9 + size..];
    }
    let (kind, payload) = frames.last().unwrap();
    assert_eq!((*kind, &payload[4..8]), (7, &[0, 0, 0, 1][..]), "GOAWAY with PROTOCOL_ERROR: {frames:?}");
}

#[test]
fn a_response_may_come_from_another_task() {
    let (tell, told) = mpsc::channel();
    let any_port = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions::default().workers(1);
    let server = Server::start(&[any_port], &options, async move |exchange: Exchange<'_>| {
        let Ok(mut exchange) = exchange.detach() else { panic!("it borrows its connection") };
        let (send, proof) = tokio::sync::oneshot::channel();
        let tell = tell.clone();
        ringtide::runtime::spawn(async move {
            let outcome = match exchange.body(1000).await {
                Ok(body) => exchange.respond(StatusCode::OK, &[], body.unwrap()),
                Err(error) => Err(error),
            };
            tell.send(outcome.as_ref().map(|_| ()).map_err(|error| format!("{error:?}"))).unwrap();
            // Nobody receives it if the handler is gone.
            let _ = send.send(outcome);
        });
        proof.await.expect("the task tells how it ended")
    })
    .unwrap();
    let mut raw = Raw::connect(&server.addresses()[0], &[]);
    raw.send([request(1, "POST", "/", 0), request(3, "POST", "/", 0)].concat());
    raw.send(frame(DATA, END_STREAM, 1, b"moved"));
    assert_eq!(raw.response(1).1, b"moved");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(()));
    // It learns why its stream ended.
    raw.send(frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes()));
    let error = told.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(error.starts_with("Stream(StreamReset") && error.contains("cause: Peer"), "{error}");
    // And that its connection did.
    raw.send(request(5, "POST", "/", 0));
    raw.send(raw_get(7, "/"));
    assert_eq!(raw.response(7).1, b"");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(()));
    drop(raw);
    assert!(told.recv_timeout(PATIENCE).unwrap().is_err());
    server.shutdown().begin();
    server.join();
}

/// It is told that, and what it still sends goes nowhere.
#[test]
fn a_task_that_has_the_exchange_of_a_late_stream_gives_no_second_answer() {
    let (tell, told) = mpsc::channel();
    let any_port = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions::default().workers(1).service(ServiceOptions::default().stall_timeout(SHORT));
    let server = Server::start(&[any_port], &options, async move |exchange: Exchange<'_>| {
        let Ok(mut exchange) = exchange.detach() else { panic!("it borrows its connection") };
        let tell = tell.clone();
        ringtide::runtime::spawn(async move {
            let is_lost = exchange.body(1000).await.is_err();
            tell.send(is_lost).unwrap();
            let _ = exchange.respond(StatusCode::OK, &[], "too late");
        });
        std::future::pending::<Result<_, ringtide::Error>>().await
    })
    .unwrap();
    // The answer waits for a window, or does not.
    for window in [0, 1000] {
        let mut raw = Raw::connect(&server.addresses()[0], &[(INITIAL_WINDOW_SIZE, window)]);
        raw.send(request(1, "POST", "/", 0));
        let head = raw.until(HEADERS);
        assert_eq!(raw.fields(&head).get(b":status"), Some(&b"408"[..]));
        assert!(told.recv_timeout(PATIENCE).unwrap());
        while let kind = raw.frame().kind
            && kind != RST_STREAM
        {
            assert_ne!(kind, HEADERS, "a second answer");
        }
    }
    server.shutdown().begin();
    server.join();
}

#[test]
fn the_version_over_tls_is_the_one_that_both_sides_offer() {
    let tls = ServerTls::self_signed(&["localhost"]).unwrap();
    let running = Running::with(ServiceOptions::default().tls(tls));
    let address = running.address().clone();
    let mut worker = Worker::new(&WorkerOptions::default()).unwrap();
    worker.block_on(async {
        for (offered, version) in [
            (&["h2", "http/1.1"][..], http::Version::HTTP_2),
            (&["http/1.1"], http::Version::HTTP_11),
            (&[], http::Version::HTTP_11),
        ] {
            let tls =
                ClientTls::new(&ClientTlsOptions::default().insecure(true).alpn(offered.iter().copied()));
            let stream = Stream::connect_tls(&address, "localhost", &tls.unwrap()).await.unwrap();
            let mut connection = Connection::new(stream, &ConnectionOptions::default());
            assert_eq!(connection.version(), version);
            for (target, size) in [("/", 12), ("/large", LARGE_SIZE), ("/pieces", 1000 * PIECE.len())] {
                let request = Request::get(format!("https://localhost{target}")).body(Bytes::new()).unwrap();
                let request = PreparedRequest::new(&request).unwrap();
                let mut response = connection.send(&request).await.unwrap();
                assert_eq!(response.head().status(), 200);
                let mut found = 0;
                while let Some(data) = response.data().await.unwrap() {
                    found += data.len();
                }
                assert_eq!(found, size, "{target} with {version:?}");
            }
        }
    });
}
