//! Byte streams and listeners on a worker, plain or with TLS: the transport below a connection of any protocol.
//!
//! A protocol only sees received bytes, sent bytes and the end of the stream, whatever carries them. A [`Stream`] has
//! what asyncio's `StreamReader` and `StreamWriter` have: exact counts, lines and delimiters with limits, writes with
//! back-pressure. This server answers each frame (a length of four bytes, then that many bytes), and gives up on a peer
//! that takes too long:
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//!
//! use ringtide::runtime::{self, Worker, WorkerOptions};
//! use ringtide::stream::{IncompleteRead, Listener, Stream};
//!
//! const FRAME_SIZE_MAX: usize = 64 * 1024;
//!
//! async fn serve(mut stream: Stream) -> io::Result<()> {
//!     let mut length = [0; 4];
//!     loop {
//!         match stream.read_exact(&mut length).await {
//!             Ok(()) => {}
//!             // The peer has ended the stream between two frames.
//!             Err(error) if IncompleteRead::of_io(&error).is_some_and(|cut| cut.partial.is_empty()) => {
//!                 return stream.close().await;
//!             }
//!             Err(error) => return Err(error),
//!         }
//!         let size = u32::from_be_bytes(length) as usize;
//!         if size > FRAME_SIZE_MAX {
//!             return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
//!         }
//!         let mut frame = vec![0; size];
//!         runtime::timeout(Duration::from_secs(5), stream.read_exact(&mut frame))
//!             .await
//!             .ok_or(io::ErrorKind::TimedOut)??;
//!         // Waits only if the peer does not read.
//!         stream.write_vectored(&[&length[..], &frame]).await?;
//!     }
//! }
//!
//! Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let mut listener = Listener::bind(&"127.0.0.1:0".parse().expect("an address"), false)?;
//!     let address = listener.local_address()?;
//!     runtime::spawn(async move {
//!         while let Ok(stream) = listener.accept().await {
//!             runtime::spawn(serve(stream));
//!         }
//!     });
//!     let mut stream = Stream::connect(&address).await?;
//!     stream.write_all(b"\0\0\0\x05hello").await?;
//!     let mut answer = [0; 9];
//!     stream.read_exact(&mut answer).await?;
//!     assert_eq!(&answer, b"\0\0\0\x05hello");
//!     stream.close().await
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time limits
//! A stream has none of its own. [`runtime::timeout`] limits one step, [`runtime::deadline`] several steps together.
//! Both drop the future when the time is over; the cancel safety of each method says what that means. Methods that read
//! and write lose nothing, so the stream can be used further.
//!
//! # Crates of the ecosystem
//! With the feature `futures-io` or `tokio`, a [`Stream`] implements the traits `AsyncRead`, `AsyncBufRead` and
//! `AsyncWrite` of that crate. A worker's stream is not `Send`, so what uses it has to do without. They need no runtime
//! of tokio. A WebSocket of `tokio-tungstenite`, over TLS:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn chat() -> Result<(), Box<dyn std::error::Error>> {
//! use futures_util::{SinkExt, StreamExt};
//! use ringtide::stream::Stream;
//! use ringtide::tls::{ClientTls, ClientTlsOptions};
//!
//! let tls = ClientTls::new(&ClientTlsOptions::default())?;
//! let stream = Stream::connect_tls(&"192.0.2.1:443".parse()?, "example.org", &tls).await?;
//! let (mut socket, _) = tokio_tungstenite::client_async("wss://example.org/chat", stream).await?;
//! socket.send("hello".into()).await?;
//! println!("{:?}", socket.next().await);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "futures-io")]
mod futures_io;
mod input;
mod listener;
mod output;
mod read_error;
mod reader;
mod send_queue;
mod split;
mod tls_layer;
#[cfg(feature = "tokio")]
mod tokio_io;
mod transport;

use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringtide_driver::{Address, SendBuffer};

pub use ringtide_driver::Lease;

