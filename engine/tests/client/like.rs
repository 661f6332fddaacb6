//! What a generator of load does with a connection: requests that are not the same twice, and responses that it looks at
//! while they arrive. Over both versions of HTTP, against this crate's server.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use http::{Method, StatusCode};
use ringtide::client::HttpVersion;
use ringtide::error::RequestError;
use ringtide::message::ResponseHead;
use ringtide::server::{Exchange, Server, ServerOptions};
use ringtide::stream::Stream;
use ringtide::{
    Address, Completion, Connection, ConnectionOptions, Error, Observe, PreparedRequest, RequestId,
};

use crate::{SIZE_MAX, run};

/// Arrives in many pieces.
const LARGE_SIZE: usize = 3_000_000;

/// What an observer has seen of each request: the statuses of its heads, and its body.
#[derive(Default)]
struct Seen(HashMap<RequestId, (Vec<u16>, Vec<u8>)>);

impl Observe for Seen {
    fn head(&mut self, id: RequestId, head: ResponseHead<'_>) {
        self.0.entry(id).or_default().0.push(head.status().as_u16());
    }

    fn data(&mut self, id: RequestId, data: &[u8]) {
        let (heads, body) = self.0.get_mut(&id).expect("the head comes first");
        assert_eq!(heads.len(), 1, "one head");
        body.extend_from_slice(data);
    }
}

/// Runs `main` with a connection of each version to a server whose answers consist of the target and the body of the request.
fn with_connections(main: impl AsyncFn(Connection)) {
    let answer = async move |mut exchange: Exchange<'_>| {
        let mut said = exchange.head().target().to_vec();
        if said == b"/large" {
            said.resize(LARGE_SIZE, b'l');
        }
        said.extend_from_slice(&exchange.body(SIZE_MAX).await?.unwrap_or_default());
        exchange.respond(StatusCode::OK, &[], said)
    };
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let server = Server::start(&[any_port], &ServerOptions::default().workers(1), answer).unwrap();
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        run(async {
            let stream = Stream::connect(&server.addresses()[0]).await.unwrap();
            main(Connection::new(stream, &ConnectionOptions::default().version(version))).await;
        });
    }
    server.shutdown().begin();
    server.join();
}

fn post() -> PreparedRequest {
    let fields = [(&b"host"[..], &b"h"[..])];
    PreparedRequest::from_parts(&Method::POST, "/like", fields.into_iter(), b"").unwrap()
}

fn start(connection: &mut Connection, target: &str, body: &str) -> Result<RequestId, Error> {
    let head = format!("POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.start_like(&post(), (head.clone() + body).as_bytes(), head.len())
}

async fn complete(connection: &mut Connection, seen: &mut Seen) -> Completion {
    poll_fn(|context| connection.poll_completion_with(context, seen)).await.unwrap()
}

/// Polls once, without waiting for the next wake.
async fn poll_once(connection: &mut Connection, seen: &mut Seen) -> Poll<Result<Completion, Error>> {
    poll_fn(|context| Poll::Ready(connection.poll_completion_with(context, seen))).await
}

fn is_busy(result: &Result<RequestId, Error>) -> bool {
    matches!(result, Err(Error::Request(RequestError::Busy)))
}

#[test]
fn each_request_has_its_own_bytes_and_each_response_is_seen() {
    with_connections(async |mut connection| {
        let mut seen = Seen::default();
        for number in 0..20 {
            let (target, body) = (format!("/{number}"), "b".repeat(number % 5 * 1_000));
            let id = start(&mut connection, &target, &body).unwrap();
            assert!(connection.is_in_flight(id));
            let completion = complete(&mut connection, &mut seen).await;
            assert_eq!((completion.id, completion.result.unwrap().status), (id, StatusCode::OK));
            assert_eq!(seen.0.remove(&id).unwrap(), (vec![200], (target + &body).into_bytes()));
            assert!(!connection.is_in_flight(id) && !connection.cancel(id), "it is over");
        }
        assert!(seen.0.is_empty());
    });
}

#[test]
fn nothing_is_lost_or_seen_twice_when_polling_stops() {
    with_connections(async |mut connection| {
        let mut seen = Seen::default();
        let id = start(&mut connection, "/large", "").unwrap();
        assert!(poll_once(&mut connection, &mut seen).await.is_pending(), "it has just begun");
        assert!(seen.0.is_empty());
        // Each poll is given up at once, and the next one comes some turns later.
        let mut polls = 0;
        let completion = loop {
            ringtide::runtime::yield_now().await;
            polls += 1;
            if let Poll::Ready(completion) = poll_once(&mut connection, &mut seen).await {
                break completion.unwrap();
            }
        };
        assert!(polls > 1);
        assert_eq!((completion.id, completion.result.unwrap().status), (id, StatusCode::OK));
        let (heads, body) = seen.0.remove(&id).unwrap();
        assert_eq!((heads, body.len(), &body[..8]), (vec![200], LARGE_SIZE, &b"/largell"[..]));
    });
}

#[test]
fn a_cancelled_request_is_seen_no_more() {
    with_connections(async |mut connection| {
        let mut seen = Seen::default();
        let large = start(&mut connection, "/large", "").unwrap();
        while !seen.0.contains_key(&large) {
            assert!(poll_once(&mut connection, &mut seen).await.is_pending(), "it is large");
            ringtide::runtime::yield_now().await;
        }
        if connection.version() == http::Version::HTTP_11 {
            assert!(is_busy(&start(&mut connection, "/other", "")), "one at a time");
            assert!(!connection.cancel(large) && connection.is_in_flight(large));
            assert_eq!(complete(&mut connection, &mut seen).await.id, large);
            return;
        }
        let before = seen.0[&large].1.len();
        let other = start(&mut connection, "/other", "body").unwrap();
        assert!(connection.cancel(large) && !connection.cancel(large));
        assert!(!connection.is_in_flight(large) && connection.is_in_flight(other));
        assert_eq!(complete(&mut connection, &mut seen).await.id, other);
        assert_eq!(seen.0[&large].1.len(), before);
        assert_eq!(seen.0[&other].1, b"/otherbody");
    });
}

#[test]
fn a_refused_request_leaves_the_connection_as_it_was() {
    with_connections(async |mut connection| {
        let mut seen = Seen::default();
        let mut started = vec![start(&mut connection, "/first", "").unwrap()];
        let refused = loop {
            match start(&mut connection, "/further", "body") {
                Ok(id) => started.push(id),
                refused => break refused,
            }
        };
        assert!(is_busy(&refused) && connection.is_full(), "{refused:?}");
        assert_eq!(connection.in_flight(), started.len());
        for _ in 0..started.len() {
            complete(&mut connection, &mut seen).await.result.unwrap();
        }
        assert_eq!(seen.0.len(), started.len());
        assert_eq!(seen.0[&started[0]].1, b"/first");
        assert!(started[1..].iter().all(|id| seen.0[id].1 == b"/furtherbody"));
    });
}

#[test]
#[should_panic(expected = "mid > len")]
fn a_head_that_is_longer_than_its_bytes_panics() {
    with_connections(async |mut connection| {
        let _ = connection.start_like(&post(), b"POST / HTTP/1.1\r\n\r\n", 100);
    });
}
