//! The traits of futures-io for streams.
//!
//! `poll_write` queues all that it is given, or waits for room: see [`Stream`](Stream#writing).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite, IoSlice};

use super::{Stream, output};

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { transport, reader, .. } = self.get_mut();
        reader.poll_read(transport, buffer, context)
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { transport, reader, .. } = self.get_mut();
        ready!(reader.poll_any(transport, context))?;
        Poll::Ready(Ok(reader.bytes()))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        Self::consume(self.get_mut(), count);
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { transport, output, .. } = self.get_mut();
        let queue = |transport: &mut _| output::queue(transport, bytes);
        output.poll_write(transport, queue, context).map_ok(|()| bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { transport, output, .. } = self.get_mut();
        let queue = |transport: &mut _| output::queue_all(transport, parts.iter().map(|part| &**part));
        let size = parts.iter().map(|part| part.len()).sum();
        output.poll_write(transport, queue, context).map_ok(|()| size)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().transport.poll_flushed(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { transport, output, .. } = self.get_mut();
        output.poll_shutdown(transport, context)
    }
}
