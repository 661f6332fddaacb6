//! The two halves of a stream, for two tasks of one worker.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use ringtide_driver::{Address, Lease, SendBuffer};

use super::Stream;
use super::output::{self, Output};
use super::reader::Reader;
use super::transport::Transport;

/// The reading half of a [`Stream`]. Its methods are those of the stream, with the same cancel safety and errors.
///
/// Dropping it does not close the stream; that happens when both halves are gone. Nobody reads then, so a peer that
/// sends is held back.
///
/// While it waits to receive, what the other half has written leaves. With TLS, it also answers what the peer's session
/// asks (key updates, alerts); a task that writes is not disturbed by that.
#[derive(Debug)]
pub struct ReadHalf {
    transport: Rc<RefCell<Transport>>,
    reader: Reader,
}

/// The writing half of a [`Stream`]. Its methods are those of the stream, with the same cancel safety and errors.
///
/// Dropping it sends no end of the stream; use [`shutdown`](Self::shutdown). What it wrote before still leaves while the
/// other half reads.
#[derive(Debug)]
pub struct WriteHalf {
    transport: Rc<RefCell<Transport>>,
    output: Output,
}

/// The halves given to [`ReadHalf::reunite`] are of different streams. It returns them.
#[derive(Debug)]
pub struct ReuniteError(pub ReadHalf, pub WriteHalf);

impl Stream {
    /// Splits the stream into its two directions, for two tasks of this worker.
    ///
    /// ```
    /// # use std::os::unix::net::UnixStream;
    /// use ringtide::runtime::{self, Worker, WorkerOptions};
    /// use ringtide::stream::Stream;
    ///
    /// Worker::new(&WorkerOptions::default())?.block_on(async {
    ///     # let (ours, theirs) = UnixStream::pair()?;
    ///     # let stream = Stream::adopt(ours.into())?;
    ///     # let mut peer = Stream::adopt(theirs.into())?;
    ///     let (mut reading, mut writing) = stream.split();
    ///     let echo = runtime::spawn(async move {
    ///         while let Some(bytes) = reading.receive().await? {
    ///             writing.write_all(&bytes).await?;
    ///         }
    ///         writing.shutdown().await
    ///     });
    ///     # peer.send("hello").await?;
    ///     # peer.shutdown().await?;
    ///     # let mut answer = [0; 5];
    ///     # peer.read_exact(&mut answer).await?;
    ///     # assert_eq!(&answer, b"hello");
    ///     echo.await.expect("the task does not panic")
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let Self { transport, reader, output } = self;
        let transport = Rc::new(RefCell::new(transport));
        (ReadHalf { transport: Rc::clone(&transport), reader }, WriteHalf { transport, output })
    }
}

impl ReadHalf {
    /// Joins the halves of one stream again.
    ///
    /// # Errors
    /// The halves are of different streams. Both are in the error, unchanged.
    pub fn reunite(self, other: WriteHalf) -> Result<Stream, ReuniteError> {
        if !Rc::ptr_eq(&self.transport, &other.transport) {
            return Err(ReuniteError(self, other));
        }
        drop(other.transport);
        let Some(transport) = Rc::into_inner(self.transport) else {
            unreachable!("only the two halves share the transport");
        };
        Ok(Stream { transport: transport.into_inner(), reader: self.reader, output: other.output })
    }

    /// See [`Stream::receive`].
    ///
    /// # Errors
    /// See [`Stream::receive`].
    pub async fn receive(&mut self) -> io::Result<Option<Lease>> {
        let Self { transport, reader } = self;
        poll_fn(|context| reader.poll_receive(&mut transport.borrow_mut(), context)).await
    }

