//! What can be wrong: with a connection, and with one of its streams (RFC 9113 §5.4, §7).

use std::fmt;

use super::frame::FrameKind;
use super::head::HeadError;
use super::{hpack, settings};

/// An error code, as it stands in RST_STREAM and GOAWAY (RFC 9113 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Not an error: a graceful end.
    pub const NO_ERROR: Self = Self(0x0);
    /// Something that the protocol forbids, and that no other code names.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// The sender failed.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// More bytes than a window allows.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame on a stream that has ended.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of a wrong size.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The stream was not processed.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is not needed any more.
    pub const CANCEL: Self = Self(0x8);
    /// The compression state cannot be maintained.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The connection made for a CONNECT has failed.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer does too much of something.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// HTTP/1.1 is wanted.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// Returns the name in RFC 9113, or `None` for an unknown code.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The peer has broken the rules in a way that ends the connection.
///
/// The codec has put the GOAWAY for it into its output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer does not speak HTTP/2: its first bytes are not the preface, or its first frame is not SETTINGS.
    Preface,
    /// A frame is larger than allowed, or its size is not the one of its type.
    FrameSize {
        /// The type of the frame.
        kind: FrameKind,
        /// The size of its payload.
        size: u32,
    },
    /// A frame of the connection names a stream, or one of a stream names none.
    StreamId {
        /// The type of the frame.
        kind: FrameKind,
        /// The stream that it names.
        stream_id: u32,
    },
    /// A frame on a stream that has not begun, or one that only the other side may open.
    IdleStream {
        /// The type of the frame.
        kind: FrameKind,
        /// The stream that it names.
        stream_id: u32,
    },
    /// A frame on a stream that has ended.
    ClosedStream {
        /// The type of the frame.
        kind: FrameKind,
        /// The stream that it names.
        stream_id: u32,
    },
    /// A frame has more padding than payload.
    Padding,
    /// A header block was interrupted by another frame, or continued without having begun.
    Continuation(FrameKind),
    /// A header block has too many bytes or too many frames.
    HeaderBlockTooLarge,
    /// A header block cannot be decompressed.
    Compression(hpack::Error),
    /// A setting has a value that it may not have.
    Setting {
        /// The setting.
        id: u16,
        /// Its value.
        value: u32,
    },
    /// The peer has sent more than the window of the connection allows.
    WindowExceeded,
    /// The peer has enlarged a window beyond its maximum.
    WindowOverflow,
    /// The peer has enlarged the window of the connection by nothing.
    WindowIncrementZero,
    /// The peer has pushed a response although push is disabled.
    PushPromise,
    /// The peer does too much of something.
    Flood(Flood),
    /// The stream of bytes has ended in the middle of a frame.
    Incomplete,
}

/// What a peer does too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Streams that it resets, or makes this side reset.
    Resets,
    /// Frames that ask for work and bring nothing.
    IdleFrames,
}

impl Error {
    /// Returns the code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Preface
            | Self::StreamId { .. }
            | Self::IdleStream { .. }
            | Self::Padding
            | Self::Continuation(_)
            | Self::WindowIncrementZero
            | Self::PushPromise
            | Self::Incomplete => ErrorCode::PROTOCOL_ERROR,
            Self::Setting { id, .. } => {
                if settings::is_about_windows(*id) {
                    ErrorCode::FLOW_CONTROL_ERROR
                } else {
                    ErrorCode::PROTOCOL_ERROR
                }
            }
            Self::FrameSize { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::ClosedStream { .. } => ErrorCode::STREAM_CLOSED,
            Self::HeaderBlockTooLarge | Self::Flood(_) => ErrorCode::ENHANCE_YOUR_CALM,
            Self::Compression(_) => ErrorCode::COMPRESSION_ERROR,
            Self::WindowExceeded | Self::WindowOverflow => ErrorCode::FLOW_CONTROL_ERROR,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preface => f.write_str("the peer does not speak HTTP/2"),
            Self::FrameSize { kind, size } => write!(f, "a {kind} of {size} bytes"),
            Self::StreamId { kind, stream_id } => write!(f, "a {kind} on stream {stream_id}"),
            Self::IdleStream { kind, stream_id } => {
                write!(f, "a {kind} on stream {stream_id}, which has not begun")
            }
            Self::ClosedStream { kind, stream_id } => {
                write!(f, "a {kind} on stream {stream_id}, which has ended")
            }
            Self::Padding => f.write_str("a frame with more padding than payload"),
            Self::Continuation(kind) => write!(f, "a {kind} where a header block does not allow it"),
            Self::HeaderBlockTooLarge => f.write_str("a header block that is too large"),
            Self::Compression(error) => write!(f, "a header block that cannot be decompressed: {error}"),
            Self::Setting { id, value } => write!(f, "the setting {id} with the value {value}"),
            Self::WindowExceeded => f.write_str("more data than the connection's window allows"),
            Self::WindowOverflow => f.write_str("a window of more than 2³¹ − 1 bytes"),
            Self::WindowIncrementZero => f.write_str("a WINDOW_UPDATE by 0"),
            Self::PushPromise => f.write_str("a PUSH_PROMISE although push is disabled"),
            Self::Flood(Flood::Resets) => f.write_str("too many streams that were reset"),
            Self::Flood(Flood::IdleFrames) => f.write_str("too many frames without use"),
            Self::Incomplete => f.write_str("the connection ended in the middle of a frame"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compression(error) => Some(error),
            _ => None,
        }
    }
}

