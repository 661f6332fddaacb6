//! The frames that come most often, on a short way: whole DATA, and heads with the block that was decoded last.
//!
//! It takes a frame only if everything about it is right. It leaves any other, with nothing changed, to the way that knows
//! all rules. Which way a frame has taken does not show.

use super::super::frame::{END_HEADERS, END_STREAM, FRAME_HEADER_SIZE, FrameHeader, FrameKind, PADDED};
use super::super::limits::FRAME_SIZE_MAX;
use super::super::streams::{LENGTH_UNKNOWN, StreamKey};
use super::event::{Event, Role};
use super::headers::content_of;
use super::state::{Codec, Expected, Facts};

impl Codec {
    #[inline]
    pub(super) fn decode_usual<'b>(&mut self, bytes: &'b [u8]) -> Option<(usize, Event<'b>)> {
        let header = FrameHeader::read(bytes.first_chunk()?);
        let size = FRAME_HEADER_SIZE + header.size as usize;
        let payload = bytes.get(FRAME_HEADER_SIZE..size)?;
        let is_between = matches!(self.expected, Expected::Frame) && self.partial.stream_id == 0;
        if !is_between || self.excludes || !self.peer.is_known || header.size > FRAME_SIZE_MAX {
            return None;
        }
        let ends = header.flags & END_STREAM != 0;
        match header.kind {
            FrameKind::Data if header.flags & PADDED == 0 => {
                let stream = self.usual_data(header.stream_id, payload.len(), ends)?;
                Some((size, Event::Data { stream, data: payload, ends }))
            }
            FrameKind::Headers if header.flags & !END_STREAM == END_HEADERS => {
                let stream = self.usual_head(header.stream_id, payload, ends)?;
                Some((size, Event::Head { stream, ends }))
            }
            _ => None,
        }
    }

    #[inline]
    fn usual_data(&mut self, stream_id: u32, data_size: usize, ends: bool) -> Option<StreamKey> {
        let stream = self.streams.find(stream_id)?;
        let open = self.streams.get_mut(stream)?;
        let size = data_size as i64;
        let is_admitted = open.has_head && !open.remote_ended;
        if !is_admitted || size == 0 || size > open.receive_window.min(self.receive_window) {
            return None;
        }
        if open.content_left != LENGTH_UNKNOWN {
            let left = open.content_left.checked_sub(data_size as u64)?;
            if ends && left > 0 {
                return None;
            }
            open.content_left = left;
        }
        open.receive_window -= size;
        self.receive_window -= size;
        open.remote_ended = ends;
        let is_over = ends && open.local_ended;
        self.calm.useful_frame();
        if is_over {
            self.streams.remove(stream);
        }
        Some(stream)
    }

    #[inline]
    fn usual_head(&mut self, stream_id: u32, block: &[u8], ends: bool) -> Option<StreamKey> {
        let is_repeated = self.repeat.is_known
            && self.repeat.insert_count == self.decoder.insert_count()
            && self.repeat.block == block;
        if !is_repeated {
            return None;
        }
        match (self.role, self.facts) {
            (Role::Client, Facts::Response(facts)) => {
                let stream = self.streams.find(stream_id)?;
                let open = self.streams.get_mut(stream)?;
                if open.is_connect {
                    return None;
                }
                let content = content_of(open, facts);
                let is_whole = !ends || content == 0 || content == LENGTH_UNKNOWN;
                if open.has_head || facts.status < 200 || !is_whole {
                    return None;
                }
                (open.has_head, open.content_left) = (true, content);
                if ends {
                    self.end_remote(stream);
                }
                Some(stream)
            }
            (Role::Server, Facts::Request(facts)) => {
                let is_next = stream_id > self.last_peer_id && !stream_id.is_multiple_of(2);
                let is_admitted =
                    self.own_last_id.is_none() && (self.streams.len() as u32) < self.options.streams_max;
                let is_whole = !ends || facts.content_length.is_none_or(|length| length == 0);
                (is_next && is_admitted && is_whole).then(|| self.begin_request(stream_id, ends, facts))
            }
            _ => None,
        }
    }
}
