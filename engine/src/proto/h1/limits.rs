//! Limits on what a peer can make the codec store, scan or count. All bounds on hostile input are defined here.

/// The default of [`Limits::head_size_max`]: bytes in a head, including the start line and the final empty line.
pub const HEAD_SIZE_MAX: u32 = 64 * 1024;

/// The default of [`Limits::header_count_max`]: field lines in a head or in a trailer section.
pub const HEADER_COUNT_MAX: u16 = 100;

/// The upper bound of [`Limits::header_count_max`]; higher values count as this one. The parser keeps the fields of a
/// head on the stack.
pub const HEADER_COUNT_CEILING: u16 = 128;

/// The default of [`Limits::target_size_max`]: bytes in the request target. RFC 9112 §3 recommends at least 8,000.
pub const TARGET_SIZE_MAX: u32 = 8 * 1024;

/// The default of [`Limits::chunk_extension_size_max`]: bytes in all chunk extensions of a message.
pub const CHUNK_EXTENSION_SIZE_MAX: u32 = 16 * 1024;

/// The default of [`Limits::trailer_size_max`]: bytes in a trailer section, including the final empty line.
pub const TRAILER_SIZE_MAX: u32 = 16 * 1024;

/// The default of [`Limits::informational_count_max`]: interim (1xx) responses before a final one.
pub const INFORMATIONAL_COUNT_MAX: u16 = 16;

/// The number of empty lines that a server ignores before a request line. RFC 9112 §2.2 asks for "at least one".
pub const EMPTY_LINES_MAX: u8 = 4;

const _: () = assert!(HEADER_COUNT_MAX <= HEADER_COUNT_CEILING);
const _: () = assert!(TARGET_SIZE_MAX < HEAD_SIZE_MAX);
// RFC 9112 §3 recommends so much for a request line.
const _: () = assert!(TARGET_SIZE_MAX >= 8_000);

/// The limits of a codec. A message may reach a limit; exceeding it is [`Error::Limit`](super::Error::Limit).
///
/// `head_size_max` and `trailer_size_max` also bound memory: while a codec returns `NeedMore`, its connection keeps at
/// most that many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a head, including the start line and the final empty line.
    pub head_size_max: u32,
    /// Bytes in a trailer section, including the final empty line.
    pub trailer_size_max: u32,
    /// Field lines in a head or in a trailer section; at most [`HEADER_COUNT_CEILING`].
    pub header_count_max: u16,
    /// Interim (1xx) responses before a final one. Only clients use it.
    pub informational_count_max: u16,
    /// Bytes in the request target. Only servers use it.
    pub target_size_max: u32,
    /// Bytes in all chunk extensions of a message together.
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
