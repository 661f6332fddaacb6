//! Heads and chunk framing, appended to a buffer.
//!
//! What the caller gives is checked byte by byte, as a CR or LF inside it would be a field, or a message, of its own to
//! the peer. The fields that frame a message are written here and nowhere else.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;

use http::StatusCode;

use super::framing::{BodyLength, is_token};
use super::head::Version;

/// What follows the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk with an empty trailer section: the end of a chunked body. See [`encode_last_chunk`].
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the head of a request. `fields` are written as they are, in order; `Host` is among them.
///
/// `body` says which framing field is added: none for `None`, `Content-Length` for `Length`, also for 0, and
/// `Transfer-Encoding: chunked` for `Chunked`.
///
/// # Errors
/// See [`EncodeError`]. Nothing is appended.
///
/// # Example
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
    if body == BodyLength::UntilClose || (body == BodyLength::Chunked && version == Version::Http10) {
        return Err(EncodeError::BodyLength);
    }
    transaction(out, |out| {
        out.extend_from_slice(method);
        out.push(b' ');
        out.extend_from_slice(target);
        out.push(b' ');
        out.extend_from_slice(version_bytes(version));
        out.extend_from_slice(b"\r\n");
        push_fields(out, fields)?;
        push_body_length(out, body);
        Ok(())
    })
}

/// Appends the head of a response, with the usual reason for `status`. `fields` are written as they are, in order.
///
/// `body` says which framing field is added: none for `None` and `UntilClose` (the caller adds `Connection: close` to the
/// latter), `Content-Length` for `Length`, also for 0, and `Transfer-Encoding: chunked` for `Chunked`. A response to HEAD,
/// and 304, may have the field of the body that is not sent.
///
/// # Errors
/// See [`EncodeError`]. Nothing is appended.
pub fn encode_response_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    status: StatusCode,
    version: Version,
    fields: impl IntoIterator<Item = (N, V)>,
    body: BodyLength,
) -> Result<(), EncodeError> {
    // RFC 9110 §8.6, RFC 9112 §6.1: neither field in 1xx and 204; and an HTTP/1.0 client knows no chunks.
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    if (bodiless && body != BodyLength::None) || (body == BodyLength::Chunked && version == Version::Http10) {
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

/// Appends the last chunk and the trailer fields: the end of a chunked body.
///
/// # Errors
/// See [`EncodeError`]. Nothing is appended.
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

/// The size line of a chunk; its data and [`CHUNK_END`] follow. Derefs to the bytes.
///
/// A chunk is never empty, as an empty one would end the body.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    /// Written from the end.
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHeader {
    /// The line for a chunk of `size` bytes.
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

/// What cannot be written. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The method is not a token.
    Method,
    /// The target is empty, or holds white space or a control character.
    Target,
    /// The name of a field is not a token.
    FieldName(Box<[u8]>),
    /// The value of the named field holds CR, LF, NUL or another control character.
    FieldValue(Box<[u8]>),
    /// The named field frames the message, and only `BodyLength` says that.
    FramingField(Box<[u8]>),
    /// This message cannot have a body of that length: see RFC 9112 §6.
    BodyLength,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("the method is not a token"),
            Self::Target => {
                f.write_str("the request target is empty, or holds white space or a control character")
            }
            Self::FieldName(name) => write!(f, "field name \"{}\" is not a token", name.escape_ascii()),
            Self::FieldValue(name) => {
                write!(f, "the value of field \"{}\" holds a control character", name.escape_ascii())
            }
            Self::FramingField(name) => {
                write!(f, "field \"{}\" follows from the body and is not given", name.escape_ascii())
            }
            Self::BodyLength => f.write_str("this message cannot have a body of that kind of length"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Takes back what `write` has appended when it fails.
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

fn push_fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    fields: impl IntoIterator<Item = (N, V)>,
) -> Result<(), EncodeError> {
    for (name, value) in fields {
        let (name, value) = (name.as_ref(), value.as_ref());
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(EncodeError::FieldName(name.into()));
        }
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(EncodeError::FramingField(name.into()));
        }
        if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(EncodeError::FieldValue(name.into()));
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// The framing field, and the empty line that ends the head.
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