/// How a stream ended before its time. The connection lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReset {
    /// The code in RST_STREAM, or in the GOAWAY that excluded the stream.
    pub code: ErrorCode,
    /// Who or what ended it.
    pub cause: ResetCause,
}

/// Who or what ended a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The peer, by RST_STREAM.
    Peer,
    /// The peer, by a GOAWAY that excludes the stream.
    GoAway,
    /// This side, because the peer broke the rules on this stream.
    Fault(StreamFault),
}

impl StreamReset {
    /// Returns whether the peer guarantees that it has not processed the request, so that it may be sent again, even if it is
    /// not idempotent (RFC 9113 §8.7).
    pub fn is_unprocessed(&self) -> bool {
        match self.cause {
            ResetCause::GoAway => true,
            ResetCause::Peer => self.code == ErrorCode::REFUSED_STREAM,
            ResetCause::Fault(_) => false,
        }
    }
}

impl fmt::Display for StreamReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            ResetCause::Peer => write!(f, "the peer reset the stream ({})", self.code),
            ResetCause::GoAway => {
                write!(f, "the peer closes the connection and excludes the stream ({})", self.code)
            }
            ResetCause::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for StreamReset {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            ResetCause::Fault(StreamFault::Head(error)) => Some(error),
            _ => None,
        }
    }
}

/// A rule that the peer broke on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamFault {
    /// The head or the trailers are malformed (RFC 9113 §8.1.1).
    Head(HeadError),
    /// The head or the trailers are larger than allowed.
    HeadTooLarge,
    /// The body is not as long as `Content-Length` says.
    ContentLength,
    /// A body came before its head, or trailers did not end the stream.
    Sequence,
    /// Too many interim responses, one that ended the stream, or 101.
    Informational,
    /// More data than the window of the stream allows.
    WindowExceeded,
    /// The peer has enlarged the window of the stream beyond its maximum.
    WindowOverflow,
    /// The peer has enlarged the window of the stream by nothing.
    WindowIncrementZero,
    /// A frame of a wrong size.
    FrameSize,
    /// A frame after the end of the peer's side.
    AfterEnd,
    /// The peer has opened more streams than it may.
    TooManyStreams,
}

impl StreamFault {
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Head(_)
            | Self::ContentLength
            | Self::Sequence
            | Self::Informational
            | Self::WindowIncrementZero => ErrorCode::PROTOCOL_ERROR,
            Self::HeadTooLarge => ErrorCode::ENHANCE_YOUR_CALM,
            Self::WindowExceeded | Self::WindowOverflow => ErrorCode::FLOW_CONTROL_ERROR,
            Self::FrameSize => ErrorCode::FRAME_SIZE_ERROR,
            Self::AfterEnd => ErrorCode::STREAM_CLOSED,
            Self::TooManyStreams => ErrorCode::REFUSED_STREAM,
        }
    }
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::HeadTooLarge => f.write_str("the header fields are larger than allowed"),
            Self::ContentLength => f.write_str("the body is not as long as Content-Length says"),
            Self::Sequence => f.write_str("a body before its head, or trailers that do not end the stream"),
            Self::Informational => f.write_str("too many interim responses, or one that is not allowed"),
            Self::WindowExceeded => f.write_str("more data than the window of the stream allows"),
            Self::WindowOverflow => f.write_str("a window of more than 2³¹ − 1 bytes"),
            Self::WindowIncrementZero => f.write_str("a WINDOW_UPDATE by 0"),
            Self::FrameSize => f.write_str("a frame of a wrong size"),
            Self::AfterEnd => f.write_str("a frame after the end of the stream"),
            Self::TooManyStreams => f.write_str("more streams at once than allowed"),
        }
    }
}