pub use self::listener::Listener;
use self::output::Output;
pub use self::read_error::{IncompleteRead, LimitExceeded};
pub(crate) use self::reader::Reader;
pub use self::split::{ReadHalf, ReuniteError, WriteHalf};
pub(crate) use self::transport::Transport;
use crate::limits::CLOSE_AFTER_PEER_MAX;
use crate::runtime;
use crate::tls::{ClientTls, ServerTls, Session, TlsFacts};

/// A connected stream over TCP or a Unix socket, plain or with TLS. It belongs to the worker that created it.
///
/// Dropping it closes it at any time, even while operations are in flight. What it has not sent by then is lost, and the
/// peer is not told that the stream is complete; use [`close`](Self::close) for that.
///
/// # Reading
/// Received bytes are in the buffer in which they arrived until they are read. A read that needs more than one buffer
/// copies them together. [`fill`](Self::fill), [`buffered`](Self::buffered), [`consume`](Self::consume) and
/// [`take`](Self::take) give codecs the bytes where they lie.
///
/// # Writing
/// Writes queue their bytes and return, unless more than the high watermark is unsent. A write that finds so much waits
/// until no more than the low watermark is left. At 0, each write waits for all earlier ones.
///
/// The worker's next turn sends what is queued, if no send is in flight. Bytes that are queued behind a send leave in
/// the next one, all together. It starts when the first has ended and the stream is used: in a write, in
/// [`flush`](Self::flush), or while a read waits. So a protocol of requests and responses needs no flush. A task that
/// writes and then waits for something else calls [`flush`](Self::flush) first.
///
/// # Errors
/// The errors of a stream are those of the system. If TLS is the reason, [`tls::Error::of_io`](crate::tls::Error::of_io)
/// returns what is wrong. An end of the stream without close_notify is such an error
/// ([`Truncated`](crate::tls::Error::Truncated)), as it may hide that something is missing.
///
/// After an error of the connection, every further call returns it again. Bytes that arrived before it can still be
/// read.
///
/// # Panics
/// Waiting for a stream panics on another worker of the same thread. Its own worker does not run meanwhile, so the wait
/// would never end.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    /// What was received and not yet read.
    reader: Reader,
    output: Output,
}

