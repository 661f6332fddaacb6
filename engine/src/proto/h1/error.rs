//! What can be wrong with received bytes, named by the place that is at fault.
//!
//! Offsets count from the first byte of the part that the text names, and are the same however the bytes were cut.

use std::fmt;

use http::StatusCode;

use super::limits::EMPTY_LINES_MAX;

/// Why a codec cannot go on. The peer is at fault in all cases but [`Error::Failed`].
///
/// The codec that gave an error has failed for good: where the next message begins is unknown, so the connection is to
/// be closed. All events that it gave before stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A head that is not HTTP.
    Head(SyntaxError),
    /// A trailer section that is not HTTP.
    Trailers(SyntaxError),
    /// A request whose host is not clear.
    Host(HostError),
    /// A message whose end cannot be told, or not safely.
    Framing(FramingError),
    /// Broken chunk framing.
    Chunk(ChunkError),
    /// More than the [`Limits`](super::Limits) allow.
    Limit(LimitExceeded),
    /// The stream has ended too early.
    Incomplete(Incomplete),
    /// Bytes where none were expected: a response that nobody asked for, or anything after the last message.
    UnexpectedBytes,
    /// The codec has been used after an error.
    Failed,
}

impl Error {
    /// The status with which a server answers before it closes the connection.
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

/// A byte that the grammar of a head or a trailer section does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The part that the byte is in.
    pub part: SyntaxPart,
    /// Where the byte is.
    pub offset: u32,
}

/// The parts of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxPart {
    /// The status code or the reason.
    StatusLine,
    /// The method or the target.
    RequestLine,
    /// The target does not have a form that its method may have (RFC 9112 §3.2).
    TargetForm,
    /// What should be an HTTP version is none.
    Version,
    /// An HTTP version other than 1.x.
    UnsupportedVersion,
    /// The end of a line.
    LineEnd,
    /// A line of a request that ends with LF alone.
    BareLf,
    /// The name of a field; also a field line that starts with white space: obsolete line folding in a request, or where there is no line to
    /// go on with.
    FieldName,
    /// The value of a field.
    FieldValue,
}

/// What is wrong with the `Host` of a request (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// An HTTP/1.1 request has none.
    Missing,
    /// There is more than one.
    Repeated,
    /// It is not a host with or without a port.
    Invalid,
}

/// What is wrong with the fields that tell where a message ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// `Content-Length` is not a plain decimal number.
    ContentLengthInvalid,
    /// `Content-Length` does not fit 64 bits.
    ContentLengthTooLarge,
    /// Several values of `Content-Length` that differ.
    ContentLengthsDiffer,
    /// A request with both `Transfer-Encoding` and `Content-Length`.
    TransferEncodingWithContentLength,
    /// `Transfer-Encoding` in an HTTP/1.0 request.
    TransferEncodingInHttp10,
    /// `Transfer-Encoding` is not a list of names, is empty, or has `chunked` twice.
    TransferEncodingInvalid,
    /// A request whose last transfer coding is not `chunked`.
    TransferEncodingNotChunked,
    /// A transfer coding besides `chunked`. Nothing here decodes one or asks for one (`TE`), so the body would not be what it is taken for.
    TransferEncodingUnsupported,
    /// `101 Switching Protocols` that was not asked for.
    UpgradeNotRequested,
}

/// A byte that chunk framing does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError {
    /// What is wrong.
    pub fault: ChunkFault,
    /// Where the byte is: in the chunk size line, from its first byte; after chunk data, from the end of that.
    pub offset: u32,
}

/// The ways in which chunk framing breaks (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkFault {
    /// The chunk size line begins with something else than a hexadecimal digit.
    SizeMissing,
    /// Something else than a digit, `;` or CRLF in the chunk size, or than `;` behind white space.
    SizeInvalid,
    /// More than 16 digits.
    SizeTooLarge,
    /// LF without CR in the chunk size line.
    LineBareLf,
    /// CR without LF in the chunk size line.
    LineBareCr,
    /// A control character in a chunk extension.
    ExtensionControl,
    /// The data of a chunk is not followed by CRLF.
    DataEnd,
    /// LF without CR in the trailer section; the offset counts from its first byte.
    TrailerBareLf,
}

/// The limit that was exceeded, and its value.
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

/// Where the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// Before any byte of the response that was expected.
    BeforeHead,
    /// Inside a head, or between an interim response and the final one.
    Head,
    /// Inside the body, its chunk framing and trailers included.
    Body {
        /// Bytes that the body should have; `None` when it is chunked.
        expected: Option<u64>,
        /// Bytes of it that arrived, without chunk framing.
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
            Self::Failed => f.write_str("the codec has failed before"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.part {
            SyntaxPart::StatusLine => "malformed status line",
            SyntaxPart::RequestLine => "malformed request line",
            SyntaxPart::TargetForm => "request target of a wrong form",
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
            Self::ContentLengthTooLarge => "Content-Length: does not fit 64 bits",
            Self::ContentLengthsDiffer => "Content-Length: several values that differ",
            Self::TransferEncodingWithContentLength => {
                "Transfer-Encoding: together with Content-Length in a request"
            }
            Self::TransferEncodingInHttp10 => "Transfer-Encoding: in an HTTP/1.0 request",
            Self::TransferEncodingInvalid => "Transfer-Encoding: not a list of transfer codings",
            Self::TransferEncodingNotChunked => {
                "Transfer-Encoding: chunked is not the last coding of a request"
            }
            Self::TransferEncodingUnsupported => "Transfer-Encoding: a coding besides chunked",
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
    fn a_server_is_told_the_status_to_answer_with() {
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
