//! Options of a client: its connection pool, its time limits, and when it replays a request.

use std::time::Duration;

use ringtide_driver::Address;

use crate::conn::HttpVersion;
use crate::pool::PoolOptions;
use crate::proto::h1::Limits;
use crate::proto::h2;
use crate::tls::ClientTls;

/// The options of a [`Client`](super::Client).
///
/// Start with the default, then set what should differ.
///
/// ```
/// use std::time::Duration;
///
/// use ringtide::ClientOptions;
/// use ringtide::client::{PoolOptions, Timeouts};
///
/// let options = ClientOptions::default()
///     .pool(PoolOptions::default().connections_per_host_max(512))
///     .timeouts(Timeouts::default().connect(Duration::from_secs(2)).head(None))
///     .replays_max(0);
/// assert_eq!(options.timeouts.connect, Some(Duration::from_secs(2)));
///
/// // The fields are public too.
/// let mut options = options;
/// options.timeouts.body = Some(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Limits of the connection pool.
    pub pool: PoolOptions,
    /// Time limits for each part of a request.
    pub timeouts: Timeouts,
    /// How many times the client replays a request on a new connection after an idle connection turned out to be
    /// closed. 0 means never. The default is 1.
    ///
    /// A server may close an idle connection at any time. A request that is sent at that moment fails, though neither
    /// side made a mistake. The client replays it only if that is safe (RFC 9110 §9.2.2): the method is idempotent, the
    /// client still has the whole body or has not started to read it, and no byte of a response has arrived.
    ///
    /// Over HTTP/2 a peer may say that it has not processed a request: by GOAWAY or REFUSED_STREAM. Such a request is replayed
    /// whatever its method (RFC 9113 §8.7).
    ///
    /// Independently of this value, the client never uses a connection that it knows to be closed.
    pub replays_max: u32,
    /// The address to connect to instead of the URI's host: a Unix socket or a fixed address.
    ///
    /// The request's `Host` still comes from its URI. `None`, the default, connects to the URI's host.
    pub connect_to: Option<Address>,
    /// Limits on the size of a response's head and framing over HTTP/1.1.
    pub limits: Limits,
    /// The version of HTTP. The default, [`HttpVersion::Negotiated`], offers both versions to `https://` servers, and speaks
    /// HTTP/1.1 without TLS. With early data it offers only HTTP/1.1, as the first request does not wait for the choice.
    ///
    /// The requests to one host share an HTTP/2 connection. A further one is opened when as many are in flight as the peer takes
    /// on one.
    pub http_version: HttpVersion,
    /// Windows, limits and header compression of HTTP/2.
    pub http2: h2::Options,
    /// Time without a byte from the peer after which the client asks an HTTP/2 connection's peer whether it is still there, by
    /// PING. Otherwise all requests would go to a connection that is dead without having been closed, and time out one by
    /// one. `None` means only when a response exceeds its time limit, which also asks. The default is 30 seconds.
    pub ping_interval: Option<Duration>,
    /// Time that the peer has to send something after a PING. Then the connection is closed, and its requests end with
    /// [`Error::Network`](crate::Error::Network). The default is 10 seconds.
    pub ping_timeout: Duration,
    /// How `https://` is reached. `None`, the default, stands for the defaults of
    /// [`ClientTlsOptions`](crate::tls::ClientTlsOptions): the certificates that the system trusts. If it names no application
    /// protocols, those of [`http_version`](Self::http_version) are offered.
    pub tls: Option<ClientTls>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            pool: PoolOptions::default(),
            timeouts: Timeouts::default(),
            replays_max: 1,
            connect_to: None,
            limits: Limits::default(),
            http_version: HttpVersion::default(),
            http2: h2::Options::default(),
            ping_interval: Some(Duration::from_secs(30)),
            ping_timeout: Duration::from_secs(10),
            tls: None,
        }
    }
}

impl ClientOptions {
    /// Sets [`pool`](Self::pool).
    #[must_use]
    pub fn pool(mut self, pool: PoolOptions) -> Self {
        self.pool = pool;
        self
    }

