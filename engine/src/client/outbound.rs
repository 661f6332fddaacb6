//! A request on its way, as long as it may have to be sent again.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::request::Parts;

use super::request_body::{Content, RequestBody, StreamedBody};
use super::round_trip::{RoundTrip, Upload};
use crate::conn::PreparedRequest;
use crate::error::{Error, RequestError};
use crate::limits::COALESCED_SEND_SIZE_MAX;
use crate::pool::{Permit, Pooled};

pub(super) struct Outbound {
    prepared: PreparedRequest,
    body: Body,
    idempotent: bool,
}

enum Body {
    /// In the prepared bytes, or none.
    Sent,
    /// Beside them.
    Bytes(Bytes),
    Streamed(StreamedBody),
    /// With the round trip, or begun.
    Gone,
}

impl Outbound {
    /// Opens the body if that is a file.
    pub(super) async fn new(request: Request<RequestBody>) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let idempotent = parts.method.is_idempotent();
        let (prepared, body) = match body.into_content() {
            // Small bodies go with the head, in one buffer; large ones are not copied.
            Content::Bytes(bytes) if bytes.len() <= COALESCED_SEND_SIZE_MAX => {
                (PreparedRequest::new(&Request::from_parts(parts, bytes))?, Body::Sent)
            }
            Content::Bytes(bytes) => {
                let head = Request::from_parts(parts, ());
                (PreparedRequest::with_streamed_body(&head, Some(bytes.len() as u64))?, Body::Bytes(bytes))
            }
            Content::Stream(body) => Self::streamed(parts, body)?,
            // In a box, as it is larger than all the rest.
            Content::File(path) => match Box::pin(StreamedBody::open(path)).await? {
                // There is nothing to wait for, so that the answer finds the request sent.
                body if body.announced() == Some(0) => {
                    (PreparedRequest::new(&Request::from_parts(parts, Bytes::new()))?, Body::Sent)
                }
                body => Self::streamed(parts, body)?,
            },
        };
        Ok(Self { prepared, body, idempotent })
    }

    fn streamed(parts: Parts, body: StreamedBody) -> Result<(PreparedRequest, Body), RequestError> {
        let head = Request::from_parts(parts, ());
        Ok((PreparedRequest::with_streamed_body(&head, body.announced())?, Body::Streamed(body)))
    }

    /// Whether sending it once more has the same effect as sending it once, and can be done.
    pub(super) fn is_replayable(&self) -> bool {
        self.idempotent && !matches!(self.body, Body::Gone)
    }

    /// Starts it on a connection; see [`RoundTrip::start`].
    pub(super) fn start(
        &mut self,
        pooled: Box<Pooled>,
        permit: Permit,
        head_limit: Option<Duration>,
    ) -> Result<RoundTrip, Error> {
        let (data, upload) = match &self.body {
            Body::Sent => (None, Upload::Given),
            Body::Bytes(bytes) => (Some(bytes.clone()), Upload::Given),
            Body::Streamed(_) | Body::Gone => match mem::replace(&mut self.body, Body::Gone) {
                Body::Streamed(body) => (None, Upload::Streamed(body)),
                _ => unreachable!("a request whose body has begun is not started again"),
            },
        };
        RoundTrip::start(pooled, permit, &self.prepared, data, upload, head_limit)
    }

    /// Keeps the body of a failed attempt, if none of it was used.
    pub(super) fn take_back(&mut self, upload: Upload) {
        if let Upload::Streamed(body) = upload
            && !body.has_begun()
        {
            self.body = Body::Streamed(body);
        }
    }
}
