//! The chunked transfer coding (RFC 9112 §7.1), decoded incrementally.
//!
//! Chunk size lines may be cut anywhere and are not kept. The trailer section is, until it is whole.

use super::body::BodyEvent;
use super::error::{ChunkError, ChunkFault, Error, LimitExceeded};
use super::head::Fields;
use super::limits::Limits;
use super::parse;

/// 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    /// Bytes of the current chunk that have not come; the size read so far while the size line is read.
    remaining: u64,
    /// Bytes seen of the current line, or of the trailer section.
    position: u32,
    /// Bytes of all chunk extensions so far.
    extension_size: u32,
    digits: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl ChunkedDecoder {
    pub(super) fn new() -> Self {
        Self { remaining: 0, position: 0, extension_size: 0, digits: 0, state: State::Size }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    #[inline]
    pub(super) fn decode<'b>(
        &mut self,
        input: &'b [u8],
        limits: &Limits,
    ) -> Result<(usize, BodyEvent<'b>), Error> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok((at, BodyEvent::End)),
                _ if at == input.len() => return Ok((at, BodyEvent::NeedMore)),
                State::Data => {
                    let available = &input[at..];
                    let size = self.remaining.min(available.len() as u64) as usize;
                    self.remaining -= size as u64;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                        self.position = 0;
                    }
                    return Ok((at + size, BodyEvent::Data(&available[..size])));
                }
                State::Trailers => {
                    let Some(section) = self.trailers(&input[at..], limits)? else {
                        return Ok((at, BodyEvent::NeedMore));
                    };
                    self.state = State::Done;
                    at += section.len();
                    if section != b"\r\n" {
                        return Ok((at, BodyEvent::Trailers(Fields { lines: section })));
                    }
                }
                _ => {
                    self.framing_byte(input[at], limits)?;
                    at += 1;
                }
            }
        }
    }

    /// One byte of a size line, or of the CRLF after chunk data.
    #[inline]
    fn framing_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Error> {
        let position = self.position;
        self.position = position.saturating_add(1);
        let fault = |fault| Err(chunk_error(fault, position));
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == SIZE_DIGITS_MAX {
                    return fault(ChunkFault::SizeTooLarge);
                }
                self.digits += 1;
                self.remaining = self.remaining << 4 | u64::from(hexadecimal(byte));
                State::Size
            }
            (State::Size | State::Extension, b'\n') => return fault(ChunkFault::LineBareLf),
            (State::Size, _) if self.digits == 0 => return fault(ChunkFault::SizeMissing),
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            // RFC 9112 §7.1.1: names, tokens, quoted strings and white space; no control character but HTAB in any.
            (State::Size, b';') | (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_extension(limits)?;
                State::Extension
            }
            (State::Size, _) => return fault(ChunkFault::SizeInvalid),
            (State::Extension, _) => return fault(ChunkFault::ExtensionControl),
            (State::SizeLf, b'\n') => {
                self.position = 0;
                if self.remaining == 0 { State::Trailers } else { State::Data }
            }
            (State::SizeLf, _) => {
                return Err(chunk_error(ChunkFault::LineBareCr, position.saturating_sub(1)));
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                (self.position, self.digits) = (0, 0);
                State::Size
            }
            (State::DataCr | State::DataLf, _) => return fault(ChunkFault::DataEnd),
            // Not framing: `decode` takes these by themselves.
            (state @ (State::Data | State::Trailers | State::Done), _) => state,
        };
        Ok(())
    }

    fn count_extension(&mut self, limits: &Limits) -> Result<(), Error> {
        if self.extension_size >= limits.chunk_extension_size_max {
            return Err(Error::Limit(LimitExceeded::ChunkExtensionSize(limits.chunk_extension_size_max)));
        }
        self.extension_size += 1;
        Ok(())
    }

    /// The trailer section with the empty line at its end, valid, once all of it is there.
    fn trailers<'b>(&mut self, input: &'b [u8], limits: &Limits) -> Result<Option<&'b [u8]>, Error> {
        let window = &input[..input.len().min(limits.trailer_size_max as usize)];
        let scanned = (self.position as usize).min(window.len());
        for at in memchr::memchr_iter(b'\n', &window[scanned..]).map(|at| scanned + at) {
            // httparse would take a bare LF for a line end, as in a head; this is chunk framing.
            if at == 0 || window[at - 1] != b'\r' {
                return Err(chunk_error(ChunkFault::TrailerBareLf, at as u32));
            }
            if at == 1 || window[at - 2] == b'\n' {
                let section = &window[..=at];
                parse::trailers(section, limits)?;
                return Ok(Some(section));
            }
        }
        if window.len() == limits.trailer_size_max as usize {
            return Err(Error::Limit(LimitExceeded::TrailerSize(limits.trailer_size_max)));
        }
        self.position = window.len() as u32;
        Ok(None)
    }
}

fn chunk_error(fault: ChunkFault, offset: u32) -> Error {
    Error::Chunk(ChunkError { fault, offset })
}

/// The value of a byte that is a hexadecimal digit.
#[inline]
fn hexadecimal(digit: u8) -> u8 {
    // '0'..='9' are 0x30.., 'A'.. are 0x41.. and 'a'.. are 0x61..: the low four bits count from 0 or from 1.
    (digit & 0xf) + if digit > b'9' { 9 } else { 0 }
}
