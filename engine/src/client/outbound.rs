//! A request that may have to be sent again.

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::request::Parts;

use super::heading::{Heading, Recent};
use super::request_body::{Content, RequestBody, StreamedBody};
use super::round_trip::{Ride, RoundTrip, Upload};
use crate::conn::PreparedRequest;
use crate::error::{Error, RequestError};
use crate::limits::COALESCED_SEND_SIZE_MAX;
use crate::pool::Authority;

pub(super) struct Outbound {
    heading: Rc<Heading>,
    body: Body,
}

enum Body {
    /// There is no body, or the heading contains it.
    Sent,
    /// A body in memory, beside the heading.
    Bytes(Bytes),
    Streamed(Box<StreamedBody>),
    /// The round trip has taken the body, or a failed attempt has started to read it.
    Gone,
}

impl Outbound {
    /// Returns a request without a body.
    pub(super) fn bodiless(heading: Rc<Heading>) -> Self {
        Self { heading, body: Body::Sent }
    }

    /// Encodes a request, whose body is no file any more.
    #[inline]
    pub(super) fn new(request: Request<RequestBody>, recent: &Recent) -> Result<Self, RequestError> {
        let (mut parts, body) = request.into_parts();
        match body.into_content() {
            Content::Bytes(bytes) if bytes.is_empty() => Ok(Self::bodiless(recent.bodiless(&mut parts)?)),
            content => Self::with_body(parts, content, recent),
        }
    }

    #[inline(never)]
    fn with_body(parts: Parts, content: Content, recent: &Recent) -> Result<Self, RequestError> {
        let (heading, body) = match content {
            // A small body is sent in one buffer with the head. A large one is sent without a copy.
            Content::Bytes(bytes) if bytes.len() <= COALESCED_SEND_SIZE_MAX => {
                (recent.heading(Request::from_parts(parts, bytes), PreparedRequest::new)?, Body::Sent)
            }
            Content::Bytes(bytes) => {
                let size = Some(bytes.len() as u64);
                (Self::streamed(parts, size, recent)?, Body::Bytes(bytes))
            }
            Content::Stream(body) => {
                (Self::streamed(parts, body.announced(), recent)?, Body::Streamed(Box::new(body)))
            }
            Content::File(_) => unreachable!("the caller has opened it"),
        };
        Ok(Self { heading, body })
    }

    fn streamed(parts: Parts, size: Option<u64>, recent: &Recent) -> Result<Rc<Heading>, RequestError> {
        let request = Request::from_parts(parts, ());
        recent.heading(request, |request| PreparedRequest::with_streamed_body(request, size))
    }

    /// Returns whom the request is for.
    pub(super) fn authority(&self) -> &Rc<Authority> {
        &self.heading.authority
    }

    /// Returns whether the request is idempotent and its body can be sent again.
    pub(super) fn is_replayable(&self) -> bool {
        self.heading.method.is_idempotent() && self.is_whole()
    }

    /// Returns whether the body can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.body, Body::Gone)
    }

    /// Returns whether the request may be sent in a TLS handshake, where an attacker can replay it: its method
    /// is safe (RFC 8470 §4), and its body small.
    pub(super) fn may_be_early(&self) -> bool {
        self.heading.method.is_safe() && matches!(self.body, Body::Sent)
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
        RoundTrip::start(ride, &self.heading.prepared, data, upload, head_limit)
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
