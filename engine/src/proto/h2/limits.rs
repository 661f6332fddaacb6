//! The limits of HTTP/2 on what a peer may make this side hold or do, and the options that announce some of them.

/// Largest frame payload that this side accepts, and the largest that every peer accepts (RFC 9113 §4.2). It is the
/// initial `SETTINGS_MAX_FRAME_SIZE`, which this side does not raise: a larger frame gains nothing here and lets one
/// stream block the others for longer.
pub const FRAME_SIZE_MAX: u32 = 16 * 1024;

/// Largest size of a window (RFC 9113 §6.9.1).
pub const WINDOW_SIZE_MAX: u32 = (1 << 31) - 1;

/// The size of each window before anything else is agreed on (RFC 9113 §6.9.2).
pub const WINDOW_SIZE_INITIAL: u32 = 65_535;

/// The size of a header table before anything else is agreed on (RFC 9113 §6.5.2).
pub const HEADER_TABLE_SIZE_INITIAL: u32 = 4_096;

/// Largest stream id (RFC 9113 §5.1.1).
pub const STREAM_ID_MAX: u32 = (1 << 31) - 1;

/// How many streams a client opens before it knows the limit of the server. RFC 9113 §6.5.2 recommends that servers
/// accept at least so many.
pub const STREAMS_BEFORE_SETTINGS_MAX: u32 = 100;

/// Maximum of bytes in one compressed header block, over all its frames.
pub const HEADER_BLOCK_SIZE_MAX: usize = 64 * 1024;

/// Maximum of CONTINUATION frames of one header block. Bytes alone are no limit, as these frames may be empty
/// (CVE-2024-27316).
pub const CONTINUATIONS_MAX: u32 = 32;

/// Maximum of interim responses (1xx) to one request.
pub const INFORMATIONAL_COUNT_MAX: u8 = 64;

/// Streams that this side has reset, and whose late frames it therefore ignores (RFC 9113 §5.1).
pub const RESETS_REMEMBERED_MAX: usize = 1_024;

/// How often a peer's stream ids may leave others out that this side remembers, to know them if they come late (RFC 9113 §5.1.1).
pub const SKIPS_REMEMBERED_MAX: usize = 16;

/// Streams that end by a reset which the peer has sent or provoked: so many at once,
pub const RESETS_BURST: u32 = 1_000;
/// and then so many a second (CVE-2023-44487, CVE-2025-8671).
pub const RESETS_PER_SECOND: u32 = 100;

/// Frames that ask for work and bring nothing (PING, SETTINGS, PRIORITY, small WINDOW_UPDATE, empty DATA, RST_STREAM, unknown ones):
/// so many at once,
pub const IDLE_FRAMES_BURST: u32 = 10_000;
/// and then so many a second. Each request, each DATA frame sent and each non-empty DATA frame received allows some more, see
/// [`IDLE_FRAMES_PER_USEFUL`].
pub const IDLE_FRAMES_PER_SECOND: u32 = 1_000;
/// A WINDOW_UPDATE by fewer bytes counts as such a frame.
pub const WINDOW_INCREMENT_SMALL: u32 = 1_024;
/// Such frames that one useful frame allows: a peer may return its windows after every DATA frame, those of the stream and of
/// the connection.
pub const IDLE_FRAMES_PER_USEFUL: u32 = 3;

/// The options of one side of a connection. Most of them are announced to the peer as SETTINGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Maximum size in bytes of the table with which the peer compresses header fields
    /// (`SETTINGS_HEADER_TABLE_SIZE`). 0 makes the peer send every field in full. The default is 4,096.
    pub header_table_size: u32,
    /// Bytes that the peer may send on one stream before they are read (`SETTINGS_INITIAL_WINDOW_SIZE`), at most
    /// [`WINDOW_SIZE_MAX`]. The default is 1 MiB.
    pub stream_window: u32,
    /// Bytes that the peer may send on all streams together before they are read, at least
    /// [`WINDOW_SIZE_INITIAL`]. The default is 16 MiB: several slow readers leave room for the others.
    pub connection_window: u32,
    /// Maximum of requests that a client may have in flight (`SETTINGS_MAX_CONCURRENT_STREAMS`). The default is 256.
    pub streams_max: u32,
    /// Maximum size of a header list: 32 bytes for each field, and its name and value
    /// (`SETTINGS_MAX_HEADER_LIST_SIZE`). The default is 64 KiB.
    pub header_list_size_max: u32,
    /// Maximum number of fields in a header list. The default is 128.
    pub fields_max: u32,
    /// Whether a server accepts the extended CONNECT of RFC 8441. The default is false.
    pub extended_connect: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            header_table_size: HEADER_TABLE_SIZE_INITIAL,
            stream_window: 1024 * 1024,
            connection_window: 16 * 1024 * 1024,
            streams_max: 256,
            header_list_size_max: 64 * 1024,
            fields_max: 128,
            extended_connect: false,
        }
    }
}

/// Each method sets the field of the same name.
impl Options {
    /// Sets [`header_table_size`](Self::header_table_size).
    #[must_use]
    pub fn header_table_size(self, size: u32) -> Self {
        Self { header_table_size: size, ..self }
    }

    /// Sets [`stream_window`](Self::stream_window).
    #[must_use]
    pub fn stream_window(self, size: u32) -> Self {
        Self { stream_window: size.min(WINDOW_SIZE_MAX), ..self }
    }

    /// Sets [`connection_window`](Self::connection_window).
    #[must_use]
    pub fn connection_window(self, size: u32) -> Self {
        Self { connection_window: size.clamp(WINDOW_SIZE_INITIAL, WINDOW_SIZE_MAX), ..self }
    }

    /// Sets [`streams_max`](Self::streams_max).
    #[must_use]
    pub fn streams_max(self, max: u32) -> Self {
        Self { streams_max: max, ..self }
    }

    /// Sets [`header_list_size_max`](Self::header_list_size_max).
    #[must_use]
    pub fn header_list_size_max(self, max: u32) -> Self {
        Self { header_list_size_max: max, ..self }
    }

    /// Sets [`fields_max`](Self::fields_max).
    #[must_use]
    pub fn fields_max(self, max: u32) -> Self {
        Self { fields_max: max, ..self }
    }

    /// Sets [`extended_connect`](Self::extended_connect).
    #[must_use]
    pub fn extended_connect(self, accepts: bool) -> Self {
        Self { extended_connect: accepts, ..self }
    }
}
