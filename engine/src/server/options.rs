//! The options of a server: limits, timeouts, and a hook for failures.

use std::time::Duration;

use super::failure::{Failure, FailureHook};
use crate::proto::h1::Limits;
use crate::proto::h2;
use crate::tls::ServerTls;

/// The limits and timeouts that a server applies to its clients.
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
    /// The largest request that the server accepts.
    pub limits: Limits,
    /// The maximum number of open connections per listener. 65,536 by default; 0 counts as 1.
    ///
    /// Further connections wait in the kernel's accept queue. A few of them may already be accepted when the limit is
    /// reached. The server closes each of these if it finds no room for it within `head_timeout`.
    pub connections_max: usize,
    /// The time limit for receiving the head of a request. 10 s by default.
    ///
    /// For the first request it runs from the accept, for later ones from the first byte of the head. A client that has
    /// sent only part of a head gets a 408 response. Over HTTP/2 a client also has this time to acknowledge the server's SETTINGS
    /// (RFC 9113 §6.5.3).
    pub head_timeout: Duration,
    /// How long a connection may stay idle between requests. 75 s by default.
    pub idle_timeout: Duration,
    /// How long a client may make no progress. 30 s by default.
    ///
    /// It applies while the handler waits for the next piece of a request body, and while the client does not receive
    /// what is queued for it. If the response has not begun, the client gets a 408 response.
    pub stall_timeout: Duration,
    /// The time limit for a whole request. 5 minutes by default; `None` means no limit.
    ///
    /// It runs from the head of the request until the server has read the body and the response has begun, even if the
    /// client makes steady progress. The client gets a 408 response if the body was not fully read, and 503 otherwise.
    pub request_timeout: Option<Duration>,
    /// How long requests in flight may take to finish after a shutdown has begun. 30 s by default.
    pub shutdown_timeout: Duration,
    /// How long a handler may wait after the client has closed its sending half. `None`, the default, means no limit.
    ///
    /// TCP does not distinguish a client that has closed its sending half, and waits for its responses, from one that
    /// has closed the whole connection. With `None`, the server serves both: it does not drop the handler, no matter how
    /// long that takes (up to `request_timeout`), and a client that is gone does not get the response.
    ///
    /// With a limit, the server drops a handler that has waited for that long without sending anything, and closes the
    /// connection. Waiting until the client receives more does not count: `stall_timeout` limits that. A response that
    /// needs no waiting is sent whatever the limit is, 0 included.
    ///
    /// A connection reset ends handlers in either case.
    pub half_close_timeout: Option<Duration>,
    /// What HTTP/2 clients may do. By default 256 requests at once, whose bodies may bring 256 KiB each and 1 MiB together
    /// before they are read.
    pub http2: h2::Options,
    /// The server's side of TLS. `None`, the default, serves plain HTTP.
    ///
    /// Unless it names application protocols, the server offers HTTP/2 and HTTP/1.1.
    ///
    /// The handshake counts under `head_timeout`, and the connection under `connections_max` from the accept on.
    pub tls: Option<ServerTls>,
    /// Whether handlers get HTTP/1.1 requests with the method CONNECT, to [upgrade](super::Exchange::upgrade) them to a tunnel. By
    /// default such requests get a 501 response, as over HTTP/2. Any other response to them is the last of its connection.
    pub accept_connect: bool,
    /// The failure hook, set with [`on_error`](Self::on_error()).
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
            half_close_timeout: None,
            http2: h2::Options::default().stream_window(256 * 1024).connection_window(1024 * 1024),
            tls: None,
            accept_connect: false,
            on_error: None,
        }
    }
}

/// Each method sets the field of the same name.
impl ServiceOptions {
    /// Sets the largest request that the server accepts.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the maximum number of open connections per listener.
    #[must_use]
    pub fn connections_max(self, connections_max: usize) -> Self {
        Self { connections_max, ..self }
    }

    /// Sets the time limit for receiving the head of a request.
    #[must_use]
    pub fn head_timeout(self, head_timeout: Duration) -> Self {
        Self { head_timeout, ..self }
    }

    /// Sets how long a connection may stay idle between requests.
    #[must_use]
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// Sets how long a client may make no progress.
    #[must_use]
    pub fn stall_timeout(self, stall_timeout: Duration) -> Self {
        Self { stall_timeout, ..self }
    }

    /// Sets the time limit for a whole request; `None` means no limit.
    #[must_use]
    pub fn request_timeout(self, request_timeout: impl Into<Option<Duration>>) -> Self {
        Self { request_timeout: request_timeout.into(), ..self }
    }

    /// Sets how long requests in flight may take to finish after a shutdown has begun.
    #[must_use]
    pub fn shutdown_timeout(self, shutdown_timeout: Duration) -> Self {
        Self { shutdown_timeout, ..self }
    }

    /// Sets how long a handler may wait after the client has closed its sending half; `None` means no limit.
    #[must_use]
    pub fn half_close_timeout(self, half_close_timeout: impl Into<Option<Duration>>) -> Self {
        Self { half_close_timeout: half_close_timeout.into(), ..self }
    }

    /// Sets what HTTP/2 clients may do.
    #[must_use]
    pub fn http2(self, http2: h2::Options) -> Self {
        Self { http2, ..self }
    }

    /// Sets the server's side of TLS. Takes settings or `None`.
    #[must_use]
    pub fn tls(self, tls: impl Into<Option<ServerTls>>) -> Self {
        Self { tls: tls.into(), ..self }
    }

    /// Sets whether handlers get requests with the method CONNECT.
    #[must_use]
    pub fn accept_connect(self, accepts: bool) -> Self {
        Self { accept_connect: accepts, ..self }
    }

    /// Sets a function that the server calls for each [`Failure`]: handler errors and panics, refused requests, reached
    /// limits.
    ///
    /// Without a hook, the server does not report failures, unless the crate is built with its feature `tracing`: then
    /// each failure is an event.
    ///
    /// The server calls the hook on the worker that serves the connection, and the worker waits for it. So the hook
    /// must not block. If the hook itself panics, the server catches the panic; only Rust's panic hook reports it. A
    /// second call of `on_error` replaces the first hook.
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&Failure<'_>) + Send + Sync + 'static) -> Self {
        Self { on_error: Some(FailureHook::new(hook)), ..self }
    }
}
