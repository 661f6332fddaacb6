//! The body of a response.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::options::Timeouts;
use super::round_trip::{RoundTrip, deadline_ns};
use crate::conn::Piece;
use crate::error::{Error, Phase};
use crate::runtime;

/// Maximum number of bytes that dropping a [`Body`] reads and discards to keep its connection reusable. It discards
/// only bytes that have already arrived.
pub const DRAIN_SIZE_MAX: usize = 64 * 1024;

/// The body of a response, received while the caller reads it.
///
/// If the caller does not read, back-pressure stops the peer. The body implements [`http_body::Body`]; its frames are
/// [`Piece`]s and, over HTTP/2, trailers. Those of HTTP/1.1 are dropped.
///
/// At its end, the body returns its connection to the pool. Dropping the body before its end closes the connection,
/// unless at most [`DRAIN_SIZE_MAX`] bytes are missing and have already arrived. Over HTTP/2 it resets only its stream.
///
/// If the response began before the request's body was sent, reading this body also drives the upload. The upload stops
/// at the end of the response: the rest is not sent, and the connection is closed (RFC 9112 §9.5).
///
/// A body belongs to the worker on which it was created.
pub struct Body {
    round_trip: Option<RoundTrip>,
    /// Bytes still missing, if known.
    remaining: Option<u64>,
    limit: TimeLimit,
    trailers: Option<Box<HeaderMap>>,
}

impl Body {
    /// Creates the body that follows the head that `round_trip` has received. It has `remaining` bytes, if that is known.
    pub(super) fn new(mut round_trip: RoundTrip, remaining: Option<u64>, timeouts: &Timeouts) -> Self {
        if remaining == Some(0) {
            // The end of an empty body needs no further bytes.
            let mut trailers = None;
            if let Poll::Ready(Ok(None)) = round_trip.poll_piece(&mut Context::from_waker(Waker::noop())) {
                trailers = round_trip.take_trailers();
                round_trip.finish();
            }
            return Self { round_trip: None, remaining, limit: TimeLimit::default(), trailers };
        }
        Self { round_trip: Some(round_trip), remaining, limit: TimeLimit::new(timeouts), trailers: None }
    }

    /// Returns the next piece, which is never empty, or `None` at the end of the body.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future loses no data.
    ///
    /// # Errors
    /// An error means that the response cannot be completed. The connection is then closed, and the next call returns
    /// `None`.
    /// - [`Error::Incomplete`], [`Error::Network`] and [`Error::Protocol`]: the peer or the network failed.
    /// - [`Error::Timeout`] with [`Phase::BodyIdle`] or [`Phase::Body`]: see [`Timeouts`].
    /// - [`Error::Request`]: the request's body, which was still being sent, failed.
    pub async fn data(&mut self) -> Result<Option<Piece>, Error> {
        poll_fn(|context| self.poll_data(context)).await
    }

