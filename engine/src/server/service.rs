//! What all connections of a listener share: the handler, the limits, the hook for failures.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::ServiceOptions;
use super::connections::Connections;
use super::failure::FailureHook;
use crate::proto::h1::Limits;
use crate::proto::h2;
use crate::runtime::Timer;
use crate::tls::ServerTls;

/// How long an idle connection keeps the send buffer of its last response for the next one.
pub(super) const KEEP_BUFFER_NS: u64 = 1_000_000_000;

/// How long the client may take to close the connection after the server has closed its sending half.
pub(super) const LINGER_NS: u64 = 2_000_000_000;

/// State that all connections of a listener share.
pub(super) struct Service<H> {
    pub(super) handler: H,
    pub(super) connections: Rc<Connections>,
    pub(super) limits: Limits,
    pub(super) head_timeout_ns: u64,
    pub(super) idle_timeout_ns: u64,
    pub(super) stall_timeout_ns: u64,
    pub(super) request_timeout_ns: u64,
    pub(super) half_close_timeout_ns: u64,
    pub(super) http2: h2::Options,
    pub(super) tls: Option<ServerTls>,
    pub(super) accept_connect: bool,
    on_error: Option<FailureHook>,
}

impl<H> Service<H> {
    pub(super) fn new(handler: H, options: &ServiceOptions, connections: Rc<Connections>) -> Self {
        Self {
            handler,
            connections,
            limits: options.limits,
            head_timeout_ns: nanoseconds(options.head_timeout),
            idle_timeout_ns: nanoseconds(options.idle_timeout),
            stall_timeout_ns: nanoseconds(options.stall_timeout),
            request_timeout_ns: options.request_timeout.map_or(u64::MAX, nanoseconds),
            half_close_timeout_ns: options.half_close_timeout.map_or(u64::MAX, nanoseconds),
            http2: options.http2,
            tls: options.tls.as_ref().map(|tls| tls.with_default_alpn(&[b"h2", b"http/1.1"])),
            accept_connect: options.accept_connect,
            on_error: options.on_error.clone(),
        }
    }

    /// Returns the hook for failures.
    pub(super) fn hook(&self) -> Option<&FailureHook> {
        self.on_error.as_ref()
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns ready at `deadline_ns`. Until then, registers the task to be woken at that time.
#[inline]
pub(super) fn poll_deadline(
    timer: &mut Timer,
    deadline_ns: u64,
    now_ns: u64,
    context: &mut Context<'_>,
) -> Poll<()> {
    // The worker's clock is never behind a timer that it has fired, so comparing the times is enough.
    if now_ns >= deadline_ns {
        return Poll::Ready(());
    }
    timer.set(deadline_ns);
    timer.poll_elapsed(context)
}
