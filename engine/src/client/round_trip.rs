//! One request and its response on one connection. Both proceed at the same time.
//!
//! A round trip has no task of its own: polling for the response also drives the upload of the request's body. Dropping
//! a round trip at any point closes its connection and passes its permit to the next request in the queue. If the connection
//! is a shared one, it only resets the stream.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::request_body::StreamedBody;
use crate::conn::http2::{Place, SharedExchange};
use crate::conn::{Piece, PreparedRequest};
use crate::error::{Error, Phase};
use crate::message::ResponseHead;
use crate::pool::{Permit, Pooled, give_back};
use crate::proto::h1;
use crate::runtime::{self, Timer};

pub(super) struct RoundTrip {
    carrier: Carrier,
    upload: Upload,
    /// Incremented whenever the upload makes progress.
    upload_steps: u64,
}

/// What a request is sent on.
pub(super) enum Ride {
    /// A connection of its own.
    Unique(Box<Pooled>, Permit),
    /// A place on a shared one.
    Shared(Place),
}

/// What carries a request and its response.
enum Carrier {
    // Field order matters: the connection must be closed before the permit lets its next holder open another one.
    Unique(Box<Pooled>, Permit),
    Shared(SharedExchange),
}

/// What remains to be sent of the request.
pub(super) enum Upload {
    /// Pieces that the body has yet to produce.
    Streamed(Box<StreamedBody>),
    /// The connection has all of it.
    Given,
    /// The kernel has taken all of it.
    Sent,
    /// The connection refuses the rest. The peer may have responded nevertheless.
    Refused,
}

impl RoundTrip {
    /// Starts `request`. `data` is its whole body, unless the body is in `request` itself or comes from `upload`. The
    /// response's head must arrive within `head_limit`.
    pub(super) fn start(
        ride: Ride,
        request: &PreparedRequest,
        data: Option<Bytes>,
        upload: Upload,
        head_limit: Option<Duration>,
    ) -> Result<Self, Error> {
        let mut upload = upload;
        let carrier = match ride {
            Ride::Unique(mut pooled, permit) => {
                pooled.connection.start(request)?;
                if let Some(data) = data {
                    pooled.connection.queue_data(data)?;
                    pooled.connection.queue_body_end()?;
                }
                Carrier::Unique(pooled, permit)
            }
            Ride::Shared(place) => {
                let exchange = place.start(request)?;
                if let Some(data) = data {
                    exchange.queue_data(data, true);
                }
                if matches!(upload, Upload::Given) {
                    // The connection sends what it was given without being asked.
                    upload = Upload::Sent;
                }
                Carrier::Shared(exchange)
            }
        };
        let mut round_trip = Self { carrier, upload, upload_steps: 0 };
        if let Some(limit) = head_limit {
            round_trip.timer().set(deadline_ns(limit));
        }
        Ok(round_trip)
    }

