//! SETTINGS (RFC 9113 §6.5): what a peer accepts.

use super::limits::{
    FRAME_SIZE_MAX, HEADER_TABLE_SIZE_INITIAL, STREAMS_BEFORE_SETTINGS_MAX, WINDOW_SIZE_INITIAL,
    WINDOW_SIZE_MAX,
};

pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441 §3.
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// What a peer has announced; before that, the initial values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Maximum size of the table with which fields sent to the peer are compressed.
    pub header_table_size: u32,
    /// Maximum of streams that this side may have open. `None` means that the peer has not said yet, or sets no limit.
    pub streams_max: Option<u32>,
    /// Bytes that may be sent on a new stream before the peer makes room for more.
    pub stream_window: u32,
    /// Largest payload of a frame.
    pub frame_size_max: u32,
    /// Maximum size of a header list, if the peer has announced one. It is advice (RFC 9113 §6.5.2).
    pub header_list_size_max: Option<u32>,
    /// Whether the peer accepts the extended CONNECT of RFC 8441.
    pub extended_connect: bool,
    /// Whether SETTINGS of the peer have arrived.
    pub is_known: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_table_size: HEADER_TABLE_SIZE_INITIAL,
            streams_max: None,
            stream_window: WINDOW_SIZE_INITIAL,
            frame_size_max: FRAME_SIZE_MAX,
            header_list_size_max: None,
            extended_connect: false,
            is_known: false,
        }
    }
}

impl Settings {
    /// Returns how many streams this side may have open.
    #[inline]
    pub(super) fn open_max(&self) -> u32 {
        match self.streams_max {
            Some(max) => max,
            None if self.is_known => u32::MAX,
            None => STREAMS_BEFORE_SETTINGS_MAX,
        }
    }

    /// Applies the payload of a SETTINGS frame, whose size is a multiple of 6. `from_server` tells who sent it. Returns the setting that has a value it may not have.
    pub(super) fn apply(&mut self, payload: &[u8], from_server: bool) -> Result<(), (u16, u32)> {
        for entry in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            let refused = Err((id, value));
            match id {
                HEADER_TABLE_SIZE => self.header_table_size = value,
                // RFC 9113 §6.5.2: a server may not allow itself to be pushed to.
                ENABLE_PUSH if value > 1 || (from_server && value == 1) => return refused,
                MAX_CONCURRENT_STREAMS => self.streams_max = Some(value),
                INITIAL_WINDOW_SIZE if value > WINDOW_SIZE_MAX => return refused,
                INITIAL_WINDOW_SIZE => self.stream_window = value,
                MAX_FRAME_SIZE if !(FRAME_SIZE_MAX..1 << 24).contains(&value) => return refused,
                MAX_FRAME_SIZE => self.frame_size_max = value,
                MAX_HEADER_LIST_SIZE => self.header_list_size_max = Some(value),
                // RFC 8441 §3: it may not be withdrawn.
                ENABLE_CONNECT_PROTOCOL if value > 1 || (self.extended_connect && value == 0) => {
                    return refused;
                }
                ENABLE_CONNECT_PROTOCOL => self.extended_connect = value == 1,
                // RFC 9113 §6.5.2: unknown settings are ignored.
                _ => {}
            }
        }
        self.is_known = true;
        Ok(())
    }
}

/// Returns the sizes of the header table that the payload of a SETTINGS frame announces one after the other.
pub(super) fn header_table_sizes(payload: &[u8]) -> impl Iterator<Item = u32> {
    payload.as_chunks::<6>().0.iter().filter_map(|&[id @ .., a, b, c, d]| {
        (u16::from_be_bytes(id) == HEADER_TABLE_SIZE).then_some(u32::from_be_bytes([a, b, c, d]))
    })
}

/// Appends one setting to the payload of a SETTINGS frame.
pub(super) fn push(payload: &mut Vec<u8>, id: u16, value: u32) {
    payload.extend_from_slice(&id.to_be_bytes());
    payload.extend_from_slice(&value.to_be_bytes());
}

/// Whether a value that was refused is a flow-control error (RFC 9113 §6.5.2).
pub(super) fn is_about_windows(id: u16) -> bool {
    id == INITIAL_WINDOW_SIZE
}
