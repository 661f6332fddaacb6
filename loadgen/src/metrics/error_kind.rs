//! Why a request failed.

use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The host's name could not be resolved.
    Dns,
    /// No connection could be made: refused, unreachable, or not within the connect timeout.
    Connect,
    /// TLS failed: its handshake, or later what the peer sent.
    Tls,
    /// The answer was not complete within the timeout.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The connection ended before any byte of the answer.
    Closed,
    /// The connection ended after some bytes of the answer, before its end.
    Incomplete,
    /// The peer sent something that is not HTTP, or not an answer to this request.
    Protocol,
    /// The answer was not what was expected.
    Expect,
}

impl ErrorKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Closed,
        Self::Incomplete,
        Self::Protocol,
        Self::Expect,
    ];

    /// What it means, for a report.
    pub fn description(self) -> &'static str {
        match self {
            Self::Dns => "name not resolved",
            Self::Connect => "no connection",
            Self::Tls => "TLS failed",
            Self::Timeout => "no complete response in time",
            Self::Reset => "connection reset",
            Self::Closed => "closed before any byte of the response",
            Self::Incomplete => "closed within the response",
            Self::Protocol => "response is not valid HTTP",
            Self::Expect => "response is not as expected",
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Incomplete => "incomplete",
            Self::Protocol => "protocol",
            Self::Expect => "expect",
        }
    }
}
