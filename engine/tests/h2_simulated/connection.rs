//! The requests of a run through [`Connection`]s: many at once, or one after the other.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ringtide::conn::HttpVersion;
use ringtide::error::RequestError;
use ringtide::runtime;
use ringtide::stream::Stream;
use ringtide::{Connection, ConnectionOptions, Error, PreparedRequest};

use crate::Run;
use crate::ledger::Outcome;
use crate::random::Random;
use crate::settle::{Probe, settle};
use crate::world::{ClientWay, Plan, ServerWay};

pub(crate) async fn drive(run: Run) {
    let world = &run.world;
    let count = world.connections_max as u32;
    let tasks: Vec<_> = (0..count)
        .map(|task| {
            let run = run.clone();
            runtime::spawn(async move {
                let numbers = (task..run.world.requests).step_by(count as usize).collect();
                let mut user = User { run: run.clone(), numbers, random: Random::new(run.world.seed ^ 5) };
                while !user.numbers.is_empty() {
                    user.connect().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Sends its requests on one connection after the other.
struct User {
    run: Run,
    /// What is to be sent, the next one last.
    numbers: Vec<u32>,
    random: Random,
}

impl User {
    async fn connect(&mut self) {
        let connect = runtime::timeout(Duration::from_secs(5), Stream::connect(&self.run.address));
        let Some(Ok(stream)) = connect.await else {
            return runtime::sleep(Duration::from_millis(1)).await;
        };
        let options = ConnectionOptions::default().version(HttpVersion::Http2).http2(self.run.world.client);
        let connection = Connection::new(stream, &options);
        if self.run.world.seed.is_multiple_of(3) {
            self.one_by_one(connection).await;
        } else {
            self.many_at_once(connection).await;
        }
    }

    fn end(&self, number: u32, outcome: Outcome) {
        self.run.ledger.borrow_mut().end(number, outcome);
    }

    async fn one_by_one(&mut self, mut connection: Connection) {
        while connection.is_reusable()
            && let Some(number) = self.numbers.pop()
        {
            let plan = self.run.world.plan(number);
            match read_one(&mut connection, &plan).await {
                Ok(outcome) => self.end(number, outcome),
                // The peer has closed it since. Nothing was sent.
                Err(Error::Request(RequestError::NotReusable)) => return self.numbers.push(number),
                Err(error) => {
                    let is_of_request = matches!(error, Error::Stream(_));
                    self.end(number, Outcome::Failed(error));
                    if !is_of_request {
                        return;
                    }
                }
            }
        }
        settle(&self.run, connection).await;
    }

    async fn many_at_once(&mut self, mut connection: Connection) {
        // By the slots of the requests.
        let mut in_flight: Vec<Option<(u32, ringtide::conn::RequestId)>> = Vec::new();
        loop {
            while connection.free_places() > 0
                && let Some(number) = self.numbers.pop()
            {
                let id = connection.start(&prepared(&self.run.world.plan(number))).unwrap();
                if in_flight.len() <= id.slot() {
                    in_flight.resize(id.slot() + 1, None);
                }
                assert!(in_flight[id.slot()].replace((number, id)).is_none(), "request {number}");
                assert!(connection.is_in_flight(id));
            }
            if connection.in_flight() == 0 {
                break;
            }
            let completion = match poll_fn(|context| connection.poll_completion(context)).await {
                Ok(completion) => completion,
                Err(error) => {
                    let text = error.to_string();
                    let mut first = Some(error);
                    for (number, _) in in_flight.into_iter().flatten() {
                        let error = first
                            .take()
                            .unwrap_or_else(|| Error::Network(std::io::Error::other(text.clone())));
                        self.end(number, Outcome::Failed(error));
                    }
                    return;
                }
            };
            let (number, id) = in_flight[completion.id.slot()].take().expect("one that is in flight");
            assert_eq!(id, completion.id, "request {number}");
            let plan = self.run.world.plan(number);
            match completion.result {
                Ok(exchange) => {
                    assert_eq!(exchange.status.as_u16(), plan.status(), "request {number}");
                    assert!(plan.is_answered(), "request {number}: the response was cut");
                    self.end(number, Outcome::Answered);
                }
                Err(error) => self.end(number, Outcome::Failed(error)),
            }
            if self.random.percent(15)
                && let Some((number, id)) =
                    in_flight.iter_mut().find_map(|place| place.take_if(|_| self.random.percent(50)))
            {
                assert!(connection.cancel(id) && !connection.is_in_flight(id), "request {number}");
                self.end(number, Outcome::Cancelled);
            }
        }
        settle(&self.run, connection).await;
    }
}

impl Probe for Connection {
    async fn probe(&mut self, [up, down]: [usize; 2]) {
        let request = Request::post(format!("http://h/probe/{down}")).body(Bytes::from(vec![3; up])).unwrap();
        let request = PreparedRequest::new(&request).unwrap();
        let mut response = self.send(&request).await.unwrap();
        assert_eq!(response.discard().await.unwrap(), down as u64);
    }
}

/// Sends a request and reads its response.
async fn read_one(connection: &mut Connection, plan: &Plan) -> Result<Outcome, Error> {
    let mut response = connection.send(&prepared(plan)).await?;
    let number = plan.number;
    assert_eq!(response.status().as_u16(), plan.status(), "request {number}");
    let is_failed = plan.server == ServerWay::FailsBefore;
    if !is_failed {
        let field = plan.field(plan.response_field);
        assert_eq!(response.head().fields().get("x-field"), Some(field.as_bytes()), "request {number}");
    }
    if plan.client == ClientWay::DropsAfterHead {
        return Ok(Outcome::Cancelled);
    }
    let expected = if plan.method == "HEAD" { Bytes::new() } else { plan.response_body.clone() };
    let mut position = 0;
    while let Some(piece) = response.data().await? {
        if !is_failed {
            assert!(expected[position..].starts_with(piece), "request {number}: a wrong piece");
        }
        position += piece.len();
        if plan.client == ClientWay::DropsAfterPiece {
            return Ok(Outcome::Cancelled);
        }
    }
    assert!(is_failed || position == expected.len(), "request {number}: it ends at {position}");
    assert!(plan.is_answered(), "request {number}: the response was cut");
    Ok(Outcome::Answered)
}

fn prepared(plan: &Plan) -> PreparedRequest {
    let request = Request::builder()
        .method(plan.method)
        .uri(format!("http://h/{}", plan.number))
        .header("x-number", plan.number.to_string())
        .header("x-field", plan.field(plan.request_field))
        .body(plan.request_body.clone())
        .unwrap();
    PreparedRequest::new(&request).unwrap()
}
