//! Header blocks: requests, responses, trailers.

use std::ops::RangeInclusive;

use super::super::error::{Error, StreamFault};
use super::super::error_code::ErrorCode;
use super::super::frame::{END_HEADERS, END_STREAM, FrameHeader, FrameKind, PADDED, PRIORITY};
use super::super::head::{RequestFacts, ResponseFacts, check_request, check_response, check_trailers};
use super::super::limits::{
    CONTINUATIONS_MAX, HEADER_BLOCK_SIZE_MAX, INFORMATIONAL_COUNT_MAX, SKIPS_REMEMBERED_MAX,
};
use super::super::streams::{LENGTH_MAX, LENGTH_UNKNOWN, Stream, StreamKey};
use super::event::{Event, Role};
use super::state::{Codec, Facts, REPEAT_SIZE_MAX};

impl Codec {
    #[inline(never)]
    pub(super) fn decode_headers<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let mut block = payload;
        if flags & (PADDED | PRIORITY) != 0 {
            let padding = if flags & PADDED != 0 {
                let (first, rest) = block.split_first().ok_or(Error::FrameSize { kind, size })?;
                block = rest;
                usize::from(*first)
            } else {
                0
            };
            if flags & PRIORITY != 0 {
                block = block.get(5..).ok_or(Error::FrameSize { kind, size })?;
            }
            let end = block.len().checked_sub(padding).ok_or(Error::Padding)?;
            block = &block[..end];
        }
        let ends = flags & END_STREAM != 0;
        if flags & END_HEADERS != 0 {
            return self.decode_block(stream_id, ends, block);
        }
        self.partial.stream_id = stream_id;
        self.partial.ends = ends;
        self.partial.continuations = 0;
        self.partial.bytes.clear();
        self.partial.bytes.extend_from_slice(block);
        Ok(None)
    }

    pub(super) fn decode_continuation<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if self.partial.stream_id == 0 {
            return Err(Error::Continuation(header.kind));
        }
        self.counters.continuations += 1;
        self.partial.continuations += 1;
        let is_too_large = self.partial.bytes.len() + payload.len() > HEADER_BLOCK_SIZE_MAX;
        if is_too_large || self.partial.continuations > CONTINUATIONS_MAX {
            return Err(Error::HeaderBlockTooLarge);
        }
        self.partial.bytes.extend_from_slice(payload);
        if header.flags & END_HEADERS == 0 {
            return Ok(None);
        }
        self.partial.stream_id = 0;
        // It is rare, so its memory is not kept.
        let block = std::mem::take(&mut self.partial.bytes);
        self.decode_block(header.stream_id, self.partial.ends, &block)
    }

    /// Decodes a whole header block.
    pub(super) fn decode_block<'b>(
        &mut self,
        stream_id: u32,
        ends: bool,
        block: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let kind = FrameKind::Headers;
        let known = self.streams.find(stream_id);
        let is_head = known.is_none_or(|stream| self.streams.get(stream).is_none_or(|open| !open.has_head));
        // The table of the decoder must follow the peer's, whatever becomes of the stream (RFC 9113 §4.3).
        self.decode_fields(block)?;
        match (known, self.role) {
            (Some(stream), _) if !is_head => self.decode_trailers(stream, ends),
            (Some(stream), Role::Client) => self.decode_response(stream, ends, block),
            // A server knows a stream only with its head.
            (Some(stream), Role::Server) => self.fault(stream, StreamFault::Sequence).map(Some),
            (None, Role::Client) => {
                self.check_not_open(kind, stream_id)?;
                self.note_idle_frame()?;
                Ok(None)
            }
            (None, Role::Server) => self.decode_request(stream_id, ends, block),
        }
    }

    pub(super) fn decode_fields(&mut self, block: &[u8]) -> Result<(), Error> {
        self.repeat.is_known = false;
        self.facts = Facts::None;
        self.fields_number += 1;
        self.fields.clear();
        self.repeat.insert_count = self.decoder.insert_count();
        self.decoder.decode(block, &mut self.fields).map_err(Error::Compression)?;
        if self.fields.is_too_large() {
            self.counters.heads_too_large += 1;
        }
        Ok(())
    }

    /// Remembers a block whose fields are sound.
    pub(super) fn remember(&mut self, block: &[u8]) {
        // A block that changes the table means something else the next time.
        self.repeat.is_known =
            block.len() <= REPEAT_SIZE_MAX && self.repeat.insert_count == self.decoder.insert_count();
        if self.repeat.is_known {
            self.repeat.block.clear();
            self.repeat.block.extend_from_slice(block);
        }
    }

    pub(super) fn decode_response<'b>(
        &mut self,
        stream: StreamKey,
        ends: bool,
        block: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if self.fields.is_too_large() {
            return self.fault(stream, StreamFault::HeadTooLarge).map(Some);
        }
        let mut facts = match check_response(&self.fields) {
            Ok(facts) => facts,
            Err(error) => return self.fault(stream, StreamFault::Head(error)).map(Some),
        };
        let is_connect = self.streams.get(stream).is_some_and(|open| open.is_connect);
        if is_connect && (200..300).contains(&facts.status) {
            // RFC 9110 §9.3.6: it says nothing here. To another request the same block says more, so it is not remembered.
            facts.content_length = None;
        } else {
            self.remember(block);
        }
        self.facts = Facts::Response(facts);
        let Some(open) = self.streams.get_mut(stream) else { return Ok(None) };
        if facts.status < 200 {
            open.informational += 1;
            // RFC 9113 §8.1, §8.6.
            if ends || facts.status == 101 || open.informational > INFORMATIONAL_COUNT_MAX {
                return self.fault(stream, StreamFault::Informational).map(Some);
            }
            return Ok(Some(Event::Informational { stream }));
        }
        open.has_head = true;
        open.content_left = content_of(open, facts);
        if ends {
            if open.content_left != 0 && open.content_left != LENGTH_UNKNOWN {
                open.remote_ended = true;
                return self.fault(stream, StreamFault::ContentLength).map(Some);
            }
            self.end_remote(stream);
        }
        Ok(Some(Event::Head { stream, ends }))
    }

    pub(super) fn decode_request<'b>(
        &mut self,
        stream_id: u32,
        ends: bool,
        block: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if stream_id <= self.last_peer_id || stream_id.is_multiple_of(2) {
            // RFC 9113 §5.1.1: the ids of new streams grow.
            if self.skipped_ids.iter().flat_map(|skipped| &**skipped).any(|ids| ids.contains(&stream_id)) {
                return Err(Error::SkippedStream { stream_id });
            }
            self.check_not_open(FrameKind::Headers, stream_id)?;
            self.note_idle_frame()?;
            return Ok(None);
        }
        self.note_peer_id(stream_id);
        if self.own_last_id.is_some_and(|last_id| stream_id > last_id) {
            // RFC 9113 §6.8: GOAWAY has told the peer that this stream is ignored.
            self.remember_reset(stream_id);
            return self.note_idle_frame().map(|()| None);
        }
        if self.streams.len() as u32 >= self.options.streams_max {
            self.counters.streams_refused += 1;
            return self.refuse(stream_id, ErrorCode::REFUSED_STREAM);
        }
        if self.fields.is_too_large() {
            let mut stream = self.stream(stream_id);
            (stream.has_head, stream.remote_ended) = (true, ends);
            let stream = self.streams.insert(stream);
            return Ok(Some(Event::HeadTooLarge { stream }));
        }
        let Ok(facts) = check_request(&self.fields, self.options.extended_connect) else {
            return self.refuse(stream_id, ErrorCode::PROTOCOL_ERROR);
        };
        self.facts = Facts::Request(facts);
        self.remember(block);
        if ends && facts.content_length.is_some_and(|length| length > 0) {
            return self.refuse(stream_id, ErrorCode::PROTOCOL_ERROR);
        }
        let stream = self.begin_request(stream_id, ends, facts);
        Ok(Some(Event::Head { stream, ends }))
    }

    /// Opens the stream of a request that is sound.
    #[inline]
    pub(super) fn begin_request(&mut self, stream_id: u32, ends: bool, facts: RequestFacts) -> StreamKey {
        self.note_peer_id(stream_id);
        let mut stream = self.stream(stream_id);
        (stream.has_head, stream.remote_ended) = (true, ends);
        stream.content_left = facts.content_length.map_or(LENGTH_UNKNOWN, |length| length.min(LENGTH_MAX));
        self.calm.useful_frame();
        self.streams.insert(stream)
    }

    /// Notes that the peer has opened a stream.
    #[inline]
    fn note_peer_id(&mut self, stream_id: u32) {
        if stream_id > self.last_peer_id + 2 {
            self.note_skip(self.last_peer_id + 1..=stream_id - 1);
        }
        self.last_peer_id = stream_id;
    }

    #[cold]
    fn note_skip(&mut self, ids: RangeInclusive<u32>) {
        let skipped = self.skipped_ids.get_or_insert_default();
        if skipped.len() < SKIPS_REMEMBERED_MAX {
            skipped.push(ids);
        }
    }

    pub(super) fn decode_trailers<'b>(
        &mut self,
        stream: StreamKey,
        ends: bool,
    ) -> Result<Option<Event<'b>>, Error> {
        let Some(open) = self.streams.get(stream) else { return Ok(None) };
        let fault = if open.remote_ended {
            Some(StreamFault::AfterEnd)
        } else if !ends {
            Some(StreamFault::Sequence)
        } else if self.fields.is_too_large() {
            Some(StreamFault::HeadTooLarge)
        } else if let Err(error) = check_trailers(&self.fields) {
            Some(StreamFault::Head(error))
        } else if open.content_left != 0 && open.content_left != LENGTH_UNKNOWN {
            Some(StreamFault::ContentLength)
        } else {
            None
        };
        if let Some(fault) = fault {
            if let Some(open) = self.streams.get_mut(stream) {
                open.remote_ended |= ends;
            }
            return self.fault(stream, fault).map(Some);
        }
        self.end_remote(stream);
        Ok(Some(Event::Trailers { stream }))
    }
}

/// Returns how many bytes of content a response has, if that is known.
#[inline]
pub(super) fn content_of(stream: &Stream, facts: ResponseFacts) -> u64 {
    // RFC 9110 §6.4.1, §8.6: these have no content, and Content-Length says what another response would have.
    if stream.has_no_content || facts.status == 204 || facts.status == 304 {
        return 0;
    }
    facts.content_length.map_or(LENGTH_UNKNOWN, |length| length.min(LENGTH_MAX))
}
