//! The chunked transfer coding (RFC 9112 §7.1), decoded incrementally.
//!
//! Chunk size lines may be split anywhere and are not buffered. A trailer section stays with the caller until it is
//! complete; this module does not check its lines.

use super::error::{ChunkError, ChunkFault, Error, LimitExceeded};
use super::limits::Limits;
#[cfg(test)]
use super::parse;

/// A part of a body. A size counts bytes of the input: the last ones that were consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEvent {
    NeedMore,
    Data(usize),
    /// A complete trailer section with at least one field, including the final empty line. It is not validated yet.
    Trailers(usize),
    End,
}

/// 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    /// Bytes of the current chunk that have not arrived. While reading the size line: the size so far.
    remaining: u64,
    /// Bytes seen of the current line or of the trailer section.
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
    /// White space between the size and an extension.
    SizeSpace,
}

impl ChunkedDecoder {
    pub(super) fn new() -> Self {
        Self { remaining: 0, position: 0, extension_size: 0, digits: 0, state: State::Size }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    // Not inlined, so that the decoder of a body with a known length is.
    #[inline(never)]
    pub(super) fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<(usize, BodyEvent), Error> {
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
                    return Ok((at + size, BodyEvent::Data(size)));
                }
                State::Trailers => {
                    let Some(size) = self.trailers(&input[at..], limits)? else {
                        return Ok((at, BodyEvent::NeedMore));
                    };
                    self.state = State::Done;
                    at += size;
                    if size > b"\r\n".len() {
                        return Ok((at, BodyEvent::Trailers(size)));
                    }
                }
                _ => {
                    self.framing_byte(input[at], limits)?;
                    at += 1;
                }
            }
        }
    }

    /// Processes one byte of a size line, or of the CRLF after chunk data.
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
            // RFC 9112 §7.1.1: tokens, quoted strings and white space. None of them contains a control character except
            // HTAB.
            (State::Size, b';') | (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_extension(limits)?;
                State::Extension
            }
            (State::Size | State::SizeSpace, _) => return self.behind_size(byte, limits),
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
            // Not framing: `decode` handles these states itself.
            (state @ (State::Data | State::Trailers | State::Done), _) => state,
        };
        Ok(())
    }

    /// Processes white space before an extension, and the byte that ends it. Senders must not send this white space,
    /// and recipients must ignore it.
    #[cold]
    fn behind_size(&mut self, byte: u8, limits: &Limits) -> Result<(), Error> {
        let fault = match byte {
            b'\t' | b' ' | b';' => {
                self.state = if byte == b';' { State::Extension } else { State::SizeSpace };
                return self.count_extension(limits);
            }
            b'\n' => ChunkFault::LineBareLf,
            _ => ChunkFault::SizeInvalid,
        };
        Err(chunk_error(fault, self.position - 1))
    }

    fn count_extension(&mut self, limits: &Limits) -> Result<(), Error> {
        if self.extension_size >= limits.chunk_extension_size_max {
            return Err(Error::Limit(LimitExceeded::ChunkExtensionSize(limits.chunk_extension_size_max)));
        }
        self.extension_size += 1;
        Ok(())
    }

    /// Returns the size of the trailer section, including the final empty line, when it is complete.
    fn trailers(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Error> {
        let window = &input[..input.len().min(limits.trailer_size_max as usize)];
        let scanned = (self.position as usize).min(window.len());
        #[cfg(test)]
        parse::work::add(window.len() - scanned);
        for at in memchr::memchr_iter(b'\n', &window[scanned..]).map(|at| scanned + at) {
            // httparse accepts a bare LF as line end. Here it is part of the chunk framing, so it is an error.
            if at == 0 || window[at - 1] != b'\r' {
                return Err(chunk_error(ChunkFault::TrailerBareLf, at as u32));
            }
            if at == 1 {
                return Ok(Some(2));
            }
            if window[at - 2] == b'\n' {
                return Ok(Some(at + 1));
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

/// Returns the value of a hexadecimal digit.
#[inline]
fn hexadecimal(digit: u8) -> u8 {
    // '0'..='9' start at 0x30, 'A' at 0x41 and 'a' at 0x61. So the low four bits count digits from 0 and letters from
    // 1.
    (digit & 0xf) + if digit > b'9' { 9 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h1::error::{SyntaxError, SyntaxPart};

    /// Returns the data, the trailer lines and the number of bytes consumed, or the error.
    fn decode(input: &[u8], limits: &Limits) -> Result<(Vec<u8>, Vec<u8>, usize), Error> {
        let mut decoder = ChunkedDecoder::new();
        let (mut data, mut trailers, mut at) = (Vec::new(), Vec::new(), 0);
        loop {
            let (consumed, event) = decoder.decode(&input[at..], limits)?;
            at += consumed;
            match event {
                BodyEvent::Data(size) => data.extend_from_slice(&input[at - size..at]),
                BodyEvent::Trailers(size) => {
                    trailers.extend_from_slice(parse::trailers(&input[at - size..at], limits)?.lines);
                }
                BodyEvent::End | BodyEvent::NeedMore => return Ok((data, trailers, at)),
            }
        }
    }

    fn error(input: &[u8]) -> Option<Error> {
        decode(input, &Limits::default()).err()
    }

    #[test]
    fn chunks_are_joined_and_bytes_after_the_last_stay() {
        let input =
            b"5\r\nhello\r\n00000000000000a\r\n wide worl\r\n1 \t;a=b ; c=\"d\t\xfc\"\r\nd\r\n000\r\n\r\nnext";
        let (data, trailers, consumed) = decode(input, &Limits::default()).unwrap();
        assert_eq!(data, b"hello wide world");
        assert_eq!((&trailers[..], &input[consumed..]), (&b""[..], &b"next"[..]));
    }

    #[test]
    fn sizes_are_read_in_both_cases() {
        for (line, size) in
            [(&b"fF\r\n"[..], 255), (b"ABCDEF\r\n", 0xab_cdef), (b"ffffffffffffffff\r\n", u64::MAX)]
        {
            let mut decoder = ChunkedDecoder::new();
            let (consumed, event) = decoder.decode(line, &Limits::default()).unwrap();
            assert!(matches!(event, BodyEvent::NeedMore));
            assert_eq!((consumed, decoder.remaining, decoder.state), (line.len(), size, State::Data));
        }
        for (index, digit) in b"0123456789abcdef".iter().enumerate() {
            assert_eq!(hexadecimal(*digit) as usize, index);
            assert_eq!(hexadecimal(digit.to_ascii_uppercase()) as usize, index);
        }
    }

    #[test]
    fn trailers_are_given_whole() {
        let input = b"0\r\nA: b\r\nC:d\r\n\r\nnext";
        let (_, trailers, consumed) = decode(input, &Limits::default()).unwrap();
        assert_eq!(trailers, b"A: b\r\nC:d\r\n\r\n");
        assert_eq!(&input[consumed..], b"next");
    }

    #[test]
    fn broken_framing_is_named_with_its_place() {
        let cases: [(&[u8], ChunkFault, u32); 21] = [
            (b"x\r\n", ChunkFault::SizeMissing, 0),
            (b"\r\n", ChunkFault::SizeMissing, 0),
            (b";a\r\n", ChunkFault::SizeMissing, 0),
            (b" 1\r\n", ChunkFault::SizeMissing, 0),
            (b"+1\r\n", ChunkFault::SizeMissing, 0),
            (b"0x1\r\n", ChunkFault::SizeInvalid, 1),
            (b"1g\r\n", ChunkFault::SizeInvalid, 1),
            (b"1 \r\n", ChunkFault::SizeInvalid, 2),
            (b"1 1\r\n", ChunkFault::SizeInvalid, 2),
            (b"1\t\n", ChunkFault::LineBareLf, 2),
            (b"00000000000000001\r\n", ChunkFault::SizeTooLarge, 16),
            (b"\n", ChunkFault::LineBareLf, 0),
            (b"123\nabc", ChunkFault::LineBareLf, 3),
            (b"1;a\nb", ChunkFault::LineBareLf, 3),
            (b"1\rx", ChunkFault::LineBareCr, 1),
            (b"1;a\r\r\n", ChunkFault::LineBareCr, 3),
            (b"1;\0\r\n", ChunkFault::ExtensionControl, 2),
            (b"1;\x7f\r\n", ChunkFault::ExtensionControl, 2),
            (b"1\r\nab", ChunkFault::DataEnd, 0),
            (b"1\r\na\rb", ChunkFault::DataEnd, 1),
            (b"1\r\na\n", ChunkFault::DataEnd, 0),
        ];
        for (input, fault, offset) in cases {
            assert_eq!(error(input), Some(chunk_error(fault, offset)), "{}", input.escape_ascii());
        }
        // Offsets count from the start of the line, not of the body.
        assert_eq!(error(b"2\r\nab\r\n3\n"), Some(chunk_error(ChunkFault::LineBareLf, 1)));
    }

    #[test]
    fn broken_trailers_are_named_with_their_place() {
        assert_eq!(error(b"0\r\n\n"), Some(chunk_error(ChunkFault::TrailerBareLf, 0)));
        assert_eq!(error(b"0\r\nA: b\n\r\n"), Some(chunk_error(ChunkFault::TrailerBareLf, 4)));
        let syntax = |part, offset| Some(Error::Trailers(SyntaxError { part, offset }));
        assert_eq!(error(b"0\r\nA : b\r\n\r\n"), syntax(SyntaxPart::FieldName, 1));
        assert_eq!(error(b"0\r\nA: b\r\n c\r\n\r\n"), syntax(SyntaxPart::FieldName, 6));
        assert_eq!(error(b"0\r\n\rx\r\n\r\n"), syntax(SyntaxPart::LineEnd, 1));
        assert_eq!(error(b"0\r\nA: \0\r\n\r\n"), syntax(SyntaxPart::FieldValue, 3));
    }

    #[test]
    fn trailers_that_drip_in_cost_linear_time() {
        let section = [&b"A: and a value\r\n".repeat(90)[..], b"\r\n"].concat();
        let mut decoder = ChunkedDecoder::new();
        let (consumed, _) = decoder.decode(b"0\r\n", &Limits::default()).unwrap();
        assert_eq!(consumed, 3);
        parse::work::take();
        for end in 1..section.len() {
            let step = decoder.decode(&section[..end], &Limits::default());
            assert!(matches!(step, Ok((0, BodyEvent::NeedMore))));
        }
        let step = decoder.decode(&section, &Limits::default());
        assert_eq!(step, Ok((section.len(), BodyEvent::Trailers(section.len()))));
        assert_eq!(parse::work::take(), section.len());
    }

    #[test]
    fn a_limit_may_be_reached_but_not_exceeded() {
        let limits = Limits {
            chunk_extension_size_max: 4,
            trailer_size_max: 8,
            header_count_max: 1,
            ..Limits::default()
        };
        let decode = |input: &[u8]| decode(input, &limits).map(|_| ());
        // The limit applies to all extensions of a body together.
        assert_eq!(decode(b"1;a\r\nx\r\n1;b\r\nx\r\n"), Ok(()));
        let exceeded = Err(Error::Limit(LimitExceeded::ChunkExtensionSize(4)));
        assert_eq!(decode(b"1;a\r\nx\r\n1;bc"), exceeded);
        assert_eq!(decode(b"1    ;"), exceeded);
        assert_eq!(decode(b"0\r\nA:12\r\n\r\n"), Ok(()));
        let exceeded = Err(Error::Limit(LimitExceeded::TrailerSize(8)));
        assert_eq!(decode(b"0\r\nA:123\r\n\r\n"), exceeded);
        assert_eq!(decode(b"0\r\nA:12345"), Ok(()));
        assert_eq!(decode(b"0\r\nA:123456"), exceeded);
        let limits = Limits { header_count_max: 1, ..Limits::default() };
        let error = super::tests::decode(b"0\r\nA:1\r\nB:2\r\n\r\n", &limits).unwrap_err();
        assert_eq!(error, Error::Limit(LimitExceeded::HeaderCount(1)));
    }
}
