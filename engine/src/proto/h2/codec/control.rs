//! The frames that are no messages: SETTINGS, WINDOW_UPDATE, RST_STREAM, PING, GOAWAY, PRIORITY.

use super::super::error::{Error, ResetCause, StreamFault, StreamReset};
use super::super::error_code::ErrorCode;
use super::super::frame::{self, ACK, FrameHeader, FrameKind};
use super::super::limits::{STREAM_ID_MAX, WINDOW_INCREMENT_SMALL, WINDOW_SIZE_INITIAL, WINDOW_SIZE_MAX};
use super::super::settings;
use super::event::{Event, Role};
use super::state::Codec;

impl Codec {
    pub(super) fn decode_settings<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if stream_id != 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let is_ack = flags & ACK != 0;
        if !size.is_multiple_of(6) || (is_ack && size != 0) {
            return Err(Error::FrameSize { kind, size });
        }
        self.note_idle_frame()?;
        if is_ack {
            self.apply_own_settings();
            return Ok(None);
        }
        let before = self.peer;
        // RFC 7541 §4.2: a table that shrinks and grows again in one frame has lost its entries.
        for size in settings::header_table_sizes(payload) {
            self.encoder.set_table_size_max(size);
        }
        self.peer
            .apply(payload, self.role == Role::Client)
            .map_err(|(id, value)| Error::Setting { id, value })?;
        // RFC 9113 §6.9.2: open streams get the difference, and their windows may fall below zero.
        let difference = i64::from(self.peer.stream_window) - i64::from(before.stream_window);
        if difference != 0 {
            for stream in self.streams.iter_mut() {
                stream.send_window += difference;
                if stream.send_window > i64::from(WINDOW_SIZE_MAX) {
                    return Err(Error::WindowOverflow);
                }
            }
        }
        frame::push(&mut self.output, FrameKind::Settings, ACK, 0, b"");
        Ok(Some(Event::SendOpened))
    }

    /// The peer has acknowledged our SETTINGS: from here on it keeps to them.
    pub(super) fn apply_own_settings(&mut self) {
        if std::mem::replace(&mut self.is_acknowledged, true) {
            return;
        }
        let excess = i64::from(WINDOW_SIZE_INITIAL.saturating_sub(self.options.stream_window));
        for stream in self.streams.iter_mut() {
            stream.receive_window -= excess;
        }
        self.decoder.settings_acknowledged();
        // The decoder may insist on a size update now, which the block has not.
        self.repeat.is_known = false;
    }

    pub(super) fn decode_window_update<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        let bytes: [u8; 4] = payload.try_into().map_err(|_| Error::FrameSize { kind, size })?;
        let increment = u32::from_be_bytes(bytes) & WINDOW_SIZE_MAX;
        let found = self.streams.find(stream_id);
        // Large ones are bounded by the size of a window, if there is one.
        if increment < WINDOW_INCREMENT_SMALL || (found.is_none() && stream_id != 0) {
            self.note_idle_frame()?;
        }
        if stream_id == 0 {
            if increment == 0 {
                return Err(Error::WindowIncrementZero);
            }
            self.send_window += i64::from(increment);
            if self.send_window > i64::from(WINDOW_SIZE_MAX) {
                return Err(Error::WindowOverflow);
            }
            return Ok(Some(Event::SendOpened));
        }
        let Some(stream) = found else {
            self.check_begun(kind, stream_id)?;
            return Ok(None);
        };
        let Some(open) = self.streams.get_mut(stream) else { return Ok(None) };
        if increment == 0 {
            return self.fault(stream, StreamFault::WindowIncrementZero).map(Some);
        }
        open.send_window += i64::from(increment);
        if open.send_window > i64::from(WINDOW_SIZE_MAX) {
            return self.fault(stream, StreamFault::WindowOverflow).map(Some);
        }
        Ok(Some(Event::SendOpened))
    }

    pub(super) fn decode_reset<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        let bytes: [u8; 4] = payload.try_into().map_err(|_| Error::FrameSize { kind, size })?;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let Some(stream) = self.streams.find(stream_id) else {
            self.check_begun(kind, stream_id)?;
            return self.note_idle_frame().map(|()| None);
        };
        self.counters.resets_received += 1;
        if self.role == Role::Server {
            self.calm.reset().map_err(Error::Flood)?;
        }
        self.streams.remove(stream);
        let code = ErrorCode(u32::from_be_bytes(bytes));
        Ok(Some(Event::Reset { stream, reset: StreamReset { code, cause: ResetCause::Peer } }))
    }

    pub(super) fn decode_ping<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        let payload: [u8; 8] = payload.try_into().map_err(|_| Error::FrameSize { kind, size })?;
        if stream_id != 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        self.note_idle_frame()?;
        if flags & ACK != 0 {
            return Ok(Some(Event::Pong { payload }));
        }
        frame::push(&mut self.output, FrameKind::Ping, ACK, 0, &payload);
        Ok(None)
    }

    pub(super) fn decode_go_away<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        if stream_id != 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let (id, rest) = payload.split_first_chunk::<4>().ok_or(Error::FrameSize { kind, size })?;
        let (code, _debug) = rest.split_first_chunk::<4>().ok_or(Error::FrameSize { kind, size })?;
        self.note_idle_frame()?;
        let mut last_stream_id = u32::from_be_bytes(*id) & STREAM_ID_MAX;
        let code = ErrorCode(u32::from_be_bytes(*code));
        // RFC 9113 §6.8: it must not grow. Streams that an earlier one excluded are gone already.
        if let Some((before, _)) = self.peer_last {
            last_stream_id = last_stream_id.min(before);
        }
        self.peer_last = Some((last_stream_id, code));
        (self.excludes, self.excluded_to) = (self.role == Role::Client, 0);
        Ok(Some(Event::GoAway { code, last_stream_id }))
    }

    pub(super) fn decode_priority<'b>(&mut self, header: FrameHeader) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        self.note_idle_frame()?;
        // RFC 9113 §6.3. PRIORITY may come in any state of its stream.
        match self.streams.find(stream_id) {
            Some(stream) if size != 5 => self.fault(stream, StreamFault::FrameSize).map(Some),
            _ => Ok(None),
        }
    }

    /// The next stream that the peer's GOAWAY excludes.
    pub(super) fn next_excluded<'b>(&mut self) -> Option<Event<'b>> {
        let (last_id, code) = self.peer_last?;
        let stream = self.streams.next_above(last_id, &mut self.excluded_to)?;
        self.streams.remove(stream);
        self.remember_reset(stream.id);
        Some(Event::Reset { stream, reset: StreamReset { code, cause: ResetCause::GoAway } })
    }
}
