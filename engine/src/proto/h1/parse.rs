//! Parses and validates heads with httparse. [`scan`](super::scan) decides when to parse.

use std::mem::MaybeUninit;

use http::StatusCode;
use httparse::{ParserConfig, Status};

use super::error::{Error, LimitExceeded, SyntaxError, SyntaxPart};
use super::follow::Follower;
use super::framing::{Facts, is_authority, is_connect_target};
use super::head::{Fields, RequestMeta, ResponseMeta, STATUS_LINE_SIZE_MIN, Version};
use super::limits::{HEADER_COUNT_CEILING, Limits};

/// Parses the head of a response at the start of `window`, if it is complete, and then collects the framing facts of
/// its fields in `facts`, which must be new. Unfolds folded lines in place.
#[inline]
pub(super) fn response(
    window: &mut [u8],
    limits: &Limits,
    facts: &mut Facts,
) -> Result<Option<ResponseMeta>, Error> {
    // httparse ignores empty lines here. RFC 9112 §2.2 allows them only before requests.
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
    let bad_status = || Err(syntax(SyntaxPart::StatusLine, STATUS_LINE_SIZE_MIN - 3));
    match (parsed, response.version, response.code) {
        (Ok(Status::Complete(length)), Some(minor), Some(code)) => {
            let Ok(status) = StatusCode::from_u16(code) else { return bad_status() };
            // httparse returns a non-ASCII reason phrase as empty, so the search for the line end starts after the part
            // it returned.
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
        (_, _, Some(code)) if StatusCode::from_u16(code).is_err() => bad_status(),
        (Ok(_), ..) => Ok(None),
        (Err(error), ..) => response_despite(error, window, limits, facts),
    }
}

/// Parses a head that httparse rejects but that may be valid: its lines are folded, or its version is a later 1.x.
#[cold]
fn response_despite(
    error: httparse::Error,
    window: &mut [u8],
    limits: &Limits,
    facts: &mut Facts,
) -> Result<Option<ResponseMeta>, Error> {
    if error == httparse::Error::Version
        && let Some(mut known) = with_known_version(window, 0)
    {
        // The copy is parsed, and its lines are unfolded. The lines of the original are unfolded too, because the
        // caller sees them.
        let found = response(&mut known, limits, facts);
        unfold_head(window);
        return found;
    }
    if error == httparse::Error::HeaderName && unfold_head(window) {
        return response(window, limits, facts);
    }
    Err(head_error(error, window, limits, |prefix, headers| {
        let mut response = httparse::Response::new(&mut []);
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, prefix, headers).is_err()
    }))
}

/// Parses the head of a request, like [`response`].
#[inline]
pub(super) fn request(
    window: &[u8],
    limits: &Limits,
    facts: &mut Facts,
) -> Result<Option<RequestMeta>, Error> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADER_COUNT_CEILING as usize];
    let mut request = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        window,
        &mut headers[..header_count_max(limits)],
    );
    match (parsed, request.method, request.path, request.version) {
        (Ok(Status::Complete(length)), Some(method), Some(target), Some(minor)) => {
            check_target(method, target, limits)?;
            let line_end = method.len() + 1 + target.len() + 1 + "HTTP/1.1".len();
            let ends = |header: &httparse::Header<'_>| ends_with_crlf(window, header.value);
            // Check the request line, the empty line, and the field lines between them.
            if window[line_end] != b'\r' || window[length - 2] != b'\r' || !request.headers.iter().all(ends) {
                check_line_ends(&window[..length])?;
            }
            facts.collect(request.headers)?;
            let version = version(minor);
            let meta = RequestMeta {
                version,
                expects_continue: facts.expects_continue(version),
                requests_upgrade: facts.requests_upgrade(version),
                method_length: method.len() as u32,
                target_length: target.len() as u32,
                fields_offset: (line_end + b"\r\n".len()) as u32,
                length: length as u32,
            };
            Ok(Some(meta))
        }
        (parsed, method, target, _) => {
            let line = RequestLine { method, target, has_version: request.version.is_some() };
            request_despite(parsed.err(), &line, window, limits, facts)
        }
    }
}