    /// Ready when the response's head has arrived.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_upload(context)?;
        let polled = match &mut self.carrier {
            Carrier::Unique(pooled, _) => pooled.connection.poll_head(context),
            Carrier::Shared(exchange) => exchange.poll_head(context),
        };
        match polled {
            Poll::Pending => self.poll_limit(context).map(|()| Err(Error::Timeout(Phase::Head))),
            ready @ Poll::Ready(_) => ready,
        }
    }

    /// Returns the round trip's timer. It limits the time to the head until the caller waits for the body. From then on
    /// it limits the body.
    pub(super) fn timer(&mut self) -> &mut Timer {
        match &mut self.carrier {
            Carrier::Unique(pooled, _) => &mut pooled.timer,
            Carrier::Shared(exchange) => exchange.timer(),
        }
    }

    /// Ready when the time that the [timer](Self::timer) limits is over.
    pub(super) fn poll_limit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.timer().poll_elapsed(context);
        if let (Poll::Ready(()), Carrier::Shared(exchange)) = (polled, &self.carrier) {
            exchange.doubt();
        }
        polled
    }

    /// Polls for the next piece of the response's body. `None` is its end, after which the caller calls
    /// [`finish`](Self::finish).
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.poll_upload(context)?;
        match &mut self.carrier {
            Carrier::Unique(pooled, _) => pooled.connection.poll_piece(context),
            Carrier::Shared(exchange) => exchange.poll_piece(context),
        }
    }

    /// Returns the response's head as a type of `http`, and the size of its body if it is known.
    pub(super) fn response(&mut self) -> Result<(http::Response<()>, Option<u64>), Error> {
        let pooled = match &mut self.carrier {
            Carrier::Unique(pooled, _) => pooled,
            Carrier::Shared(exchange) => return Ok(exchange.take_head()),
        };
        let response = pooled.connection.current_response();
        let head = response.head();
        let mut converted = http::Response::new(());
        *converted.status_mut() = head.status();
        *converted.version_mut() = head.version();
        *converted.headers_mut() = headers(&head)?;
        Ok((converted, response.body_size()))
    }

    /// Returns the status of the response whose head has arrived.
    pub(super) fn status(&mut self) -> StatusCode {
        match &mut self.carrier {
            Carrier::Unique(pooled, _) => pooled.connection.current_response().status(),
            Carrier::Shared(exchange) => exchange.status(),
        }
    }

    /// Returns whether no byte of a response had arrived when the connection failed with `error`. Then nothing shows
    /// that the peer has seen the request.
    pub(super) fn is_unanswered(&self, error: &Error) -> bool {
        match error {
            Error::Closed => true,
            Error::Network(_) => match &self.carrier {
                Carrier::Unique(pooled, _) => !pooled.connection.has_response_begun(),
                Carrier::Shared(exchange) => !exchange.has_begun(),
            },
            _ => false,
        }
    }

    /// Takes the trailer fields of the response, once its body has been read. Over HTTP/1.1 they are dropped.
    pub(super) fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        match &mut self.carrier {
            Carrier::Unique(..) => None,
            Carrier::Shared(exchange) => exchange.take_trailers(),
        }
    }

    /// Returns a number that grows whenever the upload makes progress.
    pub(super) fn upload_steps(&self) -> u64 {
        self.upload_steps
    }

    /// Closes the connection, or resets the stream. A returned permit is valid for another connection.
    pub(super) fn abandon(self) -> (Option<Permit>, Upload) {
        match self.carrier {
            Carrier::Unique(_, permit) => (Some(permit), self.upload),
            Carrier::Shared(_) => (None, self.upload),
        }
    }

    /// Returns the connection to the pool after the end of the response.
    ///
    /// If the request was not sent to its end, this closes the connection instead: the peer has responded without
    /// reading the whole request, and would misread the next one (RFC 9112 §9.5). Over HTTP/2 only the stream is reset.
    pub(super) fn finish(mut self) {
        if matches!(self.carrier, Carrier::Shared(_)) {
            return;
        }
        let sent = self.poll_upload(&mut Context::from_waker(Waker::noop()));
        if let Carrier::Unique(pooled, permit) = self.carrier
            && sent.is_ok()
            && matches!(self.upload, Upload::Sent)
        {
            give_back(pooled, permit);
        }
    }

    /// Sends what can be sent now. The task is woken when more can be sent.
    #[inline]
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if self.is_uploading() { self.upload(context) } else { Ok(()) }
    }

    fn is_uploading(&self) -> bool {
        !matches!(self.upload, Upload::Sent | Upload::Refused)
    }

    fn upload(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        while self.is_uploading() {
            let has_room = match &mut self.carrier {
                Carrier::Unique(pooled, _) => pooled.connection.poll_outgoing(context),
                // As when it was given all of it at once.
                Carrier::Shared(_) if matches!(self.upload, Upload::Given) => Poll::Ready(Ok(())),
                Carrier::Shared(exchange) => exchange.poll_room(context),
            };
            match has_room {
                Poll::Pending => return Ok(()),
                // A peer that closed may have responded first, so read the response before reporting the error.
                Poll::Ready(Err(_)) => self.upload = Upload::Refused,
                Poll::Ready(Ok(())) => match &mut self.upload {
                    Upload::Streamed(body) => match body.poll_data(context)? {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(Some(data)) => match &mut self.carrier {
                            Carrier::Unique(pooled, _) => pooled.connection.queue_data(data)?,
                            Carrier::Shared(exchange) => exchange.queue_data(data, false),
                        },
                        Poll::Ready(None) => {
                            match &mut self.carrier {
                                Carrier::Unique(pooled, _) => pooled.connection.queue_body_end()?,
                                Carrier::Shared(exchange) => exchange.queue_data(Bytes::new(), true),
                            }
                            self.upload = Upload::Given;
                        }
                    },
                    _ => self.upload = Upload::Sent,
                },
            }
            self.upload_steps += 1;
        }
        Ok(())
    }
}

/// Returns the time on the clock of timers at which `limit`, counted from now, ends.
pub(super) fn deadline_ns(limit: Duration) -> u64 {
    runtime::now_ns().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
}

/// Copies the fields of a head.
fn headers(head: &ResponseHead<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in head.fields() {
        // The codec has checked both. If `http` has a stricter rule, report it as a protocol error of the peer.
        let refused = |part| Error::from(h1::Error::Head(h1::SyntaxError { part, offset: 0 }));
        let name = HeaderName::from_bytes(name).map_err(|_| refused(h1::SyntaxPart::FieldName))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| refused(h1::SyntaxPart::FieldValue))?;
        headers.append(name, value);
    }
    Ok(headers)
}
