//! Byte streams and listeners on a worker, plain or with TLS: the transport below a connection of any protocol.
//!
//! A protocol only sees received bytes, sent bytes and the end of the stream, whatever carries them.

mod listener;
mod reader;
mod send_queue;
mod tls_layer;
mod transport;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringtide_driver::{Address, SendBuffer};

pub use ringtide_driver::Lease;

pub use self::listener::Listener;
pub(crate) use self::reader::Reader;
pub(crate) use self::transport::Transport;
use crate::runtime;
use crate::tls::{ClientTls, ServerTls, Session, TlsFacts};

/// A connected stream over TCP or a Unix socket, plain or with TLS. It belongs to the worker that created it. Dropping
/// it closes it at any time, even while operations are in flight.
///
/// # Errors
/// The errors of a stream are those of the system. If TLS is the reason, [`tls::Error::of_io`](crate::tls::Error::of_io)
/// returns what is wrong.
///
/// # Panics
/// Waiting for a stream panics on another worker of the same thread. Its own worker does not run meanwhile, so the wait
/// would never end.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    /// What was received and not yet read.
    reader: Reader,
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
    /// # Cancel safety
    /// Dropping the future closes the stream.
    ///
    /// # Errors
    /// The peer's certificate is not accepted, the peer does not speak TLS, or the connection has failed. The peer has
    /// been told why, and the stream has been closed.
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
        self.handshake(Session::server(tls)?).await
    }

    /// Returns what the TLS handshake has agreed on, or `None` if the stream is plain.
    pub fn tls(&self) -> Option<TlsFacts<'_>> {
        self.transport.tls()
    }

    /// Receives the next bytes, at least one. Returns `None` at the end of the stream.
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
        let unread = self.reader.bytes().len();
        if unread > 0 {
            let position = self.reader.position();
            let taken = self.reader.take(&(position..position + unread));
            let lease = taken.unwrap_or_else(|| Lease::copied(self.reader.bytes()));
            self.reader = Reader::default();
            return Poll::Ready(Ok(Some(lease)));
        }
        self.transport.poll_receive(context)
    }

    /// Sends all of `bytes`. Returns when the kernel has accepted them.
    ///
    /// The memory of `bytes` is dropped after the send, between two steps of the worker. If the stream is dropped
    /// before that, the memory may be dropped inside such a step. So the owner of a `Bytes::from_owner` must not use
    /// the worker in its `Drop`.
    ///
    /// # Cancel safety
    /// Not cancel-safe. If the future is dropped after the send has begun, the send continues and the next one waits
    /// for it. If the future is dropped while it waits for an earlier send, it sends nothing.
    ///
    /// # Errors
    /// If the connection has failed. It is then not known how many bytes the peer received.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let bytes = SendBuffer::Shared(bytes.into());
        poll_fn(|context| self.transport.poll_flushed(context)).await?;
        self.transport.push(bytes);
        poll_fn(|context| self.transport.poll_flushed(context)).await
    }

    /// Closes the sending side after all bytes sent before: close_notify if the stream has TLS, then the end of the
    /// stream. The peer can still send.
    ///
    /// # Cancel safety
    /// Cancel-safe: a later call continues.
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| self.transport.poll_shutdown(context)).await
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
        Self { transport: Transport::new(socket), reader: Reader::default() }
    }

    /// Takes the stream apart, for a connection that combines the parts in its own way.
    pub(crate) fn into_parts(self) -> (Transport, Reader) {
        (self.transport, self.reader)
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
        poll_fn(|context| self.transport.poll_flushed(context)).await?;
        self.begin_tls(session);
        poll_fn(|context| self.transport.poll_handshake(context)).await?;
        Ok(self)
    }
}