/// What httparse found of a request line.
struct RequestLine<'b> {
    method: Option<&'b str>,
    target: Option<&'b str>,
    /// Whether there is a version that httparse accepts.
    has_version: bool,
}

/// Handles a head that is incomplete, or that httparse rejects with `error`. The latter may still be valid: its version
/// is a later 1.x. Of several faults it reports the first, so that the result does not depend on how the network split
/// the bytes.
#[cold]
fn request_despite(
    error: Option<httparse::Error>,
    line: &RequestLine<'_>,
    window: &[u8],
    limits: &Limits,
    facts: &mut Facts,
) -> Result<Option<RequestMeta>, Error> {
    let too_long = || Err(Error::Limit(LimitExceeded::TargetSize(limits.target_size_max)));
    let fails = |prefix: &[u8]| {
        let mut headers = [const { MaybeUninit::uninit() }; HEADER_COUNT_CEILING as usize];
        let mut request = httparse::Request::new(&mut []);
        ParserConfig::default()
            .parse_request_with_uninit_headers(&mut request, prefix, &mut headers[..header_count_max(limits)])
            .is_err()
    };
    let good = if error.is_some() { first_error(window, fails) } else { window.len() };
    match *line {
        RequestLine { method: Some(method), target: Some(target), has_version } => {
            if target.len() > limits.target_size_max as usize {
                return too_long();
            }
            // An unknown version hides a wrong target form: for a peer that speaks another protocol, the version is the
            // more useful report, although it comes later.
            if has_version {
                check_target(method, target, limits)?;
            }
            let start = method.len() + 1 + target.len() + 1;
            if error == Some(httparse::Error::Version)
                && let Some(known) = with_known_version(window, start)
            {
                return request(&known, limits, facts);
            }
        }
        RequestLine { method: Some(method), target: None, .. } => {
            let length = good.saturating_sub(method.len() + 1);
            if method.len() <= Follower::METHOD_SIZE_MAX && length > limits.target_size_max as usize {
                return too_long();
            }
            // A head that is too long because of its target (414) is a different fault from one with too many fields
            // (431).
            if error.is_none() && window.len() == limits.head_size_max as usize {
                return too_long();
            }
        }
        RequestLine { method: None, .. } => {}
    }
    check_line_ends(&window[..window.len().min(good + 1)])?;
    match error {
        None => Ok(None),
        Some(error) => Err(head_error(error, window, limits, |prefix, headers| {
            let mut request = httparse::Request::new(&mut []);
            ParserConfig::default().parse_request_with_uninit_headers(&mut request, prefix, headers).is_err()
        })),
    }
}

/// Rejects bare LFs. RFC 9112 §2.2 allows a recipient to accept a bare LF as line end, but this server does not: an
/// intermediary that does not accept it either may have forwarded the bytes after it as part of a value.
#[cold]
fn check_line_ends(bytes: &[u8]) -> Result<(), Error> {
    let bare = memchr::memchr_iter(b'\n', bytes).find(|&at| at == 0 || bytes[at - 1] != b'\r');
    bare.map_or(Ok(()), |at| Err(syntax(SyntaxPart::BareLf, at)))
}

/// Returns whether CR immediately follows `value`, which is part of `window`. httparse accepts only LF after that CR.
#[inline]
fn ends_with_crlf(window: &[u8], value: &[u8]) -> bool {
    let end = (value.as_ptr().addr() + value.len()).wrapping_sub(window.as_ptr().addr());
    window.get(end) == Some(&b'\r')
}

