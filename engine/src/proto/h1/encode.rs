//! Encoding: appends heads and chunk framing to a buffer.
//!
//! The encoder checks the caller's input byte by byte, because a peer would read a CR or LF inside it as a new field or
//! a new message. Only this module writes the fields that frame a message.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;

use http::StatusCode;

use super::error::HostError;
use super::framing::{BodyLength, is_connect_target, is_host, is_token};
use super::head::Version;

/// The bytes after the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk with an empty trailer section, which ends a chunked body. See [`encode_last_chunk`].
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the head of a request.
///
/// Writes `fields` unchanged and in order. They must contain exactly one `Host` in HTTP/1.1, and at most one in
/// HTTP/1.0 (RFC 9112 §3.2). The target of CONNECT must be a host and a port (§3.2.3).
///
/// `body` determines the framing field: none for `None`, `Content-Length` for `Length` (also for 0), and
/// `Transfer-Encoding: chunked` for `Chunked`.
///
/// # Errors
/// Returns an [`EncodeError`]; nothing is appended.
///
/// # Examples
///
/// ```
/// use ringtide::proto::h1::{BodyLength, Version, encode_request_head};
///
/// let mut out = Vec::new();
/// let fields = [("Host", "example.org"), ("Accept", "*/*")];
/// encode_request_head(&mut out, "GET", "/", Version::Http11, fields, BodyLength::None)?;
/// assert_eq!(out, b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n");
/// # Ok::<(), ringtide::proto::h1::EncodeError>(())
/// ```
pub fn encode_request_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    method: impl AsRef<[u8]>,
    target: impl AsRef<[u8]>,
    version: Version,
    fields: impl IntoIterator<Item = (N, V)>,
    body: BodyLength,
) -> Result<(), EncodeError> {
    let (method, target) = (method.as_ref(), target.as_ref());
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(EncodeError::Method);
    }
    if target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(EncodeError::Target);
    }
    if method == b"CONNECT" && !is_connect_target(target) {
        return Err(EncodeError::ConnectTarget);
    }
    if body == BodyLength::UntilClose || (body == BodyLength::Chunked && version == Version::Http10) {
        return Err(EncodeError::BodyLength);
    }
    let host = Cell::new(Err(HostError::Missing));
    let fields = fields.into_iter().inspect(|(name, value)| {
        if name.as_ref().eq_ignore_ascii_case(b"host") {
            host.set(match host.get() {
                Err(HostError::Missing) if is_host(value.as_ref()) => Ok(()),
                Err(HostError::Missing) => Err(HostError::Invalid),
                _ => Err(HostError::Repeated),
            });
        }
    });
    transaction(out, |out| {
        out.extend_from_slice(method);
        out.push(b' ');
        out.extend_from_slice(target);
        out.push(b' ');
        out.extend_from_slice(version_bytes(version));
        out.extend_from_slice(b"\r\n");
        push_fields(out, fields)?;
        match host.get() {
            Ok(()) => {}
            Err(HostError::Missing) if version == Version::Http10 => {}
            Err(error) => return Err(EncodeError::Host(error)),
        }
        push_body_length(out, body);
        Ok(())
    })
}

/// Appends the head of a response, with the standard reason phrase for `status`.
///
/// Writes `fields` unchanged and in order. `body` determines the framing field: none for `None` and `UntilClose`,
/// `Content-Length` for `Length` (also for 0), and `Transfer-Encoding: chunked` for `Chunked`. With `UntilClose` the
/// caller adds `Connection: close`. For a 304 and for a response to HEAD, `body` may describe the body that is not
/// sent.
///
/// # Errors
/// Returns an [`EncodeError`]; nothing is appended.
pub fn encode_response_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    status: StatusCode,
    version: Version,
    fields: impl IntoIterator<Item = (N, V)>,
    body: BodyLength,
) -> Result<(), EncodeError> {
    // RFC 9110 §8.6, RFC 9112 §6.1: 1xx and 204 have neither field.
    if (status.is_informational() || status == StatusCode::NO_CONTENT) && body != BodyLength::None {
        return Err(EncodeError::BodyOfStatus(status));
    }
    // An HTTP/1.0 client does not understand chunks.
    if body == BodyLength::Chunked && version == Version::Http10 {
        return Err(EncodeError::BodyLength);
    }
    transaction(out, |out| {
        out.extend_from_slice(version_bytes(version));
        out.push(b' ');
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        push_fields(out, fields)?;
        push_body_length(out, body);
        Ok(())
    })
}