impl Stream {
    /// Connects to `address`.
    ///
    /// There is no timeout. Use [`runtime::timeout`] to add one.
    ///
    /// # Cancel safety
    /// Cancel-safe. Dropping the future cancels the attempt and closes the socket.
    ///
    /// # Errors
    /// The errors of socket(2) and connect(2). The socket has been closed.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    pub async fn connect(address: &Address) -> io::Result<Self> {
        Self::connected(runtime::Socket::connect(address, None)?).await
    }

    /// Connects to `address` from the local address `source`. The system chooses the port, and each source address has
    /// all ports for each destination.
    ///
    /// # Cancel safety
    /// Cancel-safe, as [`connect`](Self::connect).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect), and those of bind(2): `AddrNotAvailable` if this machine does not have the
    /// address. `InvalidInput` if its family is not that of `address`.
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub async fn connect_from(address: &Address, source: IpAddr) -> io::Result<Self> {
        Self::connected(runtime::Socket::connect(address, Some(source))?).await
    }

    /// Connects over TCP.
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        Self::connect(&Address::Tcp(address)).await
    }

    /// Connects to the Unix socket at `path`.
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); `InvalidInput` if the path is longer than the system allows (unix(7)).
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub async fn connect_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::connect(&Address::Unix(path.as_ref().to_owned())).await
    }

    /// Connects to `address`, and starts TLS with the server `host`, whose certificate has to carry this name.
    ///
    /// # Cancel safety
    /// Cancel-safe, as [`connect`](Self::connect).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect) and [`start_tls`](Self::start_tls).
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub async fn connect_tls(address: &Address, host: &str, tls: &ClientTls) -> io::Result<Self> {
        Self::connect(address).await?.start_tls(host, tls).await
    }

    /// Creates a stream from a connected stream socket, for example one end of a socket pair. The driver sets the
    /// blocking mode that it needs.
    ///
    /// # Errors
    /// If the driver cannot use the socket. The socket has been closed.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(runtime::Socket::adopt(socket)?))
    }

    /// Starts TLS as a client, and waits until the handshake has ended. Bytes that were received and not read belong to
    /// the handshake; bytes that wait to be sent are sent before it.
    ///
    /// This side's last message of a TLS 1.3 handshake leaves with the first write, or while a read waits. Use
    /// [`flush`](Self::flush) if neither follows soon, since the server waits for it.
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    ///
    /// # Errors
    /// - `Unsupported`: the stream has TLS already. It has been closed.
    /// - Any other: the peer's certificate is not accepted, the peer does not speak TLS, or the connection has failed.
    ///   The peer has been told why, and the stream has been closed.
    pub async fn start_tls(self, host: &str, tls: &ClientTls) -> io::Result<Self> {
        self.handshake(Session::client(tls, host)?).await
    }

    /// Starts TLS as a server, and waits until the handshake has ended.
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    ///
    /// # Errors
    /// As for [`start_tls`](Self::start_tls).
    pub async fn accept_tls(self, tls: &ServerTls) -> io::Result<Self> {
        let mut stream = self.handshake(Session::server(tls)?).await?;
        // The last message of a server, for which the client may wait: a user may have nothing to send for long.
        if stream.transport.is_ready_to_send()? {
            stream.transport.start_next()?;
        }
        Ok(stream)
    }

    /// Returns what the TLS handshake has agreed on, or `None` if the stream is plain.
    pub fn tls(&self) -> Option<TlsFacts<'_>> {
        self.transport.tls()
    }

    /// Receives the next bytes, at least one. Returns `None` at the end of the stream.
    ///
    /// The bytes are not copied. If a read has left some, they come first. A lease keeps a whole receive buffer from the
    /// worker, so keep a copy rather than the lease for long.
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future loses no bytes.
    ///
    /// # Errors
    /// If the connection has failed. Every further call returns the error again.
    pub async fn receive(&mut self) -> io::Result<Option<Lease>> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// Polls for the next bytes. This is [`receive`](Self::receive) for futures written by hand.
    ///
    /// # Errors
    /// See [`receive`](Self::receive).
    #[inline]
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        self.reader.poll_receive(&mut self.transport, context)
    }

    /// Reads the next bytes into `buffer`, and returns how many. 0 is the end of the stream, unless `buffer` is empty.
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future has read nothing.
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { transport, reader, .. } = self;
        poll_fn(|context| reader.poll_read(transport, buffer, context)).await
    }

    /// Reads exactly as many bytes as `buffer` has.
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future has read nothing: what it received stays in the stream's buffer.
    ///
    /// # Errors
    /// - [`IncompleteRead`], which has the partial bytes: the stream has ended before.
    /// - Any other: the connection has failed. The partial bytes stay in the buffer.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Self { transport, reader, .. } = self;
        poll_fn(|context| reader.poll_read_exact(transport, buffer, context)).await
    }

    /// Reads up to and including `delimiter`: at most `size_max` bytes with it. They are not copied if they arrived in one
    /// buffer.
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future has read nothing: what it received stays in the stream's buffer.
    ///
    /// # Errors
    /// - [`IncompleteRead`], which has the partial bytes: the stream has ended before.
    /// - [`LimitExceeded`]: there is no delimiter within `size_max` bytes. They stay in the buffer, and the same call
    ///   fails again. With a larger limit it goes on.
    /// - Any other: the connection has failed. The partial bytes stay in the buffer.
    ///
    /// # Panics
    /// If `delimiter` is empty.
    pub async fn read_until(&mut self, delimiter: &[u8], size_max: usize) -> io::Result<Lease> {
        let Self { transport, reader, .. } = self;
        let mut searched = 0;
        poll_fn(|context| reader.poll_read_until(transport, delimiter, size_max, &mut searched, context))
            .await
    }

    /// Reads a line that ends with `\n` or `\r\n`, and returns it without that end. With it, the line has at most
    /// `size_max` bytes. Returns `None` if the stream ends after a line, or before the first.
    ///
    /// ```
    /// # use std::os::unix::net::UnixStream;
    /// # use ringtide::runtime::{Worker, WorkerOptions};
    /// # use ringtide::stream::Stream;
    /// # Worker::new(&WorkerOptions::default())?.block_on(async {
    /// # let (ours, theirs) = UnixStream::pair()?;
    /// # let mut stream = Stream::adopt(ours.into())?;
    /// # let mut peer = Stream::adopt(theirs.into())?;
    /// # peer.write_all(b"HELO x\r\nQUIT\n").await?;
    /// # peer.close().await?;
    /// # let mut lines = 0;
    /// while let Some(line) = stream.read_line(1024).await? {
    ///     println!("{}", String::from_utf8_lossy(&line));
    ///     # assert!(&*line == b"HELO x" || &*line == b"QUIT");
    ///     # lines += 1;
    /// }
    /// # assert_eq!(lines, 2);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future has read nothing: what it received stays in the stream's buffer.
    ///
    /// # Errors
    /// As for [`read_until`](Self::read_until). A last line without its end is an [`IncompleteRead`], since it may be cut.
    pub async fn read_line(&mut self, size_max: usize) -> io::Result<Option<Lease>> {
        let Self { transport, reader, .. } = self;
        let mut searched = 0;
        poll_fn(|context| reader.poll_read_line(transport, size_max, &mut searched, context)).await
    }

    /// Receives once, and adds to [`buffered`](Self::buffered). Returns false at the end of the stream.
    ///
    /// It copies only if bytes are buffered already. The buffer has no limit: a caller that waits for a whole message
    /// should have one.
    ///
    /// ```
    /// # use std::io;
    /// use ringtide::stream::{Lease, Stream};
    ///
    /// /// Reads a message: its length in one byte, then that many bytes.
    /// async fn message(stream: &mut Stream) -> io::Result<Option<Lease>> {
    ///     loop {
    ///         if let [length, rest @ ..] = stream.buffered()
    ///             && rest.len() >= usize::from(*length)
    ///         {
    ///             let length = usize::from(*length);
    ///             stream.consume(1);
    ///             return Ok(Some(stream.take(length)));
    ///         }
    ///         if !stream.fill().await? {
    ///             return if stream.buffered().is_empty() {
    ///                 Ok(None)
    ///             } else {
    ///                 Err(io::ErrorKind::UnexpectedEof.into())
    ///             };
    ///         }
    ///     }
    /// }
    /// # use std::os::unix::net::UnixStream;
    /// # use ringtide::runtime::{Worker, WorkerOptions};
    /// # Worker::new(&WorkerOptions::default())?.block_on(async {
    /// # let (ours, theirs) = UnixStream::pair()?;
    /// # let mut stream = Stream::adopt(ours.into())?;
    /// # let mut peer = Stream::adopt(theirs.into())?;
    /// # peer.write_all(b"\x03one\0\x03two").await?;
    /// # peer.close().await?;
    /// # for expected in [b"one", &b""[..], b"two"] {
    /// #     assert_eq!(&*message(&mut stream).await?.unwrap(), expected);
    /// # }
    /// # assert!(message(&mut stream).await?.is_none());
    /// # Ok::<(), io::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cancel safety
    /// Cancel-safe. A dropped future loses no bytes.
    ///
    /// # Errors
    /// If the connection has failed. What is buffered stays.
    pub async fn fill(&mut self) -> io::Result<bool> {
        let Self { transport, reader, .. } = self;
        poll_fn(|context| reader.poll_fill(transport, context)).await
    }

    /// Returns the bytes that were received and not yet read.
    #[inline]
    pub fn buffered(&self) -> &[u8] {
        self.reader.bytes()
    }

    /// Removes the first `count` bytes of [`buffered`](Self::buffered).
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.reader.consume_first(count);
    }

    /// Takes the first `count` bytes of [`buffered`](Self::buffered), without a copy if they arrived in one buffer.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn take(&mut self, count: usize) -> Lease {
        self.reader.take_first(count)
    }

    /// Queues a copy of `bytes` and starts to send. See [Writing](Self#writing).
    ///
    /// # Cancel safety
    /// Cancel-safe. A future that is dropped while it waits for room has written nothing; one that has returned has
    /// queued all.
    ///
    /// # Errors
    /// - `BrokenPipe`: this side was [shut down](Self::shutdown). Nothing was written.
    /// - Any other: the connection has failed. It is then not known how many bytes the peer received.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { transport, output, .. } = self;
        poll_fn(|context| output.poll_write(transport, |transport| output::queue(transport, bytes), context))
            .await
    }

    /// Queues `bytes` and starts to send; copies them only if they are few and others are queued. See
    /// [Writing](Self#writing).
    ///
    /// The memory of `bytes` is dropped after the send, between two steps of the worker. If the stream is dropped
    /// before that, the memory may be dropped inside such a step. So the owner of a `Bytes::from_owner` must not use
    /// the worker in its `Drop`.
    ///
    /// # Cancel safety
    /// Cancel-safe, as [`write_all`](Self::write_all).
    ///
    /// # Errors
    /// As for [`write_all`](Self::write_all).
    pub async fn write_bytes(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let Self { transport, output, .. } = self;
        let mut bytes = bytes.into();
        poll_fn(|context| {
            let push = |transport: &mut Transport| transport.push(SendBuffer::Shared(mem::take(&mut bytes)));
            output.poll_write(transport, push, context)
        })
        .await
    }

    /// Queues copies of all `parts`, in order, and starts to send them together. See [Writing](Self#writing).
    ///
    /// # Cancel safety
    /// Cancel-safe, as [`write_all`](Self::write_all): all parts are queued, or none.
    ///
    /// # Errors
    /// As for [`write_all`](Self::write_all).
    pub async fn write_vectored<B: AsRef<[u8]>>(&mut self, parts: &[B]) -> io::Result<()> {
        let Self { transport, output, .. } = self;
        poll_fn(|context| {
            let parts = parts.iter().map(AsRef::as_ref);
            output.poll_write(transport, |transport| output::queue_all(transport, parts), context)
        })
        .await
    }

    /// Sends all of `bytes` and what was queued before. Returns when the kernel has accepted it. This is
    /// [`write_bytes`](Self::write_bytes), then [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// Not cancel-safe. If the future is dropped, it is not known whether `bytes` were queued. They were, unless it has
    /// waited for room.
    ///
    /// # Errors
    /// As for [`write_all`](Self::write_all).
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        self.write_bytes(bytes).await?;
        self.flush().await
    }

    /// Waits until the kernel has accepted everything that was written.
    ///
    /// # Cancel safety
    /// Cancel-safe: a later call continues.
    ///
    /// # Errors
    /// If the connection has failed. It is then not known how many bytes the peer received.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.transport.poll_flushed(context)).await
    }

    /// Sets how many unsent bytes make a write wait (more than `high`), and at how many it goes on (`low` or fewer). By
    /// default these are [`UNSENT_HIGH_SIZE`](crate::limits::UNSENT_HIGH_SIZE) and
    /// [`UNSENT_LOW_SIZE`](crate::limits::UNSENT_LOW_SIZE).
    ///
    /// A write is never cut, so up to `high` bytes and the largest write can be unsent.
    ///
    /// # Panics
    /// If `low` is above `high`.
    pub fn set_watermarks(&mut self, low: usize, high: usize) {
        self.output.set_watermarks(low, high);
    }

    /// Returns how many written bytes the kernel has not accepted yet. A send counts in full until it has ended.
    pub fn unsent_size(&self) -> usize {
        self.transport.unsent_size()
    }

    /// Closes the sending side after all bytes written before: close_notify if the stream has TLS, then the end of the
    /// stream. The peer can still send.
    ///
    /// # Cancel safety
    /// Cancel-safe: a later call continues. Nothing can be written after the first poll.
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        let Self { transport, output, .. } = self;
        poll_fn(|context| output.poll_shutdown(transport, context)).await
    }

    /// [Shuts down](Self::shutdown) the sending side, and closes the stream.
    ///
    /// The socket itself closes in the background, when the peer has closed as well, or after
    /// [`CLOSE_AFTER_PEER_NS`](crate::limits::CLOSE_AFTER_PEER_NS); what arrives until then is dropped. If it closed at
    /// once, the peer might lose bytes that it has not read yet, since a close with unread bytes resets the connection.
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream at once.
    ///
    /// # Errors
    /// If the connection has failed. The stream has been closed.
    pub async fn close(mut self) -> io::Result<()> {
        self.shutdown().await?;
        self.transport.close_after_peer(CLOSE_AFTER_PEER_MAX);
        Ok(())
    }

    /// Returns whether nothing more can be written: the sending side was [shut down](Self::shutdown), or at least that has
    /// begun; or the connection has failed, as far as is known without a system call.
    pub fn is_closing(&self) -> bool {
        self.output.is_ending() || self.transport.has_failed()
    }

    /// Returns whether the stream is of no more use, apart from bytes that have arrived before: both sides have ended it,
    /// or the connection has failed.
    ///
    /// The end that the peer has sent is only noticed while the stream receives: from the first read on, as long as not too
    /// much is unread.
    pub fn is_closed(&self) -> bool {
        self.transport.has_failed() || (self.output.has_ended() && self.transport.has_ended())
    }

    /// Returns the local address.
    ///
    /// # Errors
    /// The errors of getsockname(2).
    pub fn local_address(&self) -> io::Result<Address> {
        self.transport.local_address()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// The errors of getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.transport.peer_address()
    }

    pub(crate) fn new(socket: runtime::Socket) -> Self {
        Self::from_parts(Transport::new(socket), Reader::default())
    }

    /// Makes a stream of the transport of a connection, and of what the connection has received and not used.
    pub(crate) fn from_parts(transport: Transport, reader: Reader) -> Self {
        Self { transport, reader, output: Output::default() }
    }

    /// Takes the stream apart, for a connection that combines the parts in its own way.
    pub(crate) fn into_parts(self) -> (Transport, Reader) {
        (self.transport, self.reader)
    }

    /// Starts TLS as a client. If bytes can be sent before the handshake has ended (RFC 8446 §2.3), returns at once: it
    /// goes on with what is sent and received. An attacker can replay these bytes.
    pub(crate) async fn start_tls_early(mut self, host: &str, tls: &ClientTls) -> io::Result<Self> {
        let mut session = Session::client(tls, host)?;
        if !session.can_send_early() {
            return self.handshake(session).await;
        }
        self.begin_tls(session);
        Ok(self)
    }

    /// Starts TLS as a server. [`poll_handshake`](Self::poll_handshake) waits for its end.
    pub(crate) fn begin_accept_tls(&mut self, tls: &ServerTls) -> io::Result<()> {
        self.begin_tls(Session::server(tls)?);
        Ok(())
    }

    /// Waits until the TLS handshake has ended.
    pub(crate) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_handshake(context)
    }

    async fn connected(mut socket: runtime::Socket) -> io::Result<Self> {
        poll_fn(|context| socket.poll_connected(context)).await?;
        Ok(Self::new(socket))
    }

    fn begin_tls(&mut self, session: Session) {
        self.transport.start_tls(session, self.reader.bytes());
        self.reader = Reader::default();
    }

    async fn handshake(mut self, session: Session) -> io::Result<Self> {
        if self.tls().is_some() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this stream has TLS already"));
        }
        poll_fn(|context| self.transport.poll_flushed(context)).await?;
        self.begin_tls(session);
        poll_fn(|context| self.transport.poll_handshake(context)).await?;
        Ok(self)
    }
}
