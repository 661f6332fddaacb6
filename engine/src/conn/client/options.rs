//! Options of a client's connection.

use crate::proto::h1::Limits;
use crate::proto::h2;
use crate::stream::Stream;

/// Options of a [`Connection`](crate::Connection).
///
/// ```
/// let options = ringtide::ConnectionOptions::default().pipelining(true);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// Limits on the size of a response's head and framing.
    pub limits: Limits,
    /// Whether a request may start before the responses to earlier ones have ended (RFC 9112 §9.3.2). The default is
    /// false.
    pub pipelining: bool,
    /// The version of HTTP. The default is [`HttpVersion::Negotiated`].
    pub version: HttpVersion,
    /// Windows, limits and header compression of HTTP/2.
    pub http2: h2::Options,
}

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// What ALPN has agreed on; without it HTTP/1.1.
    #[default]
    Negotiated,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which the peer is known to speak (RFC 9113 §3.3).
    Http2,
}

impl HttpVersion {
    /// Returns whether a connection over `stream` speaks HTTP/2.
    pub(crate) fn is_http2(self, stream: &Stream) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 => true,
            Self::Negotiated => stream.tls().and_then(|facts| facts.alpn()) == Some(b"h2"),
        }
    }
}

impl ConnectionOptions {
    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`pipelining`](Self::pipelining).
    #[must_use]
    pub fn pipelining(mut self, pipelining: bool) -> Self {
        self.pipelining = pipelining;
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets [`http2`](Self::http2).
    #[must_use]
    pub fn http2(mut self, options: h2::Options) -> Self {
        self.http2 = options;
        self
    }
}