/// Appends the last chunk and the trailer fields, which end a chunked body.
///
/// # Errors
/// Returns an [`EncodeError`]; nothing is appended.
pub fn encode_last_chunk<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    trailers: impl IntoIterator<Item = (N, V)>,
) -> Result<(), EncodeError> {
    transaction(out, |out| {
        out.extend_from_slice(b"0\r\n");
        push_fields(out, trailers)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    })
}

/// The size line of a chunk. Dereferences to its bytes. The chunk's data and [`CHUNK_END`] follow it.
///
/// A chunk is never empty, because an empty chunk ends the body.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    /// Filled from the end.
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHeader {
    /// Creates the size line of a chunk with `size` bytes.
    #[inline]
    pub fn new(size: NonZeroU64) -> Self {
        let mut bytes = *b"0000000000000000\r\n";
        let mut start = 16;
        let mut rest = size.get();
        while rest > 0 {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[(rest & 0xf) as usize];
            rest >>= 4;
        }
        Self { bytes, start: start as u8 }
    }
}

impl Deref for ChunkHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }
}

/// Why a message cannot be encoded. The caller's input is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The method is not a token.
    Method,
    /// The target is empty, or contains white space or a control character.
    Target,
    /// The target of CONNECT is not a host and a port.
    ConnectTarget,
    /// `Host` is missing, repeated or invalid.
    Host(HostError),
    /// The name of a field is not a token.
    FieldName(Box<[u8]>),
    /// The value of the named field contains CR, LF, NUL or another control character.
    FieldValue(Box<[u8]>),
    /// The named field frames the message. Only the `BodyLength` argument may set it.
    FramingField(Box<[u8]>),
    /// This message cannot have a body of that length; see RFC 9112 §6.
    BodyLength,
    /// A response with this status has no body, but one was given.
    BodyOfStatus(StatusCode),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("the method is not a token"),
            Self::Target => {
                f.write_str("the request target is empty, or contains white space or a control character")
            }
            Self::ConnectTarget => f.write_str("the target of CONNECT is not a host and a port"),
            Self::Host(error) => error.fmt(f),
            Self::FieldName(name) => write!(f, "field name \"{}\" is not a token", name.escape_ascii()),
            Self::FieldValue(name) => {
                write!(f, "the value of field \"{}\" contains a control character", name.escape_ascii())
            }
            Self::FramingField(name) => {
                write!(f, "field \"{}\" is set by the body and must not be given", name.escape_ascii())
            }
            Self::BodyLength => f.write_str("this message cannot have a body of that kind of length"),
            Self::BodyOfStatus(status) => write!(f, "status {} cannot have a body", status.as_str()),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Runs `write`. If it fails, removes what it appended.
fn transaction(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let before = out.len();
    write(out).inspect_err(|_| out.truncate(before))
}

fn version_bytes(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
    }
}

/// Checks whether a user may send this field, in any version of HTTP.
///
/// # Errors
/// The name is not a token, the value contains a control character, or the field frames the message.
#[inline]
pub fn check_field(name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err(EncodeError::FieldName(name.into()));
    }
    if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding") {
        return Err(EncodeError::FramingField(name.into()));
    }
    if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(EncodeError::FieldValue(name.into()));
    }
    Ok(())
}

