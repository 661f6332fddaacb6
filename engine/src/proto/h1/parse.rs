//! From bytes to a validated head, by httparse, in linear time however the bytes were cut.

use std::mem::MaybeUninit;

use http::StatusCode;
use httparse::{ParserConfig, Status};

use super::error::{Error, LimitExceeded, SyntaxError, SyntaxPart};
use super::framing::Facts;
use super::head::{RequestMeta, ResponseMeta, STATUS_LINE_SIZE_MIN, Version};
use super::limits::{HEADER_COUNT_CEILING, Limits};

/// How far the head that is arriving has been looked at.
///
/// httparse starts over at each call, which would be quadratic for a head that drips in. So it is called for the first
/// bytes of a head (nearly always that is all of it), and again only when the end of the head has been found, or the
/// head has become too long. In between only the new bytes are searched. The price: an error in a head that comes in
/// pieces may be reported as late as the end of that head.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    scanned: u32,
}

impl HeadScan {
    /// Whether any byte of a head has been seen that is not complete.
    pub(super) fn has_begun(&self) -> bool {
        self.scanned > 0
    }

    /// The head of a response, when all of it is there, and then what its fields say in `facts`, which is fresh.
    /// (To return these as well would copy them from result to result, which costs as much as collecting them.)
    #[inline]
    pub(super) fn response(
        &mut self,
        input: &[u8],
        limits: &Limits,
        facts: &mut Facts,
    ) -> Result<Option<ResponseMeta>, Error> {
        let Some(window) = self.window(input, limits) else { return Ok(None) };
        // httparse ignores empty lines here, as it does before requests; RFC 9112 §2.2 has them before requests only.
        if let Some(b'\r' | b'\n') = window.first() {
            return Err(syntax(SyntaxPart::StatusLine, 0));
        }
        let mut headers = [const { MaybeUninit::uninit() }; HEADER_COUNT_CEILING as usize];
        let mut response = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            window,
            &mut headers[..header_count_max(limits)],
        );
        match (parsed, response.version, response.code) {
            (Ok(Status::Complete(length)), Some(minor), Some(code)) => {
                self.scanned = 0;
                let Ok(status) = StatusCode::from_u16(code) else {
                    return Err(syntax(SyntaxPart::StatusLine, STATUS_LINE_SIZE_MIN - 3));
                };
                // httparse shows a reason beyond ASCII as empty; so a search begins behind what it shows.
                let reason_end = STATUS_LINE_SIZE_MIN + response.reason.map_or(0, str::len);
                let line_end = window[reason_end..length].iter().position(|&byte| byte == b'\n');
                let meta = ResponseMeta {
                    status,
                    version: version(minor),
                    fields_offset: line_end.map_or(length, |at| reason_end + at + 1) as u32,
                    length: length as u32,
                };
                facts.collect(response.headers)?;
                Ok(Some(meta))
            }
            (Ok(_), ..) => self.incomplete(window, limits).map(|()| None),
            (Err(error), ..) => Err(head_error(error, window, limits, |prefix, headers| {
                let mut response = httparse::Response::new(&mut []);
                ParserConfig::default()
                    .parse_response_with_uninit_headers(&mut response, prefix, headers)
                    .is_err()
            })),
        }
    }

    /// The head of a request, when all of it is there, as for [`response`](Self::response). `input` does not begin with an
    /// empty line.
    #[inline]
    pub(super) fn request(
        &mut self,
        input: &[u8],
        limits: &Limits,
        facts: &mut Facts,
    ) -> Result<Option<RequestMeta>, Error> {
        let Some(window) = self.window(input, limits) else { return Ok(None) };
        let mut headers = [const { MaybeUninit::uninit() }; HEADER_COUNT_CEILING as usize];
        let mut request = httparse::Request::new(&mut []);
        let parsed = ParserConfig::default().parse_request_with_uninit_headers(
            &mut request,
            window,
            &mut headers[..header_count_max(limits)],
        );
        let too_long = |target: &str| target.len() > limits.target_size_max as usize;
        match (parsed, request.method, request.path, request.version) {
            (Ok(Status::Complete(length)), Some(method), Some(target), Some(minor)) => {
                self.scanned = 0;
                if too_long(target) {
                    return Err(Error::Limit(LimitExceeded::TargetSize(limits.target_size_max)));
                }
                if !target_has_a_form(method, target) {
                    return Err(syntax(SyntaxPart::TargetForm, method.len() + 1));
                }
                let line_end = method.len() + 1 + target.len() + 1 + "HTTP/1.1".len();
                let line_end = line_end + if window[line_end] == b'\r' { 2 } else { 1 };
                facts.collect(request.headers)?;
                let version = version(minor);
                let meta = RequestMeta {
                    version,
                    expects_continue: facts.expects_continue(version),
                    requests_upgrade: facts.requests_upgrade(version),
                    method_length: method.len() as u32,
                    target_length: target.len() as u32,
                    fields_offset: line_end as u32,
                    length: length as u32,
                };
                Ok(Some(meta))
            }
            (Ok(_), method, target, _) => {
                let incomplete = self.incomplete(window, limits).map(|()| None);
                // A head that is too long because of its target is another fault (414) than one with too many fields (431).
                if incomplete.is_err() && method.is_some() && target.is_none_or(too_long) {
                    return Err(Error::Limit(LimitExceeded::TargetSize(limits.target_size_max)));
                }
                incomplete
            }
            (Err(error), ..) => Err(head_error(error, window, limits, |prefix, headers| {
                let mut request = httparse::Request::new(&mut []);
                ParserConfig::default()
                    .parse_request_with_uninit_headers(&mut request, prefix, headers)
                    .is_err()
            })),
        }
    }

    /// The part of `input` that may be parsed, if it is worth while to parse it.
    #[inline]
    fn window<'b>(&mut self, input: &'b [u8], limits: &Limits) -> Option<&'b [u8]> {
        let window = &input[..input.len().min(limits.head_size_max as usize)];
        let worthwhile = self.scanned == 0
            || window.len() == limits.head_size_max as usize
            || contains_head_end(window, self.scanned as usize);
        if worthwhile {
            #[cfg(test)]
            work::add(window.len());
            Some(window)
        } else {
            self.scanned = window.len() as u32;
            None
        }
    }

    /// Notes that `window` holds no whole head.
    fn incomplete(&mut self, window: &[u8], limits: &Limits) -> Result<(), Error> {
        if window.len() == limits.head_size_max as usize {
            return Err(Error::Limit(LimitExceeded::HeadSize(limits.head_size_max)));
        }
        self.scanned = window.len() as u32;
        Ok(())
    }
}

