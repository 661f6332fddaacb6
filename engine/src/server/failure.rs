//! Failures of a server, as it reports them to its operator.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::StatusCode;
use ringtide_driver::Address;

use crate::conn::{ServerConnection, http2};
use crate::proto::h2::{self, StreamKey};
use crate::tls;

/// A failure that a server reports. Its `Display` implementation writes one line for a log.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'f> {
    /// The kind of failure.
    pub kind: FailureKind<'f>,
    /// The method of the request; empty if the server read no head.
    pub method: &'f str,
    /// The target of the request, as the client sent it; empty if the server read no head.
    pub target: &'f str,
    /// The client's address; `None` if the failure does not concern a single client, or if the address is no longer
    /// known.
    pub peer: Option<Address>,
    /// The status of the response that reports this failure; `None` if there is no such response, or if a response had
    /// already begun.
    pub status: Option<StatusCode>,
}

/// The kinds of failure.
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind<'f> {
    /// The handler returned an error.
    Handler(HandlerError<'f>),
    /// The handler panicked with this message.
    Panic(&'f str),
    /// The server refused the request for this reason. The request broke the protocol, exceeded a limit, or took too
    /// long.
    Refused(&'f str),
    /// The server ended a connection of HTTP/2, because the client broke the protocol or did too much of something.
    Http2 {
        /// What it did.
        error: &'f h2::Error,
        /// How often it did what a limit bounds.
        counters: h2::Counters,
    },
    /// The TLS handshake with a client failed.
    Tls(&'f tls::Error),
    /// The number of connections reached [`connections_max`](super::ServiceOptions::connections_max), which this is.
    /// Further connections wait.
    ConnectionLimit(usize),
    /// The server closed a connection unserved, because it waited too long for other connections to end.
    NotServed,
}

/// The error that a handler returned.
pub struct HandlerError<'f> {
    text: &'f dyn fmt::Display,
    value: &'f dyn Any,
}

impl<'f> HandlerError<'f> {
    fn new<E: fmt::Display + 'static>(error: &'f E) -> Self {
        Self { text: error, value: error }
    }

    /// Returns the error itself, if `E` is the handler's error type.
    pub fn downcast_ref<E: 'static>(&self) -> Option<&'f E> {
        self.value.downcast_ref()
    }
}

impl fmt::Display for HandlerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Debug for HandlerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerError({})", self.text)
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.method.is_empty() {
            write!(f, "{} {} ", self.method, self.target)?;
        }
        if let Some(peer) = &self.peer {
            write!(f, "from {peer}: ")?;
        }
        self.kind.fmt(f)?;
        self.status.map_or(Ok(()), |status| write!(f, " (status {})", status.as_u16()))
    }
}

impl fmt::Display for FailureKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::Panic(text) => write!(f, "the handler panicked: {text}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Http2 { error, counters } => {
                let h2::Counters { resets_received, resets_provoked, streams_refused, .. } = counters;
                write!(f, "ended the connection: {error}; streams that it reset: {resets_received}, ")?;
                write!(f, "made the server reset: {resets_provoked}, ")?;
                write!(f, "opened beyond the limit: {streams_refused}; ")?;
                write!(f, "frames without use: {}", counters.idle_frames)
            }
            Self::Tls(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::ConnectionLimit(count) => {
                write!(f, "the limit of {count} connections is reached: further ones wait")
            }
            Self::NotServed => f.write_str("closed unserved: the connection limit left no room for it"),
        }
    }
}

/// The operator's hook for failures.
#[derive(Clone)]
pub(super) struct FailureHook(Arc<dyn Fn(&Failure<'_>) + Send + Sync>);

impl FailureHook {
    pub(super) fn new(hook: impl Fn(&Failure<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl fmt::Debug for FailureHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailureHook")
    }
}

/// Why a handler produced no response.
pub(super) enum HandlerFailure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<E: fmt::Display + 'static> HandlerFailure<E> {
    pub(super) fn kind(&self) -> FailureKind<'_> {
        match self {
            Self::Error(error) => FailureKind::Handler(HandlerError::new(error)),
            Self::Panic(payload) => FailureKind::Panic(panic_text(payload.as_ref())),
        }
    }
}

/// Returns the message of a panic, if it has one.
fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Reports a failure on `connection`. `status` is the status that the client gets.
#[cold]
pub(super) fn report(
    hook: Option<&FailureHook>,
    connection: &ServerConnection,
    kind: FailureKind<'_>,
    status: Option<StatusCode>,
) {
    if !is_heard(hook) {
        return;
    }
    let head = connection.head();
    let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
    tell(
        hook,
        &Failure {
            kind,
            method: head.map_or("", |head| head.method()),
            target: head.map_or("", |head| text(head.target())),
            peer: connection.peer_address().ok(),
            status,
        },
    );
}

/// Reports a failure on a connection of HTTP/2, and on one of its streams.
#[cold]
pub(super) fn report_http2(
    hook: Option<&FailureHook>,
    connection: &http2::Connection,
    stream: Option<StreamKey>,
    kind: FailureKind<'_>,
    status: Option<StatusCode>,
) {
    if !is_heard(hook) {
        return;
    }
    let peer = connection.peer_address().ok();
    let request = stream.and_then(|stream| connection.take_request(stream));
    let head = request.as_ref().map(|request| request.head());
    tell(
        hook,
        &Failure {
            kind,
            method: head.map_or("", |head| head.method()),
            target: head.map_or("", |head| head.target()),
            peer,
            status,
        },
    );
}

/// Reports a failure that concerns no request.
#[cold]
pub(super) fn report_unserved(hook: Option<&FailureHook>, kind: FailureKind<'_>, peer: Option<Address>) {
    if is_heard(hook) {
        tell(hook, &Failure { kind, method: "", target: "", peer, status: None });
    }
}

fn is_heard(hook: Option<&FailureHook>) -> bool {
    cfg!(feature = "tracing") || hook.is_some()
}

fn tell(hook: Option<&FailureHook>, failure: &Failure<'_>) {
    #[cfg(feature = "tracing")]
    trace(failure);
    if let Some(FailureHook(hook)) = hook {
        // A panic in the hook must not affect the connection's other responses. Rust's panic hook has already reported
        // it.
        let _ = catch_unwind(AssertUnwindSafe(|| hook(failure)));
    }
}

/// Emits a tracing event. Handler failures are errors. Limits that the operator may have to change are warnings. Faults
/// of clients are informational.
#[cfg(feature = "tracing")]
fn trace(failure: &Failure<'_>) {
    let Failure { kind, method, target, peer, status } = failure;
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(
                target: "ringtide::server",
                method,
                request_target = target,
                peer = peer.as_ref().map(display),
                status = status.map(|status| status.as_u16()),
                "{kind}"
            )
        };
    }
    match kind {
        FailureKind::Handler(_) | FailureKind::Panic(_) => event!(error),
        FailureKind::ConnectionLimit(_) | FailureKind::NotServed => event!(warn),
        FailureKind::Refused(_) | FailureKind::Http2 { .. } | FailureKind::Tls(_) => event!(info),
    }
}
