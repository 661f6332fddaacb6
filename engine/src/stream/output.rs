//! Writing to a transport: what a write waits for, and what becomes of the sending side.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringtide_driver::SendBuffer;

use super::transport::Transport;
use crate::limits::{COALESCED_SEND_SIZE_MAX, UNSENT_HIGH_SIZE, UNSENT_LOW_SIZE};

#[derive(Debug)]
pub(super) struct Output {
    low: usize,
    high: usize,
    /// More than the high watermark was unsent, and the low one has not been reached since.
    is_full: bool,
    ending: Ending,
}

/// What has become of the sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Begun,
    Ended,
}

impl Default for Output {
    fn default() -> Self {
        Self { low: UNSENT_LOW_SIZE, high: UNSENT_HIGH_SIZE, is_full: false, ending: Ending::Open }
    }
}

impl Output {
    pub(super) fn set_watermarks(&mut self, low: usize, high: usize) {
        assert!(low <= high, "the low watermark is {low} bytes, the high one {high}");
        (self.low, self.high) = (low, high);
    }

    /// Returns whether this side has begun to end the stream.
    pub(super) fn is_ending(&self) -> bool {
        self.ending != Ending::Open
    }

    /// Returns whether the peer has been told that nothing follows.
    pub(super) fn has_ended(&self) -> bool {
        self.ending == Ending::Ended
    }

    /// Waits for room, then calls `write` and starts to send.
    pub(super) fn poll_write<T>(
        &mut self,
        transport: &mut Transport,
        write: impl FnOnce(&mut Transport) -> T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if self.is_ending() {
            let reason = "the sending side of this stream was shut down";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, reason)));
        }
        loop {
            transport.start_if_idle()?;
            if transport.unsent_size() <= if self.is_full { self.low } else { self.high } {
                break;
            }
            self.is_full = true;
            ready!(transport.poll_sent(context))?;
        }
        self.is_full = false;
        let outcome = write(transport);
        transport.start_if_idle()?;
        transport.leave_queue_to_receiver();
        Poll::Ready(Ok(outcome))
    }

    pub(super) fn poll_shutdown(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ending != Ending::Ended {
            self.ending = Ending::Begun;
            ready!(transport.poll_shutdown(context))?;
            self.ending = Ending::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

/// Appends a copy of `bytes` to what waits to be sent.
#[inline]
pub(super) fn queue(transport: &mut Transport, bytes: &[u8]) {
    if bytes.len() <= COALESCED_SEND_SIZE_MAX {
        transport.write(|out| out.extend_from_slice(bytes));
    } else {
        // In memory of its own, which is not kept after the send.
        transport.push(SendBuffer::Shared(Bytes::copy_from_slice(bytes)));
    }
}

/// Appends copies of all `parts`.
#[inline]
pub(super) fn queue_all<'p>(transport: &mut Transport, parts: impl Iterator<Item = &'p [u8]>) {
    for part in parts {
        queue(transport, part);
    }
}
