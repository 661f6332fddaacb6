//! The server's codec. It decodes requests; [`encode`](super::encode) writes responses.

use super::body::BodyDecoder;
use super::chunked::BodyEvent;
use super::error::{Error, Incomplete, LimitExceeded, SyntaxError, SyntaxPart};
use super::framing::{BodyLength, Facts};
use super::head::{Fields, RequestHead};
use super::limits::{EMPTY_LINES_MAX, Limits};
use super::parse;
use super::scan::HeadScan;

/// An event of a [`ServerCodec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEvent<'b> {
    /// The codec needs more bytes. The caller passes the bytes that were not consumed again, followed by new ones.
    NeedMore,
    /// The head of a request. [`ServerCodec::body_length`] now returns how its body ends.
    Head(RequestHead<'b>),
    /// A piece of the body; never empty.
    Data(&'b [u8]),
    /// The trailer fields of a chunked body; never empty. They are not part of the head and must not be merged into it
    /// (RFC 9110 §6.5.1).
    Trailers(Fields<'b>),
    /// The request is complete. The bytes after it belong to the next request (pipelining). If the caller has agreed to
    /// switch protocols, they belong to the new protocol, and the caller stops calling [`ServerCodec::decode`].
    End {
        /// Whether this request allows another one on the connection.
        reusable: bool,
    },
}

/// Decodes the requests of a connection one after the other.
///
/// [`Error::status`] suggests the status of the response to an invalid request.
#[derive(Debug)]
pub struct ServerCodec {
    body: BodyDecoder,
    limits: Limits,
    scan: HeadScan,
    empty_lines: u8,
    state: State,
    reusable: bool,
}

// There is one codec per connection, and there may be tens of thousands of connections.
const _: () = assert!(size_of::<ServerCodec>() <= 64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body,
    /// No further request follows the last one.
    Closed,
    Failed,
}

impl ServerCodec {
    /// Creates a codec for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            body: BodyDecoder::new(BodyLength::None),
            limits,
            scan: HeadScan::default(),
            empty_lines: 0,
            state: State::Head,
            reusable: false,
        }
    }

    /// Returns how the body of the current request ends. Meaningful between the request's head and its end.
    #[inline]
    pub fn body_length(&self) -> BodyLength {
        self.body.length()
    }

    /// Returns whether the connection can carry another request after the current one, as in [`RequestEvent::End`].
    /// Meaningful between the request's head and its end.
    #[inline]
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Returns the number of bytes consumed and the next event in `input`.
    ///
    /// `input` begins with the first byte that was not consumed yet. If the event is `NeedMore`, the codec has consumed
    /// all of `input`, except an incomplete head or trailer section: the caller keeps these bytes. The event `End`
    /// takes a call of its own, for which `input` may be empty.
    ///
    /// # Errors
    /// Returns an [`Error`], after which the codec cannot be used again. Bytes after a request that was not reusable
    /// are [`Error::UnexpectedBytes`].
    #[inline]
    pub fn decode<'b>(&mut self, input: &'b [u8]) -> Result<(usize, RequestEvent<'b>), Error> {
        let result = match self.state {
            State::Head => self.decode_head(input),
            State::Body => self.decode_body(input),
            State::Closed if input.is_empty() => Ok((0, RequestEvent::NeedMore)),
            // RFC 9112 §9.6: a server does not process what follows a request with "close".
            State::Closed => Err(Error::UnexpectedBytes),
            State::Failed => Err(Error::Failed),
        };
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Tells the codec that the peer will send no more bytes. [`decode`](Self::decode) must have seen all received
    /// bytes before.
    ///
    /// `Ok` means that nothing is missing: the stream ended between two requests, or after all bytes of one. In the
    /// latter case `decode(&[])` then returns `End` with `reusable: false`.
    ///
    /// # Errors
    /// Returns [`Error::Incomplete`] with the place where the stream ended.
    pub fn end_of_stream(&mut self) -> Result<(), Error> {
        self.reusable = false;
        let result = match self.state {
            State::Head if self.scan.has_begun() => Err(Error::Incomplete(Incomplete::Head)),
            State::Head | State::Closed => Ok(()),
            State::Body => self.body.end_of_stream(),
            State::Failed => Err(Error::Failed),
        };
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    #[inline]
    fn decode_head<'b>(&mut self, input: &'b [u8]) -> Result<(usize, RequestEvent<'b>), Error> {
        let skipped = self.skip_empty_lines(input)?;
        let input = &input[skipped..];
        // A single CR may be the start of an empty line.
        if input.is_empty() || input == b"\r" {
            return Ok((skipped, RequestEvent::NeedMore));
        }
        let mut facts = Facts::default();
        let Some(meta) = self.scan.request(input, &self.limits, &mut facts)? else {
            return Ok((skipped, RequestEvent::NeedMore));
        };
        let head = RequestHead::from_parts(input, meta);
        let version = head.version();
        facts.check_host(version)?;
        self.body = BodyDecoder::new(facts.request_body(version)?);
        self.reusable = facts.persists(version);
        self.state = State::Body;
        Ok((skipped + meta.length(), RequestEvent::Head(head)))
    }

    /// RFC 9112 §2.2: a server ignores at least one empty line (CRLF) before the request line.
    #[inline]
    fn skip_empty_lines(&mut self, input: &[u8]) -> Result<usize, Error> {
        let mut skipped = 0;
        loop {
            skipped += match input[skipped..] {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => {
                    return Err(Error::Head(SyntaxError { part: SyntaxPart::BareLf, offset: 0 }));
                }
                [b'\r', _, ..] => {
                    return Err(Error::Head(SyntaxError { part: SyntaxPart::LineEnd, offset: 1 }));
                }
                _ => return Ok(skipped),
            };
            if self.empty_lines >= EMPTY_LINES_MAX {
                return Err(Error::Limit(LimitExceeded::EmptyLines));
            }
            self.empty_lines += 1;
        }
    }

    #[inline]
    fn decode_body<'b>(&mut self, input: &'b [u8]) -> Result<(usize, RequestEvent<'b>), Error> {
        let (consumed, event) = self.body.decode(input, &self.limits)?;
        let event = match event {
            BodyEvent::NeedMore => RequestEvent::NeedMore,
            BodyEvent::Data(size) => RequestEvent::Data(&input[consumed - size..consumed]),
            BodyEvent::Trailers(size) => {
                let section = &input[consumed - size..consumed];
                RequestEvent::Trailers(parse::trailers(section, &self.limits)?)
            }
            BodyEvent::End => {
                self.empty_lines = 0;
                self.state = if self.reusable { State::Head } else { State::Closed };
                RequestEvent::End { reusable: self.reusable }
            }
        };
        Ok((consumed, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> ServerCodec {
        ServerCodec::new(Limits::default())
    }

    #[test]
    fn empty_lines_before_each_request_are_ignored_up_to_a_number() {
        let mut codec = codec();
        for _ in 0..2 {
            let input = b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n";
            let (consumed, event) = codec.decode(input).unwrap();
            assert!(
                matches!(event, RequestEvent::Head(head) if head.method() == "GET" && head.method() == http::Method::GET)
            );
            assert_eq!(consumed, input.len());
            assert_eq!(codec.decode(b""), Ok((0, RequestEvent::End { reusable: true })));
        }
        assert_eq!(codec.decode(b"\r\n\r\n\r"), Ok((4, RequestEvent::NeedMore)));
        assert_eq!(codec.decode(b"\r\n\r\n"), Ok((4, RequestEvent::NeedMore)));
        assert_eq!(codec.decode(b"\r\n"), Err(Error::Limit(LimitExceeded::EmptyLines)));
    }

    #[test]
    fn a_lone_cr_or_lf_is_not_an_empty_line() {
        let expected = SyntaxError { part: SyntaxPart::LineEnd, offset: 1 };
        assert_eq!(codec().decode(b"\rGET / HTTP/1.1\r\n\r\n"), Err(Error::Head(expected)));
        let expected = SyntaxError { part: SyntaxPart::BareLf, offset: 0 };
        assert_eq!(codec().decode(b"\r\n\nGET / HTTP/1.1\r\n\r\n"), Err(Error::Head(expected)));
    }

    #[test]
    fn the_stream_may_end_between_requests_and_nowhere_else() {
        let incomplete = |place| Err(Error::Incomplete(place));
        assert_eq!(codec().end_of_stream(), Ok(()));

        let mut blank = codec();
        blank.decode(b"\r\n").unwrap();
        assert_eq!(blank.end_of_stream(), Ok(()));

        let mut head = codec();
        head.decode(b"GET / HT").unwrap();
        assert_eq!(head.end_of_stream(), incomplete(Incomplete::Head));

        let mut body = codec();
        body.decode(b"POST / HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\n").unwrap();
        assert_eq!(body.body_length(), BodyLength::Length(2));
        body.decode(b"a").unwrap();
        assert_eq!(body.end_of_stream(), incomplete(Incomplete::Body { expected: Some(2), received: 1 }));
    }

    #[test]
    fn nothing_is_read_after_a_request_that_closes() {
        let mut codec = codec();
        codec.decode(b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n").unwrap();
        assert!(!codec.is_reusable());
        assert_eq!(codec.decode(b"G"), Ok((0, RequestEvent::End { reusable: false })));
        assert_eq!(codec.decode(b""), Ok((0, RequestEvent::NeedMore)));
        assert_eq!(codec.end_of_stream(), Ok(()));
        assert_eq!(codec.decode(b"G"), Err(Error::UnexpectedBytes));
    }

    #[test]
    fn an_old_client_cannot_expect_or_upgrade() {
        let fields = "Host: a\r\nExpect: 100-Continue\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        for (version, wanted) in [("1.1", true), ("1.0", false)] {
            let input = format!("GET / HTTP/{version}\r\n{fields}");
            let mut codec = codec();
            let Ok((_, RequestEvent::Head(head))) = codec.decode(input.as_bytes()) else { panic!("no head") };
            assert_eq!((head.expects_continue(), head.requests_upgrade()), (wanted, wanted));
        }
    }

    /// What comes first is told, however the bytes were cut: by httparse an empty line may end with LF alone.
    #[test]
    fn a_lone_lf_is_told_before_all_that_is_wrong_behind_it() {
        let limits = Limits { target_size_max: 8, ..Limits::default() };
        let expected = Err(Error::Head(SyntaxError { part: SyntaxPart::BareLf, offset: 0 }));
        for bytes in [&b"\n"[..], b"\nGET http://a/", b"\nGET http://a/ HTTP/1.3\r\nHost: a\r\n"] {
            assert_eq!(ServerCodec::new(limits).decode(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
