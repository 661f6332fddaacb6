//! What can go wrong with a request, nested by who is at fault.
//!
//! The text of every error of this crate is the whole story in one line, with what the system or a callee said at its end. So
//! `source()` skips what the text holds already, and gives what lies behind that: printing an error with all its sources
//! repeats nothing. The fields of a variant give each part by itself.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ringtide_driver::Address;

use crate::proto::h1;

/// Why a request has no (whole) response.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that cannot be sent. Whether any of it was sent, and how the connection is left, depends on what it
    /// was: see each kind.
    Request(RequestError),
    /// No address was found for the host. Nothing was sent; trying again may help.
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No connection could be made. Nothing was sent; trying again may help.
    Connect {
        /// Where to.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A time limit was reached. In the phases after the connect the request may have been received and acted on.
    Timeout(Phase),
    /// The peer ended the connection before the first byte of the response. It may or may not have acted on the request.
    Closed,
    /// The response to an earlier request on the same connection was the last one, so there is none to this pipelined request. Whether the peer
    /// may have acted on it: see [`LastResponse`]. The connection is to be dropped.
    Unanswered(LastResponse),
    /// The peer ended the connection inside the response.
    Incomplete(h1::Incomplete),
    /// The peer sent something that is not HTTP, or more than the limits allow.
    Protocol(h1::Error),
    /// The connection failed, for instance by a reset, in the middle of the exchange.
    Network(io::Error),
    /// The body of the response is larger than the caller wanted to keep. The connection has been closed.
    BodyTooLarge {
        /// The caller's limit, in bytes.
        size_max: usize,
    },
    /// A file that the caller named, as the body of a request or as the place of a response's, could not be opened, read or written. A
    /// request whose file could not be opened has not been sent; otherwise the connection has been closed.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The worker that a [`ClientHandle`](crate::client::ClientHandle) leads to has ended. The request may have been received and acted on.
    WorkerEnded,
}

/// What a caller can ask for that no request can be.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// A request is in flight already on a connection that does not pipeline, or [`PIPELINED_MAX`](crate::limits::PIPELINED_MAX) of them
    /// on one that does, or the body of the one before has not been finished. Nothing was sent, and the connection is as it was.
    Busy,
    /// The connection cannot be used for another request: the peer has closed it, or said that it will, or has sent what nobody
    /// asked for, or was asked to close it. Nothing was sent, and the connection is
    /// as it was.
    NotReusable,
    /// The head cannot be encoded without being read as something else. Nothing of it was sent. A client's connection is as it was; on
    /// a server's, the request is without an answer.
    Head(h1::EncodeError),
    /// The URI lacks something, or has a scheme that is not supported. Nothing was sent, and no connection was touched.
    Uri {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The body that was given ended with an error of its own. The head and what the body gave before may have been sent and acted on;
    /// the connection has been closed.
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body gave more or fewer bytes than its announced length. The head and what came before may have been sent and acted on; of a
    /// piece that is too much, nothing was.
    ///
    /// A peer would misread what follows a body that is too short. So a [`Client`](crate::client::Client) has closed the connection, a
    /// [`Connection`](crate::conn::Connection) is to be dropped, and a server's ends with the answer that cannot be finished. After
    /// a piece that was too much, a [`Responder`](crate::conn::Responder) can go on.
    BodyLength {
        /// What was announced. Where the caller sends the pieces, what was still to come of it.
        announced: u64,
        /// What was given, at least. Where the caller sends the pieces, the size of the last one, and 0 at the end.
        given: u64,
    },
}

/// Why a response was the last one on its connection, and what that says of the requests behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastResponse {
    /// It said so (`Connection: close`). The peer processes no request behind it (RFC 9112 §9.6): any of them can be sent again on another
    /// connection, whatever its method.
    Announced,
    /// It ended with the connection, was of an HTTP/1.0 peer that does not keep its connections, or left open where the next one would begin. As after
    /// [`Error::Closed`], the peer may have acted on a request behind it: only an idempotent one can be sent again (RFC 9112 §9.3.2).
    Implied,
    /// It switched to another protocol (101, or success of CONNECT), of which the requests behind it have become a part. What the peer has
    /// made of them is not known.
    SwitchedProtocols,
}

