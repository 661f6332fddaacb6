//! What a server allows its clients, and whom it tells of failures.

use std::time::Duration;

use super::failure::{Failure, FailureHook};
use crate::proto::h1::Limits;

/// What a server allows its clients.
///
/// ```
/// use std::time::Duration;
///
/// use ringtide::server::ServiceOptions;
///
/// let options = ServiceOptions::default()
///     .idle_timeout(Duration::from_secs(20))
///     .on_error(|failure| eprintln!("{failure}"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// What a request may be at most.
    pub limits: Limits,
    /// Connections at a time, for each listener. Further ones wait in the kernel's queue; a few that were accepted already wait as long as
    /// `head_timeout`, and are closed then. 65,536 by default.
    pub connections_max: usize,
    /// From the accept, and later from the first byte of a request, to the end of its head. 10 s by default. A client that has sent a
    /// part of a head is answered with 408.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request. 75 s by default.
    pub idle_timeout: Duration,
    /// How long a client may take to send the next piece of a body that the handler waits for (it is answered with 408 if the
    /// answer has not begun), or to take what is queued for it. 30 s by default.
    pub stall_timeout: Duration,
    /// From the head of a request until its body has been read and the answer has begun, however well it goes on. The client is answered
    /// with 408 if the body has not been read, and 503 otherwise. 5 minutes by default; `None` is for ever.
    pub request_timeout: Option<Duration>,
    /// How long requests may take to end once a shutdown has begun. 30 s by default.
    pub shutdown_timeout: Duration,
    /// Whether a client that has ended its sending half is answered. True by default: what has been asked is answered,
    /// whether the handler answers at once or later, and its handler is not dropped.
    ///
    /// TCP does not tell a client that has ended its half from one that has closed: the latter's handlers run to their end, or to
    /// `request_timeout`, and their answers go nowhere. With `false`, the end of a client's half is taken for its leaving: handlers are
    /// dropped where they wait, nothing more is sent, and what it asked for just before may stay unanswered. A reset ends handlers
    /// either way.
    pub half_close: bool,
    /// See [`on_error`](Self::on_error()).
    pub(super) on_error: Option<FailureHook>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections_max: 65_536,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            request_timeout: Some(Duration::from_mins(5)),
            shutdown_timeout: Duration::from_secs(30),
            half_close: true,
            on_error: None,
        }
    }
}

/// Each of these sets the field of its name.
impl ServiceOptions {
    /// What a request may be at most.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Connections at a time, for each listener.
    #[must_use]
    pub fn connections_max(self, connections_max: usize) -> Self {
        Self { connections_max, ..self }
    }

    /// The time for a head.
    #[must_use]
    pub fn head_timeout(self, head_timeout: Duration) -> Self {
        Self { head_timeout, ..self }
    }

    /// The time without a request.
    #[must_use]
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// The time between two pieces.
    #[must_use]
    pub fn stall_timeout(self, stall_timeout: Duration) -> Self {
        Self { stall_timeout, ..self }
    }

    /// The time for a request; `None` is for ever.
    #[must_use]
    pub fn request_timeout(self, request_timeout: impl Into<Option<Duration>>) -> Self {
        Self { request_timeout: request_timeout.into(), ..self }
    }

    /// The time to end after a shutdown has begun.
    #[must_use]
    pub fn shutdown_timeout(self, shutdown_timeout: Duration) -> Self {
        Self { shutdown_timeout, ..self }
    }

    /// Whether a client that has ended its sending half is answered.
    #[must_use]
    pub fn half_close(self, half_close: bool) -> Self {
        Self { half_close, ..self }
    }

    /// Has `hook` called for each [`Failure`]: errors and panics of handlers, refused requests, limits that were reached. Without one
    /// they go unnoticed, unless the crate is built with its feature `tracing`, which makes an event of each.
    ///
    /// It is called on the worker that serves the connection, which waits for it: it is not the place to block. A panic of its own is
    /// contained, and reported by the panic hook alone. A second call replaces the first hook.
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&Failure<'_>) + Send + Sync + 'static) -> Self {
        Self { on_error: Some(FailureHook::new(hook)), ..self }
    }
}