    /// Returns the trailer fields that came after the body, once [`data`](Self::data) has returned `None`. `None` if there are
    /// none, and over HTTP/1.1.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    /// Reads the rest of the body into memory, up to `size_max` bytes.
    ///
    /// # Cancel safety
    /// Not cancel-safe: a dropped future loses what it has read.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`] as soon as the body is known to be larger than `size_max`. Otherwise as for
    /// [`data`](Self::data). After an error the connection is closed.
    pub async fn bytes(mut self, size_max: usize) -> Result<Bytes, Error> {
        let too_large = Error::BodyTooLarge { size_max };
        if self.remaining.is_some_and(|remaining| remaining > size_max as u64) {
            return Err(too_large);
        }
        let Some(first) = self.data().await? else { return Ok(Bytes::new()) };
        if first.len() > size_max {
            return Err(too_large);
        }
        if self.round_trip.is_none() {
            // Its end is known, so nothing has to be joined.
            return Ok(first.into_bytes());
        }
        // The announced bytes may never arrive, so allocate memory only for bytes that have.
        let mut bytes = first.to_vec();
        drop(first);
        while let Some(piece) = self.data().await? {
            if bytes.len() + piece.len() > size_max {
                return Err(too_large);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    /// Reads the rest of the body as text, up to `size_max` bytes.
    ///
    /// Invalid UTF-8 becomes U+FFFD. A charset named in the head is ignored.
    ///
    /// # Cancel safety
    /// Not cancel-safe: a dropped future loses what it has read.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub async fn text(self, size_max: usize) -> Result<String, Error> {
        let bytes = self.bytes(size_max).await?;
        Ok(String::from_utf8(bytes.into())
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        let outcome = ready!(self.poll_inner(context));
        if let Ok(Some(piece)) = &outcome {
            self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(piece.len() as u64));
        }
        match &outcome {
            // Return the connection to the pool at once. The caller need not read the end, which is already known.
            Ok(Some(_)) if self.remaining == Some(0) => {
                if let Poll::Ready(Ok(None)) = self.poll_inner(&mut Context::from_waker(Waker::noop())) {
                    self.finish();
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => self.finish(),
            Err(_) => self.round_trip = None,
        }
        Poll::Ready(outcome)
    }

    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        let Some(round_trip) = &mut self.round_trip else { return Poll::Ready(Ok(None)) };
        match round_trip.poll_piece(context) {
            Poll::Pending => self.limit.poll(round_trip, context).map(Err),
            ready @ Poll::Ready(_) => self.limit.check_total().map_or(ready, |error| Poll::Ready(Err(error))),
        }
    }

    fn finish(&mut self) {
        if let Some(mut round_trip) = self.round_trip.take() {
            self.trailers = round_trip.take_trailers();
            round_trip.finish();
        }
    }
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Error>>> {
        let body = self.get_mut();
        let frame = match ready!(body.poll_data(context)) {
            Ok(None) => body.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))),
            outcome => outcome.transpose().map(|piece| piece.map(Frame::data)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.round_trip.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("ended", &self.round_trip.is_none())
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Some(mut round_trip) = self.round_trip.take() else { return };
        if self.remaining.is_some_and(|remaining| remaining > DRAIN_SIZE_MAX as u64) {
            return;
        }
        let mut size = 0;
        while size <= DRAIN_SIZE_MAX {
            match round_trip.poll_piece(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(Some(piece))) => size += piece.len(),
                Poll::Ready(Ok(None)) => return round_trip.finish(),
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }
}

/// The time limits of a body: for the whole of it, and for each wait. It uses the round trip's timer.
#[derive(Default)]
struct TimeLimit {
    idle: Option<Duration>,
    total_deadline_ns: Option<u64>,
    /// The idle deadline, and the upload's step count when it was set. `None` while nothing waits for the body.
    waiting: Option<(u64, u64)>,
}

impl TimeLimit {
    fn new(timeouts: &Timeouts) -> Self {
        Self { idle: timeouts.body_idle, total_deadline_ns: timeouts.body.map(deadline_ns), waiting: None }
    }

    /// Call this when no data has arrived. It is ready when a limit has been exceeded.
    fn poll(&mut self, round_trip: &mut RoundTrip, context: &mut Context<'_>) -> Poll<Error> {
        let steps_now = round_trip.upload_steps();
        let idle_deadline_ns = match self.waiting {
            Some((deadline_ns, steps)) if steps == steps_now => deadline_ns,
            _ => {
                let idle_deadline_ns = self.idle.map_or(u64::MAX, deadline_ns);
                self.waiting = Some((idle_deadline_ns, steps_now));
                round_trip.timer().set(idle_deadline_ns.min(self.total_deadline_ns.unwrap_or(u64::MAX)));
                idle_deadline_ns
            }
        };
        round_trip.poll_limit(context).map(|()| {
            let total = self.total_deadline_ns.is_some_and(|total_ns| total_ns <= idle_deadline_ns);
            Error::Timeout(if total { Phase::Body } else { Phase::BodyIdle })
        })
    }

    /// Call this when data has arrived. It returns an error if the limit for the whole body has been exceeded.
    fn check_total(&mut self) -> Option<Error> {
        self.waiting = None;
        self.total_deadline_ns
            .filter(|deadline_ns| *deadline_ns <= runtime::turn_time_ns())
            .map(|_| Error::Timeout(Phase::Body))
    }
}
