//! The requests of a run through a [`Client`], from several tasks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use ringtide::client::{Body, HttpVersion, PoolOptions, RequestBody, Timeouts};
use ringtide::runtime::{self, Timer};
use ringtide::{Client, ClientOptions, Error};

use crate::Run;
use crate::ledger::Outcome;
use crate::settle::{Probe, settle};
use crate::world::{ClientWay, Plan, ServerWay};

pub(crate) async fn drive(run: Run) {
    let world = &run.world;
    let mut timeouts = Timeouts::none();
    if !world.is_calm {
        timeouts = timeouts.connect(Duration::from_secs(5));
    }
    let options = ClientOptions::default()
        .connect_to(run.address.clone())
        .http_version(HttpVersion::Http2)
        .http2(world.client)
        .pool(PoolOptions::default().connections_per_host_max(world.connections_max))
        .timeouts(timeouts)
        .ping_interval(None)
        .replays_max(10);
    let client = Client::new(options);
    let tasks: Vec<_> = (0..world.tasks)
        .map(|task| {
            let (run, client) = (run.clone(), client.clone());
            runtime::spawn(async move {
                for number in (task..run.world.requests).step_by(run.world.tasks as usize) {
                    let plan = run.world.plan(number);
                    let outcome = one(&client, &plan).await;
                    run.ledger.borrow_mut().end(number, outcome);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    settle(&run, client).await;
}

impl Probe for Client {
    async fn probe(&mut self, [up, down]: [usize; 2]) {
        let response = self.post(&format!("http://h/probe/{down}"), vec![3; up]).await.unwrap();
        assert_eq!(response.into_body().bytes(1 << 20).await.unwrap().len(), down);
    }
}

async fn one(client: &Client, plan: &Plan) -> Outcome {
    runtime::sleep(plan.delay).await;
    let outcome = match plan.client {
        ClientWay::Cancels(soon) => match runtime::timeout(soon, exchange(client, plan)).await {
            None => return Outcome::Cancelled,
            Some(outcome) => outcome,
        },
        _ => exchange(client, plan).await,
    };
    match outcome {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed(error),
    }
}

async fn exchange(client: &Client, plan: &Plan) -> Result<Outcome, Error> {
    let response = client.request(request(plan)).await?;
    check_head(plan, &response);
    if plan.client == ClientWay::DropsAfterHead {
        return Ok(Outcome::Cancelled);
    }
    if plan.client == ClientWay::ReadsLate {
        runtime::sleep(plan.pause * 50).await;
    }
    let is_failed = plan.server == ServerWay::FailsBefore;
    let expected = if plan.method == "HEAD" { Bytes::new() } else { plan.response_body.clone() };
    let mut body = response.into_body();
    let mut position = 0;
    while let Some(piece) = body.data().await? {
        if !is_failed {
            assert!(expected[position..].starts_with(&piece), "request {}: a wrong piece", plan.number);
        }
        position += piece.len();
        if plan.client == ClientWay::DropsAfterPiece {
            return Ok(Outcome::Cancelled);
        }
        if plan.client == ClientWay::ReadsSlowly {
            runtime::sleep(plan.pause).await;
        }
    }
    assert!(is_failed || position == expected.len(), "request {}: it ends at {position}", plan.number);
    assert!(plan.is_answered(), "request {}: the response was cut", plan.number);
    let trailer = body.trailers().and_then(|trailers| trailers.get("x-trailer")).map(HeaderValue::as_bytes);
    let expected = plan.trailer().filter(|_| plan.method != "HEAD");
    assert_eq!(trailer, expected.as_ref().map(String::as_bytes), "request {}", plan.number);
    Ok(Outcome::Answered)
}

fn check_head(plan: &Plan, response: &Response<Body>) {
    let number = plan.number;
    assert_eq!(response.status(), plan.status(), "request {number}");
    if plan.server != ServerWay::FailsBefore {
        assert_eq!(response.headers()["x-number"], number.to_string(), "request {number}");
        assert_eq!(response.headers()["x-field"], plan.field(plan.response_field), "request {number}");
    }
}

fn request(plan: &Plan) -> Request<RequestBody> {
    let body = plan.request_body.clone();
    let body = if plan.number.is_multiple_of(2) && !matches!(plan.method, "GET" | "HEAD") {
        let pause = if plan.number.is_multiple_of(3) { plan.pause } else { Duration::ZERO };
        let rest = body.clone();
        RequestBody::stream(Pieces {
            rest,
            size: plan.piece,
            is_announced: plan.is_announced,
            pause,
            timer: None,
        })
    } else {
        body.into()
    };
    Request::builder()
        .method(plan.method)
        .uri(format!("http://h/{}", plan.number))
        .header("x-number", plan.number.to_string())
        .header("x-field", plan.field(plan.request_field))
        .body(body)
        .unwrap()
}

/// A body that is produced in pieces, with pauses.
struct Pieces {
    rest: Bytes,
    size: usize,
    is_announced: bool,
    pause: Duration,
    timer: Option<Timer>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if !self.pause.is_zero() {
            let at_ns = runtime::now_ns() + self.pause.as_nanos() as u64;
            let timer = self.timer.get_or_insert_with(|| {
                let mut timer = Timer::new();
                timer.set(at_ns);
                timer
            });
            ready!(timer.poll_elapsed(context));
            self.timer = None;
        }
        let size = self.size.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_announced { SizeHint::with_exact(self.rest.len() as u64) } else { SizeHint::default() }
    }
}
