//! Errors of a request, grouped by who caused them.
//!
//! Every error of this crate prints as one complete line that ends with the text of its cause, such as an operating
//! system error. `source()` skips that cause and returns the cause's own source. So a program that prints an error and
//! all its sources repeats nothing. The fields of a variant hold each part separately.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ringtide_driver::Address;

use crate::proto::{h1, h2};
use crate::tls;

/// The reason why a request has no response, or only part of one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that cannot be sent. Each [`RequestError`] says whether some of it was sent, and
    /// in which state it leaves the connection.
    Request(RequestError),
    /// No address was found for the host. Nothing was sent. A retry may help.
    Resolve {
        /// The host.
        host: String,
        /// The error of the resolver.
        source: io::Error,
    },
    /// The connection could not be established. Nothing was sent. A retry may help.
    Connect {
        /// The address.
        address: Address,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A time limit was reached. In the phases after the connect, the peer may have received the request and acted on
    /// it.
    Timeout(Phase),
    /// The peer closed the connection before the first byte of the response. It may have acted on the request.
    Closed,
    /// There is no response to this pipelined request, because the response to an earlier request was the last one on
    /// the connection. [`LastResponse`] says whether the peer may have acted on this request. Drop the connection.
    Unanswered(LastResponse),
    /// The peer closed the connection in the middle of the response.
    Incomplete(h1::Incomplete),
    /// The peer sent something that is not HTTP, or that exceeds the limits.
    Protocol(ProtocolError),
    /// The stream of this request has ended before its response, over HTTP/2. The connection goes on. If the reset
    /// [says so](h2::StreamReset::is_unprocessed), the peer has not acted on the request.
    Stream(h2::StreamReset),
    /// The connection failed during the exchange, for example because of a reset.
    Network(io::Error),
    /// TLS failed: the handshake, or later what the peer sent. In the handshake nothing was sent of a request, except as
    /// early data.
    Tls(tls::Error),
    /// The response body is larger than the caller's limit. The connection has been closed.
    BodyTooLarge {
        /// The caller's limit, in bytes.
        size_max: usize,
    },
    /// A file that the caller named could not be opened, read or written. It is the body of a request or the
    /// destination of a response body. If the file of a request body could not be opened, nothing was sent. Otherwise
    /// the connection has been closed.
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The worker behind a [`ClientHandle`](crate::client::ClientHandle) has ended. The peer may have received the
    /// request and acted on it.
    WorkerEnded,
}

/// How a peer broke the protocol, by the version of HTTP that it spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// HTTP/1.0 or HTTP/1.1.
    H1(h1::Error),
    /// HTTP/2.
    H2(h2::Error),
}

/// A request of the caller that cannot be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection cannot take another request yet. A connection without pipelining has a request in flight; a
    /// pipelining one has [`PIPELINED_MAX`](crate::limits::PIPELINED_MAX) of them, or the body of its previous request
    /// is not finished. Nothing was sent, and the connection is unchanged.
    Busy,
    /// The connection cannot be used for another request: the peer has closed it, has announced that it will, has sent
    /// data that belongs to no request, or was asked to close it. Nothing was sent, and the connection is unchanged.
    ///
    /// Waiting for a response also returns this, if no request is in flight or an earlier response has failed.
    NotReusable,
    /// The head cannot be encoded, because the peer would parse it as something else. Nothing of it was sent. On the
    /// client side the connection is unchanged. On the server side the request remains without a response.
    Head(h1::EncodeError),
    /// The URI is incomplete, or its scheme is not supported. Nothing was sent, and no connection was used.
    Uri {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URI is `https`, and the client's TLS settings cannot be used. Nothing was sent.
    Tls(tls::SetupError),
    /// The body that the caller supplied returned an error. The head and the earlier parts of the body may have been
    /// sent and acted on. The connection has been closed.
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The request cannot be answered with a switch to another protocol. Nothing was sent.
    Upgrade {
        /// Why not.
        reason: &'static str,
    },
    /// The body has more or fewer bytes than its announced length. The head and the earlier pieces may have been sent
    /// and acted on. If a piece is too long, nothing of that piece was sent.
    ///
    /// If a body is too short, the peer misreads what follows it on the connection. Therefore:
    ///
    /// - A [`Client`](crate::client::Client) has closed the connection.
    /// - The caller must drop a [`Connection`](crate::conn::Connection).
    /// - A server closes its connection after the response that cannot be finished.
    ///
    /// After a piece that was too long, a [`Responder`](crate::conn::Responder) can continue.
    BodyLength {
        /// The announced length in bytes. If the caller sends the body in pieces, the part of it that was still
        /// missing.
        announced: u64,
        /// The length of the supplied body in bytes, or a lower bound. If the caller sends the body in pieces, the size
        /// of the last piece, or 0 if the body ended too early.
        given: u64,
    },
}

