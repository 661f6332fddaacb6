//! The counters of a run.

use std::collections::BTreeMap;

use super::error_kind::ErrorKind;

/// Status codes have three digits (RFC 9112 §4).
pub const STATUS_CODES: usize = 1000;

/// The counters of a run.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Requests of which the kernel took at least one byte.
    pub sent: u64,
    /// Requests with a complete answer.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were due and unanswered when the run ended.
    pub censored: u64,
    /// When the last complete answer ended.
    pub last_done_ns: u64,
    /// Failed requests by kind, indexed by [`ErrorKind`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// The message of the first error of each kind, if it says more than the kind.
    pub error_examples: [Option<Box<str>>; ErrorKind::ALL.len()],
    /// The message of the first TLS error of each kind ([`ringtide::tls::Error::kind`]).
    pub tls_examples: BTreeMap<&'static str, Box<str>>,
    /// Completed requests by status code.
    pub status: Box<[u64; STATUS_CODES]>,
    /// Bytes that arrived.
    pub bytes_received: u64,
    /// Bytes that the kernel took.
    pub bytes_sent: u64,
    /// Connections opened in the measured part.
    pub connects: u64,
    /// Requests of the warm-up that timed out in the measured part or were unanswered at its end. They do not belong
    /// to it.
    pub warmup_unanswered: u64,
    /// Failed requests that were pipelined behind the response with which the server announced the end of their
    /// connection: it did not process them.
    pub ruled_out: u64,
    /// Connections that were closed because bytes followed a response.
    pub unexpected_bytes: u64,
    /// How often the generator's own descriptors ran out.
    pub descriptors_ran_out: u64,
    /// How often the generator's own ports ran out.
    pub ports_ran_out: u64,
}

/// What was counted while answers were waited for after the end of the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AfterEnd {
    /// Requests with a complete answer.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Bytes that arrived.
    pub bytes_received: u64,
}

impl AfterEnd {
    pub(super) fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.bytes_received += other.bytes_received;
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            sent: 0,
            completed: 0,
            failed: 0,
            censored: 0,
            last_done_ns: 0,
            errors: [0; ErrorKind::ALL.len()],
            error_examples: Default::default(),
            tls_examples: BTreeMap::new(),
            status: Box::new([0; STATUS_CODES]),
            bytes_received: 0,
            bytes_sent: 0,
            connects: 0,
            warmup_unanswered: 0,
            ruled_out: 0,
            unexpected_bytes: 0,
            descriptors_ran_out: 0,
            ports_ran_out: 0,
        }
    }
}

impl Counters {
    /// Requests that were due: each has completed, failed or been censored.
    pub fn scheduled(&self) -> u64 {
        self.completed + self.failed + self.censored
    }

    /// Completed requests with a status below 400.
    pub fn succeeded(&self) -> u64 {
        self.status[..400].iter().sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.completed += other.completed;
        self.failed += other.failed;
        self.censored += other.censored;
        self.last_done_ns = self.last_done_ns.max(other.last_done_ns);
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.connects += other.connects;
        self.warmup_unanswered += other.warmup_unanswered;
        self.ruled_out += other.ruled_out;
        self.unexpected_bytes += other.unexpected_bytes;
        self.descriptors_ran_out += other.descriptors_ran_out;
        self.ports_ran_out += other.ports_ran_out;
        for (mine, others) in self.errors.iter_mut().zip(&other.errors) {
            *mine += others;
        }
        for (mine, others) in self.error_examples.iter_mut().zip(&other.error_examples) {
            if mine.is_none() {
                mine.clone_from(others);
            }
        }
        for (kind, others) in &other.tls_examples {
            self.tls_examples.entry(kind).or_insert_with(|| others.clone());
        }
        for (mine, others) in self.status.iter_mut().zip(other.status.iter()) {
            *mine += others;
        }
    }
}
