//! A client's HTTP/1.1 connection: it sends prepared requests and returns responses in place.
//!
//! A connection allocates nothing per request. Heads and bodies are borrowed from the buffers that received them; only
//! a head that arrives in several buffers is copied. An upper layer copies what it wants to keep.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use ringtide_driver::{Address, SendBuffer};

use super::fence::Fence;
use super::piece::Piece;
use super::request::PreparedRequest;
use super::times::{Aborted, CompletedExchange, Timing};
use crate::error::{Error, LastResponse, RequestError, is_cut};
use crate::limits::{CLOSE_AFTER_PEER_MAX, PIPELINED_MAX};
use crate::message::ResponseHead;
use crate::proto::h1::{
    self, BodyLength, ChunkHeader, ClientCodec, Limits, RequestKind, ResponseEvent, ResponseMeta,
};
use crate::runtime::InlineQueue;
use crate::stream::{Reader, Stream, Transport};

/// Minimum size of a body piece that is lent instead of copied. A lease keeps a whole receive buffer from the worker.
const PIECE_LENT_SIZE_MIN: usize = 2 * 1024;

/// Options of a [`Connection`].
///
/// ```
/// let options = ringtide::ConnectionOptions::default().pipelining(true);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// Limits on the size of a response's head and framing.
    pub limits: Limits,
    /// Whether a request may start before the responses to earlier ones have ended (RFC 9112 §9.3.2). The default is
    /// false.
    pub pipelining: bool,
}

impl ConnectionOptions {
    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`pipelining`](Self::pipelining).
    #[must_use]
    pub fn pipelining(mut self, pipelining: bool) -> Self {
        self.pipelining = pipelining;
        self
    }
}

/// A client's HTTP/1.1 connection.
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
pub struct Connection {
    transport: Transport,
    codec: ClientCodec,
    /// Its given bytes are those that the last event covers. They are consumed once the caller is done with it.
    input: Reader,
    in_flight: InlineQueue<InFlight>,
    stage: ResponseStage,
    meta: Option<ResponseMeta>,
    head: HeadPlace,
    first_byte_ns: u64,
    received_size: u64,
    /// When the request of the current response was submitted to the kernel.
    sent_ns: u64,
    /// What the caller still has to provide of the last request's body. Boxed, because few requests have such a body.
    pending_body: Option<Box<BodyLength>>,
    pipelining: bool,
    reusable: bool,
    /// Set when the current response, or the one before, is the last of this connection.
    last: Option<LastResponse>,
    fence: Fence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseStage {
    /// No response has begun.
    Between,
    /// The response's head is being received.
    Head,
    /// The caller has the head; the end has not been reached.
    Body,
    /// The connection has failed.
    Failed,
}

struct InFlight {
    kind: RequestKind,
    /// Position of the request's first byte in the stream. Once a send contains it, the peer can respond.
    position: u64,
    /// Time of the send that contains the first byte. It is set when the next send starts; meanwhile the stream knows
    /// it.
    sent_ns: u64,
}

/// Where the bytes of the current head are.
#[derive(Default)]
enum HeadPlace {
    #[default]
    Nowhere,
    /// In the input's buffer, from this position.
    Input(u32),
    /// In a copy, because the input has moved on to another buffer. Boxed twice, because this is rare.
    Kept(Box<Box<[u8]>>),
}

/// An event that [`Connection::poll_event`] returns.
enum Event {
    Head,
    /// A piece of the body, as a range of the input's buffer.
    Data(Range<usize>),
    End,
}

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

    /// Creates a connection over `stream`, on which nothing may have been sent yet.
    ///
    /// The connection starts to receive now. So by the end of the worker's next turn it knows what the peer did before
    /// the first request.
    pub fn new(stream: Stream, options: &ConnectionOptions) -> Self {
        let (mut transport, input) = stream.into_parts();
        let reusable = transport.watch().is_ok();
        Self {
            transport,
            codec: ClientCodec::new(options.limits),
            input,
            in_flight: InlineQueue::default(),
            stage: ResponseStage::Between,
            meta: None,
            head: HeadPlace::Nowhere,
            first_byte_ns: 0,
            received_size: 0,
            sent_ns: 0,
            pending_body: None,
            pipelining: options.pipelining,
            reusable,
            last: None,
            fence: Fence::default(),
        }
    }

