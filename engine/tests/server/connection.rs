//! A server's connection used by itself, over a simulated network: what it says about requests, refusals and its end.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ringtide::Error;
use ringtide::error::RequestError;
use ringtide::proto::h1::Limits;
use ringtide::runtime::{self, JoinHandle};
use ringtide::server::{DISCARD_SIZE_MAX, Exchange, ServerConnection, ServiceOptions, Shutdown, serve};
use ringtide::sim::SimOptions;
use ringtide::stream::{Listener, Stream};
use ringtide::testing::{self, Script};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// Runs `main` with a server's connection and the stream at its other end.
fn with_both_ends(main: impl AsyncFnOnce(ServerConnection, Stream)) {
    testing::run(async |network| {
        let (peer, accepted) = network.pair().await;
        main(ServerConnection::new(accepted, Limits::default()), peer).await;
    });
}

/// Whether `future` has not ended after ten seconds; it goes on from there.
async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    runtime::timeout(Duration::from_secs(10), future).await.is_none()
}

/// Long enough for everything that is under way to arrive.
async fn settle() {
    runtime::sleep(Duration::from_millis(10)).await;
}

/// Has `connection` receive, so that pieces that come apart stay apart.
async fn receives(connection: &mut ServerConnection) {
    assert!(runtime::timeout(Duration::from_millis(10), connection.request()).await.is_none());
}

/// Reads until nothing has come for a second; also whether the end has come.
async fn read_all(peer: &mut Stream) -> (String, bool) {
    let mut read = Vec::new();
    let mut ended = false;
    while !ended && let Some(received) = runtime::timeout(Duration::from_secs(1), peer.receive()).await {
        match received.unwrap() {
            Some(lease) => read.extend_from_slice(&lease),
            None => ended = true,
        }
    }
    (String::from_utf8(read).unwrap(), ended)
}

#[test]
fn requests_come_one_after_the_other_until_the_peer_ends() {
    with_both_ends(async |mut connection, mut peer| {
        peer.send(format!("{GET}{GET}")).await.unwrap();
        peer.shutdown().await.unwrap();
        for number in 0..2 {
            let exchange = connection.request().await.unwrap().expect("there is one");
            assert_eq!(exchange.head().method(), "GET");
            let _ = exchange.respond(StatusCode::OK, &[], format!("{number}\n")).unwrap();
        }
        assert!(connection.request().await.unwrap().is_none());
        connection.close().await.unwrap();
        let (answers, ended) = read_all(&mut peer).await;
        assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), ended), (2, true), "{answers}");
        assert!(answers.contains("\r\n\r\n0\n") && answers.ends_with("\r\n\r\n1\n"), "{answers}");
    });
}

