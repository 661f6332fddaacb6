//! As much of HTTP/2 as the floor needs (RFC 9113): finding frames, and writing a few. It decodes no header fields.

// The client and the server each use only a part of it.
#![allow(dead_code)]

/// What a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const HEADER_SIZE: usize = 9;
/// No frame may be larger, as neither end allows more (RFC 9113 §4.2).
const PAYLOAD_SIZE_MAX: usize = 16_384;
const STREAM_ID_MAX: u32 = (1 << 31) - 1;

/// The frame types of RFC 9113 §6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// A whole frame.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'b> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'b [u8],
}

impl Frame<'_> {
    /// Appends the acknowledgement that the frame asks for, if it does (RFC 9113 §6.5.3, §6.7).
    pub(crate) fn acknowledge(&self, out: &mut Vec<u8>) {
        match self.kind {
            SETTINGS if self.flags & ACK == 0 => push(out, SETTINGS, ACK, 0, &[]),
            PING if self.flags & ACK == 0 => push(out, PING, ACK, 0, self.payload),
            _ => {}
        }
    }
}

/// Finds the frames in a stream of bytes.
#[derive(Default)]
pub(crate) struct Frames {
    /// The beginning of a frame that is not complete yet.
    partial: Vec<u8>,
}

impl Frames {
    /// Calls `take` with each frame that ends in `bytes`, which follow those of the last call.
    ///
    /// # Errors
    /// A frame is too large, or `take` returned an error. The connection cannot go on.
    pub(crate) fn each(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Frame<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        while !self.partial.is_empty() {
            let size = frame_size(&self.partial)?.unwrap_or(HEADER_SIZE);
            let (rest, later) = bytes.split_at(bytes.len().min(size - self.partial.len()));
            self.partial.extend_from_slice(rest);
            bytes = later;
            if self.partial.len() < size {
                return Ok(());
            }
            if frame_size(&self.partial)? == Some(size) {
                take(frame(&self.partial))?;
                self.partial.clear();
            }
        }
        while let Some(size) = frame_size(bytes)?
            && size <= bytes.len()
        {
            take(frame(&bytes[..size]))?;
            bytes = &bytes[size..];
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends a frame.
pub(crate) fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Writes the stream of a frame that begins at the start of `frame`.
pub(crate) fn set_stream(frame: &mut [u8], stream: u32) {
    frame[5..HEADER_SIZE].copy_from_slice(&stream.to_be_bytes());
}

/// The identifiers and values in the payload of a SETTINGS frame (RFC 9113 §6.5.1).
pub(crate) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).map(|setting| {
        let value = [setting[2], setting[3], setting[4], setting[5]];
        (u16::from_be_bytes([setting[0], setting[1]]), u32::from_be_bytes(value))
    })
}

/// The size of the frame at the start of `bytes`, header included, once its header is there.
fn frame_size(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(&[high, middle, low]) = bytes.first_chunk().filter(|_| bytes.len() >= HEADER_SIZE) else {
        return Ok(None);
    };
    match u32::from_be_bytes([0, high, middle, low]) as usize {
        size if size <= PAYLOAD_SIZE_MAX => Ok(Some(HEADER_SIZE + size)),
        _ => Err("a frame is too large"),
    }
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) & STREAM_ID_MAX;
    Frame { kind: bytes[3], flags: bytes[4], stream, payload: &bytes[HEADER_SIZE..] }
}
