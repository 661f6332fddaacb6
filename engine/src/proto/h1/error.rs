//! The errors of the codecs. Each variant names the part of the message that is invalid.
//!
//! Offsets count from the first byte of that part. They do not depend on how the network split the bytes.

use std::fmt;

use http::StatusCode;

use super::limits::EMPTY_LINES_MAX;

/// Why a codec cannot continue. Except for [`Error::Failed`], the peer caused the error.
///
/// A codec that returned an error cannot be used again, because it does not know where the next message begins. The
/// caller closes the connection. Events that the codec returned before the error remain valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The head is not valid HTTP.
    Head(SyntaxError),
    /// The trailer section is not valid HTTP.
    Trailers(SyntaxError),
    /// The host of a request is missing, repeated or invalid.
    Host(HostError),
    /// The end of the message cannot be determined safely.
    Framing(FramingError),
    /// The chunk framing is invalid.
    Chunk(ChunkError),
    /// The message exceeds one of the [`Limits`](super::Limits).
    Limit(LimitExceeded),
    /// The stream ended in the middle of a message.
    Incomplete(Incomplete),
    /// Bytes arrived although no message was expected: a response without a request, or anything after the last
    /// message.
    UnexpectedBytes,
    /// The codec was used again after an error.
    Failed,
}

impl Error {
    /// Returns the status that a server responds with before it closes the connection.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(SyntaxError { part: SyntaxPart::UnsupportedVersion, .. }) => {
                StatusCode::HTTP_VERSION_NOT_SUPPORTED
            }
            // RFC 9112 §6.1: a transfer coding that the server does not understand.
            Self::Framing(FramingError::TransferEncodingUnsupported) => StatusCode::NOT_IMPLEMENTED,
            Self::Limit(limit) => limit.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A byte that is not allowed in a head or a trailer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The part that contains the byte.
    pub part: SyntaxPart,
    /// The position of the byte, counted from the start of the head or trailer section.
    pub offset: u32,
}

/// The parts of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxPart {
    /// The status code or the reason phrase.
    StatusLine,
    /// The method or the target.
    RequestLine,
    /// The target: its form is not allowed for the method (RFC 9112 §3.2).
    TargetForm,
    /// The HTTP version: it is malformed.
    Version,
    /// The HTTP version: it is not 1.x.
    UnsupportedVersion,
    /// The end of a line.
    LineEnd,
    /// The end of a line in a request: a bare LF.
    BareLf,
    /// The name of a field. This includes field lines that start with white space, in a request (obsolete line folding)
    /// or where no field line precedes them.
    FieldName,
    /// The value of a field.
    FieldValue,
}

/// What is wrong with the `Host` of a request (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// An HTTP/1.1 request has no `Host`.
    Missing,
    /// A request has more than one `Host`.
    Repeated,
    /// The value is not a host with an optional port.
    Invalid,
}

/// What is wrong with the fields that determine where a message ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// `Content-Length` is not a plain decimal number.
    ContentLengthInvalid,
    /// `Content-Length` does not fit into 64 bits.
    ContentLengthTooLarge,
    /// `Content-Length` has several values that differ.
    ContentLengthsDiffer,
    /// A request has both `Transfer-Encoding` and `Content-Length`.
    TransferEncodingWithContentLength,
    /// An HTTP/1.0 request has `Transfer-Encoding`.
    TransferEncodingInHttp10,
    /// `Transfer-Encoding` is empty, is not a list of names, or contains `chunked` twice.
    TransferEncodingInvalid,
    /// The last transfer coding of a request is not `chunked`.
    TransferEncodingNotChunked,
    /// The message has a transfer coding other than `chunked`. The codec decodes no other coding and never requests one
    /// (`TE`), so it could not return the actual body.
    TransferEncodingUnsupported,
    /// The server responded with `101 Switching Protocols`, but the request offered no other protocol.
    UpgradeNotRequested,
}

/// A byte that is not allowed in chunk framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError {
    /// What is wrong.
    pub fault: ChunkFault,
    /// The position of the byte. In a chunk size line it counts from the start of that line, after chunk data from the
    /// end of the data.
    pub offset: u32,
}

/// What is wrong with the chunk framing (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkFault {
    /// The chunk size line does not begin with a hexadecimal digit.
    SizeMissing,
    /// The chunk size contains an invalid byte, or white space after it is not followed by `;`.
    SizeInvalid,
    /// The chunk size has more than 16 digits.
    SizeTooLarge,
    /// The chunk size line contains LF without CR.
    LineBareLf,
    /// The chunk size line contains CR without LF.
    LineBareCr,
    /// A chunk extension contains a control character.
    ExtensionControl,
    /// The data of a chunk is not followed by CRLF.
    DataEnd,
    /// The trailer section contains LF without CR. The offset counts from the start of the section.
    TrailerBareLf,
}

/// The limit that was exceeded, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// Bytes in a head.
    HeadSize(u32),
    /// Bytes in a trailer section.
    TrailerSize(u32),
    /// Fields in a head or trailer section.
    HeaderCount(u16),
    /// Interim responses before a final one.
    InformationalCount(u16),
    /// Bytes in a request target.
    TargetSize(u32),
    /// Bytes in the chunk extensions of a message.
    ChunkExtensionSize(u32),
    /// Empty lines before a request.
    EmptyLines,
}

