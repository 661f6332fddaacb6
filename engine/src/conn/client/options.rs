//! Options of a client's connection.

use crate::proto::h1::Limits;

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
}