/// RFC 9112 §9.6: the peer may still be sending, and to close at once would take the answer from it.
#[test]
fn a_refused_peer_is_told_why_and_has_the_time_to_read_it() {
    with_both_ends(async |mut connection, mut peer| {
        peer.send("GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let error = connection.request().await.err();
        assert!(matches!(error, Some(Error::Protocol(_))), "{error:?}");
        connection.refuse();
        connection.refuse();
        let mut close = Box::pin(connection.close());
        assert!(is_pending(&mut close).await);
        let (answer, ended) = read_all(&mut peer).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && ended, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{answer}");
        drop(peer);
        close.await.unwrap();
    });
}

#[test]
fn a_connection_that_has_nothing_to_refuse_says_nothing() {
    with_both_ends(async |mut connection, mut peer| {
        connection.refuse();
        connection.close().await.unwrap();
        assert_eq!(read_all(&mut peer).await, (String::new(), true));
    });
}

#[test]
fn a_peer_that_goes_on_behind_its_last_request_can_read_the_answer() {
    // In one piece with it, and in one of its own.
    for (together, apart) in [("", ""), ("G", ""), ("", "G")] {
        with_both_ends(async |mut connection, mut peer| {
            receives(&mut connection).await;
            peer.send(format!("{LAST}{together}")).await.unwrap();
            settle().await;
            peer.send(apart).await.unwrap();
            settle().await;
            let exchange = connection.request().await.unwrap().expect("there is one");
            let _ = exchange.respond(StatusCode::OK, &[], "hello").unwrap();
            assert!(connection.request().await.unwrap().is_none());
            let mut close = Box::pin(connection.close());
            assert_eq!(is_pending(&mut close).await, together != apart, "{together:?} {apart:?}");
            let (answer, ended) = read_all(&mut peer).await;
            assert!(answer.ends_with("\r\n\r\nhello") && ended, "{answer}");
        });
    }
}

/// RFC 9110 §10.1.1.
#[test]
fn a_peer_whose_body_is_there_is_not_told_to_send_it() {
    with_both_ends(async |mut connection, mut peer| {
        receives(&mut connection).await;
        peer.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .await
            .unwrap();
        settle().await;
        peer.send("body").await.unwrap();
        settle().await;
        let mut exchange = connection.request().await.unwrap().expect("there is one");
        assert_eq!(exchange.body(4).await.unwrap().unwrap(), b"body");
        let _ = exchange.respond(StatusCode::OK, &[], "hello").unwrap();
        assert!(runtime::timeout(Duration::from_secs(1), connection.request()).await.is_none());
        assert!(read_all(&mut peer).await.0.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn a_peer_that_never_stops_is_closed_all_the_same() {
    with_both_ends(async |mut connection, mut peer| {
        peer.send(format!("{LAST}more")).await.unwrap();
        let exchange = connection.request().await.unwrap().expect("there is one");
        let _ = exchange.respond(StatusCode::OK, &[], "hello").unwrap();
        assert!(connection.request().await.unwrap().is_none());
        let mut close = Box::pin(connection.close());
        assert!(is_pending(&mut close).await);
        let piece = Bytes::from(vec![b'x'; DISCARD_SIZE_MAX as usize / 2]);
        let sender = runtime::spawn(async move {
            let mut sent = 0;
            while sent < 100 && peer.send(piece.clone()).await.is_ok() {
                sent += 1;
            }
            sent
        });
        close.await.unwrap();
        let sent = sender.await.unwrap();
        assert!((2..100).contains(&sent), "{sent}");
    });
}

#[test]
fn a_connection_that_is_dropped_by_its_handler_ends_at_once() {
    with_both_ends(async |mut connection, mut peer| {
        peer.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nmore").await.unwrap();
        let _ = connection.request().await.unwrap().expect("there is one").disconnect();
        assert!(connection.request().await.unwrap().is_none());
        assert!(!is_pending(&mut Box::pin(connection.close())).await, "nobody waits for what it still sends");
        assert!(read_all(&mut peer).await.0.is_empty());
    });
}

#[test]
fn no_more_of_an_answer_is_sent_than_was_announced() {
    with_both_ends(async |mut connection, mut peer| {
        peer.send(GET).await.unwrap();
        let exchange = connection.request().await.unwrap().expect("there is one");
        let mut responder = exchange.stream(StatusCode::OK, &[], Some(3)).unwrap();
        match responder.send("abcd").await {
            Err(Error::Request(RequestError::BodyLength { announced: 3, given: 4 })) => {}
            other => panic!("{other:?}"),
        }
        responder.send("ab").await.unwrap();
        assert!(responder.send("cd").await.is_err());
        responder.send("c").await.unwrap();
        let _ = responder.finish().unwrap();
        assert!(runtime::timeout(Duration::from_secs(1), connection.request()).await.is_none());
        assert!(read_all(&mut peer).await.0.ends_with("\r\n\r\nabc"));
    });
}

/// The rest of a body decides, not the whole.
#[test]
fn a_body_that_was_read_but_for_a_little_keeps_the_connection() {
    let size = DISCARD_SIZE_MAX as usize + 1_000;
    for is_read in [true, false] {
        with_both_ends(async |mut connection, mut peer| {
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
            peer.send([head.as_bytes(), &[b'x'; 4_000]].concat()).await.unwrap();
            let mut exchange = connection.request().await.unwrap().expect("there is one");
            let mut read = 0;
            while is_read && read < 4_000 {
                read += exchange.data().await.unwrap().expect("it goes on").len();
            }
            let _ = exchange.respond(StatusCode::OK, &[], "").unwrap();
            // It goes out before the rest has come.
            assert_eq!(
                runtime::timeout(Duration::from_secs(1), connection.request()).await.is_none(),
                is_read
            );
            if is_read {
                assert!(!read_all(&mut peer).await.0.contains("Connection: close"));
                return;
            }
            let mut close = Box::pin(connection.close());
            assert!(is_pending(&mut close).await);
            assert!(read_all(&mut peer).await.0.contains("Connection: close"));
        });
    }
}

#[test]
fn a_body_of_just_the_size_that_is_dropped_is_dropped() {
    let size = DISCARD_SIZE_MAX as usize;
    for chunked in [false, true] {
        with_both_ends(async |mut connection, mut peer| {
            let body = "x".repeat(size);
            let request = if chunked {
                format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}")
            } else {
                format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n{body}")
            };
            let sender = runtime::spawn(async move {
                peer.send(request).await.unwrap();
                // What has come by now has been read, so that the size is reached before the end is known.
                runtime::sleep(Duration::from_secs(1)).await;
                if chunked {
                    peer.send("\r\n0\r\n\r\n").await.unwrap();
                }
                peer.send(GET).await.unwrap();
                peer
            });
            let exchange = connection.request().await.unwrap().expect("there is one");
            let _ = exchange.respond(StatusCode::OK, &[], "").unwrap();
            assert!(connection.request().await.unwrap().is_some(), "{chunked}");
            sender.await.unwrap();
        });
    }
}

const SERVER: &str = "10.0.0.1:80";

fn listen() -> Listener {
    Listener::bind(&SERVER.parse().unwrap(), false).unwrap()
}

/// A network whose sockets hold little.
fn small() -> SimOptions {
    SimOptions { socket_buffer_size: 10_000, ..SimOptions::default() }
}

/// Listens, and serves 100,000 bytes to each request.
fn serve_much(options: ServiceOptions, shutdown: &Shutdown) -> JoinHandle<()> {
    let handler = async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &[], vec![b'x'; 100_000]);
    runtime::spawn(serve(listen(), options, shutdown.clone(), handler))
}

#[test]
fn a_peer_that_does_not_end_behind_its_answer_is_not_waited_for_long() {
    testing::run(async |network| {
        let shutdown = Shutdown::new();
        let options = ServiceOptions::default().shutdown_timeout(Duration::from_hours(1));
        let server = serve_much(options, &shutdown);
        let stays = Duration::from_mins(1);
        let peer = network.connect(SERVER, Script::new().send("nonsense\r\n\r\n").expect_rest().delay(stays));
        settle().await;
        assert!(peer.received().starts_with(b"HTTP/1.1 400 "));
        let begun_ns = runtime::now_ns();
        shutdown.begin();
        server.await.unwrap();
        let took = Duration::from_nanos(runtime::now_ns() - begun_ns);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn a_peer_that_reads_its_last_answer_slowly_gets_all_of_it() {
    testing::run_with(small(), async |network| {
        serve_much(ServiceOptions::default(), &Shutdown::new());
        // Longer than the end of a connection may take, and shorter than a peer may take to read on.
        let script = Script::new().send(LAST).delay(Duration::from_secs(5)).expect_rest();
        let answer = network.connect(SERVER, script).played().await;
        assert!(answer.ends_with(&vec![b'x'; 100_000]), "{}", answer.len());
    });
}

/// It is not known to be gone, and an answer that needs no waiting costs nothing.
#[test]
fn a_request_whose_peer_has_ended_its_half_is_handled_whatever_the_limit() {
    for limit in [None, Some(Duration::ZERO)] {
        testing::run(async |network| {
            let listener = listen();
            let peer = network.connect(SERVER, Script::new().send(GET).end().expect_rest());
            settle().await;
            let options = ServiceOptions::default().half_close_timeout(limit);
            let server = serve(listener, options, Shutdown::new(), async |exchange: Exchange<'_>| {
                exchange.respond(StatusCode::OK, &[], "hello")
            });
            runtime::spawn(server);
            assert!(peer.played().await.ends_with(b"hello"));
        });
    }
}

/// The time limit of a head does not run while the peer takes its responses.
#[test]
fn a_peer_that_takes_its_answers_slowly_is_not_one_whose_head_is_late() {
    testing::run_with(small(), async |network| {
        let soon = Duration::from_secs(1);
        serve_much(ServiceOptions::default().head_timeout(soon).idle_timeout(soon), &Shutdown::new());
        let script = Script::new().send(GET.repeat(3)).delay(Duration::from_secs(5)).expect_rest();
        let answers = String::from_utf8(network.connect(SERVER, script).played().await).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
        assert_eq!(answers.matches('x').count(), 300_000);
    });
}

/// A client that reads slowly is not gone.
#[test]
fn a_peer_that_has_ended_its_half_and_reads_slowly_gets_all_of_it() {
    testing::run_with(small(), async |_| {
        let listener = listen();
        let mut peer = Stream::connect(&SERVER.parse().unwrap()).await.unwrap();
        peer.send(GET).await.unwrap();
        peer.shutdown().await.unwrap();
        let options = ServiceOptions::default().half_close_timeout(Duration::from_secs(1));
        let server = serve(listener, options, Shutdown::new(), async |exchange: Exchange<'_>| {
            let mut responder = exchange.stream(StatusCode::OK, &[], Some(1_000_000))?;
            for _ in 0..10 {
                responder.send("x".repeat(100_000)).await?;
            }
            responder.finish()
        });
        runtime::spawn(server);
        let mut received = 0;
        while let Some(piece) = peer.receive().await.unwrap() {
            received += piece.len();
            drop(piece);
            // So that a single piece of the response takes longer than the limit.
            runtime::sleep(Duration::from_millis(300)).await;
        }
        assert!(received > 1_000_000, "{received}");
    });
}
