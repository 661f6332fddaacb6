//! What a client may be told: which connections it keeps, how long things may take, what it does when a connection is lost.

use std::time::Duration;

use ringtide_driver::Address;

use crate::pool::PoolOptions;
use crate::proto::h1::Limits;

/// How a [`Client`](super::Client) behaves. Start with the default and set what is to differ.
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
    /// Which connections are kept.
    pub pool: PoolOptions,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often a request is sent again, on a new connection, when a connection that was idle turns out to be closed; 0 is never. The
    /// default is 1.
    ///
    /// A server may close an idle connection at any time, and a request that crosses with that fails through nobody's fault. It is sent
    /// again only if that can do no harm (RFC 9110 §9.2.2): its method is idempotent, its body is at hand or has not been begun,
    /// and no byte of a response has been seen. A connection that is known to be closed is never used, whatever this says.
    pub replays_max: u32,
    /// Where to connect, whatever the host of the URI is: a Unix socket, or a fixed address. The request still names the host of its
    /// URI. `None`, the default, connects to that host.
    pub connect_to: Option<Address>,
    /// What a response may be at most.
    pub limits: Limits,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            pool: PoolOptions::default(),
            timeouts: Timeouts::default(),
            replays_max: 1,
            connect_to: None,
            limits: Limits::default(),
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

    /// Sets [`connect_to`](Self::connect_to): an address, or `None`.
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
}

/// How long each part of a request may take; `None` is for ever, and 0 has what does not end at once fail. The parts follow each
/// other, so that each limit is about one thing; the error is [`Error::Timeout`](crate::Error::Timeout) with that part's phase.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the wait for one of the connections that a host may have at most ([`Phase::Pool`](crate::error::Phase::Pool)). The
    /// default is 30 seconds.
    pub pool: Option<Duration>,
    /// For looking up the host and connecting to it, where a new connection is needed
    /// ([`Phase::Resolve`](crate::error::Phase::Resolve), [`Phase::Connect`](crate::error::Phase::Connect)). The default is 10
    /// seconds.
    pub connect: Option<Duration>,
    /// From when there is a connection to the head of the response: sending the request, with its body up to where the server answers, and
    /// waiting for the answer ([`Phase::Head`](crate::error::Phase::Head)). A request that is sent again has this time again. The
    /// default is 30 seconds.
    pub head: Option<Duration>,
    /// For each wait for a piece of the response's body, as long as the request's body does not move on either
    /// ([`Phase::BodyIdle`](crate::error::Phase::BodyIdle)). Time that the caller takes between two pieces does not count. The default
    /// is 30 seconds.
    pub body_idle: Option<Duration>,
    /// From the head of the response to the end of its body, the caller's own time included
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
    /// No limit at all.
    pub fn none() -> Self {
        Self { pool: None, connect: None, head: None, body_idle: None, body: None }
    }

    /// Sets [`pool`](Self::pool): a time, or `None`.
    #[must_use]
    pub fn pool(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.pool = limit.into();
        self
    }

    /// Sets [`connect`](Self::connect): a time, or `None`.
    #[must_use]
    pub fn connect(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connect = limit.into();
        self
    }

    /// Sets [`head`](Self::head): a time, or `None`.
    #[must_use]
    pub fn head(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.head = limit.into();
        self
    }

    /// Sets [`body_idle`](Self::body_idle): a time, or `None`.
    #[must_use]
    pub fn body_idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body_idle = limit.into();
        self
    }

    /// Sets [`body`](Self::body): a time, or `None`.
    #[must_use]
    pub fn body(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body = limit.into();
        self
    }
}
