//! The client's codec. It decodes responses; [`encode`](super::encode) writes requests.

use http::StatusCode;

use super::body::BodyDecoder;
use super::chunked::BodyEvent;
use super::error::{Error, FramingError, Incomplete, LimitExceeded};
use super::framing::{BodyLength, Facts};
use super::head::{Fields, ResponseHead};
use super::limits::Limits;
use super::parse;
use super::scan::HeadScan;

/// What a client must know of a request to find the end of its response (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Any other request.
    Other,
    /// HEAD: its response never has a body.
    Head,
    /// CONNECT: a 2xx response has no body, and the bytes after it are not HTTP.
    Connect,
    /// A request that offers another protocol (`Upgrade`): 101 is a final response, and the bytes after it are not
    /// HTTP.
    Upgrade,
}

/// An event of a [`ClientCodec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent<'b> {
    /// The codec needs more bytes. The caller passes the bytes that were not consumed again, followed by new ones.
    NeedMore,
    /// An interim response (1xx except 101). The final response follows.
    Informational(ResponseHead<'b>),
    /// The head of the final response. [`ClientCodec::body_length`] now returns how its body ends.
    Head(ResponseHead<'b>),
    /// A piece of the body; never empty.
    Data(&'b [u8]),
    /// The trailer fields of a chunked body; never empty. They are not part of the head and must not be merged into it
    /// (RFC 9110 §6.5.1).
    Trailers(Fields<'b>),
    /// The response is complete. Call [`ClientCodec::begin`] before the next one.
    End {
        /// Whether the response allows another request on the connection. The caller also checks its own reasons to
        /// close: its request had `Connection: close`, or was not sent completely.
        reusable: bool,
    },
    /// The response is complete, and the bytes after it belong to another protocol. Further calls return the same
    /// event.
    Upgraded,
}

/// Decodes the responses of a connection one after the other, in the order of their requests.
///
/// For each request, call [`begin`](Self::begin) once, when its response is the next. Then call
/// [`decode`](Self::decode) until it returns `End` or `Upgraded`. With pipelining, the caller keeps the queue of
/// [`RequestKind`]s. [`crate::proto`] has an example.
#[derive(Debug)]
pub struct ClientCodec {
    body: BodyDecoder,
    limits: Limits,
    scan: HeadScan,
    informational_count: u16,
    state: State,
    request: RequestKind,
    persistence: Persistence,
}

// There is one codec per connection, and there may be tens of thousands of connections.
const _: () = assert!(size_of::<ClientCodec>() <= 64);

/// What happens to the connection after the current response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    Persists,
    /// The peer has announced that it closes the connection.
    CloseAnnounced,
    /// The connection cannot be used again for another reason.
    Ends,
}

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
    /// Creates a codec for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            body: BodyDecoder::new(BodyLength::None),
            limits,
            scan: HeadScan::default(),
            informational_count: 0,
            state: State::Idle,
            request: RequestKind::Other,
            persistence: Persistence::Ends,
        }
    }

    /// Announces that the next response belongs to a request of this kind. After `Upgraded` or an error the call does
    /// nothing, because no further response is expected.
    ///
    /// # Panics
    /// Panics if the previous response is not complete. Its end would be searched in the wrong place.
    #[inline]
    pub fn begin(&mut self, request: RequestKind) {
        match self.state {
            State::Idle => {}
            State::Upgraded | State::Failed => return,
            State::Head | State::Body => panic!("a response begins only after the previous one has ended"),
        }
        self.request = request;
        self.informational_count = 0;
        self.state = State::Head;
    }

    /// Returns whether no response is expected.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Returns whether the connection has switched to another protocol, so that no further response follows.
    #[inline]
    pub fn is_upgraded(&self) -> bool {
        self.state == State::Upgraded
    }

    /// Returns how the body of the current response ends. Meaningful between the response's head and its end.
    #[inline]
    pub fn body_length(&self) -> BodyLength {
        self.body.length()
    }

    /// Returns whether the connection can carry another request after the current response, as in
    /// [`ResponseEvent::End`]. Meaningful between the response's head and its end.
    #[inline]
    pub fn is_reusable(&self) -> bool {
        self.persistence == Persistence::Persists
    }

    /// Returns whether the current response announces that it is the last (`Connection: close`).
    ///
    /// A peer that sends it has not processed any request after the one of this response, and will not (RFC 9112 §9.6).
    /// Meaningful from the response's head until the next `begin`.
    #[inline]
    pub fn announces_close(&self) -> bool {
        self.persistence == Persistence::CloseAnnounced
    }

    /// Returns the number of bytes consumed and the next event in `input`.
    ///
    /// `input` begins with the first byte that was not consumed yet. If the event is `NeedMore`, the codec has consumed
    /// all of `input`, except an incomplete head or trailer section: the caller keeps these bytes. The event `End`
    /// takes a call of its own, for which `input` may be empty.
    ///
    /// The codec modifies `input` if lines of a head or a trailer section are folded: it replaces the folding with
    /// spaces before it interprets them (RFC 9112 §5.2).
    ///
    /// # Errors
    /// Returns an [`Error`], after which the codec cannot be used again. Bytes while no response is expected are
    /// [`Error::UnexpectedBytes`].
    #[inline]
    pub fn decode<'b>(&mut self, input: &'b mut [u8]) -> Result<(usize, ResponseEvent<'b>), Error> {
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

    /// Ends the current response without its last events, if its body has a known length and all of its rest is among the
    /// next `available` bytes. Returns how many of them that is: they are consumed.
    #[inline]
    pub fn skip_body(&mut self, available: usize) -> Option<usize> {
        if self.state != State::Body {
            return None;
        }
        let size = self.body.skip(available)?;
        self.state = State::Idle;
        Some(size)
    }

    /// Tells the codec that the peer will send no more bytes. [`decode`](Self::decode) must have seen all received
    /// bytes before.
    ///
    /// `Ok` means that nothing is missing. If a response was in progress, the end of the stream completes its body, and
    /// `decode(&[])` then returns `End` with `reusable: false`.
    ///
    /// # Errors
    /// Returns [`Error::Incomplete`] with the place where the stream ended.
    pub fn end_of_stream(&mut self) -> Result<(), Error> {
        if self.persistence == Persistence::Persists {
            self.persistence = Persistence::Ends;
        }
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
    fn decode_head<'b>(&mut self, input: &'b mut [u8]) -> Result<(usize, ResponseEvent<'b>), Error> {
        if input.is_empty() {
            return Ok((0, ResponseEvent::NeedMore));
        }
        let mut facts = Facts::default();
        let Some(meta) = self.scan.response(input, &self.limits, &mut facts)? else {
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
            // RFC 9110 §7.8: a server must not switch to a protocol that the client has not offered.
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
        self.persistence = match reusable {
            true => Persistence::Persists,
            false if facts.announces_close() => Persistence::CloseAnnounced,
            false => Persistence::Ends,
        };
        Ok((meta.length(), ResponseEvent::Head(head)))
    }

    #[inline]
    fn decode_body<'b>(&mut self, input: &'b mut [u8]) -> Result<(usize, ResponseEvent<'b>), Error> {
        let (consumed, event) = self.body.decode(input, &self.limits)?;
        let event = match event {
            BodyEvent::NeedMore => ResponseEvent::NeedMore,
            BodyEvent::Data(size) => ResponseEvent::Data(&input[consumed - size..consumed]),
            BodyEvent::Trailers(size) => {
                let section = &mut input[consumed - size..consumed];
                parse::unfold(section);
                ResponseEvent::Trailers(parse::trailers(section, &self.limits)?)
            }
            BodyEvent::End => {
                self.state = State::Idle;
                ResponseEvent::End { reusable: self.is_reusable() }
            }
        };
        Ok((consumed, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(request: RequestKind) -> ClientCodec {
        let mut codec = ClientCodec::new(Limits::default());
        codec.begin(request);
        codec
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_an_error_and_silence_is_none() {
        let mut codec = ClientCodec::new(Limits::default());
        assert_eq!(codec.decode(&mut b"".to_owned()), Ok((0, ResponseEvent::NeedMore)));
        assert_eq!(codec.end_of_stream(), Ok(()));
        assert_eq!(
            codec.decode(&mut b"HTTP/1.1 408 Request Timeout\r\n\r\n".to_owned()),
            Err(Error::UnexpectedBytes)
        );
        assert_eq!(codec.decode(&mut b"".to_owned()), Err(Error::Failed));
        assert_eq!(codec.end_of_stream(), Err(Error::Failed));
    }

    #[test]
    fn a_response_ends_with_its_skipped_body() {
        let mut head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned();
        let mut codec = codec(RequestKind::Other);
        assert_eq!(codec.skip_body(9), None, "the head comes first");
        for _ in 0..2 {
            assert!(matches!(codec.decode(&mut head), Ok((_, ResponseEvent::Head(_)))));
            assert_eq!(codec.skip_body(4), None);
            assert_eq!(codec.decode(&mut b"he".to_owned()).map(|(size, _)| size), Ok(2));
            assert_eq!((codec.is_idle(), codec.skip_body(3), codec.is_idle()), (false, Some(3), true));
            assert!(codec.is_reusable());
            assert_eq!(codec.skip_body(3), None, "it has ended");
            codec.begin(RequestKind::Other);
        }
    }

    #[test]
    fn interim_responses_are_bounded_in_number() {
        let mut codec = ClientCodec::new(Limits { informational_count_max: 2, ..Limits::default() });
        codec.begin(RequestKind::Other);
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        for _ in 0..2 {
            assert!(matches!(codec.decode(&mut interim.to_vec()), Ok((28, ResponseEvent::Informational(_)))));
        }
        assert_eq!(
            codec.decode(&mut interim.to_vec()),
            Err(Error::Limit(LimitExceeded::InformationalCount(2)))
        );
    }

    #[test]
    fn the_bound_on_interim_responses_is_per_request() {
        let mut codec = ClientCodec::new(Limits { informational_count_max: 1, ..Limits::default() });
        for _ in 0..3 {
            codec.begin(RequestKind::Other);
            assert!(matches!(
                codec.decode(&mut b"HTTP/1.1 100 \r\n\r\n".to_owned()),
                Ok((17, ResponseEvent::Informational(_)))
            ));
            assert!(matches!(
                codec.decode(&mut b"HTTP/1.1 204 \r\n\r\n".to_owned()),
                Ok((17, ResponseEvent::Head(_)))
            ));
            assert_eq!(codec.decode(&mut b"".to_owned()), Ok((0, ResponseEvent::End { reusable: true })));
        }
    }

    #[test]
    fn the_end_of_the_stream_tells_how_far_the_response_had_come() {
        let incomplete = |place| Err(Error::Incomplete(place));
        assert_eq!(codec(RequestKind::Other).end_of_stream(), incomplete(Incomplete::BeforeHead));

        let mut some = codec(RequestKind::Other);
        assert_eq!(some.decode(&mut b"HTTP/1.1 2".to_owned()), Ok((0, ResponseEvent::NeedMore)));
        assert_eq!(some.end_of_stream(), incomplete(Incomplete::Head));

        let mut interim = codec(RequestKind::Other);
        interim.decode(&mut b"HTTP/1.1 100 \r\n\r\n".to_owned()).unwrap();
        assert_eq!(interim.end_of_stream(), incomplete(Incomplete::Head));

        let mut body = codec(RequestKind::Other);
        body.decode(&mut b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()).unwrap();
        body.decode(&mut b"hel".to_owned()).unwrap();
        assert_eq!(body.end_of_stream(), incomplete(Incomplete::Body { expected: Some(5), received: 3 }));
        assert_eq!(body.decode(&mut b"lo".to_owned()), Err(Error::Failed));
    }

    #[test]
    fn the_end_of_the_stream_completes_what_it_delimits() {
        let mut codec = codec(RequestKind::Other);
        codec.decode(&mut b"HTTP/1.1 200 OK\r\n\r\n".to_owned()).unwrap();
        assert_eq!((codec.body_length(), codec.is_reusable()), (BodyLength::UntilClose, false));
        assert_eq!(codec.decode(&mut b"all".to_owned()), Ok((3, ResponseEvent::Data(b"all"))));
        assert_eq!(codec.end_of_stream(), Ok(()));
        assert_eq!(codec.decode(&mut b"".to_owned()), Ok((0, ResponseEvent::End { reusable: false })));
    }

    #[test]
    fn nothing_is_reusable_after_the_end_of_the_stream() {
        let mut codec = codec(RequestKind::Head);
        codec.decode(&mut b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()).unwrap();
        assert!(codec.is_reusable());
        assert_eq!(codec.end_of_stream(), Ok(()));
        assert_eq!(codec.decode(&mut b"".to_owned()), Ok((0, ResponseEvent::End { reusable: false })));
    }

    #[test]
    fn a_tunnel_begins_right_after_the_head() {
        for (request, bytes) in [
            (RequestKind::Connect, &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x16\x03"[..]),
            (RequestKind::Upgrade, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x16\x03"),
        ] {
            let mut codec = codec(request);
            let mut bytes = bytes.to_vec();
            let (consumed, event) = codec.decode(&mut bytes).unwrap();
            assert!(matches!(event, ResponseEvent::Head(_)));
            assert_eq!(&bytes[consumed..], b"\x16\x03");
            for _ in 0..2 {
                assert_eq!(codec.decode(&mut bytes[consumed..]), Ok((0, ResponseEvent::Upgraded)));
                // The connection has left HTTP, so `begin` does nothing.
                codec.begin(RequestKind::Other);
                assert!(codec.is_upgraded());
            }
            assert_eq!(codec.end_of_stream(), Ok(()));
        }
    }

    #[test]
    fn nothing_begins_after_an_error() {
        let mut codec = codec(RequestKind::Other);
        codec.decode(&mut b"SSH-2.0\r\n".to_owned()).unwrap_err();
        codec.begin(RequestKind::Other);
        assert_eq!(codec.decode(&mut b"HTTP/1.1 200 OK\r\n\r\n".to_owned()), Err(Error::Failed));
    }

    #[test]
    fn an_announced_close_differs_from_other_ends() {
        for (head, announced) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..], true),
            (b"HTTP/1.0 200 OK\r\nConnection: x, Close\r\n\r\n", true),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\n\r\n", false),
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false),
        ] {
            let mut codec = codec(RequestKind::Other);
            codec.decode(&mut head.to_vec()).unwrap();
            assert_eq!((codec.is_reusable(), codec.announces_close()), (false, announced));
            codec.end_of_stream().unwrap();
            assert_eq!(codec.announces_close(), announced);
        }
        let mut open = codec(RequestKind::Other);
        open.decode(&mut b"HTTP/1.1 204 No Content\r\n\r\n".to_owned()).unwrap();
        assert_eq!((open.is_reusable(), open.announces_close()), (true, false));
    }

    #[test]
    #[should_panic(expected = "only after the previous one has ended")]
    fn two_responses_at_a_time_are_refused() {
        codec(RequestKind::Other).begin(RequestKind::Other);
    }

    #[test]
    fn a_response_is_expected_from_its_request_to_its_end() {
        let mut codec = ClientCodec::new(Limits::default());
        assert!(codec.is_idle() && !codec.is_upgraded());
        codec.begin(RequestKind::Other);
        assert!(!codec.is_idle());
        codec.decode(&mut b"HTTP/1.1 204 No Content\r\n\r\n".to_owned()).unwrap();
        assert!(!codec.is_idle() && !codec.is_upgraded());
        codec.decode(&mut []).unwrap();
        assert!(codec.is_idle() && !codec.is_upgraded());
    }
}
