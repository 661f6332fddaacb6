//! A connection used without a client, over a simulated network: dropped futures, refused bodies, unsolicited data, and
//! the last response.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ringtide::error::{LastResponse, ProtocolError, RequestError};
use ringtide::limits::PIPELINED_MAX;
use ringtide::proto::h1;
use ringtide::runtime;
use ringtide::sim::SimOptions;
use ringtide::stream::Stream;
use ringtide::testing::{self, Peer, Script};
use ringtide::{Completion, Connection, ConnectionOptions, Error, PreparedRequest, RequestId};

/// Much more than the sockets between client and peer can hold.
const BODY_SIZE: usize = 200_000;

/// A network whose sockets hold little.
fn small() -> SimOptions {
    SimOptions { socket_buffer_size: 10_000, ..SimOptions::default() }
}

/// Runs `main` with a connection and its peer. The peer reads nothing for a second, and then plays `script`.
fn with_peer(script: impl FnOnce(Script) -> Script, main: impl AsyncFnOnce(Connection, Peer)) {
    testing::run_with(small(), async |network| {
        let script = script(Script::new().delay(Duration::from_secs(1)));
        let (stream, peer) = network.stream(script).await;
        main(Connection::new(stream, &ConnectionOptions::default()), peer).await;
    });
}

fn streamed(length: Option<u64>) -> PreparedRequest {
    PreparedRequest::with_streamed_body(&Request::post("http://h/").body(()).unwrap(), length).unwrap()
}

/// Polls `future` once and drops it. The future must be pending.
async fn begin(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Waits for the end of a request.
async fn complete(connection: &mut Connection) -> Completion {
    poll_fn(|context| connection.poll_completion(context)).await.unwrap()
}

#[test]
fn the_end_of_a_body_is_sent_after_its_future_is_dropped() {
    for again in [false, true] {
        let script =
            |script: Script| script.expect_until("0\r\n\r\n").send("HTTP/1.1 204 No Content\r\n\r\n");
        with_peer(script, async move |mut connection, peer| {
            connection.start(&streamed(None)).unwrap();
            begin(connection.send_data(Bytes::from(vec![b'x'; BODY_SIZE]))).await;
            begin(connection.finish_body()).await;
            if again {
                connection.finish_body().await.unwrap();
            }
            assert_eq!(connection.response().await.unwrap().status(), 204);
            assert!(connection.is_reusable());
            let read = peer.received();
            assert_eq!(read.split(|byte| *byte != b'x').map(<[u8]>::len).max(), Some(BODY_SIZE));
            assert_eq!(read.windows(5).filter(|bytes| bytes == b"0\r\n\r\n").count(), 1);
        });
    }
}

#[test]
fn a_body_that_is_too_large_can_be_read_on_from_where_it_stopped() {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY_SIZE, b'y');
    let script = |script: Script| script.expect_until("\r\n\r\n").send(answer);
    with_peer(script, async |mut connection, _peer| {
        let get = PreparedRequest::new(&Request::get("http://h/").body(Bytes::new()).unwrap()).unwrap();
        let mut response = connection.send(&get).await.unwrap();
        assert_eq!(response.body(1_000).await.unwrap(), None);
        let rest = response.body(BODY_SIZE).await.unwrap().expect("it is smaller");
        assert!((1..BODY_SIZE).contains(&rest.len()), "{}", rest.len());
        drop(response);
        assert!(connection.is_reusable());
    });
}

#[test]
fn a_body_of_a_wrong_length_leaves_its_beginning_sent() {
    for (given, wanted) in [(11, (5, 11)), (0, (5, 0))] {
        with_peer(Script::expect_rest, async move |mut connection, peer| {
            connection.start(&streamed(Some(10))).unwrap();
            assert!(matches!(connection.start(&streamed(None)), Err(Error::Request(RequestError::Busy))));
            connection.send_data(Bytes::from_static(b"first")).await.unwrap();
            let error = match given {
                0 => connection.finish_body().await,
                size => connection.send_data(Bytes::from(vec![b'x'; size])).await,
            };
            match error {
                Err(Error::Request(RequestError::BodyLength { announced, given })) => {
                    assert_eq!((announced, given), wanted);
                }
                other => panic!("{other:?}"),
            }
            drop(connection);
            let read = String::from_utf8(peer.played().await).unwrap();
            assert!(read.starts_with("POST / ") && read.ends_with("\r\n\r\nfirst"), "{read}");
        });
    }
}

