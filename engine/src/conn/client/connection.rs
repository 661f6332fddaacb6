//! A client's connection: it sends prepared requests and returns responses in place.
//!
//! A connection allocates nothing per request. Heads and bodies are borrowed from the buffers that received them; only
//! a head that arrives in several buffers is copied. An upper layer copies what it wants to keep.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use ringtide_driver::{Address, TcpQueues};

use super::options::ConnectionOptions;
use crate::conn::completion::{Aborted, Completion, RequestId, Timing};
use crate::conn::observe::Observe;
use crate::conn::piece::Piece;
use crate::conn::request::PreparedRequest;
use crate::conn::{h1, h2};
use crate::error::Error;
use crate::limits::CLOSE_AFTER_PEER_MAX;
use crate::message::ResponseHead;
use crate::proto::h2::ErrorCode;
use crate::stream::Stream;

/// A client's connection.
///
/// It belongs to the worker on which it was created.
///
/// ```no_run
/// use ringtide::bytes::Bytes;
/// use ringtide::http::Request;
/// use ringtide::runtime::{Worker, WorkerOptions};
/// use ringtide::{Connection, PreparedRequest};
///
/// let request = PreparedRequest::new(&Request::get("http://127.0.0.1:8080/").body(Bytes::new())?)?;
/// let mut worker = Worker::new(&WorkerOptions::default())?;
/// worker.block_on(async {
///     let address = std::net::SocketAddr::from(([127, 0, 0, 1], 8080)).into();
///     let mut connection = Connection::connect(&address).await?;
///     for _ in 0..3 {
///         let mut response = connection.send(&request).await?;
///         println!("{} {:?}", response.status(), response.head().fields().get("server"));
///         while let Some(piece) = response.data().await? {
///             println!("{} bytes", piece.len());
///         }
///     }
///     Ok::<(), ringtide::Error>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection(Protocol);

#[expect(
    clippy::large_enum_variant,
    reason = "there may be tens of thousands of HTTP/1.1 connections, and one allocation less in each"
)]
enum Protocol {
    H1(h1::ClientConnection),
    /// Boxed, because it is larger and serves many requests.
    H2(Box<h2::ClientConnection>),
}