    /// See [`Stream::read`].
    ///
    /// # Errors
    /// See [`Stream::read`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { transport, reader } = self;
        poll_fn(|context| reader.poll_read(&mut transport.borrow_mut(), buffer, context)).await
    }

    /// See [`Stream::read_exact`].
    ///
    /// # Errors
    /// See [`Stream::read_exact`].
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Self { transport, reader } = self;
        poll_fn(|context| reader.poll_read_exact(&mut transport.borrow_mut(), buffer, context)).await
    }

    /// See [`Stream::read_until`].
    ///
    /// # Errors
    /// See [`Stream::read_until`].
    ///
    /// # Panics
    /// See [`Stream::read_until`].
    pub async fn read_until(&mut self, delimiter: &[u8], size_max: usize) -> io::Result<Lease> {
        let Self { transport, reader } = self;
        let mut searched = 0;
        poll_fn(|context| {
            reader.poll_read_until(&mut transport.borrow_mut(), delimiter, size_max, &mut searched, context)
        })
        .await
    }

    /// See [`Stream::read_line`].
    ///
    /// # Errors
    /// See [`Stream::read_line`].
    pub async fn read_line(&mut self, size_max: usize) -> io::Result<Option<Lease>> {
        let Self { transport, reader } = self;
        let mut searched = 0;
        poll_fn(|context| {
            reader.poll_read_line(&mut transport.borrow_mut(), size_max, &mut searched, context)
        })
        .await
    }

    /// See [`Stream::fill`].
    ///
    /// # Errors
    /// See [`Stream::fill`].
    pub async fn fill(&mut self) -> io::Result<bool> {
        let Self { transport, reader } = self;
        poll_fn(|context| reader.poll_fill(&mut transport.borrow_mut(), context)).await
    }

    /// See [`Stream::buffered`].
    pub fn buffered(&self) -> &[u8] {
        self.reader.bytes()
    }

    /// See [`Stream::consume`].
    ///
    /// # Panics
    /// See [`Stream::consume`].
    pub fn consume(&mut self, count: usize) {
        self.reader.consume_first(count);
    }

    /// See [`Stream::take`].
    ///
    /// # Panics
    /// See [`Stream::take`].
    pub fn take(&mut self, count: usize) -> Lease {
        self.reader.take_first(count)
    }

    /// See [`Stream::local_address`].
    ///
    /// # Errors
    /// See [`Stream::local_address`].
    pub fn local_address(&self) -> io::Result<Address> {
        self.transport.borrow().local_address()
    }

    /// See [`Stream::peer_address`].
    ///
    /// # Errors
    /// See [`Stream::peer_address`].
    pub fn peer_address(&self) -> io::Result<Address> {
        self.transport.borrow().peer_address()
    }
}

impl WriteHalf {
    /// See [`Stream::write_all`].
    ///
    /// # Errors
    /// See [`Stream::write_all`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { transport, output } = self;
        poll_fn(|context| {
            let transport = &mut *transport.borrow_mut();
            output.poll_write(transport, |transport| output::queue(transport, bytes), context)
        })
        .await
    }

    /// See [`Stream::write_bytes`].
    ///
    /// # Errors
    /// See [`Stream::write_bytes`].
    pub async fn write_bytes(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let Self { transport, output } = self;
        let mut bytes = bytes.into();
        poll_fn(|context| {
            let transport = &mut *transport.borrow_mut();
            let push = |transport: &mut Transport| {
                transport.push(SendBuffer::Shared(std::mem::take(&mut bytes)));
            };
            output.poll_write(transport, push, context)
        })
        .await
    }

    /// See [`Stream::write_vectored`].
    ///
    /// # Errors
    /// See [`Stream::write_vectored`].
    pub async fn write_vectored<B: AsRef<[u8]>>(&mut self, parts: &[B]) -> io::Result<()> {
        let Self { transport, output } = self;
        poll_fn(|context| {
            let transport = &mut *transport.borrow_mut();
            let parts = parts.iter().map(AsRef::as_ref);
            output.poll_write(transport, |transport| output::queue_all(transport, parts), context)
        })
        .await
    }

    /// See [`Stream::send`].
    ///
    /// # Errors
    /// See [`Stream::send`].
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        self.write_bytes(bytes).await?;
        self.flush().await
    }

    /// See [`Stream::flush`].
    ///
    /// # Errors
    /// See [`Stream::flush`].
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.transport.borrow_mut().poll_flushed(context)).await
    }

    /// See [`Stream::shutdown`].
    ///
    /// # Errors
    /// See [`Stream::shutdown`].
    pub async fn shutdown(&mut self) -> io::Result<()> {
        let Self { transport, output } = self;
        poll_fn(|context| output.poll_shutdown(&mut transport.borrow_mut(), context)).await
    }

    /// See [`Stream::set_watermarks`].
    ///
    /// # Panics
    /// See [`Stream::set_watermarks`].
    pub fn set_watermarks(&mut self, low: usize, high: usize) {
        self.output.set_watermarks(low, high);
    }

    /// See [`Stream::unsent_size`].
    pub fn unsent_size(&self) -> usize {
        self.transport.borrow().unsent_size()
    }

    /// See [`Stream::is_closing`].
    pub fn is_closing(&self) -> bool {
        self.output.is_ending() || self.transport.borrow().has_failed()
    }

    /// See [`Stream::is_closed`].
    pub fn is_closed(&self) -> bool {
        let transport = self.transport.borrow();
        transport.has_failed() || (self.output.has_ended() && transport.has_ended())
    }

    /// See [`Stream::local_address`].
    ///
    /// # Errors
    /// See [`Stream::local_address`].
    pub fn local_address(&self) -> io::Result<Address> {
        self.transport.borrow().local_address()
    }

    /// See [`Stream::peer_address`].
    ///
    /// # Errors
    /// See [`Stream::peer_address`].
    pub fn peer_address(&self) -> io::Result<Address> {
        self.transport.borrow().peer_address()
    }
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these halves are of different streams")
    }
}

impl Error for ReuniteError {}
