//! What can be wrong: with a connection, and with one of its streams (RFC 9113 §5.4).

use std::fmt;

use super::error_code::ErrorCode;
use super::frame::FrameKind;
use super::head::HeadError;
use super::{hpack, settings};

/// The peer has broken the rules in a way that ends the connection.
///
/// The codec has put the GOAWAY for it into its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// HEADERS on a stream that the peer has left out when it opened a later one.
    SkippedStream {
        /// The stream.
        stream_id: u32,
    },
    /// The peer has not acknowledged our SETTINGS in time.
    SettingsTimeout,
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
            | Self::SkippedStream { .. }
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
            Self::SettingsTimeout => ErrorCode::SETTINGS_TIMEOUT,
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
            Self::SkippedStream { stream_id } => {
                write!(f, "a HEADERS on stream {stream_id}, after a later stream has begun")
            }
            Self::SettingsTimeout => f.write_str("SETTINGS were not acknowledged in time"),
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
        }
    }
}