impl LimitExceeded {
    fn status(self) -> StatusCode {
        match self {
            Self::HeadSize(_) | Self::TrailerSize(_) | Self::HeaderCount(_) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::TargetSize(_) => StatusCode::URI_TOO_LONG,
            // RFC 9112 §7.1.1 asks for "an appropriate 4xx".
            Self::ChunkExtensionSize(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InformationalCount(_) | Self::EmptyLines => StatusCode::BAD_REQUEST,
        }
    }
}

/// Where in a message the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// Before the first byte of an expected response.
    BeforeHead,
    /// Inside a head, or between an interim response and the final one.
    Head,
    /// Inside a body, including its chunk framing and trailers.
    Body {
        /// The length of the body in bytes; `None` if it is chunked.
        expected: Option<u64>,
        /// The bytes of the body that arrived, without chunk framing.
        received: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "head: {error}"),
            Self::Trailers(error) => write!(f, "trailers: {error}"),
            Self::Host(error) => error.fmt(f),
            Self::Framing(error) => error.fmt(f),
            Self::Chunk(error) => error.fmt(f),
            Self::Limit(error) => error.fmt(f),
            Self::Incomplete(error) => error.fmt(f),
            Self::UnexpectedBytes => f.write_str("bytes where no message was expected"),
            Self::Failed => f.write_str("the codec has already failed"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.part {
            SyntaxPart::StatusLine => "malformed status line",
            SyntaxPart::RequestLine => "malformed request line",
            SyntaxPart::TargetForm => "invalid form of the request target",
            SyntaxPart::Version => "malformed HTTP version",
            SyntaxPart::UnsupportedVersion => "HTTP version other than 1.x",
            SyntaxPart::LineEnd => "malformed line end",
            SyntaxPart::BareLf => "bare LF",
            SyntaxPart::FieldName => "invalid byte in a field name",
            SyntaxPart::FieldValue => "invalid byte in a field value",
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Host: missing in an HTTP/1.1 request",
            Self::Repeated => "Host: more than one",
            Self::Invalid => "Host: not a host",
        })
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentLengthInvalid => "Content-Length: not a decimal number",
            Self::ContentLengthTooLarge => "Content-Length: does not fit into 64 bits",
            Self::ContentLengthsDiffer => "Content-Length: several values that differ",
            Self::TransferEncodingWithContentLength => {
                "Transfer-Encoding: together with Content-Length in a request"
            }
            Self::TransferEncodingInHttp10 => "Transfer-Encoding: in an HTTP/1.0 request",
            Self::TransferEncodingInvalid => "Transfer-Encoding: not a list of transfer codings",
            Self::TransferEncodingNotChunked => {
                "Transfer-Encoding: chunked is not the last coding of a request"
            }
            Self::TransferEncodingUnsupported => "Transfer-Encoding: a coding other than chunked",
            Self::UpgradeNotRequested => "status 101: no upgrade was requested",
        })
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            ChunkFault::SizeMissing => "chunk size line: no digit",
            ChunkFault::SizeInvalid => "chunk size line: invalid byte in the size",
            ChunkFault::SizeTooLarge => "chunk size line: more than 16 digits",
            ChunkFault::LineBareLf => "chunk size line: bare LF",
            ChunkFault::LineBareCr => "chunk size line: bare CR",
            ChunkFault::ExtensionControl => "chunk size line: control character in an extension",
            ChunkFault::DataEnd => "chunk data: not followed by CRLF",
            ChunkFault::TrailerBareLf => "trailers: bare LF",
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadSize(max) => write!(f, "head: more than {max} bytes"),
            Self::TrailerSize(max) => write!(f, "trailers: more than {max} bytes"),
            Self::HeaderCount(max) => write!(f, "fields: more than {max}"),
            Self::InformationalCount(max) => write!(f, "interim responses: more than {max}"),
            Self::TargetSize(max) => write!(f, "request target: more than {max} bytes"),
            Self::ChunkExtensionSize(max) => {
                write!(f, "chunk extensions: more than {max} bytes in a message")
            }
            Self::EmptyLines => write!(f, "empty lines before a request: more than {EMPTY_LINES_MAX}"),
        }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeHead => f.write_str("the stream ended before any byte of the response"),
            Self::Head => f.write_str("the stream ended inside a head"),
            Self::Body { expected: Some(expected), received } => {
                write!(f, "the stream ended inside the body: {received} of {expected} bytes received")
            }
            Self::Body { expected: None, received } => {
                write!(f, "the stream ended inside a chunked body: {received} bytes received")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_and_where() {
        let error = Error::Chunk(ChunkError { fault: ChunkFault::LineBareLf, offset: 3 });
        assert_eq!(error.to_string(), "chunk size line: bare LF at byte 3");
        let error = Error::Incomplete(Incomplete::Body { expected: Some(12), received: 5 });
        assert_eq!(error.to_string(), "the stream ended inside the body: 5 of 12 bytes received");
        let error = Error::Head(SyntaxError { part: SyntaxPart::FieldName, offset: 17 });
        assert_eq!(error.to_string(), "head: invalid byte in a field name at byte 17");
    }

    #[test]
    fn each_error_suggests_a_status() {
        let version = Error::Head(SyntaxError { part: SyntaxPart::UnsupportedVersion, offset: 0 });
        let cases = [
            (version, 505),
            (Error::Framing(FramingError::TransferEncodingUnsupported), 501),
            (Error::Framing(FramingError::TransferEncodingWithContentLength), 400),
            (Error::Limit(LimitExceeded::HeadSize(1)), 431),
            (Error::Limit(LimitExceeded::TargetSize(1)), 414),
            (Error::Limit(LimitExceeded::ChunkExtensionSize(1)), 413),
            (Error::Host(HostError::Missing), 400),
        ];
        for (error, status) in cases {
            assert_eq!(error.status(), status, "{error}");
        }
    }

    #[test]
    fn an_error_is_small_enough_to_be_returned_by_value() {
        assert!(size_of::<Error>() <= 32);
    }
}