fn push_fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    fields: impl IntoIterator<Item = (N, V)>,
) -> Result<(), EncodeError> {
    for (name, value) in fields {
        let (name, value) = (name.as_ref(), value.as_ref());
        check_field(name, value)?;
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// Appends the framing field and the empty line that ends the head.
fn push_body_length(out: &mut Vec<u8>, body: BodyLength) {
    match body {
        BodyLength::None | BodyLength::UntilClose => out.extend_from_slice(b"\r\n"),
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        BodyLength::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
}

fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_FIELDS: [(&str, &str); 0] = [];

    fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<Vec<u8>, EncodeError> {
        let mut out = b"before".to_vec();
        let written = encode_request_head(
            &mut out,
            method,
            target,
            Version::Http11,
            [("Host", "a")].into_iter().chain(fields.iter().copied()),
            BodyLength::None,
        );
        if written.is_err() {
            assert_eq!(out, b"before", "a failed head leaves nothing behind");
        }
        written.map(|()| out)
    }

    #[test]
    fn the_framing_field_follows_from_the_length() {
        let bodies = [
            (BodyLength::None, ""),
            (BodyLength::Length(0), "Content-Length: 0\r\n"),
            (BodyLength::Length(u64::MAX), "Content-Length: 18446744073709551615\r\n"),
            (BodyLength::Chunked, "Transfer-Encoding: chunked\r\n"),
        ];
        for (body, line) in bodies {
            let mut out = Vec::new();
            encode_request_head(&mut out, "PUT", "*", Version::Http11, [("Host", "b")], body).unwrap();
            assert_eq!(out, format!("PUT * HTTP/1.1\r\nHost: b\r\n{line}\r\n").as_bytes());
            let mut out = Vec::new();
            encode_response_head(&mut out, StatusCode::OK, Version::Http11, NO_FIELDS, body).unwrap();
            assert_eq!(out, format!("HTTP/1.1 200 OK\r\n{line}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_status_without_a_known_reason_keeps_the_space() {
        let mut out = Vec::new();
        let status = StatusCode::from_u16(599).unwrap();
        encode_response_head(&mut out, status, Version::Http10, NO_FIELDS, BodyLength::UntilClose).unwrap();
        assert_eq!(out, b"HTTP/1.0 599 \r\n\r\n");
    }

    #[test]
    fn nothing_is_smuggled_into_a_head() {
        for method in ["", "GET ", "G\r\nT", "G\0T", "G:T"] {
            assert_eq!(request(method, "/", &[]), Err(EncodeError::Method), "{method:?}");
        }
        for target in ["", "/ HTTP/1.1\r\nA: b", "/\n", "/\0", "/\t", "/\x7f"] {
            assert_eq!(request("GET", target, &[]), Err(EncodeError::Target), "{target:?}");
        }
        for name in ["", "A ", "A:", "A\r\nB", "\u{e4}"] {
            let expected = EncodeError::FieldName(name.as_bytes().into());
            assert_eq!(request("GET", "/", &[("Ok", "1"), (name, "v")]), Err(expected), "{name:?}");
        }
        for value in ["a\r\nB: c", "a\nb", "a\rb", "a\0b", "\x1b[2J", "\x7f"] {
            let expected = EncodeError::FieldValue(b"X-Name".as_slice().into());
            assert_eq!(request("GET", "/", &[("X-Name", value)]), Err(expected), "{value:?}");
        }
        for name in ["Content-Length", "transfer-encoding"] {
            let expected = EncodeError::FramingField(name.as_bytes().into());
            assert_eq!(request("GET", "/", &[(name, "0")]), Err(expected));
        }
        assert!(request("GET", "/", &[("A", "tab\tand \u{e4}")]).is_ok());
    }

    #[test]
    fn exactly_one_host_is_required() {
        let heads = [
            (Version::Http11, &[][..], Err(HostError::Missing)),
            (Version::Http10, &[], Ok(())),
            (Version::Http11, &[("host", "")], Ok(())),
            (Version::Http11, &[("Host", "a:80")], Ok(())),
            (Version::Http11, &[("Host", "a b")], Err(HostError::Invalid)),
            (Version::Http11, &[("Host", "user@a")], Err(HostError::Invalid)),
            (Version::Http10, &[("Host", "a/b")], Err(HostError::Invalid)),
            (Version::Http11, &[("Host", "a"), ("X", "y"), ("HOST", "a")], Err(HostError::Repeated)),
            (Version::Http10, &[("Host", "a"), ("Host", "b")], Err(HostError::Repeated)),
        ];
        for (version, fields, expected) in heads {
            let mut out = Vec::new();
            let fields = fields.iter().copied();
            let written =
                encode_request_head(&mut out, "GET", "/", version, fields.clone(), BodyLength::None);
            assert_eq!(written, expected.map_err(EncodeError::Host), "{version:?} {fields:?}");
            assert_eq!(out.is_empty(), expected.is_err());
        }
        for target in ["h:80", "[::1]:443"] {
            assert!(request("CONNECT", target, &[]).is_ok());
        }
        for target in ["/", "h", "h:", "user@h:80", ":80", "http://h:80"] {
            assert_eq!(request("CONNECT", target, &[]), Err(EncodeError::ConnectTarget), "{target}");
        }
    }

    #[test]
    fn the_error_names_the_field() {
        let error = request("GET", "/", &[("X-Name", "a\nb")]).unwrap_err();
        assert_eq!(error.to_string(), "the value of field \"X-Name\" contains a control character");
    }

    #[test]
    fn a_length_that_the_message_cannot_have_is_refused() {
        let request =
            |version, body| encode_request_head(&mut Vec::new(), "PUT", "/", version, NO_FIELDS, body);
        assert_eq!(request(Version::Http11, BodyLength::UntilClose), Err(EncodeError::BodyLength));
        assert_eq!(request(Version::Http10, BodyLength::Chunked), Err(EncodeError::BodyLength));
        let response =
            |status, version, body| encode_response_head(&mut Vec::new(), status, version, NO_FIELDS, body);
        for status in [StatusCode::NO_CONTENT, StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS] {
            assert_eq!(
                response(status, Version::Http11, BodyLength::Length(0)),
                Err(EncodeError::BodyOfStatus(status))
            );
            assert_eq!(response(status, Version::Http11, BodyLength::None), Ok(()));
        }
        assert_eq!(response(StatusCode::NOT_MODIFIED, Version::Http11, BodyLength::Length(5)), Ok(()));
        assert_eq!(
            response(StatusCode::OK, Version::Http10, BodyLength::Chunked),
            Err(EncodeError::BodyLength)
        );
    }

    #[test]
    fn chunk_headers_are_hexadecimal_without_leading_zeros() {
        let header = |size| ChunkHeader::new(NonZeroU64::new(size).unwrap()).to_vec();
        assert_eq!(header(1), b"1\r\n");
        assert_eq!(header(0x1a2b), b"1a2b\r\n");
        assert_eq!(header(0x10), b"10\r\n");
        assert_eq!(header(u64::MAX), b"ffffffffffffffff\r\n");
    }

    #[test]
    fn the_last_chunk_carries_the_trailers() {
        let mut out = Vec::new();
        encode_last_chunk(&mut out, NO_FIELDS).unwrap();
        assert_eq!(out, LAST_CHUNK);
        encode_last_chunk(&mut out, [("Digest", "x")]).unwrap();
        assert_eq!(&out[LAST_CHUNK.len()..], b"0\r\nDigest: x\r\n\r\n");
        assert_eq!(
            encode_last_chunk(&mut out, [("Content-Length", "1")]),
            Err(EncodeError::FramingField(b"Content-Length".as_slice().into()))
        );
    }
}
