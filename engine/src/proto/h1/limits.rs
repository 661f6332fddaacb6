//! What a peer may make the codec hold, look at or count. Every bound on hostile input is named here.

/// Bytes in a head, start line and final empty line included; the default of [`Limits::head_size_max`].
pub const HEAD_SIZE_MAX: u32 = 64 * 1024;

/// Field lines in a head, and in a trailer section; the default of [`Limits::header_count_max`].
pub const HEADER_COUNT_MAX: u16 = 100;

/// No [`Limits::header_count_max`] is taken to be above this: the parsed fields of one head lie on the stack.
pub const HEADER_COUNT_CEILING: u16 = 128;

/// Bytes in the request target; the default of [`Limits::target_size_max`]. RFC 9112 §3 recommends at least 8,000.
pub const TARGET_SIZE_MAX: u32 = 8 * 1024;

/// Bytes in all chunk extensions of a message; the default of [`Limits::chunk_extension_size_max`].
pub const CHUNK_EXTENSION_SIZE_MAX: u32 = 16 * 1024;

/// Bytes in a trailer section, final empty line included; the default of [`Limits::trailer_size_max`].
pub const TRAILER_SIZE_MAX: u32 = 16 * 1024;

/// Interim (1xx) responses before a final one; the default of [`Limits::informational_count_max`].
pub const INFORMATIONAL_COUNT_MAX: u16 = 16;

/// Empty lines that a server ignores before a request line (RFC 9112 §2.2 asks for "at least one").
pub const EMPTY_LINES_MAX: u8 = 4;

const _: () = assert!(HEADER_COUNT_MAX <= HEADER_COUNT_CEILING);
const _: () = assert!(TARGET_SIZE_MAX < HEAD_SIZE_MAX);
// RFC 9112 §3 recommends so much for a request line.
const _: () = assert!(TARGET_SIZE_MAX >= 8_000);

/// The bounds of one codec. Reaching one exactly is allowed; going beyond it is [`Error::Limit`](super::Error::Limit).
///
/// The first two also bound memory: a connection keeps at most `head_size_max` or `trailer_size_max` bytes for a codec
/// that says `NeedMore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a head, start line and final empty line included.
    pub head_size_max: u32,
    /// Bytes in a trailer section, final empty line included.
    pub trailer_size_max: u32,
    /// Field lines in a head, and in a trailer section; at most [`HEADER_COUNT_CEILING`].
    pub header_count_max: u16,
    /// Interim (1xx) responses before a final one. Counts for a client only.
    pub informational_count_max: u16,
    /// Bytes in the request target. Counts for a server only.
    pub target_size_max: u32,
    /// Bytes in the chunk extensions of a message, all together.
    pub chunk_extension_size_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_size_max: HEAD_SIZE_MAX,
            trailer_size_max: TRAILER_SIZE_MAX,
            header_count_max: HEADER_COUNT_MAX,
            informational_count_max: INFORMATIONAL_COUNT_MAX,
            target_size_max: TARGET_SIZE_MAX,
            chunk_extension_size_max: CHUNK_EXTENSION_SIZE_MAX,
        }
    }
}