// The head of the current response and the pieces of its body are read through `Response`.
impl Connection {
    /// Connects to `address` with the default options. There is no time limit.
    ///
    /// # Cancel safety
    /// Cancel-safe: dropping the future abandons the connect.
    ///
    /// # Errors
    /// [`Error::Connect`]. Nothing is left open.
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        match Stream::connect(address).await {
            Ok(stream) => Ok(Self::new(stream, &ConnectionOptions::default())),
            Err(source) => Err(Error::Connect { address: address.clone(), source }),
        }
    }

    /// Creates a connection over `stream`. It may have been used before, for example to ask a proxy for a tunnel: then
    /// nothing may wait to be sent, and what was received and not read comes first. [`sent_size`](Self::sent_size) counts
    /// from the beginning of the stream.
    ///
    /// The connection starts to receive now. So by the end of the worker's next turn it knows what the peer did before
    /// the first request.
    pub fn new(stream: Stream, options: &ConnectionOptions) -> Self {
        Self(if options.version.is_http2(&stream) {
            Protocol::H2(Box::new(h2::ClientConnection::new(stream, options)))
        } else {
            Protocol::H1(h1::ClientConnection::new(stream, options))
        })
    }

    /// Returns the version of HTTP that the connection speaks.
    #[inline]
    pub fn version(&self) -> http::Version {
        match &self.0 {
            Protocol::H1(_) => http::Version::HTTP_11,
            Protocol::H2(_) => http::Version::HTTP_2,
        }
    }

    /// Starts `request` and returns at once. The id names it in its [`Completion`].
    ///
    /// The worker's next turn after the wait for the response begins sends it, together with the requests of other
    /// connections.
    ///
    /// # Errors
    /// The first two leave the connection unchanged.
    /// - [`RequestError::Busy`](crate::error::RequestError::Busy): the connection is [full](Self::is_full), or the previous
    ///   request's body has not been [finished](Self::finish_body).
    /// - [`RequestError::NotReusable`](crate::error::RequestError::NotReusable): the connection is not
    ///   [reusable](Self::is_reusable).
    /// - [`Error::Network`]: the connection has failed. The caller must drop it.
    #[inline]
    pub fn start(&mut self, request: &PreparedRequest) -> Result<RequestId, Error> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.start(request),
            Protocol::H2(connection) => connection.start(request),
        }
    }

    /// Starts a request that differs from `like` in its bytes, for requests that are not the same twice. `bytes` are what
    /// HTTP/1.1 sends: a head of `head_size` bytes, then the whole body. They are copied to memory that is used again.
    ///
    /// `bytes` are sent as they are, over HTTP/2 with the fields encoded as it demands. So the caller makes sure that they are
    /// one well-formed request, and that its method, its `Connection` fields and its scheme are those of `like`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    ///
    /// # Panics
    /// When `head_size` is more than the size of `bytes`.
    pub fn start_like(
        &mut self,
        like: &PreparedRequest,
        bytes: &[u8],
        head_size: usize,
    ) -> Result<RequestId, Error> {
        let (head, body) = bytes.split_at(head_size);
        match &mut self.0 {
            Protocol::H1(connection) => connection.start_like(like, bytes),
            Protocol::H2(connection) => connection.start_like(like, head, body),
        }
    }

    /// Polls until a request has ended, and drops the body of its response.
    ///
    /// Use this in futures written by hand. A caller that stops polling loses nothing: a later call continues where the
    /// last one stopped. Over HTTP/1.1, pipelined requests end in the order of their starts. Over HTTP/2 requests end in any
    /// order, and this can also be polled while none is in flight, to notice that the peer closes.
    ///
    /// # Errors
    /// An error is one of the connection: no request in flight has a response. The errors are those of
    /// [`response`](Self::response).
    #[inline]
    pub fn poll_completion(&mut self, context: &mut Context<'_>) -> Poll<Result<Completion, Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_completion(context),
            Protocol::H2(connection) => connection.poll_completion(context),
        }
    }

    /// Does the same as [`poll_completion`](Self::poll_completion), and shows each response to `observer` while it arrives. What
    /// other methods have read of a response is not shown again.
    ///
    /// # Errors
    /// As for [`poll_completion`](Self::poll_completion).
    pub fn poll_completion_with(
        &mut self,
        context: &mut Context<'_>,
        observer: &mut impl Observe,
    ) -> Poll<Result<Completion, Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_completion_with(context, observer),
            Protocol::H2(connection) => connection.poll_completion_with(context, observer),
        }
    }

    /// Returns when each request in flight was submitted to the kernel, in the order of their starts. `None` means that
    /// the kernel has taken no byte of it.
    ///
    /// While a send is in flight, this counts all of it as taken. [`abort`](Self::abort) returns exact results.
    pub fn in_flight_sent_ns(&self) -> impl Iterator<Item = (RequestId, Option<u64>)> {
        match &self.0 {
            Protocol::H1(connection) => Either::One(connection.in_flight_sent_ns()),
            Protocol::H2(connection) => Either::Other(connection.in_flight_sent_ns()),
        }
    }

    /// Returns when a request in flight was submitted to the kernel. `None` means that the kernel has taken no byte of it, or
    /// that it is not in flight.
    #[inline]
    pub fn sent_ns(&self, id: RequestId) -> Option<u64> {
        match &self.0 {
            Protocol::H1(connection) => connection.in_flight_sent_ns().find(|(other, _)| *other == id)?.1,
            Protocol::H2(connection) => connection.sent_ns(id),
        }
    }

    /// Returns whether a request is in flight: started, and neither completed nor cancelled.
    #[inline]
    pub fn is_in_flight(&self, id: RequestId) -> bool {
        match &self.0 {
            Protocol::H1(connection) => connection.in_flight_sent_ns().any(|(other, _)| other == id),
            Protocol::H2(connection) => connection.is_in_flight(id),
        }
    }

    /// Returns whether a byte of the response to a request in flight has arrived.
    pub fn has_begun(&self, id: RequestId) -> bool {
        match &self.0 {
            Protocol::H1(connection) => {
                let first = connection.in_flight_sent_ns().next();
                connection.has_response_begun() && first.is_some_and(|(first, _)| first == id)
            }
            Protocol::H2(connection) => connection.has_begun(id),
        }
    }

    /// Gives up one request, without a [`Completion`] for it. The others go on. Returns false, and does nothing, if the
    /// request is not in flight, or if the connection would not survive it: HTTP/1.1 cannot take back a request.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        match &mut self.0 {
            Protocol::H1(_) => false,
            Protocol::H2(connection) => connection.cancel(id),
        }
    }

    /// Returns how many requests the peer takes at once, if it has said so: with HTTP/2, after its SETTINGS have arrived.
    pub fn streams_max(&self) -> Option<u32> {
        match &self.0 {
            Protocol::H1(_) => None,
            Protocol::H2(connection) => connection.streams_max(),
        }
    }

    /// Returns the code of the GOAWAY with which the peer closes this HTTP/2 connection.
    pub fn go_away(&self) -> Option<ErrorCode> {
        match &self.0 {
            Protocol::H1(_) => None,
            Protocol::H2(connection) => connection.go_away(),
        }
    }

    /// Stops sending, closes the connection, and returns what was sent.
    ///
    /// This waits until the kernel has released the send in flight. The peer cannot delay that.
    ///
    /// If the connection pipelines and requests are in flight, this closes only the sending half at once, so that the
    /// peer can read what was sent. The rest closes when the peer has closed, or after a second, or when more than
    /// `closing_max` connections of the worker wait in this way
    /// ([`runtime::sockets_closing`](crate::runtime::sockets_closing)). Closing with unread responses would reset the
    /// connection, and the peer's kernel would then drop what the peer has not read yet (RFC 9112 §9.6).
    ///
    /// # Cancel safety
    /// Dropping the future also closes the connection.
    pub async fn abort(mut self, closing_max: usize) -> Aborted {
        match &mut self.0 {
            Protocol::H1(connection) => connection.stop_sending().await,
            Protocol::H2(connection) => connection.stop_sending().await,
        }
        match self.0 {
            Protocol::H1(connection) => connection.into_aborted(closing_max),
            Protocol::H2(connection) => connection.into_aborted(closing_max),
        }
    }

    /// Returns the number of bytes received so far, including heads and framing.
    #[inline]
    pub fn received_size(&self) -> u64 {
        match &self.0 {
            Protocol::H1(connection) => connection.received_size(),
            Protocol::H2(connection) => connection.received_size(),
        }
    }

    /// Returns the number of bytes handed to the kernel so far, without those of TLS.
    #[inline]
    pub fn sent_size(&self) -> u64 {
        match &self.0 {
            Protocol::H1(connection) => connection.sent_size(),
            Protocol::H2(connection) => connection.sent_size(),
        }
    }

    /// Returns the number of received bytes that follow the responses read so far. They belong to the next responses.
    pub fn unread_size(&self) -> usize {
        self.unread().len()
    }

    /// Returns these bytes. After an error of the protocol they begin with those that are not HTTP.
    pub fn unread(&self) -> &[u8] {
        match &self.0 {
            Protocol::H1(connection) => connection.unread(),
            Protocol::H2(connection) => connection.unread(),
        }
    }

    /// Waits in the background for the peer to close, then closes.
    ///
    /// Use this when the peer has announced that it will close. The connection closes on its own after a second, or
    /// earlier when more than [`CLOSE_AFTER_PEER_MAX`] connections of the worker wait in this way.
    ///
    /// The side that closes first keeps the port occupied for a minute (`TIME_WAIT`, RFC 9293 §3.6.1). The side that
    /// opens many connections should avoid that.
    pub fn close_after_peer(self) {
        match self.0 {
            Protocol::H1(connection) => connection.close_after_peer(CLOSE_AFTER_PEER_MAX),
            Protocol::H2(connection) => connection.close_after_peer(CLOSE_AFTER_PEER_MAX),
        }
    }

    /// Returns the number of requests that were started and whose responses have not ended.
    #[inline]
    pub fn in_flight(&self) -> usize {
        match &self.0 {
            Protocol::H1(connection) => connection.in_flight(),
            Protocol::H2(connection) => connection.in_flight(),
        }
    }

    /// Returns whether as many requests are in flight as the connection takes now: one; with pipelining
    /// [`PIPELINED_MAX`](crate::limits::PIPELINED_MAX).
    #[inline]
    pub fn is_full(&self) -> bool {
        match &self.0 {
            Protocol::H1(connection) => connection.is_full(),
            Protocol::H2(connection) => connection.is_full(),
        }
    }

    /// Returns how many requests may be started now: 0 if the connection is [full](Self::is_full) or not
    /// [reusable](Self::is_reusable).
    #[inline]
    pub fn free_places(&mut self) -> usize {
        match &mut self.0 {
            Protocol::H1(connection) => connection.free_places(),
            Protocol::H2(connection) => connection.free_places(),
        }
    }

    /// Returns whether the peer sent something before the first request and has not closed since.
    ///
    /// An HTTP/1.1 server has only one reason to do so: it reports that it stops waiting for a request (408).
    pub fn has_peer_spoken_first(&mut self) -> bool {
        match &mut self.0 {
            Protocol::H1(connection) => connection.has_peer_spoken_first(),
            // It must: with its SETTINGS (RFC 9113 §3.4).
            Protocol::H2(_) => false,
        }
    }

    /// Returns whether bytes have arrived that no request asked for: before the first request, or behind the last
    /// response.
    ///
    /// Such a connection is not [reusable](Self::is_reusable), as these bytes could be taken for the response to the next
    /// request. What follows a switch to another protocol (101) does not count.
    pub fn has_unexpected_bytes(&mut self) -> bool {
        match &mut self.0 {
            Protocol::H1(connection) => connection.has_unexpected_bytes(),
            // Each frame says what it is of.
            Protocol::H2(_) => false,
        }
    }

    /// Returns whether another request may be started, now or when the connection is no longer [full](Self::is_full), as
    /// far as is known without asking the peer.
    ///
    /// It is false if either side announced that it will close, if the peer has closed, or if the peer sent something
    /// unsolicited. The result can change at any time.
    #[inline]
    pub fn is_reusable(&mut self) -> bool {
        match &mut self.0 {
            Protocol::H1(connection) => connection.is_reusable(),
            Protocol::H2(connection) => connection.is_reusable(),
        }
    }

    /// Sends a piece of the last started request's body, and returns when the kernel has taken it.
    ///
    /// If the body has no announced length, this adds the chunk framing.
    ///
    /// # Cancel safety
    /// Not cancel-safe: after a dropped future it is unknown how much was sent.
    ///
    /// # Errors
    /// - [`RequestError::BodyLength`](crate::error::RequestError::BodyLength): the caller sent more than was announced. The
    ///   caller must then drop the connection.
    /// - [`Error::Unanswered`]: the response to an earlier request was the last. Nothing was sent.
    /// - [`Error::Network`]: the peer is gone. It may have responded before.
    pub async fn send_data(&mut self, data: Bytes) -> Result<(), Error> {
        self.queue_data(data)?;
        poll_fn(|context| self.poll_outgoing(context)).await
    }

    /// Ends the last started request's body, and returns when the kernel has taken all of it.
    ///
    /// # Cancel safety
    /// Cancel-safe: the first poll ends the body. What is not sent by then is sent by the next call, or while the
    /// response is awaited.
    ///
    /// # Errors
    /// - [`RequestError::BodyLength`](crate::error::RequestError::BodyLength): the caller sent less than was announced. The
    ///   caller must then drop the connection.
    /// - [`Error::Network`]: as for [`send_data`](Self::send_data).
    pub async fn finish_body(&mut self) -> Result<(), Error> {
        self.queue_body_end()?;
        poll_fn(|context| self.poll_outgoing(context)).await
    }

    /// Takes the stream out of the connection, for another protocol: after a 101 (Switching Protocols), or a 2xx to
    /// CONNECT.
    ///
    /// What was received behind the response comes first when the stream is read. Bytes that were queued and not sent are
    /// still sent. At another time the stream starts wherever the connection has stopped reading: what is left of the
    /// current response and those to further requests come as they are on the wire.
    ///
    /// ```no_run
    /// use ringtide::bytes::Bytes;
    /// use ringtide::http::{Request, StatusCode};
    /// use ringtide::stream::Stream;
    /// use ringtide::{Connection, ConnectionOptions, PreparedRequest};
    ///
    /// /// Asks a proxy for a tunnel to `target`, a host and a port.
    /// async fn tunnel(proxy: Stream, target: &str) -> Result<Stream, Box<dyn std::error::Error>> {
    ///     let request = Request::connect(target).header("host", target).body(Bytes::new())?;
    ///     let mut connection = Connection::new(proxy, &ConnectionOptions::default());
    ///     let status = connection.send(&PreparedRequest::new(&request)?).await?.status();
    ///     if !status.is_success() {
    ///         return Err(format!("the proxy refuses: {status}").into());
    ///     }
    ///     Ok(connection.into_stream())
    /// }
    /// ```
    pub fn into_stream(self) -> Stream {
        match self.0 {
            Protocol::H1(connection) => connection.into_stream(),
            Protocol::H2(connection) => connection.into_stream(),
        }
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    /// As for getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        match &self.0 {
            Protocol::H1(connection) => connection.peer_address(),
            Protocol::H2(connection) => connection.peer_address(),
        }
    }

    /// Returns what the kernel tells about the queues of the connection's socket: how much is not sent, and whether the
    /// peer's window or the own buffer was the limit. Costs two system calls.
    ///
    /// # Errors
    /// Those of getsockopt(2), as for a Unix socket; `Unsupported` on systems other than Linux and in the simulation.
    pub fn tcp_queues(&self) -> io::Result<TcpQueues> {
        match &self.0 {
            Protocol::H1(connection) => connection.tcp_queues(),
            Protocol::H2(connection) => connection.tcp_queues(),
        }
    }

    /// Returns whether any byte of a response to the request in flight has arrived.
    pub(crate) fn has_response_begun(&self) -> bool {
        match &self.0 {
            Protocol::H1(connection) => connection.has_response_begun(),
            Protocol::H2(connection) => connection.has_response_begun(),
        }
    }

    /// Returns the worker's [`runtime::turn_time_ns`](crate::runtime::turn_time_ns).
    pub(crate) fn turn_time_ns(&self) -> u64 {
        match &self.0 {
            Protocol::H1(connection) => connection.turn_time_ns(),
            Protocol::H2(connection) => connection.turn_time_ns(),
        }
    }

    /// Polls for the next piece of the body, which the caller may keep. `None` is the end of the response; the
    /// connection then holds no buffer. The first call discards the head.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_piece(context),
            Protocol::H2(connection) => connection.poll_piece(context),
        }
    }

    /// Queues a piece of the last started request's body.
    pub(crate) fn queue_data(&mut self, data: Bytes) -> Result<(), Error> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.queue_data(data),
            Protocol::H2(connection) => connection.queue_data(data),
        }
    }

    /// Queues the end of the last started request's body.
    pub(crate) fn queue_body_end(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.queue_body_end(),
            Protocol::H2(connection) => connection.queue_body_end(),
        }
    }

    /// Sends what is queued. Ready when the kernel has taken all of it.
    pub(crate) fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_outgoing(context),
            Protocol::H2(connection) => connection.poll_outgoing(context),
        }
    }

    /// Ready when the head of the next response has arrived.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_head(context),
            Protocol::H2(connection) => connection.poll_head(context),
        }
    }

    /// Ready at the end of the current response, if there is one. Drops its body.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_end(context),
            Protocol::H2(connection) => connection.poll_end(context),
        }
    }

    /// Ready when a request can be started, or when waiting does not help.
    #[inline]
    pub(super) fn poll_place(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            Protocol::H1(_) => Poll::Ready(Ok(())),
            Protocol::H2(connection) => connection.poll_place(context),
        }
    }

    /// Polls for the next [piece](Self::piece) of the body; `None` at the end of the response.
    pub(super) fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Range<usize>>, Error>> {
        match &mut self.0 {
            Protocol::H1(connection) => connection.poll_data(context),
            Protocol::H2(connection) => connection.poll_data(context),
        }
    }

    /// Returns the piece that the last call of `poll_data` has found.
    pub(super) fn piece(&self, range: Range<usize>) -> &[u8] {
        match &self.0 {
            Protocol::H1(connection) => connection.piece(range),
            Protocol::H2(connection) => connection.piece(range),
        }
    }

    /// Returns the status of the current response.
    #[inline]
    pub(super) fn status(&self) -> StatusCode {
        match &self.0 {
            Protocol::H1(connection) => connection.status(),
            Protocol::H2(connection) => connection.status(),
        }
    }

    /// Returns the head of the current response.
    pub(super) fn head(&self) -> ResponseHead<'_> {
        match &self.0 {
            Protocol::H1(connection) => connection.head().into(),
            Protocol::H2(connection) => connection.head().into(),
        }
    }

    /// Returns the size of the current response's body, if it is known.
    pub(super) fn body_size(&self) -> Option<u64> {
        match &self.0 {
            Protocol::H1(connection) => connection.body_size(),
            Protocol::H2(connection) => connection.body_size(),
        }
    }

    /// Returns the times of the current response.
    #[inline]
    pub(super) fn timing(&self) -> Timing {
        match &self.0 {
            Protocol::H1(connection) => connection.timing(),
            Protocol::H2(connection) => connection.timing(),
        }
    }

    /// Releases what the current response has borrowed, if it is done.
    #[inline]
    pub(super) fn tidy(&mut self) {
        match &mut self.0 {
            Protocol::H1(connection) => connection.tidy(),
            Protocol::H2(connection) => connection.tidy(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Protocol::H1(connection) => connection.fmt(f),
            Protocol::H2(connection) => connection.fmt(f),
        }
    }
}

/// One of two iterators over the same.
enum Either<A, B> {
    One(A),
    Other(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::One(one) => one.next(),
            Self::Other(other) => other.next(),
        }
    }
}