    /// Sends `request` and waits for the head of its response.
    ///
    /// If the previous response has not been read to its end, this first reads and drops the rest.
    ///
    /// # Cancel safety
    /// Not cancel-safe: the peer responds to a request that has started. After a dropped future, the connection has
    /// that response [in flight](Self::in_flight).
    ///
    /// # Errors
    /// [`RequestError::Busy`] and [`RequestError::NotReusable`] leave everything unchanged. After any other error the
    /// caller must drop the connection.
    pub async fn send(&mut self, request: &PreparedRequest) -> Result<Response<'_>, Error> {
        if self.stage == ResponseStage::Body {
            self.poll_discard_rest().await?;
        }
        self.start(request)?;
        self.response().await
    }

    /// Starts `request` and returns at once.
    ///
    /// The worker's next turn after the wait for the response begins sends it, together with the requests of other
    /// connections.
    ///
    /// # Errors
    /// The first two leave the connection unchanged.
    /// - [`RequestError::Busy`]: the previous response has not ended and the connection does not pipeline; or it
    ///   pipelines, and [`PIPELINED_MAX`] requests are in flight; or the previous request's body has not been
    ///   [finished](Self::finish_body).
    /// - [`RequestError::NotReusable`]: the connection is not [reusable](Self::is_reusable).
    /// - [`Error::Network`]: the connection has failed. The caller must drop it.
    #[inline]
    pub fn start(&mut self, request: &PreparedRequest) -> Result<(), Error> {
        let is_full =
            if self.pipelining { self.in_flight.len() >= PIPELINED_MAX } else { !self.in_flight.is_empty() };
        if is_full || self.pending_body.is_some() {
            return Err(RequestError::Busy.into());
        }
        if !self.is_reusable() {
            return Err(RequestError::NotReusable.into());
        }
        if request.pending_body() != BodyLength::None {
            self.pending_body = Some(Box::new(request.pending_body()));
        }
        let in_flight = InFlight { kind: request.kind(), position: self.transport.end(), sent_ns: 0 };
        // With nothing else in flight the caller waits for the response rather than for this send, so the send needs no
        // completion when it succeeds.
        let is_alone = !self.pipelining && self.in_flight.is_empty();
        match request.as_static() {
            Some(bytes)
                if is_alone && self.transport.start_skip_success(bytes).map_err(Error::of_stream)? => {}
            _ => self.transport.push(request.to_buffer()),
        }
        self.in_flight.push_back(in_flight);
        // RFC 9112 §9.6: no request may follow one with "close".
        self.reusable = !request.closes();
        Ok(())
    }

    /// Waits for the head of the next final response. Interim responses (1xx) are skipped.
    ///
    /// If the previous response has not been read to its end, this first reads and drops the rest.
    ///
    /// # Cancel safety
    /// Cancel-safe: a later call continues where a dropped future stopped.
    ///
    /// # Errors
    /// After an error the caller must drop the connection, unless no request was in flight.
    /// - [`RequestError::NotReusable`]: no request is in flight, or an earlier error was final.
    /// - [`Error::Unanswered`]: an earlier response was the last.
    /// - Any other error: the response cannot be received.
    pub async fn response(&mut self) -> Result<Response<'_>, Error> {
        poll_fn(|context| self.poll_head(context)).await?;
        Ok(Response { connection: self })
    }

    /// Polls the next response to its end and drops its body.
    ///
    /// Use this in futures written by hand. A caller that stops polling loses nothing: a later call continues where the
    /// last one stopped.
    ///
    /// # Errors
    /// As for [`response`](Self::response).
    #[inline]
    pub fn poll_exchange(&mut self, context: &mut Context<'_>) -> Poll<Result<CompletedExchange, Error>> {
        if self.stage != ResponseStage::Body {
            ready!(self.poll_head(context))?;
        }
        ready!(self.poll_end(context))?;
        // A response that has ended had a head.
        let Some(meta) = self.meta else { return Poll::Ready(Err(h1::Error::Failed.into())) };
        let timing = Timing { sent_ns: self.sent_ns, first_byte_ns: self.first_byte_ns };
        self.tidy();
        let end_ns = self.transport.turn_time_ns();
        Poll::Ready(Ok(CompletedExchange { status: meta.status(), timing, end_ns }))
    }

    /// Returns when each request in flight was submitted to the kernel, in order. `None` means that the kernel has
    /// taken no byte of it.
    ///
    /// While a send is in flight, this counts all of it as taken. [`abort`](Self::abort) returns exact results.
    pub fn in_flight_sent_ns(&self) -> impl Iterator<Item = Option<u64>> {
        let last_ns = self.transport.sent_at_ns();
        let taken_size = self.transport.failed_send_size().map_or(u64::MAX, |size| size as u64);
        self.in_flight.iter().map(move |request| match self.transport.offset_in_last_send(request.position) {
            None => Some(request.sent_ns),
            Some(_) if !self.transport.has_started(request.position) => None,
            Some(offset) => (offset < taken_size).then_some(last_ns),
        })
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
        if self.transport.is_unsent() {
            // The send has no timestamp before the next turn.
            crate::runtime::yield_now().await;
        }
        if self.transport.is_sending() {
            self.transport.cancel_send();
            // The code below asks how it ended.
            let _ = poll_fn(|context| self.transport.poll_sent(context)).await;
        }
        let sent_ns: Vec<_> = self.in_flight_sent_ns().collect();
        let last = sent_ns.iter().rposition(Option::is_some).and_then(|at| self.in_flight.iter().nth(at));
        let offset = last.and_then(|request| self.transport.offset_in_last_send(request.position));
        // If the last request began in an earlier send, all of that send was taken.
        let cut_size =
            self.transport.failed_send_size().zip(offset).map(|(taken, offset)| taken - offset as usize);
        if self.pipelining && !self.in_flight.is_empty() && self.transport.shutdown_now().is_ok() {
            self.transport.close_after_peer(closing_max);
        }
        Aborted { sent_ns, cut_size }
    }

    /// Returns the number of bytes received so far, including heads and framing.
    #[inline]
    pub fn received_size(&self) -> u64 {
        self.received_size
    }

    /// Returns the number of received bytes that follow the responses read so far. They belong to the next responses.
    pub fn unread_size(&self) -> usize {
        self.input.bytes().len() - self.input.given()
    }

    /// Returns these bytes. After an error of the protocol they begin with those that are not HTTP.
    pub fn unread(&self) -> &[u8] {
        &self.input.bytes()[self.input.given()..]
    }

    /// Waits in the background for the peer to close, then closes.
    ///
    /// Use this when the peer has announced that it will close. The connection closes on its own after a second, or
    /// earlier when more than [`CLOSE_AFTER_PEER_MAX`] connections of the worker wait in this way.
    ///
    /// The side that closes first keeps the port occupied for a minute (`TIME_WAIT`, RFC 9293 §3.6.1). The side that
    /// opens many connections should avoid that.
    pub fn close_after_peer(self) {
        self.transport.close_after_peer(CLOSE_AFTER_PEER_MAX);
    }

    /// Returns the number of requests that were started and whose responses have not ended.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns whether the peer sent something before the first request and has not closed since.
    ///
    /// An HTTP server has only one reason to do so: it reports that it stops waiting for a request (408).
    pub fn has_peer_spoken_first(&mut self) -> bool {
        self.received_size == 0 && self.in_flight.is_empty() && self.transport.has_unread()
    }

    /// Returns whether bytes have arrived that no request asked for: before the first request, or behind the last
    /// response.
    ///
    /// Such a connection is not [reusable](Self::is_reusable), as these bytes could be taken for the response to the next
    /// request. What follows a switch to another protocol (101) does not count.
    pub fn has_unexpected_bytes(&mut self) -> bool {
        self.in_flight.is_empty()
            && (self.unread_size() > 0 || self.transport.has_unread())
            && !matches!(self.last, Some(LastResponse::SwitchedProtocols))
    }

    /// Returns whether another request may be started, as far as is known without asking the peer.
    ///
    /// It is false if either side announced that it will close, if the peer has closed, or if the peer sent something
    /// unsolicited. The result can change at any time.
    #[inline]
    pub fn is_reusable(&mut self) -> bool {
        self.reusable
            && (!self.in_flight.is_empty()
                || (self.input.bytes().len() == self.input.given() && !self.transport.has_news()))
    }

    /// Sends a piece of the last started request's body, and returns when the kernel has taken it.
    ///
    /// If the body has no announced length, this adds the chunk framing.
    ///
    /// # Cancel safety
    /// Not cancel-safe: after a dropped future it is unknown how much was sent.
    ///
    /// # Errors
    /// - [`RequestError::BodyLength`]: the caller sent more than was announced. The caller must then drop the
    ///   connection.
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
    /// - [`RequestError::BodyLength`]: the caller sent less than was announced. The caller must then drop the
    ///   connection.
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
    pub fn into_stream(mut self) -> Stream {
        self.input.consume_given();
        self.input.release();
        Stream::from_parts(self.transport, self.input)
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    /// As for getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.transport.peer_address()
    }

    /// Returns whether any byte of a response to the request in flight has arrived.
    pub(crate) fn has_response_begun(&self) -> bool {
        !self.codec.is_idle()
    }

    /// Returns the worker's [`runtime::turn_time_ns`](crate::runtime::turn_time_ns).
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.transport.turn_time_ns()
    }

    /// Returns the response whose head [`poll_head`](Self::poll_head) has found.
    pub(crate) fn current_response(&mut self) -> Response<'_> {
        Response { connection: self }
    }

    /// Polls for the next piece of the body, which the caller may keep. `None` is the end of the response; the
    /// connection then holds no buffer. The first call discards the head.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.head = HeadPlace::Nowhere;
        let Some(range) = ready!(self.poll_data(context))? else {
            self.tidy();
            return Poll::Ready(Ok(None));
        };
        let rest = self.input.position() + self.input.given() - range.end;
        if range.len() >= PIECE_LENT_SIZE_MIN
            && let Some(lease) = self.input.take(&range)
        {
            self.input.give(rest);
            return Poll::Ready(Ok(Some(Piece::leased(lease))));
        }
        let piece = Piece::copied(&self.input.buffer()[range]);
        self.input.consume_given();
        self.input.release();
        Poll::Ready(Ok(Some(piece)))
    }

    pub(crate) fn queue_data(&mut self, data: Bytes) -> Result<(), Error> {
        if let Some(last) = self.last
            && self.in_flight.len() > usize::from(self.stage == ResponseStage::Body)
        {
            return Err(Error::Unanswered(last));
        }
        let size = data.len() as u64;
        match self.pending_body.as_deref_mut().unwrap_or(&mut BodyLength::None) {
            BodyLength::Length(left) if size <= *left => *left -= size,
            BodyLength::Chunked => {
                let Some(nonzero) = std::num::NonZeroU64::new(size) else { return Ok(()) };
                self.transport.write(|out| out.extend_from_slice(&ChunkHeader::new(nonzero)));
                self.transport.push(SendBuffer::Shared(data));
                self.transport.push(SendBuffer::Static(h1::CHUNK_END));
                return Ok(());
            }
            BodyLength::Length(left) => {
                let error = RequestError::BodyLength { announced: *left, given: size };
                self.reusable = false;
                return Err(error.into());
            }
            BodyLength::None | BodyLength::UntilClose => {
                return Err(RequestError::BodyLength { announced: 0, given: size }.into());
            }
        }
        if size > 0 {
            self.transport.push(SendBuffer::Shared(data));
        }
        Ok(())
    }

    pub(crate) fn queue_body_end(&mut self) -> Result<(), Error> {
        match self.pending_body.take().map_or(BodyLength::None, |pending| *pending) {
            BodyLength::Chunked => self.transport.push(SendBuffer::Static(h1::LAST_CHUNK)),
            BodyLength::Length(left) if left > 0 => {
                self.reusable = false;
                return Err(RequestError::BodyLength { announced: left, given: 0 }.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends what is queued. Ready when the kernel has taken all of it.
    pub(crate) fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            // After a failure this returns the error on every call, and nothing more is sent.
            ready!(self.transport.poll_sent(context)).map_err(Error::of_stream)?;
            if !self.transport.has_queued() {
                return Poll::Ready(Ok(()));
            }
            self.send_next()?;
        }
    }

    /// Sends what is queued, unless received bytes are at hand: they may contain responses whose reading starts further
    /// requests, and then all leave in one send. A failure is not reported here but instead of the response.
    #[inline]
    fn send_if_nothing_is_at_hand(&mut self) {
        if self.transport.has_queued()
            && self.input.bytes().len() == self.input.given()
            && matches!(self.transport.is_ready_to_send(), Ok(true))
        {
            let _ = self.send_next();
        }
    }

    /// Starts the next send. None may be in flight.
    fn send_next(&mut self) -> Result<(), Error> {
        self.raise_fence();
        self.keep_sent_times();
        self.transport.start_next().map_err(Error::of_stream)?;
        Ok(())
    }

    /// Before the next send: stores the time of the last one in the requests that it began.
    fn keep_sent_times(&mut self) {
        let last_ns = self.transport.sent_at_ns();
        for request in self.in_flight.iter_mut() {
            let position = request.position;
            if self.transport.offset_in_last_send(position).is_some() && self.transport.has_started(position)
            {
                request.sent_ns = last_ns;
            }
        }
    }

    /// Before requests are sent: records what has been received and not yet been assigned to a response.
    fn raise_fence(&mut self) {
        // Without pipelining no request is sent while there is such data, see `is_reusable`.
        if self.pipelining {
            let has_rest = self.input.bytes().len() > self.input.given();
            let begun = self
                .in_flight
                .iter()
                .take_while(|request| self.transport.has_started(request.position))
                .count();
            self.fence.raise(has_rest, self.transport.unread_count(), begun);
        }
    }

    async fn poll_discard_rest(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_end(context)).await
    }

    /// Ready when the head of the next response has arrived.
    #[inline]
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.stage == ResponseStage::Body {
            ready!(self.poll_end(context))?;
        }
        if self.in_flight.is_empty() || self.stage == ResponseStage::Failed {
            return Poll::Ready(Err(RequestError::NotReusable.into()));
        }
        if let Some(last) = self.last {
            return Poll::Ready(Err(Error::Unanswered(last)));
        }
        match ready!(self.poll_event(context))? {
            Event::Head => Poll::Ready(Ok(())),
            // A message cannot begin with these.
            Event::Data(_) | Event::End => Poll::Ready(Err(h1::Error::Failed.into())),
        }
    }

    /// Ready at the end of the response. Drops its body.
    #[inline]
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.stage == ResponseStage::Body {
            ready!(self.poll_event(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for the next piece of the body; `None` at the end of the response.
    #[inline]
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Range<usize>>, Error>> {
        if self.stage != ResponseStage::Body {
            return Poll::Ready(Ok(None));
        }
        match ready!(self.poll_event(context))? {
            Event::Data(range) => Poll::Ready(Ok(Some(range))),
            Event::End => Poll::Ready(Ok(None)),
            // A message has only one head.
            Event::Head => Poll::Ready(Err(h1::Error::Failed.into())),
        }
    }

    /// Reads until there is an event. An error is final.
    #[inline]
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        let outcome = self.poll_event_inner(context);
        if matches!(outcome, Poll::Ready(Err(_))) {
            self.reusable = false;
            self.stage = ResponseStage::Failed;
        }
        outcome
    }

    #[inline]
    fn poll_event_inner(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        self.send_if_nothing_is_at_hand();
        self.input.consume_given();
        loop {
            if self.stage == ResponseStage::Between && !self.input.bytes().is_empty() {
                self.begin()?;
            }
            if self.stage != ResponseStage::Between {
                let position = self.input.position();
                let bytes = self.input.bytes_mut();
                let start = bytes.as_ptr().addr();
                let (consumed, event) = self.codec.decode(bytes)?;
                match event {
                    ResponseEvent::Head(head) => {
                        self.meta = Some(head.meta());
                        if !self.codec.is_reusable() {
                            self.note_last();
                        }
                        self.head = HeadPlace::Input(position as u32);
                        self.stage = ResponseStage::Body;
                        self.input.consume(consumed);
                        return Poll::Ready(Ok(Event::Head));
                    }
                    ResponseEvent::Data(data) => {
                        let start = position + (data.as_ptr().addr() - start);
                        let range = start..start + data.len();
                        self.input.give(consumed);
                        return Poll::Ready(Ok(Event::Data(range)));
                    }
                    ResponseEvent::End { reusable } => {
                        self.input.consume(consumed);
                        self.end(reusable);
                        return Poll::Ready(Ok(Event::End));
                    }
                    ResponseEvent::Upgraded => {
                        self.end(false);
                        return Poll::Ready(Ok(Event::End));
                    }
                    ResponseEvent::Informational(_) | ResponseEvent::Trailers(_) => {
                        self.input.consume(consumed);
                        continue;
                    }
                    ResponseEvent::NeedMore => self.input.consume(consumed),
                }
            }
            let Poll::Ready(received) = self.transport.poll_receive(context) else {
                // Everything that was started while responses were read leaves in one send.
                if self.transport.has_queued() || (self.pipelining && self.transport.is_sending()) {
                    // Even if the peer cannot be sent to, it may have responded. The receive reports that, or the end.
                    let _ = self.poll_outgoing(context);
                }
                return Poll::Pending;
            };
            let received = match received {
                Err(error) if self.accepts_cut(&error) => Ok(None),
                received => received,
            };
            match received {
                Ok(Some(lease)) => {
                    self.received_size += lease.len() as u64;
                    self.fence.next_piece();
                    self.keep_head();
                    self.input.extend(lease);
                }
                Ok(None) => {
                    if self.stage == ResponseStage::Between {
                        self.begin()?;
                    }
                    self.codec.end_of_stream()?;
                    self.reusable = false;
                    if self.stage != ResponseStage::Body {
                        return Poll::Ready(Err(Error::Closed));
                    }
                }
                Err(error) => return Poll::Ready(Err(Error::of_stream(error))),
            }
        }
    }

    /// Whether the stream may end in this way without close_notify. If the length of the response is known by other
    /// means, nothing can be missing unnoticed (RFC 9112 §9.8).
    fn accepts_cut(&self, error: &io::Error) -> bool {
        let is_delimited_by_end =
            self.stage == ResponseStage::Body && self.codec.body_length() == BodyLength::UntilClose;
        !is_delimited_by_end && is_cut(error)
    }

    /// Begins a response, at its first byte or at the end of the stream in its place.
    #[inline]
    fn begin(&mut self) -> Result<(), Error> {
        let fenced = !self.fence.admits() && !self.input.bytes().is_empty();
        match self.in_flight.front() {
            Some(request) if self.transport.has_started(request.position) && !fenced => {
                let is_in_last_send = self.transport.offset_in_last_send(request.position).is_some();
                self.sent_ns = if is_in_last_send { self.transport.sent_at_ns() } else { request.sent_ns };
                self.first_byte_ns = self.transport.turn_time_ns();
                self.codec.begin(request.kind);
                self.stage = ResponseStage::Head;
                Ok(())
            }
            // The peer sent this before it could have received a request for it.
            _ if !self.input.bytes().is_empty() => Err(h1::Error::UnexpectedBytes.into()),
            _ => Err(Error::Closed),
        }
    }

    #[inline]
    fn end(&mut self, reusable: bool) {
        self.stage = ResponseStage::Between;
        self.in_flight.pop_front();
        self.fence.answered();
        if !reusable {
            self.last.get_or_insert(LastResponse::Implied);
        }
        // A peer that responds before it has the whole request will misread the rest.
        let unsent =
            self.in_flight.is_empty() && (self.pending_body.is_some() || self.transport.has_queued());
        self.reusable &= reusable && !unsent;
    }

    /// Records that the current response is the last. From then on, only the rest of its own request is sent (RFC 9112
    /// §9.6).
    fn note_last(&mut self) {
        self.reusable = false;
        self.last = Some(if self.codec.is_upgraded() {
            LastResponse::SwitchedProtocols
        } else if self.codec.announces_close() {
            LastResponse::Announced
        } else {
            LastResponse::Implied
        });
        if let Some(next) = self.in_flight.iter().nth(1) {
            self.transport.truncate(next.position);
        }
    }

    /// Copies the current head before its buffer is released.
    #[inline]
    fn keep_head(&mut self) {
        if let (HeadPlace::Input(position), ResponseStage::Body, Some(meta)) =
            (&self.head, self.stage, self.meta)
        {
            let bytes = &self.input.buffer()[*position as usize..][..meta.length()];
            self.head = HeadPlace::Kept(Box::new(bytes.into()));
        }
    }

    /// Releases the buffers once a response is done.
    #[inline]
    fn tidy(&mut self) {
        if matches!(self.stage, ResponseStage::Between | ResponseStage::Failed) {
            self.head = HeadPlace::Nowhere;
            self.input.consume_given();
            self.input.release();
            if self.in_flight.is_empty() {
                self.transport.free_memory();
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("transport", &self.transport)
            .field("in_flight", &self.in_flight.len())
            .field("reusable", &self.reusable)
            .finish_non_exhaustive()
    }
}

/// A response, borrowed from the buffers in which it arrived: its head, then its body piece by piece.
///
/// After a response is dropped before its end, the next use of the connection reads and drops the rest.
pub struct Response<'c> {
    connection: &'c mut Connection,
}

impl Response<'_> {
    /// Returns the status code.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.meta().status()
    }

    /// Returns the head with its fields.
    pub fn head(&self) -> ResponseHead<'_> {
        let bytes = match &self.connection.head {
            HeadPlace::Input(position) => &self.connection.input.buffer()[*position as usize..],
            HeadPlace::Kept(bytes) => bytes,
            HeadPlace::Nowhere => unreachable!("a head is kept as long as its response"),
        };
        h1::ResponseHead::from_parts(bytes, self.meta()).into()
    }

    /// Returns the size of the body in bytes, or `None` if only its end shows it.
    pub fn body_size(&self) -> Option<u64> {
        self.connection.codec.body_length().size()
    }

    /// Returns when the request was sent and when the response began.
    #[inline]
    pub fn timing(&self) -> Timing {
        Timing { sent_ns: self.connection.sent_ns, first_byte_ns: self.connection.first_byte_ns }
    }

    /// Returns the next piece of the body without its framing, or `None` when the response has ended. A piece is never
    /// empty.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future loses no data.
    ///
    /// # Errors
    /// The response cannot be completed. The caller must drop the connection.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        let range = poll_fn(|context| self.connection.poll_data(context)).await?;
        Ok(range.map(|range| &self.connection.input.buffer()[range]))
    }

    /// Polls for the next piece as [`data`](Self::data) does, and passes it to `take`.
    ///
    /// Use this in futures written by hand.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub fn poll_data<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<Result<Option<T>, Error>> {
        let range = ready!(self.connection.poll_data(context))?;
        Poll::Ready(Ok(range.map(|range| take(&self.connection.input.buffer()[range]))))
    }

    /// Reads and drops the rest of the body, and returns its size in bytes.
    ///
    /// # Cancel safety
    /// Cancel-safe, but a dropped future loses the size.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub async fn discard(&mut self) -> Result<u64, Error> {
        let mut size = 0;
        poll_fn(|context| {
            while let Some(range) = ready!(self.connection.poll_data(context))? {
                size += range.len() as u64;
            }
            Poll::Ready(Ok(size))
        })
        .await
    }

    /// Reads the rest of the body into memory, up to `size_max` bytes. Returns `None` if it is larger.
    ///
    /// In that case, what was read so far is lost, and the caller can still read what follows.
    ///
    /// # Cancel safety
    /// Not cancel-safe: a dropped future loses what it has read.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub async fn body(&mut self, size_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut body = Vec::new();
        while let Some(piece) = self.data().await? {
            if body.len() + piece.len() > size_max {
                return Ok(None);
            }
            body.extend_from_slice(piece);
        }
        Ok(Some(body))
    }

    #[inline]
    fn meta(&self) -> ResponseMeta {
        self.connection.meta.expect("a `Response` is created after its head has arrived")
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({})", self.status())
    }
}

