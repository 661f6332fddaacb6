//! Whole runs of the client over a simulated network, in virtual time and with faults, each with its own seed. The
//! server runs on the same worker.

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

/// Number of requests that the server handles on a connection before it closes the connection.
const REQUESTS_PER_CONNECTION: usize = 7;

/// Counts what the server has seen.
#[derive(Default)]
struct Seen {
    connections: Cell<usize>,
    /// Connections that the server closed after [`REQUESTS_PER_CONNECTION`] requests.
    closed: Cell<usize>,
    /// Responses to requests that were not the first on their connection.
    answered_again: Cell<usize>,
}

fn count(counter: &Cell<usize>) {
    counter.set(counter.get() + 1);
}

/// Responds to each request with its target and its body, in chunks. Closes each connection after some requests without
/// announcing it, as real servers do.
async fn serve(mut listener: Listener, seen: Rc<Seen>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                count(&seen.connections);
                runtime::spawn(serve_one(stream, Rc::clone(&seen)));
            }
            Err(_) => runtime::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn serve_one(mut stream: Stream, seen: Rc<Seen>) -> Option<()> {
    let mut codec = ServerCodec::new(Limits::default());
    let (mut input, mut answer) = (Vec::new(), Vec::new());
    for number in 0..REQUESTS_PER_CONNECTION {
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
        if number > 0 {
            count(&seen.answered_again);
        }
    }
    count(&seen.closed);
    Some(())
}

/// A body of pieces of growing size, with or without an announced length.
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
        // The server sends the target before the body.
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
    seen: Rc<Seen>,
}

/// Sends many requests from several tasks over few connections. Drops one request in seven at a random time.
fn run(seed: u64, faults: Faults) -> Outcome {
    let sim = Sim::new(SimOptions { seed, faults, ..SimOptions::default() });
    Worker::simulated(sim).unwrap().block_on(async {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:80".parse().unwrap()), false).unwrap();
        let address = listener.local_address().unwrap();
        let counted = Rc::<Seen>::default();
        let server = runtime::spawn(serve(listener, Rc::clone(&counted)));
        let timeouts = Timeouts::none()
            .pool(Duration::from_mins(2))
            .connect(Duration::from_secs(20))
            .head(Duration::from_mins(2))
            .body_idle(Duration::from_secs(20));
        let options = ClientOptions::default()
            .connect_to(address)
            .pool(PoolOptions::default().connections_per_host_max(3))
            .timeouts(timeouts);
        let client = Client::new(options);
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
        Outcome { failures, seen: counted }
    })
}

#[test]
fn an_idle_connection_owns_no_receive_buffer() {
    let pool = BufferPool::new();
    let sim = Sim::with_pool(SimOptions::default(), pool.clone());
    Worker::simulated(sim).unwrap().block_on(async {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:80".parse().unwrap()), false).unwrap();
        let options = ClientOptions::default().connect_to(listener.local_address().unwrap());
        let server = runtime::spawn(serve(listener, Rc::default()));
        let client = Client::new(options);
        for number in 0..6 {
            one(&client, number * 10).await.unwrap();
            assert_eq!(pool.lent(), 0, "after request {number}");
        }
        server.abort();
    });
}

impl Outcome {
    /// Checks that connections were reused, and that only requests failed that were sent while the server closed the
    /// connection: a PUT cannot be sent again once its body has been read.
    fn check_shared(&self, seed: u64) {
        let Seen { connections, closed, answered_again } = &*self.seen;
        let crossed = |error: &Error| matches!(error, Error::Closed) || error.is_reset();
        assert!(self.failures.iter().all(crossed), "seed {seed}: {:?}", self.failures);
        let failed = self.failures.len();
        assert!(failed <= closed.get(), "seed {seed}: {failed} failed, {} were closed", closed.get());
        assert!(answered_again.get() >= REQUESTS / 2, "seed {seed}: {}", answered_again.get());
        assert!(connections.get() <= 20, "seed {seed}: {}", connections.get());
    }
}

#[test]
fn without_faults_connections_are_shared() {
    run(0, Faults::default()).check_shared(0);
}

#[test]
fn faults_that_a_driver_hides_change_nothing() {
    for seed in 0..40 {
        run(seed, Faults::hidden(0.1)).check_shared(seed);
    }
}

#[test]
fn network_faults_fail_only_requests() {
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
