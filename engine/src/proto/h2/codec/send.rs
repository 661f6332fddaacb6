//! What the caller sends: streams, heads, data, resets, and the room that it gives back.

use super::super::error_code::ErrorCode;
use super::super::frame::{self, END_STREAM, FRAME_HEADER_SIZE, FrameHeader, FrameKind};
use super::super::hpack;
use super::super::limits::{STREAM_ID_MAX, WINDOW_INCREMENT_SMALL};
use super::super::streams::StreamKey;
use super::event::{OpenError, RequestKind, Role};
use super::state::Codec;

impl Codec {
    /// Returns the encoder of header blocks. Each block it encodes must be sent, in order.
    #[inline]
    pub fn encoder(&mut self) -> &mut hpack::Encoder {
        &mut self.encoder
    }

    /// Returns how many streams may be opened now.
    #[inline]
    pub fn opens_now_max(&self) -> u32 {
        if self.is_closing() { 0 } else { self.peer.open_max().saturating_sub(self.streams.len() as u32) }
    }

    /// Opens a stream with the header block of a request, and appends its frames to `out`. `ends` if it has no body.
    ///
    /// # Errors
    /// Nothing was changed.
    #[inline]
    pub fn open(
        &mut self,
        block: &[u8],
        kind: RequestKind,
        ends: bool,
        out: &mut Vec<u8>,
    ) -> Result<StreamKey, OpenError> {
        debug_assert_eq!(self.role, Role::Client);
        if self.opens_now_max() == 0 {
            return Err(if self.is_closing() { OpenError::Closing } else { OpenError::Full });
        }
        let id = self.next_id;
        self.next_id += 2;
        let mut stream = self.stream(id);
        stream.local_ended = ends;
        stream.has_no_content = kind == RequestKind::Head;
        stream.is_connect = kind == RequestKind::Connect;
        frame::push_block(out, block, ends, id, self.peer.frame_size_max);
        self.calm.useful_frame();
        Ok(self.streams.insert(stream))
    }

    /// Appends a header block of an open stream to `out`: a server's response or interim response, or the trailers of either
    /// side, which `ends` it. Nothing is sent on a stream that is over.
    #[inline]
    pub fn send_head(&mut self, stream: StreamKey, block: &[u8], ends: bool, out: &mut Vec<u8>) {
        let frame_size_max = self.peer.frame_size_max;
        let Some(open) = self.streams.get_mut(stream).filter(|open| !open.local_ended) else { return };
        frame::push_block(out, block, ends, open.id, frame_size_max);
        if ends {
            self.end_local(stream);
        }
    }

    /// Returns how many bytes may be sent in one DATA frame now. 0 if the stream must wait for the peer, or is over.
    #[inline]
    pub fn send_capacity(&self, stream: StreamKey) -> u32 {
        match self.streams.get(stream) {
            Some(open) if !open.local_ended => {
                let size = open.send_window.min(self.send_window).min(i64::from(self.peer.frame_size_max));
                u32::try_from(size).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Returns whether the peer's window of a stream is open, whatever that of the connection is.
    pub fn has_window(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some_and(|open| open.send_window > 0)
    }

    /// Returns the header of a DATA frame of `size` bytes, at most [`send_capacity`](Self::send_capacity). The caller sends the
    /// bytes behind it. A frame that only `ends` has none, and may always be sent. The stream must be
    /// [sendable](Self::is_sendable).
    #[inline]
    pub fn send_data(&mut self, stream: StreamKey, size: u32, ends: bool) -> [u8; FRAME_HEADER_SIZE] {
        debug_assert!(size <= self.send_capacity(stream));
        if let Some(open) = self.streams.get_mut(stream) {
            open.send_window -= i64::from(size);
            self.send_window -= i64::from(size);
            // A peer that opens its window by single bytes gets single bytes (CVE-2019-9511). That is of no use.
            if size >= WINDOW_INCREMENT_SMALL || open.send_window.min(self.send_window) > 0 {
                self.calm.useful_frame();
            }
        }
        if ends {
            self.end_local(stream);
        }
        let flags = if ends { END_STREAM } else { 0 };
        FrameHeader { size, kind: FrameKind::Data, flags, stream_id: stream.id }.encode()
    }

    /// Returns whether this side may still send on a stream.
    #[inline]
    pub fn is_sendable(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some_and(|open| !open.local_ended)
    }

    /// Ends a stream before its time. Nothing happens if it is over.
    pub fn reset(&mut self, stream: StreamKey, code: ErrorCode) {
        if self.streams.get(stream).is_some() {
            self.streams.remove(stream);
            self.say_reset(stream.id, code);
        }
    }

    /// Notes that `size` bytes of [`Event::Data`](super::Event::Data) were read, so that the peer may send more. Each byte must be
    /// released once, also after its stream is over.
    #[inline]
    pub fn release(&mut self, stream: StreamKey, size: usize) {
        let size = size as u32;
        self.release_connection(size);
        if let Some(open) = self.streams.get_mut(stream)
            && !open.remote_ended
        {
            open.returned += size;
            // Half a window at a time: often enough that the peer does not wait, and seldom enough to cost nothing.
            if open.returned > self.options.stream_window / 2 {
                open.receive_window += i64::from(open.returned);
                frame::push_window_update(&mut self.output, open.id, open.returned);
                open.returned = 0;
            }
        }
    }

    /// Sends a PING, which the peer answers at once.
    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::push(&mut self.output, FrameKind::Ping, 0, 0, &payload);
    }

    /// Announces the end of the connection, without an end in sight: the peer may still open streams until it knows of it. This is the
    /// first of the two steps of RFC 9113 §6.8.
    pub fn announce_close(&mut self) {
        if self.own_last_id.is_none() {
            frame::push_go_away(&mut self.output, STREAM_ID_MAX, ErrorCode::NO_ERROR, b"");
        }
    }

    /// Refuses all streams that the peer opens from now on. This is the second step; with another code than
    /// [`ErrorCode::NO_ERROR`] it is the only one.
    pub fn go_away(&mut self, code: ErrorCode) {
        self.refuse_streams(code, b"");
    }
}