/// The part of a request in which a time limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for one of the connections that a host may have at most. Nothing was sent.
    Pool,
    /// Finding the address.
    Resolve,
    /// Making the connection.
    Connect,
    /// From the start of the request to the end of the response.
    Request,
    /// From the start of the request to the end of the response's head.
    Head,
    /// Between two pieces of the response's body.
    BodyIdle,
    /// From the response's head to the end of its body.
    Body,
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// Whoever called.
    Caller,
    /// The peer broke the protocol.
    Peer,
    /// The network, or the peer's host.
    Network,
    /// Nobody kept to the time.
    Time,
}

impl Error {
    /// Who is at fault.
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::Request(_) | Self::BodyTooLarge { .. } | Self::File { .. } | Self::WorkerEnded => {
                Culprit::Caller
            }
            Self::Protocol(_) | Self::Incomplete(_) => Culprit::Peer,
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Network(_)
            | Self::Closed
            | Self::Unanswered(_) => Culprit::Network,
            Self::Timeout(_) => Culprit::Time,
        }
    }

    /// Whether the failure is that of a connection which the peer reset.
    pub fn is_reset(&self) -> bool {
        matches!(
            self,
            Self::Network(error) | Self::Connect { source: error, .. }
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Resolve { host, source } => write!(f, "no address found for '{host}': {source}"),
            Self::Connect { address, source } => write!(f, "could not connect to {address}: {source}"),
            Self::Timeout(Phase::Pool) => f.write_str("timed out waiting for a free connection to the host"),
            Self::Timeout(Phase::Resolve) => f.write_str("timed out looking up the host"),
            Self::Timeout(Phase::Connect) => f.write_str("timed out connecting"),
            Self::Timeout(Phase::Request) => f.write_str("timed out waiting for the response"),
            Self::Timeout(Phase::Head) => f.write_str("timed out waiting for the head of the response"),
            Self::Timeout(Phase::BodyIdle) => {
                f.write_str("timed out: the peer stopped in the middle of the response's body")
            }
            Self::Timeout(Phase::Body) => f.write_str("timed out reading the response's body"),
            Self::Closed => f.write_str("the peer closed the connection before it answered"),
            Self::Unanswered(LastResponse::Announced) => f.write_str(
                "no response: an earlier one on the connection announced its end (Connection: close)",
            ),
            Self::Unanswered(LastResponse::Implied) => {
                f.write_str("no response: an earlier one on the connection was the last that it could carry")
            }
            Self::Unanswered(LastResponse::SwitchedProtocols) => {
                f.write_str("no response: an earlier one on the connection switched to another protocol")
            }
            Self::Incomplete(incomplete) => write!(f, "{incomplete}"),
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Network(error) => write!(f, "the connection failed: {error}"),
            Self::BodyTooLarge { size_max } => {
                write!(f, "the response's body is larger than the {size_max} bytes that were allowed")
            }
            Self::File { path, source } => write!(f, "the file '{}': {source}", path.display()),
            Self::WorkerEnded => f.write_str("the worker that carries requests out has ended"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("as many requests are in flight on this connection as may be"),
            Self::NotReusable => f.write_str("the connection cannot be used for another request"),
            Self::Head(error) => write!(f, "the head cannot be encoded: {error}"),
            Self::Uri { uri, reason } => write!(f, "'{uri}': {reason}"),
            Self::Body(error) => write!(f, "the request's body failed: {error}"),
            Self::BodyLength { announced, given } => {
                write!(f, "the body was announced as {announced} bytes and gave {given}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => error.source(),
            Self::Resolve { source, .. }
            | Self::Connect { source, .. }
            | Self::Network(source)
            | Self::File { source, .. } => source.source(),
            Self::Protocol(error) => error.source(),
            Self::Timeout(_)
            | Self::Closed
            | Self::Unanswered(_)
            | Self::Incomplete(_)
            | Self::BodyTooLarge { .. }
            | Self::WorkerEnded => None,
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Head(error) => error.source(),
            Self::Body(error) => error.source(),
            Self::Busy | Self::NotReusable | Self::Uri { .. } | Self::BodyLength { .. } => None,
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<h1::Error> for Error {
    fn from(error: h1::Error) -> Self {
        match error {
            h1::Error::Incomplete(h1::Incomplete::BeforeHead) => Self::Closed,
            h1::Error::Incomplete(incomplete) => Self::Incomplete(incomplete),
            error => Self::Protocol(error),
        }
    }
}
