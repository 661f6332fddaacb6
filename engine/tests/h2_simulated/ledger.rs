//! What both sides say of each request, and whether it fits together.

use ringtide::Error;
use ringtide::error::{Culprit, ProtocolError};
use ringtide::proto::h2::{self, ErrorCode};

use crate::Coverage;
use crate::world::{ServerWay, World};

/// What is known of each request.
pub(crate) struct Ledger {
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// How often a handler began.
    begun: u32,
    /// How often a handler has responded.
    responded: u32,
    /// The requests that failed at the server, by no will of its own.
    server_error: Option<Error>,
    outcome: Option<Outcome>,
}

/// What the client has of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The whole response, which was right.
    Answered,
    /// The client gave it up.
    Cancelled,
    Failed(Error),
}

impl Ledger {
    pub(crate) fn new(requests: u32) -> Self {
        Self { entries: (0..requests).map(|_| Entry::default()).collect() }
    }

    pub(crate) fn begin(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.begun += 1;
        }
    }

    pub(crate) fn responded(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.responded += 1;
        }
    }

    pub(crate) fn server_error(&mut self, number: u32, error: Error) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.server_error = Some(error);
        }
    }

    pub(crate) fn end(&mut self, number: u32, outcome: Outcome) {
        let before = self.entries[number as usize].outcome.replace(outcome);
        assert!(before.is_none(), "request {number} ended twice: {before:?}");
    }

    /// All that is known.
    pub(crate) fn text(&self, world: &World) -> String {
        let line = |(number, entry): (usize, &Entry)| {
            let plan = world.plan(number as u32);
            let sizes = (plan.request_body.len(), plan.response_body.len());
            format!("\n{number} {} {sizes:?} {:?} {:?} {entry:?}", plan.method, plan.server, plan.client)
        };
        self.entries.iter().enumerate().map(line).collect()
    }

    pub(crate) fn check(&self, world: &World) -> Coverage {
        let mut coverage = Coverage::default();
        for (number, entry) in self.entries.iter().enumerate() {
            let plan = world.plan(number as u32);
            let say = || format!("request {number} of {world:?}{}", self.text(world));
            let is_idempotent = plan.method != "POST";
            // Only a client that cannot know whether a request was processed may send it again.
            if world.is_calm || !is_idempotent {
                assert!(entry.begun <= 1, "processed twice: {}", say());
            }
            match entry.outcome.as_ref().unwrap_or_else(|| panic!("no outcome: {}", say())) {
                Outcome::Answered => {
                    coverage.answered += 1;
                    assert!(entry.begun > 0, "answered by nobody: {}", say());
                    // A response of announced length is whole before its handler is done with the request.
                    let may_be_unfinished = matches!(plan.server, ServerWay::FailsBefore | ServerWay::Both);
                    assert!(may_be_unfinished || entry.responded > 0, "answered by nobody: {}", say());
                    assert!(!world.is_calm || may_be_unfinished || entry.server_error.is_none(), "{}", say());
                }
                Outcome::Cancelled => coverage.cancelled += 1,
                Outcome::Failed(error) => {
                    let is_unprocessed = matches!(error, Error::Stream(reset) if reset.is_unprocessed());
                    if is_unprocessed {
                        coverage.unprocessed += 1;
                        if world.is_calm || !is_idempotent {
                            assert_eq!(entry.begun, 0, "processed although it was not: {}", say());
                        }
                    } else {
                        coverage.failed += 1;
                    }
                    let is_expected = is_unprocessed
                        || is_reset_by(error, plan.server)
                        || (!world.is_calm && is_by_network(error))
                        // A server that ends drops the connections that it has not accepted.
                        || (!world.restarts.is_empty() && entry.begun == 0 && is_by_network(error));
                    assert!(is_expected, "it failed without a reason: {}", say());
                }
            }
        }
        coverage
    }
}

/// Whether the server did what it was to do.
fn is_reset_by(error: &Error, way: ServerWay) -> bool {
    let Error::Stream(reset) = error else { return false };
    match way {
        ServerWay::FailsAfter => reset.code == ErrorCode::INTERNAL_ERROR,
        ServerWay::Disconnects => reset.code == ErrorCode::CANCEL,
        _ => false,
    }
}

fn is_by_network(error: &Error) -> bool {
    matches!(error.culprit(), Culprit::Network | Culprit::Time)
        || matches!(error, Error::Incomplete(_) | Error::Protocol(ProtocolError::H2(h2::Error::Incomplete)))
}
