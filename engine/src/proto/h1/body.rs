//! The body of a message, whatever tells its length. Both codecs use it.

use super::chunked::ChunkedDecoder;
use super::error::{Error, Incomplete};
use super::framing::BodyLength;
use super::head::Fields;
use super::limits::Limits;

/// What a body is made of.
#[derive(Debug)]
pub(super) enum BodyEvent<'b> {
    NeedMore,
    Data(&'b [u8]),
    Trailers(Fields<'b>),
    End,
}

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

    /// What it was made from.
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
    pub(super) fn decode<'b>(
        &mut self,
        input: &'b [u8],
        limits: &Limits,
    ) -> Result<(usize, BodyEvent<'b>), Error> {
        let (consumed, event) = match &mut self.kind {
            Kind::None | Kind::Length { remaining: 0 } => (0, BodyEvent::End),
            Kind::Length { .. } | Kind::UntilClose if input.is_empty() => (0, BodyEvent::NeedMore),
            Kind::Length { remaining } => {
                let size = input.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                *remaining -= size as u64;
                (size, BodyEvent::Data(&input[..size]))
            }
            Kind::UntilClose => (input.len(), BodyEvent::Data(input)),
            Kind::Chunked(decoder) => decoder.decode(input, limits)?,
        };
        if let BodyEvent::Data(bytes) = event {
            // A sum of chunks may exceed what their sizes are bound to; the number is for a report only.
            self.received = self.received.saturating_add(bytes.len() as u64);
        }
        Ok((consumed, event))
    }

    /// The stream has ended. Fine where that is the end of the body, or the body had ended before.
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
