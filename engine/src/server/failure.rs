//! What goes wrong at a server, as its operator is told.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::StatusCode;
use ringtide_driver::Address;

use crate::conn::ServerConnection;

/// One thing that went wrong. Its `Display` is one line for a log.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'f> {
    /// What it was.
    pub kind: FailureKind<'f>,
    /// The method of the request; empty when no head was read.
    pub method: &'f str,
    /// The target of the request, as the client wrote it; empty when no head was read.
    pub target: &'f str,
    /// The client; `None` when no single one is concerned, or it is gone.
    pub peer: Option<Address>,
    /// What the client was answered with; `None` when it was not, or an answer had begun already.
    pub status: Option<StatusCode>,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind<'f> {
    /// The handler returned an error.
    Handler(HandlerError<'f>),
    /// The handler panicked, with this text.
    Panic(&'f str),
    /// The request was not to be served, for this reason: it broke the protocol or a limit, or took too long.
    Refused(&'f str),
    /// There are as many connections as [`connections_max`](super::ServiceOptions::connections_max) allows; further ones wait.
    ConnectionLimit(usize),
    /// A connection waited so long for others to end that it was closed unserved.
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

    /// The error itself, if `E` is the handler's type of errors.
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
        self.status.map_or(Ok(()), |status| write!(f, " (answered {})", status.as_u16()))
    }
}

impl fmt::Display for FailureKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::Panic(text) => write!(f, "the handler panicked: {text}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::ConnectionLimit(count) => {
                write!(f, "{count} connections, the most allowed: further ones wait")
            }
            Self::NotServed => f.write_str("closed unserved, as the most connections allowed stayed open"),
        }
    }
}

/// Whom to tell.
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

/// Why a handler gave no answer.
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

/// The text of a panic, where it has one.
fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Tells of a failure on `connection`, answered with `status`.
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

/// Tells of a failure that concerns no request.
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
        // A hook that panics shall not take the connection's other answers along; the panic hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(|| hook(failure)));
    }
}

/// Makes an event of a failure: what handlers do is an error, what the operator may have to change a warning, what clients do
/// neither.
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
        FailureKind::Refused(_) => event!(info),
    }
}