/// Validates a whole trailer section, with the empty line that ends it. Few messages have one with any field in it.
#[cold]
pub(super) fn trailers(section: &[u8], limits: &Limits) -> Result<(), Error> {
    let parse = |bytes: &[u8]| {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_CEILING as usize];
        httparse::parse_headers(bytes, &mut headers[..header_count_max(limits)])
            .map(|status| status.is_complete())
    };
    match parse(section) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Error::Trailers(SyntaxError { part: SyntaxPart::LineEnd, offset: section.len() as u32 }))
        }
        Err(httparse::Error::TooManyHeaders) => Err(too_many_headers(limits)),
        Err(error) => {
            let offset = first_error(section, |prefix| parse(prefix).is_err());
            Err(Error::Trailers(SyntaxError { part: part(error), offset: offset as u32 }))
        }
    }
}

fn header_count_max(limits: &Limits) -> usize {
    limits.header_count_max.min(HEADER_COUNT_CEILING) as usize
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Whether an empty line that `scanned` bytes did not yet end is in `window`.
fn contains_head_end(window: &[u8], scanned: usize) -> bool {
    // "\n\r\n" is the longest end; up to two bytes of it may have been scanned.
    let start = scanned.saturating_sub(2).min(window.len());
    let fresh = &window[start..];
    #[cfg(test)]
    work::add(fresh.len());
    memchr::memchr_iter(b'\n', fresh).any(|at| matches!(fresh[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// RFC 9112 §3.2: which targets a method may have.
fn target_has_a_form(method: &str, target: &str) -> bool {
    match (method, target.as_bytes()) {
        // authority-form: a host and a port.
        ("CONNECT", target) => {
            let Some(colon) = memchr::memrchr(b':', target) else { return false };
            let (host, port) = (&target[..colon], &target[colon + 1..]);
            !host.is_empty()
                && super::framing::is_host(host)
                && !port.is_empty()
                && port.iter().all(u8::is_ascii_digit)
        }
        // origin-form.
        (_, [b'/', ..]) | ("OPTIONS", b"*") => true,
        // absolute-form. Only its beginning is looked at; taking a URI apart is not the codec's.
        (_, target) => {
            let scheme =
                target.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
            target[0].is_ascii_alphabetic() && target[scheme..].starts_with(b"://")
        }
    }
}

fn syntax(part: SyntaxPart, offset: usize) -> Error {
    Error::Head(SyntaxError { part, offset: offset as u32 })
}

fn too_many_headers(limits: &Limits) -> Error {
    Error::Limit(LimitExceeded::HeaderCount(limits.header_count_max.min(HEADER_COUNT_CEILING)))
}

/// What httparse found wrong with `window`, and where.
#[cold]
fn head_error(
    error: httparse::Error,
    window: &[u8],
    limits: &Limits,
    fails: impl for<'h, 'b> Fn(&'b [u8], &'h mut [MaybeUninit<httparse::Header<'b>>]) -> bool,
) -> Error {
    if error == httparse::Error::TooManyHeaders {
        return too_many_headers(limits);
    }
    let offset = first_error(window, |prefix| {
        let mut headers = [const { MaybeUninit::uninit() }; HEADER_COUNT_CEILING as usize];
        fails(prefix, &mut headers)
    });
    match error {
        httparse::Error::Version => version_error(window, offset),
        error => syntax(part(error), offset),
    }
}

/// The offset of the byte that makes `bytes` an error, by bisection: httparse does not tell it, but reads from left to
/// right, so that what begins with an error is an error. Sixteen parses at most, once in the life of a connection.
fn first_error(bytes: &[u8], fails: impl Fn(&[u8]) -> bool) -> usize {
    let (mut good, mut bad) = (0, bytes.len());
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if fails(&bytes[..middle]) { bad = middle } else { good = middle }
    }
    good
}

/// A version that this codec does not speak, or no version at all.
fn version_error(window: &[u8], offset: usize) -> Error {
    // The version is the last word of a request line and the first of a status line, and the error is inside it.
    let start = memchr::memrchr(b' ', &window[..offset]).map_or(0, |space| space + 1);
    let supposed = &window[start..];
    let is_version = supposed.starts_with(b"HTTP/") && supposed.get(5).is_some_and(u8::is_ascii_digit);
    syntax(if is_version { SyntaxPart::UnsupportedVersion } else { SyntaxPart::Version }, offset)
}

fn part(error: httparse::Error) -> SyntaxPart {
    match error {
        httparse::Error::HeaderName => SyntaxPart::FieldName,
        httparse::Error::HeaderValue => SyntaxPart::FieldValue,
        httparse::Error::Status => SyntaxPart::StatusLine,
        httparse::Error::Token => SyntaxPart::RequestLine,
        httparse::Error::Version => SyntaxPart::Version,
        httparse::Error::NewLine | httparse::Error::TooManyHeaders => SyntaxPart::LineEnd,
    }
}

/// Counts the bytes of heads and trailers that were looked at, so that a test can see that it is linear.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local!(static BYTES: Cell<usize> = const { Cell::new(0) });

    pub(in super::super) fn add(bytes: usize) {
        BYTES.set(BYTES.get() + bytes);
    }

    pub(in super::super) fn take() -> usize {
        BYTES.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(bytes: &[u8]) -> Result<Option<ResponseMeta>, Error> {
        HeadScan::default().response(bytes, &Limits::default(), &mut Facts::default())
    }

    fn request(bytes: &[u8]) -> Result<Option<RequestMeta>, Error> {
        HeadScan::default().request(bytes, &Limits::default(), &mut Facts::default())
    }

    #[test]
    fn a_response_head_is_found_whatever_ends_its_lines() {
        for bytes in [&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"[..], b"HTTP/1.1 200 OK\nA: b\n\nbody"] {
            let meta = response(bytes).unwrap().unwrap();
            let head = super::super::head::ResponseHead::from_parts(bytes, meta);
            assert_eq!((head.status().as_u16(), head.version()), (200, Version::Http11));
            assert_eq!(head.reason(), b"OK");
            assert_eq!(head.fields().iter().collect::<Vec<_>>(), [(&b"A"[..], &b"b"[..])]);
            assert_eq!(&bytes[meta.length()..], b"body");
        }
    }

    #[test]
    fn a_reason_may_be_missing_empty_or_beyond_ascii() {
        let reasons: [(&[u8], &[u8]); 5] = [
            (b"HTTP/1.0 404\r\n\r\n", b""),
            (b"HTTP/1.0 404 \r\n\r\n", b""),
            (b"HTTP/1.0 404\n\n", b""),
            (b"HTTP/1.0 404 Not  Found \r\n\r\n", b"Not  Found "),
            (b"HTTP/1.0 404 Gef\xfcllt\r\n\r\n", b"Gef\xfcllt"),
        ];
        for (bytes, reason) in reasons {
            let meta = response(bytes).unwrap().unwrap();
            let head = super::super::head::ResponseHead::from_parts(bytes, meta);
            assert_eq!(head.reason(), reason);
            assert_eq!(head.fields().iter().count(), 0);
        }
    }

    #[test]
    fn an_error_is_named_with_its_place() {
        let responses: [(&[u8], SyntaxPart, u32); 12] = [
            (b"\r\nHTTP/1.1 200 OK\r\n\r\n", SyntaxPart::StatusLine, 0),
            (b"SSH-2.0-OpenSSH_9.2\r\n", SyntaxPart::Version, 0),
            (b"HTTP/2.0 200 OK\r\n\r\n", SyntaxPart::UnsupportedVersion, 5),
            (b"HTTP/1.2 200 OK\r\n\r\n", SyntaxPart::UnsupportedVersion, 7),
            (b"HTTP/1.1  200 OK\r\n\r\n", SyntaxPart::StatusLine, 9),
            (b"HTTP/1.1 20 OK\r\n\r\n", SyntaxPart::StatusLine, 11),
            (b"HTTP/1.1 099 OK\r\n\r\n", SyntaxPart::StatusLine, 9),
            (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", SyntaxPart::FieldName, 18),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", SyntaxPart::FieldName, 23),
            (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", SyntaxPart::FieldValue, 21),
            (b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", SyntaxPart::FieldValue, 22),
            (b"HTTP/1.1 200 OK\r\n\rx", SyntaxPart::LineEnd, 18),
        ];
        for (bytes, part, offset) in responses {
            let expected = Err(Error::Head(SyntaxError { part, offset }));
            assert_eq!(response(bytes), expected, "{}", bytes.escape_ascii());
        }
        let requests: [(&[u8], SyntaxPart, u32); 11] = [
            (b"G\x01T / HTTP/1.1\r\n\r\n", SyntaxPart::RequestLine, 1),
            (b" GET / HTTP/1.1\r\n\r\n", SyntaxPart::RequestLine, 0),
            (b"GET  / HTTP/1.1\r\n\r\n", SyntaxPart::RequestLine, 4),
            (b"GET /\r\n\r\n", SyntaxPart::RequestLine, 5),
            (b"GET /a b HTTP/1.1\r\n\r\n", SyntaxPart::Version, 7),
            (b"GET / HTTP/1.1 \r\n\r\n", SyntaxPart::LineEnd, 14),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SyntaxPart::UnsupportedVersion, 11),
            (b"GET * HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET example.org HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"CONNECT / HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 8),
            (b"CONNECT a: HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 8),
        ];
        for (bytes, part, offset) in requests {
            let expected = Err(Error::Head(SyntaxError { part, offset }));
            assert_eq!(request(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_form_of_a_target_is_taken_with_its_method() {
        let lines: [&[u8]; 6] = [
            b"GET /a?b#c HTTP/1.1\r\n\r\n",
            b"GET http://example.org/ HTTP/1.1\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"OPTIONS / HTTP/1.0\r\n\r\n",
            b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
            b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n",
        ];
        for bytes in lines {
            assert!(request(bytes).unwrap().is_some(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_limit_may_be_reached_but_not_exceeded() {
        let limits =
            Limits { head_size_max: 40, header_count_max: 2, target_size_max: 5, ..Limits::default() };
        let response = |bytes: &[u8]| {
            HeadScan::default().response(bytes, &limits, &mut Facts::default()).map(|found| found.is_some())
        };
        let request = |bytes: &[u8]| {
            HeadScan::default().request(bytes, &limits, &mut Facts::default()).map(|found| found.is_some())
        };
        let exceeded = |limit| Err(Error::Limit(limit));

        let status = b"HTTP/1.1 200 OK\r\n".to_vec();
        assert_eq!(response(&[&status, &b"A: 3456789012345678\r\n\r\n"[..]].concat()), Ok(true));
        assert_eq!(
            response(&[&status, &b"A: 34567890123456789\r\n\r\n"[..]].concat()),
            exceeded(LimitExceeded::HeadSize(40))
        );
        assert_eq!(response(&[&status, &b"A: 345678901234567890"[..]].concat()), Ok(false));
        assert_eq!(
            response(&[&status, &b"A: 34567890123456789012"[..]].concat()),
            exceeded(LimitExceeded::HeadSize(40))
        );
        assert_eq!(response(&[&status, &b"A:1\r\nB:2\r\n\r\n"[..]].concat()), Ok(true));
        assert_eq!(
            response(&[&status, &b"A:1\r\nB:2\r\nC:3\r\n\r\n"[..]].concat()),
            exceeded(LimitExceeded::HeaderCount(2))
        );

        assert_eq!(request(b"GET /2345 HTTP/1.1\r\n\r\n"), Ok(true));
        assert_eq!(request(b"GET /23456 HTTP/1.1\r\n\r\n"), exceeded(LimitExceeded::TargetSize(5)));
        // Too long as a whole, and it is plain what is to blame.
        assert_eq!(request(&[&b"GET /"[..], &[b'a'; 40]].concat()), exceeded(LimitExceeded::TargetSize(5)));
        assert_eq!(
            request(&[&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; 40]].concat()),
            exceeded(LimitExceeded::HeadSize(40))
        );
        assert_eq!(request(&[b'a'; 40]), exceeded(LimitExceeded::HeadSize(40)));
    }

    #[test]
    fn a_head_that_drips_in_costs_linear_time() {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        for _ in 0..90 {
            bytes.extend_from_slice(b"Some-Field: with a value that is not short, and so on and so on\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        for step in [1, 2, 3, 7, 100] {
            let mut scan = HeadScan::default();
            work::take();
            for end in (1..bytes.len()).step_by(step) {
                assert_eq!(
                    scan.response(&bytes[..end], &Limits::default(), &mut Facts::default()).unwrap(),
                    None
                );
            }
            assert!(scan.response(&bytes, &Limits::default(), &mut Facts::default()).unwrap().is_some());
            // Each new byte is searched with the two before it, and the whole is parsed once.
            let (work, most) = (work::take(), 4 * bytes.len() + 8);
            assert!(work <= most, "{work} bytes looked at for {}, in steps of {step}", bytes.len());
        }
    }

    #[test]
    fn a_head_that_never_ends_costs_linear_time_and_fails_at_the_limit() {
        let mut bytes = b"GET / HTTP/1.1\r\nA: ".to_vec();
        bytes.resize(Limits::default().head_size_max as usize, b'a');
        let mut scan = HeadScan::default();
        work::take();
        let failed = (1..=bytes.len())
            .find_map(|end| scan.request(&bytes[..end], &Limits::default(), &mut Facts::default()).err());
        assert_eq!(failed, Some(Error::Limit(LimitExceeded::HeadSize(bytes.len() as u32))));
        let work = work::take();
        assert!(work <= 4 * bytes.len() + 8, "{work} bytes looked at for {}", bytes.len());
    }

    #[test]
    fn bytes_that_shrink_against_the_contract_do_no_harm() {
        let mut scan = HeadScan::default();
        assert!(
            scan.response(b"HTTP/1.1 200 OK\r\nA: b", &Limits::default(), &mut Facts::default())
                .unwrap()
                .is_none()
        );
        assert!(scan.response(b"HTTP", &Limits::default(), &mut Facts::default()).unwrap().is_none());
        assert!(
            scan.response(b"HTTP/1.1 200 OK\r\n\r\n", &Limits::default(), &mut Facts::default())
                .unwrap()
                .is_some()
        );
    }
}