/// Runs `main` with a connection and the stream at its other end.
fn with_ends(options: SimOptions, pipelining: bool, main: impl AsyncFnOnce(Connection, Stream)) {
    testing::run_with(options, async |network| {
        let (stream, peer) = network.pair().await;
        let options = ConnectionOptions::default().pipelining(pipelining);
        main(Connection::new(stream, &options), peer).await;
    });
}

/// Runs `main` with a connection that pipelines and with the stream at its other end.
fn with_both_ends(main: impl AsyncFnOnce(Connection, Stream)) {
    with_ends(SimOptions::default(), true, main);
}

fn get(fields: &[(&str, &str)]) -> PreparedRequest {
    let fields = [("Host", "h")].into_iter().chain(fields.iter().copied());
    let fields: Vec<_> = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    PreparedRequest::from_parts(&http::Method::GET, "/", fields.iter().copied(), b"").unwrap()
}

/// Sleeps long enough for everything in flight to arrive.
async fn settle() {
    runtime::sleep(Duration::from_millis(10)).await;
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn requests_after_the_last_response_are_unanswered() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for (last, expected) in [
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", LastResponse::Announced),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", LastResponse::Implied),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", LastResponse::Implied),
        (upgrade, LastResponse::SwitchedProtocols),
    ] {
        with_both_ends(async |mut connection, mut peer| {
            let request = get(&[("Connection", "upgrade"), ("Upgrade", "x")]);
            for _ in 0..4 {
                connection.start(&request).unwrap();
            }
            // Sends all in one piece, so that they arrive in the same turn.
            peer.send(format!("{OK}{last}{OK}")).await.unwrap();
            let begun_ns = runtime::now_ns();
            let exchange = complete(&mut connection).await.result.unwrap();
            assert!(exchange.status == 200 && connection.is_reusable());
            let expected_status = if last == upgrade { 101 } else { last[9..12].parse().unwrap() };
            let exchange = complete(&mut connection).await.result.unwrap();
            assert_eq!(exchange.status, expected_status);
            for _ in 0..3 {
                match connection.response().await {
                    Err(Error::Unanswered(why)) => assert_eq!(why, expected),
                    other => panic!("{last:?}: {other:?}"),
                }
                assert!(poll_fn(|context| connection.poll_completion(context)).await.is_err());
            }
            let error = connection.start(&request);
            assert!(matches!(error, Err(Error::Request(RequestError::NotReusable))), "{error:?}");
            assert_eq!(connection.in_flight(), 2);
            assert!(runtime::now_ns() - begun_ns < 1_000_000_000, "it does not end at once");
        });
    }
}

#[test]
fn nothing_is_sent_after_the_head_of_the_last_response() {
    with_ends(small(), true, async |mut connection, mut peer| {
        let large = Request::post("http://h/").body(Bytes::from(vec![b'x'; BODY_SIZE])).unwrap();
        let large = PreparedRequest::new(&large).unwrap();
        connection.start(&large).unwrap();
        connection.start(&get(&[])).unwrap();
        connection.start(&streamed(None)).unwrap();
        begin(connection.response()).await;
        // The first request is in flight. The response's head arrives before the end of that request, and its body
        // after it.
        peer.send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\n").await.unwrap();
        assert_eq!(connection.response().await.unwrap().status(), 413);
        assert!(!connection.is_reusable());
        let error = connection.send_data(Bytes::from_static(b"more")).await;
        assert!(matches!(error, Err(Error::Unanswered(LastResponse::Announced))), "{error:?}");
        let reader = runtime::spawn(async move {
            let mut read = 0;
            while read < large.bytes().len() {
                read += peer.receive().await.unwrap().unwrap().len();
            }
            peer.send("no").await.unwrap();
            settle().await;
            assert!(runtime::timeout(Duration::from_secs(1), peer.receive()).await.is_none(), "{read}");
            (read == large.bytes().len(), peer)
        });
        let error = connection.response().await.err();
        assert!(matches!(error, Some(Error::Unanswered(LastResponse::Announced))), "{error:?}");
        begin(poll_fn(|_| Poll::<()>::Pending)).await;
        let sent: Vec<_> = connection.in_flight_sent_ns().map(|(_, sent_ns)| sent_ns.is_some()).collect();
        assert_eq!(sent, [false, false]);
        assert!(reader.await.unwrap().0, "more than the first request was sent");
    });
}