/// Copies `bytes` with version 1.1 at `start`, if the version there is 1.2 to 1.9. RFC 9110 §2.5: a recipient treats an
/// unknown minor version as the highest that it knows.
fn with_known_version(bytes: &[u8], start: usize) -> Option<Vec<u8>> {
    let digit = start + "HTTP/1.".len();
    if !bytes.get(start..)?.starts_with(b"HTTP/1.") || !matches!(bytes.get(digit)?, b'2'..=b'9') {
        return None;
    }
    let mut known = bytes.to_vec();
    known[digit] = b'1';
    Some(known)
}

/// Unfolds the field lines of the head at the start of `window`. Bytes after the head stay unchanged.
fn unfold_head(window: &mut [u8]) -> bool {
    let Some(line_end) = memchr::memchr(b'\n', window) else { return false };
    unfold(&mut window[line_end + 1..])
}

/// Replaces obsolete line folding with spaces, up to the empty line (RFC 9112 §5.2). Returns whether it found any.
#[cold]
pub(super) fn unfold(lines: &mut [u8]) -> bool {
    let mut found = false;
    let mut line = 0;
    while let Some(at) = memchr::memchr(b'\n', &lines[line..]) {
        let end = line + at;
        if let [] | [b'\r'] = lines[line..end] {
            break;
        }
        if let Some(b' ' | b'\t') = lines.get(end + 1) {
            found = true;
            lines[end] = b' ';
            if lines[end - 1] == b'\r' {
                lines[end - 1] = b' ';
            }
        }
        line = end + 1;
    }
    found
}

/// Validates a complete trailer section, including the final empty line. Cold, because few messages have trailer
/// fields.
#[cold]
pub(super) fn trailers<'b>(section: &'b [u8], limits: &Limits) -> Result<Fields<'b>, Error> {
    let parse = |bytes: &[u8]| {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_CEILING as usize];
        httparse::parse_headers(bytes, &mut headers[..header_count_max(limits)])
            .map(|status| status.is_complete())
    };
    match parse(section) {
        Ok(true) => Ok(Fields { lines: section }),
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

/// Checks a complete target.
#[inline]
fn check_target(method: &str, target: &str, limits: &Limits) -> Result<(), Error> {
    if target.len() > limits.target_size_max as usize {
        return Err(Error::Limit(LimitExceeded::TargetSize(limits.target_size_max)));
    }
    if !target_has_a_form(method, target) {
        return Err(syntax(SyntaxPart::TargetForm, method.len() + 1));
    }
    Ok(())
}

/// Returns whether the method allows a target of this form (RFC 9112 §3.2).
fn target_has_a_form(method: &str, target: &str) -> bool {
    match (method, target.as_bytes()) {
        // authority-form: a host and a port.
        ("CONNECT", target) => is_connect_target(target),
        // origin-form.
        (_, [b'/', ..]) | ("OPTIONS", b"*") => true,
        // absolute-form.
        (_, target) => {
            let scheme =
                target.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
            let (scheme, rest) = target.split_at(scheme);
            let Some(rest) = rest.strip_prefix(b"://") else { return false };
            if !scheme.first().is_some_and(u8::is_ascii_alphabetic) {
                return false;
            }
            // RFC 9110 §4.2.1, §4.2.4: an http or https URI without a host must be rejected, and one with user
            // information may be. The rules of other schemes are unknown here.
            let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
            let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
            !is_http || is_authority(&rest[..end])
        }
    }
}

pub(super) fn syntax(part: SyntaxPart, offset: usize) -> Error {
    Error::Head(SyntaxError { part, offset: offset as u32 })
}

fn too_many_headers(limits: &Limits) -> Error {
    Error::Limit(LimitExceeded::HeaderCount(limits.header_count_max.min(HEADER_COUNT_CEILING)))
}

/// Converts an httparse error for `window` to an [`Error`] with its position.
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

/// Finds the offset of the byte that makes `bytes` invalid, by bisection.
///
/// httparse does not report the offset. But it reads from left to right, so if a prefix is invalid, every longer one
/// is, too. With the default limits this takes at most 16 parses, once per connection.
fn first_error(bytes: &[u8], fails: impl Fn(&[u8]) -> bool) -> usize {
    let (mut good, mut bad) = (0, bytes.len());
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if fails(&bytes[..middle]) { bad = middle } else { good = middle }
    }
    good
}

