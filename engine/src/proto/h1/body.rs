//! The body of a message, for every way to determine its length. Both codecs use it.

use super::chunked::{BodyEvent, ChunkedDecoder};
use super::error::{Error, Incomplete};
use super::framing::BodyLength;
use super::limits::Limits;

#[derive(Debug)]
pub(super) struct BodyDecoder {
    received: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    None,
    Length { remaining: u64 },
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl BodyDecoder {
    #[inline]
    pub(super) fn new(length: BodyLength) -> Self {
        let kind = match length {
            BodyLength::None => Kind::None,
            BodyLength::Length(remaining) => Kind::Length { remaining },
            BodyLength::Chunked => Kind::Chunked(ChunkedDecoder::new()),
            BodyLength::UntilClose => Kind::UntilClose,
        };
        Self { received: 0, kind }
    }

    /// Returns the length that the decoder was created with.
    #[inline]
    pub(super) fn length(&self) -> BodyLength {
        match self.kind {
            Kind::None => BodyLength::None,
            Kind::Length { remaining } => BodyLength::Length(self.received + remaining),
            Kind::Chunked(_) => BodyLength::Chunked,
            Kind::UntilClose => BodyLength::UntilClose,
        }
    }

    #[inline]
    pub(super) fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<(usize, BodyEvent), Error> {
        let (consumed, event) = match &mut self.kind {
            Kind::None | Kind::Length { remaining: 0 } => (0, BodyEvent::End),
            Kind::Length { .. } | Kind::UntilClose if input.is_empty() => (0, BodyEvent::NeedMore),
            Kind::Length { remaining } => {
                let size = input.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                *remaining -= size as u64;
                (size, BodyEvent::Data(size))
            }
            Kind::UntilClose => (input.len(), BodyEvent::Data(input.len())),
            Kind::Chunked(decoder) => decoder.decode(input, limits)?,
        };
        if let BodyEvent::Data(size) = event {
            // The sum of all chunks may exceed 64 bits, because only each chunk's size is checked. The value is for
            // reports only.
            self.received = self.received.saturating_add(size as u64);
        }
        Ok((consumed, event))
    }

    /// Ends the body and returns the size of its rest, if all of that is among the next `available` bytes. Chunks have to be
    /// decoded.
    #[inline]
    pub(super) fn skip(&mut self, available: usize) -> Option<usize> {
        match &mut self.kind {
            Kind::None => Some(0),
            Kind::Length { remaining } if *remaining <= available as u64 => {
                let size = std::mem::take(remaining);
                self.received += size;
                Some(size as usize)
            }
            Kind::Length { .. } | Kind::Chunked(_) | Kind::UntilClose => None,
        }
    }

    /// Handles the end of the stream. It is valid where it ends the body, or if the body is complete.
    pub(super) fn end_of_stream(&mut self) -> Result<(), Error> {
        let expected = match &self.kind {
            Kind::None | Kind::Length { remaining: 0 } => return Ok(()),
            Kind::Chunked(decoder) if decoder.is_done() => return Ok(()),
            Kind::UntilClose => {
                self.kind = Kind::None;
                return Ok(());
            }
            Kind::Length { remaining } => Some(self.received + remaining),
            Kind::Chunked(_) => None,
        };
        Err(Error::Incomplete(Incomplete::Body { expected, received: self.received }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_body_takes_only_its_bytes_and_reports_missing_ones() {
        let limits = Limits::default();
        let mut body = BodyDecoder::new(BodyLength::Length(5));
        assert_eq!(body.decode(b"", &limits), Ok((0, BodyEvent::NeedMore)));
        assert_eq!(body.decode(b"hel", &limits), Ok((3, BodyEvent::Data(3))));
        assert_eq!(body.length(), BodyLength::Length(5));
        let missing = Incomplete::Body { expected: Some(5), received: 3 };
        assert_eq!(body.end_of_stream(), Err(Error::Incomplete(missing)));
        assert_eq!(body.decode(b"lo, next", &limits), Ok((2, BodyEvent::Data(2))));
        assert_eq!(body.decode(b", next", &limits), Ok((0, BodyEvent::End)));
        assert_eq!(body.end_of_stream(), Ok(()));
    }

    #[test]
    fn what_is_at_hand_of_a_counted_body_can_be_skipped() {
        let limits = Limits::default();
        let mut body = BodyDecoder::new(BodyLength::Length(5));
        assert_eq!(body.skip(4), None);
        assert_eq!(body.decode(b"he", &limits), Ok((2, BodyEvent::Data(2))));
        assert_eq!(body.skip(9), Some(3));
        assert_eq!((body.skip(9), body.length()), (Some(0), BodyLength::Length(5)));
        assert_eq!(body.end_of_stream(), Ok(()));
        assert_eq!(BodyDecoder::new(BodyLength::None).skip(0), Some(0));
        for length in [BodyLength::Chunked, BodyLength::UntilClose] {
            assert_eq!(BodyDecoder::new(length).skip(9), None);
        }
    }

    #[test]
    fn a_body_may_be_larger_than_memory() {
        let mut body = BodyDecoder::new(BodyLength::Length(u64::MAX));
        assert_eq!(body.decode(b"x", &Limits::default()), Ok((1, BodyEvent::Data(1))));
        assert_eq!(body.length(), BodyLength::Length(u64::MAX));
    }

    #[test]
    fn a_body_until_the_end_of_the_stream_ends_there() {
        let limits = Limits::default();
        let mut body = BodyDecoder::new(BodyLength::UntilClose);
        assert_eq!(body.decode(b"all", &limits), Ok((3, BodyEvent::Data(3))));
        assert_eq!(body.decode(b"", &limits), Ok((0, BodyEvent::NeedMore)));
        assert_eq!(body.end_of_stream(), Ok(()));
        assert_eq!(body.decode(b"", &limits), Ok((0, BodyEvent::End)));
    }

    #[test]
    fn a_chunked_body_is_complete_only_after_its_trailers() {
        let limits = Limits::default();
        let mut body = BodyDecoder::new(BodyLength::Chunked);
        assert_eq!(body.decode(b"2\r\nab\r\n", &limits), Ok((5, BodyEvent::Data(2))));
        let missing = Err(Error::Incomplete(Incomplete::Body { expected: None, received: 2 }));
        assert_eq!(body.end_of_stream(), missing);
        assert_eq!(body.decode(b"\r\n0\r\n", &limits), Ok((5, BodyEvent::NeedMore)));
        assert_eq!(body.end_of_stream(), missing);
        assert_eq!(body.decode(b"\r\n", &limits), Ok((2, BodyEvent::End)));
        assert_eq!(body.end_of_stream(), Ok(()));
    }
}