#[test]
fn no_request_starts_after_one_that_closes() {
    with_both_ends(async |mut connection, mut peer| {
        connection.start(&get(&[("Connection", "close")])).unwrap();
        assert!(!connection.is_reusable());
        let error = connection.start(&get(&[]));
        assert!(matches!(error, Err(Error::Request(RequestError::NotReusable))), "{error:?}");
        peer.send(OK).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status(), 200);
        assert!(!connection.is_reusable());
    });
}

#[test]
fn data_before_the_first_request_is_not_its_response() {
    for pipelining in [false, true] {
        with_ends(SimOptions::default(), pipelining, async |mut connection, mut peer| {
            assert!(connection.is_reusable());
            peer.send(OK).await.unwrap();
            settle().await;
            assert!(!connection.is_reusable() && connection.has_peer_spoken_first());
            let error = connection.send(&get(&[])).await.err();
            assert!(matches!(error, Some(Error::Request(RequestError::NotReusable))), "{error:?}");
        });
    }
}

#[test]
fn data_before_a_pipelined_request_is_not_its_response() {
    // Whether the unsolicited response arrives in one piece with the previous one, and whether the previous one is read
    // before the request is sent.
    for (pieces, reads_first) in [(1, true), (2, true), (1, false), (2, false)] {
        with_both_ends(async |mut connection, mut peer| {
            let request = get(&[]);
            connection.start(&request).unwrap();
            connection.start(&request).unwrap();
            begin(connection.response()).await;
            settle().await;
            if pieces == 1 {
                peer.send(OK.repeat(3)).await.unwrap();
            } else {
                peer.send(OK.repeat(2)).await.unwrap();
                settle().await;
                peer.send(OK).await.unwrap();
            }
            settle().await;
            if reads_first {
                assert_eq!(connection.response().await.unwrap().body(9).await.unwrap().unwrap(), b"ok");
            }
            connection.start(&request).unwrap();
            for _ in 0..2 - usize::from(reads_first) {
                assert_eq!(connection.response().await.unwrap().status(), 200);
                // Gives the third request time to be sent.
                settle().await;
            }
            match connection.response().await {
                Err(Error::Protocol(ProtocolError::H1(h1::Error::UnexpectedBytes))) => {}
                other => panic!("{pieces} pieces, {reads_first}: {other:?}"),
            }
            // The error is final, and the next one is different.
            let error = connection.response().await.err();
            assert!(matches!(error, Some(Error::Request(RequestError::NotReusable))), "{error:?}");
        });
    }
}

#[test]
fn data_after_a_pipelined_request_is_its_response_even_if_earlier_ones_are_read_late() {
    with_both_ends(async |mut connection, mut peer| {
        let request = get(&[]);
        connection.start(&request).unwrap();
        connection.start(&request).unwrap();
        begin(connection.response()).await;
        settle().await;
        peer.send(OK).await.unwrap();
        settle().await;
        peer.send(OK).await.unwrap();
        settle().await;
        assert_eq!(connection.response().await.unwrap().status(), 200);
        connection.start(&request).unwrap();
        assert_eq!(connection.response().await.unwrap().body(9).await.unwrap().unwrap(), b"ok");
        settle().await;
        peer.send(OK).await.unwrap();
        settle().await;
        assert_eq!(connection.response().await.unwrap().body(9).await.unwrap().unwrap(), b"ok");
        assert!(connection.is_reusable());
    });
}

#[test]
fn every_call_after_an_error_fails() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "",
    ] {
        for ends in [false, true] {
            with_both_ends(async |mut connection, mut peer| {
                connection.start(&get(&[])).unwrap();
                connection.start(&get(&[])).unwrap();
                if !answer.is_empty() {
                    peer.send(answer).await.unwrap();
                }
                let _peer = (!ends && !answer.is_empty()).then_some(peer);
                let mut failures = 0;
                while failures < 5 {
                    let polled = poll_fn(|context| connection.poll_completion(context)).await;
                    assert!(polled.is_err(), "{answer:?}: {polled:?}");
                    failures += 1;
                    assert!(connection.response().await.is_err());
                }
                assert!(!connection.is_reusable());
            });
        }
    }
}

