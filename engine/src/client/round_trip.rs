//! One request and its response on one connection, both under way at the same time.
//!
//! There is no task behind it: whoever waits for the response moves the request's body on as well. Dropping a
//! round trip anywhere closes its connection, and gives its permit to the next in the queue.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::request_body::StreamedBody;
use crate::conn::{Piece, PreparedRequest};
use crate::error::{Error, Phase};
use crate::pool::{Acquired, Permit, Pooled};
use crate::proto::h1::{self, BodyLength, ResponseHead};
use crate::runtime::{self, Timer};

pub(super) struct RoundTrip {
    // In this order: the next holder of the permit makes its connection after this one is closed.
    pooled: Box<Pooled>,
    permit: Permit,
    upload: Upload,
    /// Grows whenever the request's body moves on.
    upload_steps: u64,
}

/// What of the request is still to be sent.
pub(super) enum Upload {
    /// Pieces that are to be made.
    Streamed(StreamedBody),
    /// All has been given to the connection.
    Given,
    /// The kernel has taken all.
    Sent,
    /// The connection does not take the rest. The peer may have answered nevertheless.
    Refused,
}

impl RoundTrip {
    /// Starts `request` on a connection, with `data` as its whole body unless that is in the request itself, or is `upload`'s to
    /// give. The head of the response is to come within `head_limit`.
    pub(super) fn start(
        mut pooled: Box<Pooled>,
        permit: Permit,
        request: &PreparedRequest,
        data: Option<Bytes>,
        upload: Upload,
        head_limit: Option<Duration>,
    ) -> Result<Self, Error> {
        pooled.connection.start(request)?;
        if let Some(data) = data {
            pooled.connection.queue_data(data)?;
            pooled.connection.queue_body_end()?;
        }
        if let Some(limit) = head_limit {
            pooled.timer.set(deadline_ns(limit));
        }
        Ok(Self { pooled, permit, upload, upload_steps: 0 })
    }

    /// Ready with the head of the response in place.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_upload(context)?;
        match self.pooled.connection.poll_head(context) {
            Poll::Pending => {
                self.pooled.timer.poll_elapsed(context).map(|()| Err(Error::Timeout(Phase::Head)))
            }
            ready @ Poll::Ready(_) => ready,
        }
    }

    /// The timer of the round trip. It is that of the head until the body is waited for, and the body's then.
    pub(super) fn timer(&mut self) -> &mut Timer {
        &mut self.pooled.timer
    }

    /// The next piece of the response's body; `None` at its end, when [`finish`](Self::finish) is due.
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.poll_upload(context)?;
        self.pooled.connection.poll_piece(context)
    }

    /// The head of the response, as `http` has it, and what its body is like.
    pub(super) fn response(&mut self) -> Result<(http::Response<()>, BodyLength), Error> {
        let response = self.pooled.connection.current_response();
        let head = response.head();
        let mut converted = http::Response::new(());
        *converted.status_mut() = head.status();
        *converted.version_mut() = head.version().into();
        *converted.headers_mut() = headers(&head)?;
        Ok((converted, response.body_length()))
    }

    /// Whether the peer cannot be shown to have seen the request: no byte of a response has come when the connection failed by `error`.
    pub(super) fn is_unanswered(&self, error: &Error) -> bool {
        match error {
            Error::Closed => true,
            Error::Network(_) => !self.pooled.connection.has_response_begun(),
            _ => false,
        }
    }

    /// A number that grows when the request's body moves on.
    pub(super) fn upload_steps(&self) -> u64 {
        self.upload_steps
    }

    /// Closes the connection; the permit is good for another one.
    pub(super) fn abandon(self) -> (Permit, Upload) {
        (self.permit, self.upload)
    }

    /// Gives the connection back after the end of the response. It is closed if the request has not been sent to its end: the peer has
    /// answered without it, and would misread the next one (RFC 9112 §9.5).
    pub(super) fn finish(mut self) {
        let sent = self.poll_upload(&mut Context::from_waker(Waker::noop()));
        if sent.is_ok() && matches!(self.upload, Upload::Sent) {
            Acquired { pooled: Some(self.pooled), permit: self.permit }.give_back();
        }
    }

    /// Sends what can be sent now; the task is woken when there may be more.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        loop {
            if matches!(self.upload, Upload::Sent | Upload::Refused) {
                return Ok(());
            }
            match self.pooled.connection.poll_outgoing(context) {
                Poll::Pending => return Ok(()),
                // A peer that has closed may have answered before it did: what it said is read first.
                Poll::Ready(Err(_)) => self.upload = Upload::Refused,
                Poll::Ready(Ok(())) => match &mut self.upload {
                    Upload::Streamed(body) => match body.poll_data(context)? {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(Some(data)) => self.pooled.connection.queue_data(data)?,
                        Poll::Ready(None) => {
                            self.pooled.connection.queue_body_end()?;
                            self.upload = Upload::Given;
                        }
                    },
                    _ => self.upload = Upload::Sent,
                },
            }
            self.upload_steps += 1;
        }
    }
}

/// When `limit` from now is over, on the clock of timers.
pub(super) fn deadline_ns(limit: Duration) -> u64 {
    runtime::now_ns().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
}

/// The fields of a head, copied.
fn headers(head: &ResponseHead<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in head.fields() {
        // The codec has checked both; should `http` know a rule that it does not, the peer has broken that one.
        let refused = |part| Error::Protocol(h1::Error::Head(h1::SyntaxError { part, offset: 0 }));
        let name = HeaderName::from_bytes(name).map_err(|_| refused(h1::SyntaxPart::FieldName))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| refused(h1::SyntaxPart::FieldValue))?;
        headers.append(name, value);
    }
    Ok(headers)
}
