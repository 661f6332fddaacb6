//! A request that may have to be sent again.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::request::Parts;

use super::request_body::{Content, RequestBody, StreamedBody};
use super::round_trip::{Ride, RoundTrip, Upload};
use crate::conn::PreparedRequest;
use crate::error::{Error, RequestError};
use crate::limits::COALESCED_SEND_SIZE_MAX;

pub(super) struct Outbound {
    prepared: PreparedRequest,
    body: Body,
    idempotent: bool,
    safe: bool,
}

enum Body {
    /// There is no body, or `prepared` contains it.
    Sent,
    /// A body in memory, beside `prepared`.
    Bytes(Bytes),
    Streamed(StreamedBody),
    /// The round trip has taken the body, or a failed attempt has started to read it.
    Gone,
}

impl Outbound {
    /// Encodes `request`, and opens its body if it is a file.
    pub(super) async fn new(request: Request<RequestBody>) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let (idempotent, safe) = (parts.method.is_idempotent(), parts.method.is_safe());
        let (prepared, body) = match body.into_content() {
            // A small body is sent in one buffer with the head. A large one is sent without a copy.
            Content::Bytes(bytes) if bytes.len() <= COALESCED_SEND_SIZE_MAX => {
                (PreparedRequest::new(&Request::from_parts(parts, bytes))?, Body::Sent)
            }
            Content::Bytes(bytes) => {
                let head = Request::from_parts(parts, ());
                (PreparedRequest::with_streamed_body(&head, Some(bytes.len() as u64))?, Body::Bytes(bytes))
            }
            Content::Stream(body) => Self::streamed(parts, body)?,
            // Boxed, because this future is larger than all the rest.
            Content::File(path) => match Box::pin(StreamedBody::open(path)).await? {
                // An empty body needs no upload step. So the request is already sent whole when the response arrives.
                body if body.announced() == Some(0) => {
                    (PreparedRequest::new(&Request::from_parts(parts, Bytes::new()))?, Body::Sent)
                }
                body => Self::streamed(parts, body)?,
            },
        };
        Ok(Self { prepared, body, idempotent, safe })
    }

    fn streamed(parts: Parts, body: StreamedBody) -> Result<(PreparedRequest, Body), RequestError> {
        let head = Request::from_parts(parts, ());
        Ok((PreparedRequest::with_streamed_body(&head, body.announced())?, Body::Streamed(body)))
    }

    /// Returns whether the request is idempotent and its body can be sent again.
    pub(super) fn is_replayable(&self) -> bool {
        self.idempotent && self.is_whole()
    }

    /// Returns whether the body can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.body, Body::Gone)
    }

    /// Returns whether the request may be sent in a TLS handshake, where an attacker can replay it: its method
    /// is safe (RFC 8470 §4), and its body small.
    pub(super) fn may_be_early(&self) -> bool {
        self.safe && matches!(self.body, Body::Sent)
    }

    /// Starts the request on a connection; see [`RoundTrip::start`].
    pub(super) fn start(&mut self, ride: Ride, head_limit: Option<Duration>) -> Result<RoundTrip, Error> {
        let (data, upload) = match &self.body {
            Body::Sent => (None, Upload::Given),
            Body::Bytes(bytes) => (Some(bytes.clone()), Upload::Given),
            Body::Streamed(_) | Body::Gone => match mem::replace(&mut self.body, Body::Gone) {
                Body::Streamed(body) => (None, Upload::Streamed(body)),
                _ => unreachable!("a request is not restarted once its body has been read"),
            },
        };
        RoundTrip::start(ride, &self.prepared, data, upload, head_limit)
    }

    /// Takes back the body of a failed attempt, if no piece of it was read.
    pub(super) fn take_back(&mut self, upload: Upload) {
        if let Upload::Streamed(body) = upload
            && !body.has_begun()
        {
            self.body = Body::Streamed(body);
        }
    }
}
