//! The way from bytes to events: frames and their order, and DATA, which is lent in pieces.

use super::super::error::{Error, StreamFault};
use super::super::frame::{ACK, END_STREAM, FRAME_HEADER_SIZE, FrameHeader, FrameKind, PADDED, PREFACE};
use super::super::limits::FRAME_SIZE_MAX;
use super::super::streams::{LENGTH_UNKNOWN, Stream, StreamKey};
use super::event::Event;
use super::state::{Codec, Expected};

impl Codec {
    /// Decodes the next event. Returns also how many bytes were consumed.
    ///
    /// # Errors
    /// The connection cannot go on. The GOAWAY is in the [output](Self::take_output).
    pub fn decode<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), Error> {
        if let Some(usual) = self.decode_usual(bytes) {
            return Ok(usual);
        }
        self.decode_any(bytes)
    }

    #[inline(never)]
    fn decode_any<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), Error> {
        let decoded = self.decode_events(bytes);
        if let Err(error) = &decoded {
            self.fail(error);
        }
        decoded
    }

    fn decode_events<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), Error> {
        let mut position = 0;
        loop {
            if self.excludes {
                if let Some(event) = self.next_excluded() {
                    return Ok((position, event));
                }
                self.excludes = false;
            }
            let rest = &bytes[position..];
            match self.expected {
                Expected::Frame => {
                    let Some(header) = rest.first_chunk::<FRAME_HEADER_SIZE>() else {
                        return Ok((position, Event::NeedMore));
                    };
                    let header = FrameHeader::read(header);
                    match self.decode_frame(header, &rest[FRAME_HEADER_SIZE..])? {
                        Step::NeedMore => return Ok((position, Event::NeedMore)),
                        Step::Consumed(size) => position += FRAME_HEADER_SIZE + size,
                        Step::Event(size, event) => return Ok((position + FRAME_HEADER_SIZE + size, event)),
                    }
                }
                Expected::Data { stream, left, padding, ends } => {
                    if self.streams.get(stream).is_none_or(|open| open.remote_ended) {
                        // This side has reset it in the middle of the frame.
                        self.release_connection(left);
                        self.expected = Expected::after(left + padding);
                        continue;
                    }
                    if rest.is_empty() && left > 0 {
                        return Ok((position, Event::NeedMore));
                    }
                    let size = rest.len().min(left as usize);
                    let left = left - size as u32;
                    let ends_now = ends && left == 0;
                    self.expected = match left {
                        0 => Expected::after(padding),
                        _ => Expected::Data { stream, left, padding, ends },
                    };
                    if ends_now {
                        self.end_remote(stream);
                    }
                    return Ok((
                        position + size,
                        Event::Data { stream, data: &rest[..size], ends: ends_now },
                    ));
                }
                Expected::Nothing { left } => {
                    if rest.is_empty() {
                        return Ok((position, Event::NeedMore));
                    }
                    let size = rest.len().min(left as usize);
                    position += size;
                    self.expected = Expected::after(left - size as u32);
                }
                Expected::Preface(seen) => {
                    let size = rest.len().min(PREFACE.len() - seen);
                    if rest[..size] != PREFACE[seen..seen + size] {
                        return Err(Error::Preface);
                    }
                    position += size;
                    if seen + size < PREFACE.len() {
                        self.expected = Expected::Preface(seen + size);
                        return Ok((position, Event::NeedMore));
                    }
                    self.expected = Expected::Frame;
                }
            }
        }
    }

    /// Decodes one frame, from the bytes behind its header.
    #[inline]
    fn decode_frame<'b>(&mut self, header: FrameHeader, rest: &'b [u8]) -> Result<Step<'b>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if !self.peer.is_known && (kind != FrameKind::Settings || flags & ACK != 0) {
            return Err(Error::Preface);
        }
        // RFC 9113 §6.10: nothing may interrupt a header block.
        let continues = kind == FrameKind::Continuation && stream_id == self.partial.stream_id;
        if self.partial.stream_id != 0 && !continues {
            return Err(Error::Continuation(kind));
        }
        if kind == FrameKind::Data {
            return self.decode_data(header, rest);
        }
        if size > FRAME_SIZE_MAX {
            return Err(Error::FrameSize { kind, size });
        }
        let Some(payload) = rest.get(..size as usize) else { return Ok(Step::NeedMore) };
        let event = match kind {
            FrameKind::Headers => self.decode_headers(header, payload)?,
            FrameKind::Continuation => self.decode_continuation(header, payload)?,
            FrameKind::Settings => self.decode_settings(header, payload)?,
            FrameKind::WindowUpdate => self.decode_window_update(header, payload)?,
            FrameKind::RstStream => self.decode_reset(header, payload)?,
            FrameKind::Ping => self.decode_ping(header, payload)?,
            FrameKind::GoAway => self.decode_go_away(header, payload)?,
            FrameKind::Priority => self.decode_priority(header)?,
            FrameKind::PushPromise => return Err(Error::PushPromise),
            FrameKind::Unknown(_) | FrameKind::Data => {
                self.note_idle_frame()?;
                None
            }
        };
        Ok(match event {
            None => Step::Consumed(payload.len()),
            Some(event) => Step::Event(payload.len(), event),
        })
    }

    #[inline]
    fn decode_data<'b>(&mut self, header: FrameHeader, rest: &'b [u8]) -> Result<Step<'b>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let mut own_size = 0;
        let mut padding = 0;
        if flags & PADDED != 0 {
            if size == 0 {
                return Err(Error::FrameSize { kind, size });
            }
            let Some(first) = rest.first() else { return Ok(Step::NeedMore) };
            own_size = 1;
            padding = u32::from(*first);
            if padding >= size {
                return Err(Error::Padding);
            }
        }
        let data_size = size - own_size - padding;
        // RFC 9113 §6.9: the whole payload counts, even if its stream is over.
        self.receive_window -= i64::from(size);
        if self.receive_window < 0 {
            return Err(Error::WindowExceeded);
        }
        let ends = flags & END_STREAM != 0;
        let Some(stream) = self.streams.find(stream_id) else {
            self.check_not_open(kind, stream_id)?;
            // The rest of a body was on its way when this side reset the stream.
            if data_size == 0 {
                self.note_idle_frame()?;
            }
            self.release_connection(size);
            self.expected = Expected::after(size - own_size);
            return Ok(Step::Consumed(own_size as usize));
        };
        if data_size > 0 {
            self.calm.useful_frame();
        } else if !ends {
            self.note_idle_frame()?;
        }
        if let Some(fault) = self.check_data(stream, size, data_size, ends) {
            self.release_connection(size);
            self.expected = Expected::after(size - own_size);
            let event = self.fault(stream, fault)?;
            return Ok(Step::Event(own_size as usize, event));
        }
        if own_size > 0 {
            // Padding is read when it arrives.
            self.release(stream, (own_size + padding) as usize);
        }
        if data_size == 0 && !ends {
            self.expected = Expected::after(padding);
            return Ok(Step::Consumed(own_size as usize));
        }
        self.expected = Expected::Data { stream, left: data_size, padding, ends };
        Ok(Step::Consumed(own_size as usize))
    }

    /// Checks and counts a DATA frame of an open stream.
    #[inline]
    fn check_data(
        &mut self,
        stream: StreamKey,
        size: u32,
        data_size: u32,
        ends: bool,
    ) -> Option<StreamFault> {
        let open = self.streams.get_mut(stream)?;
        if open.remote_ended {
            return Some(StreamFault::AfterEnd);
        }
        let fault = Self::count_data(open, size, data_size, ends);
        open.remote_ended = ends && fault.is_some();
        fault
    }

    #[inline]
    fn count_data(open: &mut Stream, size: u32, data_size: u32, ends: bool) -> Option<StreamFault> {
        if size > FRAME_SIZE_MAX {
            return Some(StreamFault::FrameSize);
        }
        if !open.has_head {
            return Some(StreamFault::Sequence);
        }
        open.receive_window -= i64::from(size);
        // An empty frame may always be sent (RFC 9113 §6.9.1), and our SETTINGS may have made the window negative.
        if open.receive_window < 0 && size > 0 {
            return Some(StreamFault::WindowExceeded);
        }
        let left = open.content_left;
        if left != LENGTH_UNKNOWN {
            let data_size = u64::from(data_size);
            // RFC 9113 §8.1.1.
            if data_size > left || (ends && data_size < left) {
                return Some(StreamFault::ContentLength);
            }
            open.content_left = left - data_size;
        }
        None
    }
}

/// What became of a frame. Sizes are those of the bytes behind its header.
enum Step<'b> {
    NeedMore,
    Consumed(usize),
    Event(usize, Event<'b>),
}
