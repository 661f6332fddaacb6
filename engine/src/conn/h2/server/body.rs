//! The bodies of requests: what has arrived waits with its stream until the handler reads it, and only then opens the window
//! again.

use std::mem;
use std::task::{Context, Poll};

use super::state::{Answer, State, entry_mut, unanswered_mut};
use super::wakes::{Wakes, wait_at};
use crate::conn::h2::link::COPIED_PIECE_SIZE_MAX;
use crate::conn::piece::Piece;
use crate::error::{Error, ProtocolError};
use crate::proto::h2::{self, FieldList, StreamKey};

/// A stream's small pieces of a body are put together up to this size. Each by itself would cost more than its bytes.
const TAIL_SIZE_MAX: usize = 16 * 1024;

impl State {
    /// Notes `size` bytes of a request's body, which are the data of the last event.
    pub(super) fn receive(&mut self, stream: StreamKey, size: usize, ends: bool, wakes: &mut Wakes) {
        let now_ns = self.link.turn_time_ns();
        let Some(entry) = entry_mut(&mut self.streams, stream) else {
            // Nobody will read it.
            self.link.codec.release(stream, size);
            return;
        };
        if entry.answer == Answer::Whole {
            // Nor this, while the response waits for a window.
            entry.received |= ends;
            self.link.codec.release(stream, size);
            return;
        }
        entry.moved_ns = now_ns;
        entry.owes_continue = false;
        if size > 0 {
            self.unread_size += size;
            if size <= COPIED_PIECE_SIZE_MAX {
                if entry.tail.len() >= TAIL_SIZE_MAX {
                    entry.unread.push_back(Piece::copy(entry.tail.split().freeze()));
                }
                entry.tail.extend_from_slice(self.link.piece(self.link.data_range()));
            } else {
                if !entry.tail.is_empty() {
                    entry.unread.push_back(Piece::copy(entry.tail.split().freeze()));
                }
                entry.unread.push_back(self.link.take_data());
            }
        }
        entry.received |= ends;
        wakes.add(entry.reader.take());
    }

    /// Polls for the next piece of a request's body. `None` at its end, and an error if the stream is gone.
    pub(in crate::conn::h2) fn poll_piece(
        &mut self,
        stream: StreamKey,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piece>, Error>> {
        let now_ns = self.link.turn_time_ns();
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else {
            return Poll::Ready(Err(self.why_lost(stream)));
        };
        let piece = match entry.unread.pop_front() {
            None if !entry.tail.is_empty() => Some(Piece::copy(mem::take(&mut entry.tail).freeze())),
            piece => piece,
        };
        if let Some(piece) = piece {
            self.unread_size -= piece.len();
            // The handler reads it now.
            self.link.codec.release(stream, piece.len());
            return Poll::Ready(Ok(Some(piece)));
        }
        if entry.received {
            return Poll::Ready(Ok(None));
        }
        if entry.is_cut {
            return Poll::Ready(Err(Error::Protocol(ProtocolError::H2(h2::Error::Incomplete))));
        }
        if entry.reader.is_none() {
            entry.moved_ns = now_ns;
        }
        wait_at(&mut entry.reader, context);
        // RFC 9110 §10.1.1: not after the final response has begun, nor once the body has started to arrive.
        if mem::take(&mut entry.owes_continue) && entry.answer == Answer::None {
            self.answers.send_continue(&mut self.link, stream);
        }
        Poll::Pending
    }

    /// Takes the trailers of a request.
    pub(in crate::conn::h2) fn take_trailers(&mut self, stream: StreamKey) -> Option<Box<FieldList>> {
        self.stream_mut(stream)?.trailers.take()
    }

    /// Drops what has arrived of a request's body and was not read.
    #[inline]
    pub(super) fn drop_unread(&mut self, stream: StreamKey) {
        let Some(entry) = entry_mut(&mut self.streams, stream) else { return };
        // Few requests have a body, and few bodies are left.
        if !entry.tail.is_empty() || !entry.unread.is_empty() {
            let mut unread = mem::take(&mut entry.tail).len();
            unread += entry.unread.drain(..).map(|piece| piece.len()).sum::<usize>();
            self.unread_size -= unread;
            self.link.codec.release(stream, unread);
        }
    }
}
