//! The client over a simulated network, in virtual time, with a server on the same worker: whole runs under faults, by seed.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use ringtide::client::{PoolOptions, RequestBody, Timeouts};
use ringtide::error::Culprit;
use ringtide::proto::h1::{Limits, RequestEvent, ServerCodec};
use ringtide::runtime::{self, Worker};
use ringtide::stream::{Listener, Stream};
use ringtide::{Address, Client, ClientOptions, Error};
use ringtide_driver::BufferPool;
use ringtide_driver::sim::{Faults, Sim, SimOptions};

const REQUESTS: usize = 60;

/// A server that answers each request with its body, or its target if there is none, in chunks; it closes a
/// connection after some requests, without saying so before, as servers do.
async fn serve(mut listener: Listener, connections: Rc<Cell<usize>>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                connections.set(connections.get() + 1);
                runtime::spawn(serve_one(stream));
            }
            Err(_) => runtime::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn serve_one(mut stream: Stream) -> Option<()> {
    let mut codec = ServerCodec::new(Limits::default());
    let (mut input, mut answer) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        loop {
            let (consumed, event) = codec.decode(&input).expect("the client keeps to the protocol");
            let mut ended = false;
            let mut needs_more = false;
            match event {
                RequestEvent::Head(head) => answer = head.target().to_vec(),
                RequestEvent::Data(data) => answer.extend_from_slice(data),
                RequestEvent::End { .. } => ended = true,
                RequestEvent::NeedMore => needs_more = true,
                RequestEvent::Trailers(_) => {}
            }
            input.drain(..consumed);
            if ended {
                break;
            }
            if needs_more {
                input.extend_from_slice(&stream.receive().await.ok()??);
            }
        }
        let mut response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for piece in answer.chunks(1000) {
            write!(response, "{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()).unwrap();
        }
        stream.send(response + "0\r\n\r\n").await.ok()?;
    }
    Some(())
}

/// Pieces of growing size, in chunks or of a known size.
struct Growing {
    rest: Bytes,
    next: usize,
    announced: bool,
}

impl http_body::Body for Growing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.next.min(self.rest.len());
        self.next *= 2;
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced { SizeHint::with_exact(self.rest.len() as u64) } else { SizeHint::default() }
    }
}

async fn one(client: &Client, number: usize) -> Result<(), Error> {
    let url = format!("http://simulated.invalid/{number}");
    let (response, expected) = if number.is_multiple_of(3) {
        let text = Bytes::from(format!("{number}-").repeat(number * number));
        let body = Growing { rest: text.clone(), next: 1, announced: number.is_multiple_of(2) };
        // The server answers with the target in front of the body.
        let expected = [format!("/{number}").as_bytes(), &text].concat();
        let request = http::Request::put(&url).body(RequestBody::stream(body)).unwrap();
        (client.request(request).await?, expected)
    } else {
        (client.get(&url).await?, format!("/{number}").into_bytes())
    };
    assert_eq!(response.status(), 200);
    let body = response.into_body().bytes(16 * 1024 * 1024).await?;
    assert!(body == expected, "request {number}: {} bytes, not {}", body.len(), expected.len());
    Ok(())
}

struct Outcome {
    failures: Vec<Error>,
    connections: usize,
}

/// Many requests from some tasks over few connections; one request in seven is dropped at a random time.
fn run(seed: u64, faults: Faults) -> Outcome {
    let sim = Sim::new(SimOptions { seed, faults, ..SimOptions::default() });
    Worker::simulated(sim).unwrap().block_on(async {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:80".parse().unwrap()), false).unwrap();
        let address = listener.local_address().unwrap();
        let connections = Rc::new(Cell::new(0));
        let server = runtime::spawn(serve(listener, Rc::clone(&connections)));
        let client = Client::new(ClientOptions {
            connect_to: Some(address),
            pool: PoolOptions { connections_per_host_max: 3, ..PoolOptions::default() },
            timeouts: Timeouts {
                connect: Some(Duration::from_secs(20)),
                head: Some(Duration::from_mins(2)),
                body_idle: Some(Duration::from_secs(20)),
                body: None,
            },
            ..ClientOptions::default()
        });
        let tasks: Vec<_> = (0..6)
            .map(|task| {
                let client = client.clone();
                runtime::spawn(async move {
                    let mut failures = Vec::new();
                    for number in (task..REQUESTS).step_by(6) {
                        if number % 7 == 6 {
                            let soon = Duration::from_micros((number as u64 * 131 + seed * 17) % 2_000);
                            let _ = runtime::timeout(soon, one(&client, number)).await;
                        } else if let Err(error) = one(&client, number).await {
                            failures.push(error);
                        }
                    }
                    failures
                })
            })
            .collect();
        let mut failures = Vec::new();
        for task in tasks {
            failures.extend(task.await.unwrap());
        }
        server.abort();
        Outcome { failures, connections: connections.get() }
    })
}

#[test]
fn an_idle_connection_owns_no_receive_buffer() {
    let pool = BufferPool::new();
    let sim = Sim::with_pool(SimOptions::default(), pool.clone());
    Worker::simulated(sim).unwrap().block_on(async {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:80".parse().unwrap()), false).unwrap();
        let options =
            ClientOptions { connect_to: Some(listener.local_address().unwrap()), ..ClientOptions::default() };
        let server = runtime::spawn(serve(listener, Rc::default()));
        let client = Client::new(options);
        for number in 0..6 {
            one(&client, number * 10).await.unwrap();
            assert_eq!(pool.lent(), 0, "after request {number}");
        }
        server.abort();
    });
}

/// A PUT whose body has begun cannot be sent again, and the server's close may cross with it.
fn crossed_with_a_close(error: &Error) -> bool {
    matches!(error, Error::Closed) || error.is_reset()
}

#[test]
fn without_faults_connections_are_shared() {
    let outcome = run(0, Faults::default());
    assert!(outcome.failures.iter().all(crossed_with_a_close), "{:?}", outcome.failures);
    // 60 requests, at most 7 on each; some were dropped with their connection.
    assert!((9..40).contains(&outcome.connections), "{}", outcome.connections);
}

#[test]
fn faults_that_a_driver_hides_change_nothing() {
    for seed in 0..40 {
        let outcome = run(seed, Faults::hidden(0.1));
        assert!(outcome.failures.iter().all(crossed_with_a_close), "seed {seed}: {:?}", outcome.failures);
    }
}

#[test]
fn a_failing_world_fails_requests_and_nothing_else() {
    for seed in 0..40 {
        let faults = Faults {
            reset: 0.2,
            refused_connect: 0.1,
            blackhole_connect: 0.05,
            no_descriptors: 0.05,
            ..Faults::hidden(0.05)
        };
        let outcome = run(seed, faults);
        for error in &outcome.failures {
            let expected = matches!(error.culprit(), Culprit::Network | Culprit::Time)
                || matches!(error, Error::Incomplete(_));
            assert!(expected, "seed {seed}: {error:?}");
        }
        assert!(outcome.failures.len() < REQUESTS / 2, "seed {seed}: {:?}", outcome.failures);
    }
}
