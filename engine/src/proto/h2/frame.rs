//! Frame headers, and the frames that consist of little more (RFC 9113 §4.1, §6). What a frame means is the codec's matter.

use super::error_code::ErrorCode;

/// What a client's connection begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Size of a frame's header.
pub const FRAME_HEADER_SIZE: usize = 9;

/// The flag of DATA and HEADERS that ends the sender's side of a stream.
pub(super) const END_STREAM: u8 = 0x1;
/// The flag of SETTINGS and PING that answers one.
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

/// The type of a frame (RFC 9113 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A piece of a body.
    Data,
    /// The beginning of a header block.
    Headers,
    /// A priority signal of RFC 7540, which is ignored.
    Priority,
    /// The end of a stream before its time.
    RstStream,
    /// What the sender accepts.
    Settings,
    /// A request that the server announces on its own.
    PushPromise,
    /// A sign of life.
    Ping,
    /// The end of the connection.
    GoAway,
    /// Room for more DATA.
    WindowUpdate,
    /// More of a header block.
    Continuation,
    /// Any other type. RFC 9113 §5.5 demands to ignore it.
    Unknown(u8),
}

impl FrameKind {
    #[inline]
    fn of(code: u8) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }

    #[inline]
    fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::RstStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown(other) => other,
        }
    }
}

impl std::fmt::Display for FrameKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Data => "DATA",
            Self::Headers => "HEADERS",
            Self::Priority => "PRIORITY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::PushPromise => "PUSH_PROMISE",
            Self::Ping => "PING",
            Self::GoAway => "GOAWAY",
            Self::WindowUpdate => "WINDOW_UPDATE",
            Self::Continuation => "CONTINUATION",
            Self::Unknown(code) => return write!(f, "frame of type {code}"),
        })
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Size of the payload, up to 2²⁴ − 1.
    pub size: u32,
    /// The type.
    pub kind: FrameKind,
    /// The flags. Their meaning depends on the type.
    pub flags: u8,
    /// The stream that the frame belongs to; 0 is the connection.
    pub stream_id: u32,
}

impl FrameHeader {
    /// Reads a header.
    #[inline]
    pub fn read(bytes: &[u8; FRAME_HEADER_SIZE]) -> Self {
        let [size_high, size_middle, size_low, kind, flags, id @ ..] = *bytes;
        Self {
            size: u32::from_be_bytes([0, size_high, size_middle, size_low]),
            kind: FrameKind::of(kind),
            flags,
            // RFC 9113 §4.1: the highest bit is reserved and ignored.
            stream_id: u32::from_be_bytes(id) & super::limits::STREAM_ID_MAX,
        }
    }

    /// Returns the encoded header.
    #[inline]
    pub fn encode(self) -> [u8; FRAME_HEADER_SIZE] {
        let mut bytes = [0; FRAME_HEADER_SIZE];
        bytes[..3].copy_from_slice(&self.size.to_be_bytes()[1..]);
        bytes[3] = self.kind.code();
        bytes[4] = self.flags;
        bytes[5..].copy_from_slice(&self.stream_id.to_be_bytes());
        bytes
    }
}

/// Appends a frame.
pub(super) fn push(out: &mut Vec<u8>, kind: FrameKind, flags: u8, stream_id: u32, payload: &[u8]) {
    out.extend_from_slice(&FrameHeader { size: payload.len() as u32, kind, flags, stream_id }.encode());
    out.extend_from_slice(payload);
}

/// Appends the frames of a header block: HEADERS, and CONTINUATION if it does not fit into one frame of `size_max` bytes.
#[inline]
pub(super) fn push_block(out: &mut Vec<u8>, block: &[u8], ends: bool, stream_id: u32, size_max: u32) {
    let flags = if ends { END_STREAM } else { 0 };
    if block.len() <= size_max as usize {
        return push(out, FrameKind::Headers, flags | END_HEADERS, stream_id, block);
    }
    let (first, rest) = block.split_at(size_max as usize);
    push(out, FrameKind::Headers, flags, stream_id, first);
    let mut pieces = rest.chunks(size_max as usize).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        push(out, FrameKind::Continuation, flags, stream_id, piece);
    }
}

pub(super) fn push_window_update(out: &mut Vec<u8>, stream_id: u32, increment: u32) {
    push(out, FrameKind::WindowUpdate, 0, stream_id, &increment.to_be_bytes());
}

pub(super) fn push_reset(out: &mut Vec<u8>, stream_id: u32, code: ErrorCode) {
    push(out, FrameKind::RstStream, 0, stream_id, &code.0.to_be_bytes());
}

pub(super) fn push_go_away(out: &mut Vec<u8>, last_stream_id: u32, code: ErrorCode, debug: &[u8]) {
    let size = 8 + debug.len() as u32;
    out.extend_from_slice(&FrameHeader { size, kind: FrameKind::GoAway, flags: 0, stream_id: 0 }.encode());
    out.extend_from_slice(&last_stream_id.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug);
}