impl Drop for Response<'_> {
    #[inline]
    fn drop(&mut self) {
        self.connection.tidy();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::error::ProtocolError;
    use crate::runtime::{Worker, WorkerOptions};

    /// What becomes of an exchange whose head was read, and in which `disturb` then makes something that cannot be.
    fn exchange_after(disturb: fn(&mut Connection)) -> Result<CompletedExchange, Error> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
            let mut connection = Connection::new(stream, &ConnectionOptions::default());
            let request = http::Request::get("http://h/").body(bytes::Bytes::new()).unwrap();
            connection.start(&PreparedRequest::new(&request).unwrap()).unwrap();
            theirs.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").unwrap();
            poll_fn(|context| connection.poll_head(context)).await.unwrap();
            disturb(&mut connection);
            poll_fn(|context| connection.poll_exchange(context)).await
        })
    }

    /// Whether bytes that no request asked for are known when a connection is no longer reusable: after a response that
    /// came as `sent`, and `late` behind it. Then the peer closes if it `closes`.
    fn unexpected_bytes(sent: &[u8], late: &[u8], closes: bool) -> bool {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
            let mut connection = Connection::new(stream, &ConnectionOptions::default());
            let request = http::Request::get("http://h/")
                .header("connection", "upgrade")
                .header("upgrade", "x")
                .body(bytes::Bytes::new())
                .unwrap();
            connection.start(&PreparedRequest::new(&request).unwrap()).unwrap();
            assert!(!connection.has_unexpected_bytes());
            theirs.write_all(sent).unwrap();
            poll_fn(|context| connection.poll_exchange(context)).await.unwrap();
            theirs.write_all(late).unwrap();
            if closes {
                drop(theirs);
            }
            while connection.is_reusable() {
                crate::runtime::yield_now().await;
            }
            connection.has_unexpected_bytes()
        })
    }

    #[test]
    fn bytes_that_no_request_asked_for_are_known() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(unexpected_bytes(&[&ok[..], b"x"].concat(), b"", false), "in one piece");
        assert!(unexpected_bytes(ok, ok, false), "later");
        assert!(!unexpected_bytes(ok, b"", true), "the peer has closed");
        let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nx";
        assert!(!unexpected_bytes(switched, b"", false), "another protocol");
    }

    /// Better no answer than one that nobody gave.
    #[test]
    fn an_answer_in_a_state_that_cannot_be_is_an_error() {
        assert_eq!(exchange_after(|_| ()).unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        // It has ended, and no head is known; a body where its head is to be.
        let disturbances: [fn(&mut Connection); 2] =
            [|connection| connection.meta = None, |connection| connection.stage = ResponseStage::Head];
        for disturb in disturbances {
            let error = exchange_after(disturb).expect_err("it has no status");
            assert!(matches!(error, Error::Protocol(ProtocolError::H1(h1::Error::Failed))), "{error:?}");
        }
    }
}