#[test]
fn requests_in_flight_are_bounded_in_number() {
    with_both_ends(async |mut connection, _peer| {
        for _ in 0..PIPELINED_MAX {
            connection.start(&get(&[])).unwrap();
        }
        assert!(matches!(connection.start(&get(&[])), Err(Error::Request(RequestError::Busy))));
        assert_eq!(connection.in_flight(), PIPELINED_MAX);
    });
}

/// Reads until `peer` has received nothing for a second.
async fn read_all(peer: &mut Stream) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(received) = runtime::timeout(Duration::from_secs(1), peer.receive()).await {
        let Some(lease) = received.unwrap() else { break };
        read.extend_from_slice(&lease);
    }
    read
}

#[test]
fn the_limits_of_a_connection_are_those_it_was_made_with() {
    let limits = h1::Limits { head_size_max: 30, ..h1::Limits::default() };
    testing::run(async |network| {
        let (stream, mut peer) = network.pair().await;
        let mut connection =
            Connection::new(stream, &ConnectionOptions::default().pipelining(true).limits(limits));
        connection.start(&get(&[])).unwrap();
        connection.start(&get(&[])).unwrap();
        peer.send(OK).await.unwrap();
        let error = connection.response().await.err();
        let expected = h1::Error::Limit(h1::LimitExceeded::HeadSize(30));
        assert!(
            matches!(error, Some(Error::Protocol(ProtocolError::H1(error))) if error == expected),
            "{error:?}"
        );
    });
}

#[test]
fn a_constant_request_of_any_size_arrives_whole() {
    for size in [4_000, 5_000, 100_000] {
        testing::run(async |network| {
            let request = get(&[("X", &"x".repeat(size))]).leak();
            let script = Script::new().expect(request.bytes()).expect_silence(Duration::from_secs(1));
            let (stream, peer) = network.stream(script).await;
            let mut connection = Connection::new(stream, &ConnectionOptions::default());
            connection.start(&request).unwrap();
            begin(connection.response()).await;
            peer.played().await;
        });
    }
}

#[test]
fn a_request_of_which_nothing_was_taken_was_not_sent() {
    let request = get(&[]);
    let size = request.bytes().len();
    // All three go in one send, of which the sockets hold exactly two.
    let options = SimOptions { socket_buffer_size: 2 * size, ..SimOptions::default() };
    with_ends(options, true, async |mut connection, mut peer| {
        for _ in 0..3 {
            connection.start(&request).unwrap();
        }
        begin(connection.response()).await;
        settle().await;
        let aborted = connection.abort(usize::MAX).await;
        let read = read_all(&mut peer).await.len();
        let sent = aborted.sent_ns.iter().filter(|(_, sent_ns)| sent_ns.is_some()).count();
        assert_eq!(sent, read.div_ceil(size), "{read} bytes arrived: {aborted:?}");
    });
}

/// RFC 9112 §9.6: closing with answers unread would take from the peer what it has not read yet.
#[test]
fn requests_in_flight_are_left_to_be_read_when_a_pipelining_connection_is_given_up() {
    for pipelining in [true, false] {
        for in_flight in [true, false] {
            with_ends(SimOptions::default(), pipelining, async |mut connection, _peer| {
                if in_flight {
                    connection.start(&get(&[])).unwrap();
                    begin(connection.response()).await;
                    settle().await;
                }
                connection.abort(usize::MAX).await;
                let waits = usize::from(pipelining && in_flight);
                assert_eq!(runtime::sockets_closing(), waits, "{pipelining} {in_flight}");
            });
        }
    }
}

#[test]
fn received_bytes_are_counted_and_those_of_later_responses_told_apart() {
    with_both_ends(async |mut connection, mut peer| {
        assert!(!connection.has_peer_spoken_first());
        connection.start(&get(&[])).unwrap();
        connection.start(&get(&[])).unwrap();
        begin(connection.response()).await;
        peer.send(format!("{OK}HTTP/1.1 2")).await.unwrap();
        settle().await;
        assert!(!connection.has_peer_spoken_first(), "it was asked");
        let mut response = connection.response().await.unwrap();
        assert_eq!(response.data().await.unwrap().unwrap(), b"ok");
        drop(response);
        assert_eq!(connection.unread_size(), "HTTP/1.1 2".len(), "the piece was given out");
        assert_eq!(connection.received_size(), OK.len() as u64 + 10);
        assert_eq!(complete(&mut connection).await.result.unwrap().status, 200);
        assert_eq!(connection.unread_size(), "HTTP/1.1 2".len());
        peer.send(&OK.as_bytes()[10..]).await.unwrap();
        assert_eq!(connection.response().await.unwrap().body(9).await.unwrap().unwrap(), b"ok");
        assert_eq!((connection.received_size(), connection.unread_size()), (2 * OK.len() as u64, 0));
        peer.send("more").await.unwrap();
        settle().await;
        assert!(!connection.has_peer_spoken_first(), "it was asked before");
    });
}

