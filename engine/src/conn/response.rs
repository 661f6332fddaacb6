//! Response heads of a server, and responses that are encoded once and sent many times.

use bytes::Bytes;
use http::StatusCode;

use super::date::push_date;
use crate::error::RequestError;
use crate::proto::h1::{self, BodyLength, EncodeError, Version};

/// Where the status stands in a status line.
const STATUS_OFFSET: usize = b"HTTP/1.1 ".len();

/// A response encoded once: status, fields and body, without `Date` and `Connection`.
///
/// Clones share the bytes.
///
/// ```
/// use ringtide::http::StatusCode;
/// use ringtide::server::PreparedResponse;
///
/// let hello = PreparedResponse::new(StatusCode::OK, [("Content-Type", "text/plain")], "hello world\n")?;
/// # Ok::<(), ringtide::error::RequestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PreparedResponse {
    /// Without the final empty line.
    head: Bytes,
    body: Bytes,
}

impl PreparedResponse {
    /// Encodes a response.
    ///
    /// `Content-Length` is the size of `body`. Responses with status 204 or 304 have no such field.
    ///
    /// # Errors
    /// [`RequestError::Head`] in these cases:
    /// - A field has bytes that the peer could read as something else, or it sets the message's framing.
    /// - `body` is not empty but the status allows none (204, 205, 304).
    /// - The status is an interim one (1xx).
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        status: StatusCode,
        fields: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
    ) -> Result<Self, RequestError> {
        let body = body.into();
        let length = length_of(status, body.len()).map_err(RequestError::Head)?;
        let mut head = Vec::new();
        encode_open_head(&mut head, status, fields, length).map_err(RequestError::Head)?;
        Ok(Self { head: head.into(), body })
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the status line and the fields, as HTTP/1.1 has them.
    #[inline]
    pub(super) fn head(&self) -> &Bytes {
        &self.head
    }

    /// Returns the digits of the status.
    pub(super) fn status_bytes(&self) -> &[u8] {
        &self.head[STATUS_OFFSET..STATUS_OFFSET + 3]
    }

    /// Returns the fields, `Content-Length` included.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let end = memchr::memchr(b':', line)?;
            Some((&line[..end], line[end + 1..].trim_ascii()))
        })
    }

    #[inline]
    pub(super) fn encode_head(&self, out: &mut Vec<u8>, ending: Ending) {
        out.extend_from_slice(&self.head);
        ending.encode(out);
    }
}

/// Returns how the length of a whole body of `size` bytes is delimited.
pub(super) fn length_of(status: StatusCode, size: usize) -> Result<BodyLength, EncodeError> {
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5.
    match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT if size > 0 => {
            Err(EncodeError::BodyOfStatus(status))
        }
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Ok(BodyLength::None),
        _ => Ok(BodyLength::Length(size as u64)),
    }
}

/// Appends a head.
pub(super) fn encode_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: impl IntoIterator<Item = (N, V)>,
    length: BodyLength,
    ending: Ending,
) -> Result<(), EncodeError> {
    encode_open_head(out, status, fields, length)?;
    ending.encode(out);
    Ok(())
}

/// Appends a head without the final empty line.
fn encode_open_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: impl IntoIterator<Item = (N, V)>,
    length: BodyLength,
) -> Result<(), EncodeError> {
    // RFC 9110 §2.5: the server sends its own version, even to a client of an earlier one.
    h1::encode_response_head(out, status, Version::Http11, fields, length)?;
    out.truncate(out.len() - b"\r\n".len());
    Ok(())
}

/// The end of every head: the date, the persistence of the connection, and the empty line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) now_ns: u64,
    pub(super) persistence: Persistence,
}

/// What a response announces about the connection (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It persists, which is the default of HTTP/1.1.
    Implied,
    /// It persists, which an HTTP/1.0 client must be told.
    Stated,
    /// This response is the last.
    Close,
    /// Another protocol follows.
    Upgrade,
}

impl Ending {
    #[inline]
    fn encode(self, out: &mut Vec<u8>) {
        push_date(out, self.now_ns);
        out.extend_from_slice(match self.persistence {
            Persistence::Implied => b"\r\n",
            Persistence::Stated => b"Connection: keep-alive\r\n\r\n",
            Persistence::Close => b"Connection: close\r\n\r\n",
            Persistence::Upgrade => b"Connection: upgrade\r\n\r\n",
        });
    }
}
