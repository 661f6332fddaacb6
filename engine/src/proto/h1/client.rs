//! The client's codec: requests are encoded elsewhere, responses are decoded here.

use http::StatusCode;

use super::body::{BodyDecoder, BodyEvent};
use super::error::{Error, FramingError, Incomplete, LimitExceeded};
use super::framing::BodyLength;
use super::head::{Fields, ResponseHead};
use super::limits::Limits;
use super::parse::HeadScan;

/// What a client must remember of a request to know where its response ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Any that is none of the others.
    Other,
    /// HEAD: no response to it has a body.
    Head,
    /// CONNECT: a 2xx response to it has no body, and what follows is not HTTP.
    Connect,
    /// A request that offered another protocol (`Upgrade`): 101 is a final response to it, and what follows is not HTTP.
    Upgrade,
}

/// What the bytes of a response are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent<'b> {
    /// What is there is not enough. The bytes that were not consumed are to be shown again, with more behind them.
    NeedMore,
    /// An interim response (1xx but 101); the final one follows.
    Informational(ResponseHead<'b>),
    /// The head of the final response. [`ClientCodec::body_length`] now tells what follows.
    Head(ResponseHead<'b>),
    /// Bytes of the body, at least one.
    Data(&'b [u8]),
    /// The trailer fields of a chunked body, at least one. They are no part of the head, and must not be taken for it
    /// (RFC 9110 §6.5.1).
    Trailers(Fields<'b>),
    /// The response is complete. [`ClientCodec::begin`] comes before the next one.
    End {
        /// Whether the connection can carry another request, as far as this response goes. The caller has to add what it
        /// knows itself: that it asked for `Connection: close`, that its request was not sent to the end.
        reusable: bool,
    },
    /// The response is complete, and the bytes behind it are of another protocol. This event repeats.
    Upgraded,
}

/// Decodes the responses on one connection, one after the other, in the order of their requests.
///
/// [`begin`](Self::begin) is called once for each request, when its response is next; then
/// [`decode`](Self::decode) until it gives `End` or `Upgraded`. With pipelining the caller keeps the queue of
/// [`RequestKind`]s. See the example in [`crate::proto`].
#[derive(Debug)]
pub struct ClientCodec {
    body: BodyDecoder,
    limits: Limits,
    scan: HeadScan,
    informational_count: u16,
    state: State,
    request: RequestKind,
    reusable: bool,
}

// One per connection, of which there may be tens of thousands.
const _: () = assert!(size_of::<ClientCodec>() <= 64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No response is expected.
    Idle,
    Head,
    Body,
    Upgraded,
    Failed,
}

impl ClientCodec {
    /// A codec for a fresh connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            body: BodyDecoder::new(BodyLength::None),
            limits,
            scan: HeadScan::default(),
            informational_count: 0,
            state: State::Idle,
            request: RequestKind::Other,
            reusable: false,
        }
    }

    /// The next response answers a request of this kind.
    ///
    /// # Panics
    /// When the response before has not come to its `End`.
    #[inline]
    pub fn begin(&mut self, request: RequestKind) {
        assert!(
            self.state == State::Idle,
            "a response is begun when the one before has ended ({:?})",
            self.state
        );
        self.request = request;
        self.informational_count = 0;
        self.state = State::Head;
    }

    /// Whether no response is expected.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// How the body of the current response ends. Meaningful between its head and its end.
    #[inline]
    pub fn body_length(&self) -> BodyLength {
        self.body.length()
    }

    /// Whether the connection can carry another request after the current response, as in [`ResponseEvent::End`].
    /// Meaningful between its head and its end.
    #[inline]
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// The next event in `input`, and how many of its bytes the codec has consumed.
    ///
    /// `input` begins with the first byte that has not been consumed. Everything is consumed, or an event is given, but in
    /// a head or a trailer section that is not whole: its bytes stay with the caller. `End` takes a call of its own, for
    /// which `input` may be empty.
    ///
    /// # Errors
    /// See [`Error`]: the codec has failed for good. Bytes while no response is expected are [`Error::UnexpectedBytes`].
    #[inline]
    pub fn decode<'b>(&mut self, input: &'b [u8]) -> Result<(usize, ResponseEvent<'b>), Error> {
        let result = match self.state {
            State::Head => self.decode_head(input),
            State::Body => self.decode_body(input),
            State::Idle if input.is_empty() => Ok((0, ResponseEvent::NeedMore)),
            State::Idle => Err(Error::UnexpectedBytes),
            State::Upgraded => Ok((0, ResponseEvent::Upgraded)),
            State::Failed => Err(Error::Failed),
        };
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// The peer will send no more bytes, and [`decode`](Self::decode) has seen all that it sent.
    ///
    /// `Ok` means that nothing is missing. When a response was under way, its body is complete by this, and `decode(&[])`
    /// gives the `End`, which is not reusable.
    ///
    /// # Errors
    /// [`Error::Incomplete`], which tells where the stream ended.
    pub fn end_of_stream(&mut self) -> Result<(), Error> {
        self.reusable = false;
        let result = match self.state {
            State::Idle | State::Upgraded => Ok(()),
            State::Head if self.scan.has_begun() || self.informational_count > 0 => {
                Err(Error::Incomplete(Incomplete::Head))
            }
            State::Head => Err(Error::Incomplete(Incomplete::BeforeHead)),
            State::Body => self.body.end_of_stream(),
            State::Failed => Err(Error::Failed),
        };
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    #[inline]
    fn decode_head<'b>(&mut self, input: &'b [u8]) -> Result<(usize, ResponseEvent<'b>), Error> {
        if input.is_empty() {
            return Ok((0, ResponseEvent::NeedMore));
        }
        let Some((meta, facts)) = self.scan.response(input, &self.limits)? else {
            return Ok((0, ResponseEvent::NeedMore));
        };
        let head = ResponseHead::from_parts(input, meta);
        let (status, version) = (head.status(), head.version());
        let switching = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !switching {
            if self.informational_count >= self.limits.informational_count_max {
                let max = self.limits.informational_count_max;
                return Err(Error::Limit(LimitExceeded::InformationalCount(max)));
            }
            self.informational_count += 1;
            return Ok((meta.length(), ResponseEvent::Informational(head)));
        }
        if switching && self.request != RequestKind::Upgrade {
            // RFC 9110 §7.8: a server does not switch to what the client has not offered.
            return Err(Error::Framing(FramingError::UpgradeNotRequested));
        }
        let (body, reusable) = if switching || (self.request == RequestKind::Connect && status.is_success()) {
            // Items 1 and 2 of RFC 9112 §6.3.
            self.state = State::Upgraded;
            (BodyLength::None, false)
        } else {
            self.state = State::Body;
            let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            if bodiless || self.request == RequestKind::Head {
                (BodyLength::None, facts.persists_without_body(status, version))
            } else {
                facts.response_body(version)?
            }
        };
        self.body = BodyDecoder::new(body);
        self.reusable = reusable;
        Ok((meta.length(), ResponseEvent::Head(head)))
    }

    #[inline]
    fn decode_body<'b>(&mut self, input: &'b [u8]) -> Result<(usize, ResponseEvent<'b>), Error> {
        let (consumed, event) = self.body.decode(input, &self.limits)?;
        let event = match event {
            BodyEvent::NeedMore => ResponseEvent::NeedMore,
            BodyEvent::Data(bytes) => ResponseEvent::Data(bytes),
            BodyEvent::Trailers(fields) => ResponseEvent::Trailers(fields),
            BodyEvent::End => {
                self.state = State::Idle;
                ResponseEvent::End { reusable: self.reusable }
            }
        };
        Ok((consumed, event))
    }
}