#[test]
fn a_completion_names_its_request() {
    with_both_ends(async |mut connection, mut peer| {
        let mut ids = HashSet::new();
        let mut in_flight = VecDeque::new();
        // At most three at once. Every second time they are started while others are in flight.
        for (start, end) in [(2, 1), (2, 2), (1, 2), (3, 3), (1, 1), (3, 1), (1, 3)] {
            for _ in 0..start {
                let id = connection.start(&get(&[])).unwrap();
                assert!(ids.insert(id), "{id:?} twice");
                assert!(in_flight.iter().all(|other: &RequestId| other.slot() != id.slot()));
                in_flight.push_back(id);
            }
            begin(connection.response()).await;
            peer.send(OK.repeat(end)).await.unwrap();
            assert!(connection.in_flight_sent_ns().map(|(id, _)| id).eq(in_flight.iter().copied()));
            for _ in 0..end {
                let completion = complete(&mut connection).await;
                assert_eq!(Some(completion.id), in_flight.pop_front());
                assert_eq!(completion.result.unwrap().status, 200);
            }
        }
        let mut slots: Vec<_> = ids.iter().map(|id| id.slot()).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots, [0, 1, 2]);
    });
    with_ends(SimOptions::default(), false, async |mut connection, mut peer| {
        let mut ids = HashSet::new();
        for _ in 0..3 {
            let id = connection.start(&get(&[])).unwrap();
            assert!(id.slot() == 0 && ids.insert(id) && connection.is_full(), "{id:?}");
            peer.send(OK).await.unwrap();
            assert_eq!(complete(&mut connection).await.id, id);
            assert!(!connection.is_full());
        }
    });
}

#[test]
fn each_pipelined_request_has_the_time_of_its_own_send() {
    with_both_ends(async |mut connection, mut peer| {
        let mut begun_ns = Vec::new();
        for _ in 0..3 {
            begun_ns.push(runtime::now_ns());
            connection.start(&get(&[])).unwrap();
            begin(connection.response()).await;
            settle().await;
        }
        let answered_ns = runtime::now_ns();
        peer.send(OK.repeat(3)).await.unwrap();
        for (number, begun_ns) in begun_ns.into_iter().enumerate() {
            let timing = if number == 1 {
                let mut response = connection.response().await.unwrap();
                response.discard().await.unwrap();
                response.timing()
            } else {
                complete(&mut connection).await.result.unwrap().timing
            };
            assert!((begun_ns..begun_ns + 10_000_000).contains(&timing.sent_ns), "{number}: {timing:?}");
            assert!(timing.first_byte_ns >= answered_ns, "{number}: {timing:?}");
        }
    });
}

/// RFC 9112 §9.6: nothing follows a request with "close", whatever the answer to it says.
#[test]
fn a_request_that_closes_is_the_last_also_when_its_answer_has_ended() {
    with_ends(SimOptions::default(), false, async |mut connection, mut peer| {
        connection.start(&get(&[("Connection", "close")])).unwrap();
        peer.send(OK).await.unwrap();
        complete(&mut connection).await.result.unwrap();
        assert!(!connection.is_reusable());
    });
}

