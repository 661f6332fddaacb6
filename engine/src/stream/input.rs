//! Reading from a transport through a [`Reader`]: by count, by delimiter, or as it comes.
//!
//! Bytes leave the reader only when a read is complete. So a read that is dropped while it waits loses nothing.

use std::io;
use std::task::{Context, Poll, ready};

use memchr::memmem;
use ringtide_driver::Lease;

use super::read_error::{IncompleteRead, LimitExceeded};
use super::reader::Reader;
use super::transport::Transport;

impl Reader {
    /// Receives once, after the bytes that have not been consumed. False at the end of the stream. What waits to be sent
    /// leaves meanwhile.
    pub(super) fn poll_fill(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        match ready!(poll_receive(transport, context))? {
            Some(lease) => {
                self.extend(lease);
                Poll::Ready(Ok(true))
            }
            None => Poll::Ready(Ok(false)),
        }
    }

    /// Ready when there are bytes. False at the end of the stream.
    pub(super) fn poll_any(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.bytes().is_empty() { self.poll_fill(transport, context) } else { Poll::Ready(Ok(true)) }
    }

    /// Takes all bytes, or receives some. `None` at the end of the stream.
    #[inline]
    pub(super) fn poll_receive(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Lease>>> {
        match self.bytes().len() {
            0 => poll_receive(transport, context),
            count => Poll::Ready(Ok(Some(self.take_first(count)))),
        }
    }

    pub(super) fn poll_read(
        &mut self,
        transport: &mut Transport,
        buffer: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() || !ready!(self.poll_any(transport, context))? {
            return Poll::Ready(Ok(0));
        }
        let count = buffer.len().min(self.bytes().len());
        self.copy_first(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_read_exact(
        &mut self,
        transport: &mut Transport,
        buffer: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes().len() < buffer.len() {
            if !ready!(self.poll_fill(transport, context))? {
                return Poll::Ready(Err(self.cut(Some(buffer.len()))));
            }
        }
        self.copy_first(buffer);
        Poll::Ready(Ok(()))
    }

    /// `searched` is how many bytes are known to contain no delimiter.
    pub(super) fn poll_read_until(
        &mut self,
        transport: &mut Transport,
        delimiter: &[u8],
        size_max: usize,
        searched: &mut usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Lease>> {
        assert!(!delimiter.is_empty(), "a delimiter has at least one byte");
        loop {
            let bytes = self.bytes();
            let bytes = &bytes[..bytes.len().min(size_max)];
            // The delimiter may have arrived in two pieces.
            let from = searched.saturating_sub(delimiter.len() - 1);
            if let Some(at) = memmem::find(&bytes[from..], delimiter) {
                let count = from + at + delimiter.len();
                return Poll::Ready(Ok(self.take_first(count)));
            }
            *searched = bytes.len();
            if bytes.len() == size_max {
                return Poll::Ready(Err(LimitExceeded::error(size_max)));
            }
            if !ready!(self.poll_fill(transport, context))? {
                return Poll::Ready(Err(self.cut(None)));
            }
        }
    }

    /// A line without its end; `None` at the end of the stream.
    pub(super) fn poll_read_line(
        &mut self,
        transport: &mut Transport,
        size_max: usize,
        searched: &mut usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Lease>>> {
        match ready!(self.poll_read_until(transport, b"\n", size_max, searched, context)) {
            Ok(mut line) => {
                let text = &line[..line.len() - 1];
                let size = text.strip_suffix(b"\r").unwrap_or(text).len();
                line.truncate(size);
                Poll::Ready(Ok(Some(line)))
            }
            Err(error) if IncompleteRead::of_io(&error).is_some_and(|cut| cut.partial.is_empty()) => {
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Takes the first `count` unconsumed bytes: without a copy if they are in one receive buffer.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn take_first(&mut self, count: usize) -> Lease {
        let position = self.position();
        if let Some(lease) = self.take(&(position..position + count)) {
            return lease;
        }
        let lease = Lease::copied(&self.bytes()[..count]);
        self.consume_first(count);
        lease
    }

    /// Consumes `count` bytes, and releases the buffer if they were the last.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn consume_first(&mut self, count: usize) {
        let unread = self.bytes().len();
        assert!(count <= unread, "consume {count} of {unread} bytes");
        self.consume(count);
        self.release();
    }

    fn copy_first(&mut self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes()[..buffer.len()]);
        self.consume_first(buffer.len());
    }

    /// Takes what is there into an error.
    fn cut(&mut self, expected: Option<usize>) -> io::Error {
        let error = IncompleteRead::error(self.bytes(), expected);
        *self = Self::default();
        error
    }
}

#[inline]
fn poll_receive(transport: &mut Transport, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
    let received = transport.poll_receive(context);
    if received.is_pending() {
        transport.send_while_receiving(context);
    }
    received
}