/// The reason why a response was the last one on its connection. It decides whether the requests after it can be sent
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastResponse {
    /// The response contained `Connection: close`. The peer does not process any later request (RFC 9112 §9.6). Every
    /// one of them can be sent again on another connection, whatever its method.
    Announced,
    /// The response ended with the connection, came from an HTTP/1.0 peer without keep-alive, or left unclear where the
    /// next response begins. As after [`Error::Closed`], the peer may have acted on a later request. Only an idempotent
    /// one can be sent again (RFC 9112 §9.3.2).
    Implied,
    /// The response switched the connection to another protocol (status 101, or a successful CONNECT). The requests
    /// after it became part of that protocol's data. It is not known how the peer interpreted them.
    SwitchedProtocols,
}

/// The part of a request in which a time limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a free connection, while the host has its maximum number of connections. Nothing was sent.
    Pool,
    /// Looking up the address.
    Resolve,
    /// Establishing the connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the start of the request to the end of the response.
    Request,
    /// From the start of the request to the end of the response head.
    Head,
    /// Between two pieces of the response body.
    BodyIdle,
    /// From the end of the response head to the end of the body.
    Body,
}

/// The party that caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The caller.
    Caller,
    /// The peer, which violated the protocol.
    Peer,
    /// The network, or the peer's host.
    Network,
    /// A time limit. It is not known who was slow.
    Time,
}

impl Error {
    /// Returns who caused the error.
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::Request(_)
            | Self::BodyTooLarge { .. }
            | Self::File { .. }
            | Self::WorkerEnded
            | Self::Tls(tls::Error::HostName { .. }) => Culprit::Caller,
            Self::Protocol(_) | Self::Stream(_) | Self::Incomplete(_) | Self::Tls(_) => Culprit::Peer,
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Network(_)
            | Self::Closed
            | Self::Unanswered(_) => Culprit::Network,
            Self::Timeout(_) => Culprit::Time,
        }
    }

    /// Returns the error of a connection whose stream has failed.
    pub(crate) fn of_stream(error: io::Error) -> Self {
        match tls::Error::of_io(&error) {
            Some(error) => Self::Tls(error.clone()),
            None => Self::Network(error),
        }
    }

    /// Returns whether the request failed because the peer reset the connection.
    pub fn is_reset(&self) -> bool {
        matches!(
            self,
            Self::Network(error) | Self::Connect { source: error, .. }
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        )
    }
}

/// Returns whether a stream has ended without close_notify.
pub(crate) fn is_cut(error: &io::Error) -> bool {
    matches!(tls::Error::of_io(error), Some(tls::Error::Truncated))
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
            Self::Timeout(Phase::Tls) => f.write_str("timed out in the TLS handshake"),
            Self::Timeout(Phase::Request) => f.write_str("timed out waiting for the response"),
            Self::Timeout(Phase::Head) => f.write_str("timed out waiting for the response head"),
            Self::Timeout(Phase::BodyIdle) => {
                f.write_str("timed out: the peer stopped in the middle of the response body")
            }
            Self::Timeout(Phase::Body) => f.write_str("timed out reading the response body"),
            Self::Closed => f.write_str("the peer closed the connection before it answered"),
            Self::Unanswered(LastResponse::Announced) => {
                f.write_str("no response: an earlier response said 'Connection: close'")
            }
            Self::Unanswered(LastResponse::Implied) => {
                f.write_str("no response: an earlier response was the last one on the connection")
            }
            Self::Unanswered(LastResponse::SwitchedProtocols) => {
                f.write_str("no response: an earlier response switched the connection to another protocol")
            }
            Self::Incomplete(incomplete) => write!(f, "{incomplete}"),
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Stream(reset) => reset.fmt(f),
            Self::Network(error) => write!(f, "the connection failed: {error}"),
            Self::Tls(error) => error.fmt(f),
            Self::BodyTooLarge { size_max } => {
                write!(f, "the response body is larger than the limit of {size_max} bytes")
            }
            Self::File { path, source } => write!(f, "the file '{}': {source}", path.display()),
            Self::WorkerEnded => f.write_str("the worker of this client handle has ended"),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::H1(error) => error.fmt(f),
            Self::H2(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the connection cannot take another request yet"),
            Self::NotReusable => f.write_str("the connection cannot be used for another request"),
            Self::Head(error) => write!(f, "the head cannot be encoded: {error}"),
            Self::Uri { uri, reason } => write!(f, "'{uri}': {reason}"),
            Self::Tls(error) => error.fmt(f),
            Self::Body(error) => write!(f, "the request's body failed: {error}"),
            Self::Upgrade { reason } => {
                write!(f, "the connection cannot switch to another protocol: {reason}")
            }
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
            Self::Stream(reset) => reset.source(),
            Self::Tls(error) => error.source(),
            Self::Timeout(_)
            | Self::Closed
            | Self::Unanswered(_)
            | Self::Incomplete(_)
            | Self::BodyTooLarge { .. }
            | Self::WorkerEnded => None,
        }
    }
}

impl std::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::H1(error) => error.source(),
            Self::H2(error) => error.source(),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Head(error) => error.source(),
            Self::Body(error) => error.source(),
            Self::Tls(error) => error.source(),
            Self::Busy
            | Self::NotReusable
            | Self::Uri { .. }
            | Self::Upgrade { .. }
            | Self::BodyLength { .. } => None,
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
            error => Self::Protocol(ProtocolError::H1(error)),
        }
    }
}