/// A peer may say that it closes while the request is still on its way: the rest of that one is wanted, and nothing behind it (RFC 9112 §9.6).
#[test]
fn the_rest_of_a_request_is_sent_behind_the_head_of_the_last_response() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
    with_ends(small(), true, async |mut connection, mut peer| {
        // Queued as a whole when the head comes.
        connection.start(&streamed(None)).unwrap();
        begin(connection.send_data(Bytes::from(vec![b'x'; BODY_SIZE]))).await;
        begin(connection.finish_body()).await;
        connection.start(&get(&[])).unwrap();
        peer.send(head).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status(), 200);
        let reader = runtime::spawn(async move { (read_all(&mut peer).await, peer) });
        connection.finish_body().await.unwrap();
        let (read, _peer) = reader.await.unwrap();
        assert_eq!(read.split(|byte| *byte != b'x').map(<[u8]>::len).max(), Some(BODY_SIZE));
        assert!(read.ends_with(b"\r\n0\r\n\r\n"), "{}", read[read.len() - 100..].escape_ascii());
    });
    // Given by the caller behind the head.
    with_ends(small(), false, async |mut connection, mut peer| {
        connection.start(&streamed(None)).unwrap();
        peer.send(head).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status(), 200);
        connection.send_data(Bytes::from_static(b"all the same")).await.unwrap();
        connection.finish_body().await.unwrap();
        assert!(read_all(&mut peer).await.ends_with(b"c\r\nall the same\r\n0\r\n\r\n"));
    });
}

#[test]
fn a_connection_that_ends_before_a_request_could_be_sent_is_closed_and_breaks_no_rule() {
    with_ends(small(), true, async |mut connection, mut peer| {
        let large = Request::post("http://h/").body(Bytes::from(vec![b'x'; BODY_SIZE])).unwrap();
        connection.start(&PreparedRequest::new(&large).unwrap()).unwrap();
        begin(connection.response()).await;
        connection.start(&get(&[])).unwrap();
        peer.send(OK).await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(connection.response().await.unwrap().status(), 200);
        let error = connection.response().await.err();
        assert!(matches!(error, Some(Error::Closed)), "{error:?}");
    });
}

#[test]
fn a_body_is_read_dropped_and_counted_in_every_way() {
    for way in 0..4 {
        with_ends(SimOptions::default(), false, async |mut connection, mut peer| {
            connection.start(&get(&[])).unwrap();
            peer.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            )
            .await
            .unwrap();
            let mut response = connection.response().await.unwrap();
            match way {
                0 => assert_eq!(response.discard().await.unwrap(), 5),
                1 => assert_eq!(response.body(5).await.unwrap().unwrap(), b"abcde"),
                2 => assert_eq!(response.body(4).await.unwrap(), None),
                _ => {
                    let mut pieces = Vec::new();
                    while let Some(piece) =
                        poll_fn(|context| response.poll_data(context, <[u8]>::to_vec)).await.unwrap()
                    {
                        pieces.push(piece);
                    }
                    assert_eq!(pieces, [&b"abc"[..], b"de"]);
                }
            }
        });
    }
}

/// RFC 9110 §9.3.6: a 2xx answer to CONNECT has no body, whatever its fields say, and what follows is not HTTP.
#[test]
fn behind_the_answer_to_connect_is_no_http() {
    with_ends(SimOptions::default(), false, async |mut connection, mut peer| {
        let request = Request::connect("h:443").body(Bytes::new()).unwrap();
        connection.start(&PreparedRequest::new(&request).unwrap()).unwrap();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        let mut response = connection.response().await.unwrap();
        assert_eq!(response.discard().await.unwrap(), 0);
        drop(response);
        assert!(!connection.is_reusable());
    });
}

#[test]
fn a_request_behind_one_that_is_answered_before_it_is_sent_whole_has_its_own_answer() {
    with_ends(small(), true, async |mut connection, mut peer| {
        connection.start(&streamed(None)).unwrap();
        begin(connection.send_data(Bytes::from(vec![b'x'; BODY_SIZE]))).await;
        begin(connection.send_data(Bytes::from_static(b"more"))).await;
        begin(connection.finish_body()).await;
        let id = connection.start(&get(&[])).unwrap();
        peer.send(OK).await.unwrap();
        assert_eq!(connection.response().await.unwrap().body(9).await.unwrap().unwrap(), b"ok");
        assert_eq!(connection.in_flight_sent_ns().collect::<Vec<_>>(), [(id, None)]);
        let peer = runtime::spawn(async move {
            let read = read_all(&mut peer).await;
            peer.send(OK).await.unwrap();
            (read, peer)
        });
        assert_eq!(connection.response().await.unwrap().body(9).await.unwrap().unwrap(), b"ok");
        let (read, _peer) = peer.await.unwrap();
        let end = [&b"\r\n4\r\nmore\r\n0\r\n\r\n"[..], get(&[]).bytes()].concat();
        assert!(read.ends_with(&end), "{}", read[read.len() - 100..].escape_ascii());
        assert!(connection.is_reusable());
    });
}