    /// Sets [`timeouts`](Self::timeouts).
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets [`replays_max`](Self::replays_max).
    #[must_use]
    pub fn replays_max(mut self, max: u32) -> Self {
        self.replays_max = max;
        self
    }

    /// Sets [`connect_to`](Self::connect_to) to an address or to `None`.
    #[must_use]
    pub fn connect_to(mut self, address: impl Into<Option<Address>>) -> Self {
        self.connect_to = address.into();
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`http_version`](Self::http_version).
    #[must_use]
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.http_version = version;
        self
    }

    /// Sets [`http2`](Self::http2).
    #[must_use]
    pub fn http2(mut self, options: h2::Options) -> Self {
        self.http2 = options;
        self
    }

    /// Sets [`ping_interval`](Self::ping_interval) to a duration or to `None`.
    #[must_use]
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into();
        self
    }

    /// Sets [`ping_timeout`](Self::ping_timeout).
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout;
        self
    }

    /// Sets [`tls`](Self::tls).
    #[must_use]
    pub fn tls(mut self, tls: impl Into<Option<ClientTls>>) -> Self {
        self.tls = tls.into();
        self
    }
}

/// Time limits for the parts of a request.
///
/// `None` means no limit. With a limit of 0, a part fails unless it finishes at once. The parts follow one another, so
/// that each limit covers exactly one of them. A part that exceeds its limit fails with
/// [`Error::Timeout`](crate::Error::Timeout), which contains the part's [`Phase`](crate::error::Phase).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// Limits how long a request waits for a connection when its host already has the maximum number of them
    /// ([`Phase::Pool`](crate::error::Phase::Pool)). The default is 30 seconds.
    pub pool: Option<Duration>,
    /// Limits the host lookup, the connect and the TLS handshake together, if the request needs a new connection
    /// ([`Phase::Resolve`](crate::error::Phase::Resolve), [`Phase::Connect`](crate::error::Phase::Connect),
    /// [`Phase::Tls`](crate::error::Phase::Tls)). The default is 10 seconds.
    pub connect: Option<Duration>,
    /// Limits the time from when the request has a connection until the response's head arrives
    /// ([`Phase::Head`](crate::error::Phase::Head)). The default is 30 seconds.
    ///
    /// This covers sending the request, and the part of its body that is sent before the head arrives. A replayed
    /// request starts with the full time again.
    pub head: Option<Duration>,
    /// Limits each wait for the next piece of the response's body ([`Phase::BodyIdle`](crate::error::Phase::BodyIdle)).
    /// The default is 30 seconds.
    ///
    /// The limit starts again whenever a part of the request's body is sent. Time that the caller spends between two
    /// pieces does not count.
    pub body_idle: Option<Duration>,
    /// Limits the time from the response's head to the end of its body, including the caller's own time
    /// ([`Phase::Body`](crate::error::Phase::Body)). The default is `None`.
    pub body: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            pool: Some(Duration::from_secs(30)),
            connect: Some(Duration::from_secs(10)),
            head: Some(Duration::from_secs(30)),
            body_idle: Some(Duration::from_secs(30)),
            body: None,
        }
    }
}

impl Timeouts {
    /// Returns timeouts without any limit.
    pub fn none() -> Self {
        Self { pool: None, connect: None, head: None, body_idle: None, body: None }
    }

    /// Sets [`pool`](Self::pool) to a duration or to `None`.
    #[must_use]
    pub fn pool(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.pool = limit.into();
        self
    }

    /// Sets [`connect`](Self::connect) to a duration or to `None`.
    #[must_use]
    pub fn connect(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connect = limit.into();
        self
    }

    /// Sets [`head`](Self::head) to a duration or to `None`.
    #[must_use]
    pub fn head(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.head = limit.into();
        self
    }

    /// Sets [`body_idle`](Self::body_idle) to a duration or to `None`.
    #[must_use]
    pub fn body_idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body_idle = limit.into();
        self
    }

    /// Sets [`body`](Self::body) to a duration or to `None`.
    #[must_use]
    pub fn body(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body = limit.into();
        self
    }
}
