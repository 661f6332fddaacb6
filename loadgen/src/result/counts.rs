//! How many requests there were, and how they ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::{Counters, ErrorKind};

/// How many requests there were. `scheduled` = `completed` + `failed` + `censored`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Were due.
    pub scheduled: u64,
    /// The kernel took at least a byte.
    pub sent: u64,
    /// Were answered completely.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Were unanswered when the run ended.
    pub censored: u64,
}

/// Failed requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// See [`ErrorKind::Dns`].
    pub dns: u64,
    /// See [`ErrorKind::Connect`].
    pub connect: u64,
    /// See [`ErrorKind::Tls`].
    pub tls: u64,
    /// See [`ErrorKind::Timeout`].
    pub timeout: u64,
    /// See [`ErrorKind::Reset`].
    pub reset: u64,
    /// See [`ErrorKind::Closed`].
    pub closed: u64,
    /// See [`ErrorKind::Incomplete`].
    pub incomplete: u64,
    /// See [`ErrorKind::Protocol`].
    pub protocol: u64,
    /// See [`ErrorKind::Expect`].
    pub expect: u64,
}

impl Requests {
    pub(super) fn of(counters: &Counters) -> Self {
        Self {
            scheduled: counters.scheduled(),
            sent: counters.sent,
            completed: counters.completed,
            failed: counters.failed,
            censored: counters.censored,
        }
    }
}

impl Errors {
    pub(super) fn of(counters: &Counters) -> Self {
        let count = |kind: ErrorKind| counters.errors[kind as usize];
        Self {
            dns: count(ErrorKind::Dns),
            connect: count(ErrorKind::Connect),
            tls: count(ErrorKind::Tls),
            timeout: count(ErrorKind::Timeout),
            reset: count(ErrorKind::Reset),
            closed: count(ErrorKind::Closed),
            incomplete: count(ErrorKind::Incomplete),
            protocol: count(ErrorKind::Protocol),
            expect: count(ErrorKind::Expect),
        }
    }

    /// How many of `kind`.
    pub fn count(&self, kind: ErrorKind) -> u64 {
        match kind {
            ErrorKind::Dns => self.dns,
            ErrorKind::Connect => self.connect,
            ErrorKind::Tls => self.tls,
            ErrorKind::Timeout => self.timeout,
            ErrorKind::Reset => self.reset,
            ErrorKind::Closed => self.closed,
            ErrorKind::Incomplete => self.incomplete,
            ErrorKind::Protocol => self.protocol,
            ErrorKind::Expect => self.expect,
        }
    }
}

/// Only for kinds that were counted: errors of the warm-up are not.
pub(super) fn error_examples(counters: &Counters) -> BTreeMap<String, String> {
    let tls = (counters.errors[ErrorKind::Tls as usize] > 0).then_some(&counters.tls_examples);
    let tls = tls.into_iter().flatten().map(|(kind, text)| (format!("tls.{kind}"), text.to_string()));
    ErrorKind::ALL
        .into_iter()
        .filter(|kind| counters.errors[*kind as usize] > 0)
        .filter_map(|kind| {
            let text = counters.error_examples[kind as usize].as_ref()?;
            Some((kind.name().to_owned(), text.to_string()))
        })
        .chain(tls)
        .collect()
}

/// Completed requests by code.
pub(super) fn status(counters: &Counters) -> BTreeMap<String, u64> {
    let seen = counters.status.iter().enumerate().filter(|(_, count)| **count > 0);
    seen.map(|(code, count)| (code.to_string(), *count)).collect()
}