/// Returns the error for an unsupported or malformed version.
fn version_error(window: &[u8], offset: usize) -> Error {
    // The version is the last word of a request line and the first of a status line. The error is inside it.
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

/// Counts the bytes of heads and trailers that were scanned, so that tests can verify linear time.
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
        super::response(&mut bytes.to_vec(), &Limits::default(), &mut Facts::default())
    }

    fn request(bytes: &[u8]) -> Result<Option<RequestMeta>, Error> {
        super::request(bytes, &Limits::default(), &mut Facts::default())
    }

    #[test]
    fn a_response_head_may_end_its_lines_with_lf_or_crlf() {
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
        let responses: [(&[u8], SyntaxPart, u32); 13] = [
            (b"\r\nHTTP/1.1 200 OK\r\n\r\n", SyntaxPart::StatusLine, 0),
            (b"SSH-2.0-OpenSSH_9.2\r\n", SyntaxPart::Version, 0),
            (b"HTTP/2.0 200 OK\r\n\r\n", SyntaxPart::UnsupportedVersion, 5),
            (b"HTTP/1.x 200 OK\r\n\r\n", SyntaxPart::UnsupportedVersion, 7),
            (b"HTTP/1.1  200 OK\r\n\r\n", SyntaxPart::StatusLine, 9),
            (b"HTTP/1.1 20 OK\r\n\r\n", SyntaxPart::StatusLine, 11),
            (b"HTTP/1.1 099 OK\r\n\r\n", SyntaxPart::StatusLine, 9),
            (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", SyntaxPart::FieldName, 18),
            (b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", SyntaxPart::FieldName, 17),
            (b"HTTP/1.2 200 OK\r\nA: b\r\n c\r\nD\r\n", SyntaxPart::FieldName, 28),
            (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", SyntaxPart::FieldValue, 21),
            (b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", SyntaxPart::FieldValue, 22),
            (b"HTTP/1.1 200 OK\r\n\rx", SyntaxPart::LineEnd, 18),
        ];
        for (bytes, part, offset) in responses {
            let expected = Err(Error::Head(SyntaxError { part, offset }));
            assert_eq!(response(bytes), expected, "{}", bytes.escape_ascii());
        }
        let requests: [(&[u8], SyntaxPart, u32); 28] = [
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
            (b"GET http:/// HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET http://:80/ HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET HTTPS://?x HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET http://me@h/ HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET http://h:x/ HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET 1http://h/ HTTP/1.1\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", SyntaxPart::BareLf, 14),
            (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", SyntaxPart::BareLf, 23),
            (b"GET / HTTP/1.1\r\nHost: a \nX: y\r\n\r\n", SyntaxPart::BareLf, 24),
            (b"GET / HTTP/1.1\r\nHost:\nX: y\r\n\r\n", SyntaxPart::BareLf, 21),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", SyntaxPart::BareLf, 25),
            // The first fault is reported.
            (b"GET x HTTP/1.1\nHost: a\r\n\r\n", SyntaxPart::TargetForm, 4),
            (b"GET / HTTP/1.1\r\nA: b\nC d\r\n\r\n", SyntaxPart::BareLf, 20),
            (b"GET / HTTP/1.9\r\nA b: c\nD\r\n\r\n", SyntaxPart::FieldName, 17),
            // Before the head is complete.
            (b"GET x HTTP/1.1", SyntaxPart::TargetForm, 4),
            (b"GET x HTTP/1.2", SyntaxPart::TargetForm, 4),
            (b"GET / HTTP/1.1\r\nA: b\n", SyntaxPart::BareLf, 20),
        ];
        for (bytes, part, offset) in requests {
            let expected = Err(Error::Head(SyntaxError { part, offset }));
            assert_eq!(request(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_form_of_a_target_is_accepted_with_its_method() {
        let lines: [&[u8]; 9] = [
            b"GET /a?b#c HTTP/1.1\r\n\r\n",
            b"GET http://example.org/ HTTP/1.1\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"OPTIONS / HTTP/1.0\r\n\r\n",
            b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
            b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n",
            b"GET https://[::1]?x HTTP/1.1\r\n\r\n",
            b"GET urn:// HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nTrailing-Space: a \t \r\nEmpty:\r\nBlank: \r\n\r\n",
        ];
        for bytes in lines {
            assert!(request(bytes).unwrap().is_some(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn later_minor_versions_are_read_as_1_1() {
        for minor in 2..=9 {
            let head = format!("HTTP/1.{minor} 200 OK\r\nA: b\r\n\r\n");
            let meta = response(head.as_bytes()).unwrap().unwrap();
            assert_eq!((meta.version, meta.length()), (Version::Http11, head.len()));
            let head = format!("GET /x HTTP/1.{minor}\r\nHost: a\r\n\r\n");
            let meta = request(head.as_bytes()).unwrap().unwrap();
            assert_eq!((meta.version, meta.length()), (Version::Http11, head.len()));
        }
    }

    #[test]
    fn folded_lines_of_a_response_are_unfolded_and_the_body_is_not() {
        for (bytes, unfolded) in [
            (&b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td\r\n\r\nx\r\n y"[..], &b"b   c  \td"[..]),
            (b"HTTP/1.1 200 OK\nA: b\n c\n\nx\r\n y", b"b  c"),
            (b"HTTP/1.1 200 OK\r\nA:\r\n b\r\n \r\n\r\nx\r\n y", b"b"),
            (b"HTTP/1.7 200 OK\r\nA: b\r\n c\r\n\r\nx\r\n y", b"b   c"),
        ] {
            let mut bytes = bytes.to_vec();
            let meta =
                super::response(&mut bytes, &Limits::default(), &mut Facts::default()).unwrap().unwrap();
            let head = super::super::head::ResponseHead::from_parts(&bytes, meta);
            assert_eq!(head.fields().get("a"), Some(unfolded), "{}", bytes.escape_ascii());
            assert_eq!(&bytes[meta.length()..], b"x\r\n y");
        }
    }

    /// RFC 9112 §2.2: a server that takes a bare LF for the end of a line may see a field where somebody before it saw a part of a value.
    #[test]
    fn a_bare_lf_is_found_behind_values_of_every_size() {
        for size in 0..64 {
            let start = format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(size));
            let expected =
                |offset| Err(Error::Head(SyntaxError { part: SyntaxPart::BareLf, offset: offset as u32 }));
            for end in ["\n\r\n", "\nA: b\n\r\n", "\n\n"] {
                assert_eq!(
                    request(format!("{start}{end}").as_bytes()),
                    expected(start.len()),
                    "{size} {end:?}"
                );
            }
            assert_eq!(request(format!("{start}\r\n\n").as_bytes()), expected(start.len() + 2), "{size}");
            assert!(request(format!("{start}\r\n\r\n").as_bytes()).unwrap().is_some());
        }
    }

    #[test]
    fn a_bare_lf_is_named_where_no_line_may_end_as_well() {
        let cases: [(&[u8], u32); 3] =
            [(b"G\nT / HTTP/1.1\r\n\r\n", 1), (b"GET /\n", 5), (b"GET / HTTP/1.1\r\nHo\nst: a\r\n\r\n", 18)];
        for (bytes, offset) in cases {
            let expected = Err(Error::Head(SyntaxError { part: SyntaxPart::BareLf, offset }));
            assert_eq!(request(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
