//! The client's connection: a prepared request out, a borrowed head and a body in place back.
//!
//! Nothing is allocated per request, and nothing copied but a head that was cut by the network. What an upper layer
//! wants to keep, it copies.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use ringtide_driver::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use ringtide_driver::{Address, SendBuffer};

use super::fence::Fence;
use super::input::Input;
use super::piece::Piece;
use super::request::PreparedRequest;
use super::times::{Aborted, CompletedExchange, Timing};
use crate::error::{Error, LastResponse, RequestError};
use crate::limits::{CLOSE_AFTER_PEER_MAX, COALESCED_SEND_SIZE_MAX, PIPELINED_MAX};
use crate::proto::h1::{
    self, BodyLength, ChunkHeader, ClientCodec, Limits, RequestKind, ResponseEvent, ResponseHead,
    ResponseMeta,
};
use crate::runtime::InlineQueue;
use crate::stream::Stream;

/// Pieces of a body below this size are copied rather than lent: a lease keeps a whole receive buffer from its worker.
const PIECE_LENT_SIZE_MIN: usize = 2 * 1024;

/// How a [`Connection`] behaves.
///
/// ```
/// let options = ringtide::ConnectionOptions::default().pipelining(true);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// What a response may be at most.
    pub limits: Limits,
    /// Whether requests may be started before the responses to earlier ones have ended (RFC 9112 §9.3.2). The default is false.
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

/// A client's HTTP/1.1 connection. It belongs to the worker it was made on.
///
/// ```no_run
/// use bytes::Bytes;
/// use ringtide::{Connection, PreparedRequest};
/// use ringtide::runtime::{Worker, WorkerOptions};
///
/// let request = PreparedRequest::new(&http::Request::get("http://127.0.0.1:8080/").body(Bytes::new())?)?;
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
    stream: Stream,
    codec: ClientCodec,
    input: Input,
    /// Consumed by what was given out last, once the caller is done with it.
    given: usize,
    outgoing: InlineQueue<SendBuffer>,
    in_flight: InlineQueue<InFlight>,
    stage: ResponseStage,
    meta: Option<ResponseMeta>,
    head: HeadPlace,
    first_byte_ns: u64,
    received_size: u64,
    /// When the request of the current response was handed to the kernel.
    sent_ns: u64,
    /// What of the last request's body is still to come from the caller.
    pending_body: BodyLength,
    pipelining: bool,
    reusable: bool,
    /// The current response, or the one before, is the last.
    last: Option<LastResponse>,
    fence: Fence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseStage {
    /// No response has begun.
    Between,
    /// A head is expected.
    Head,
    /// The head has been given out, the end not.
    Body,
    /// There was an error.
    Failed,
}

/// No send has begun with it: those that carry more than one request are not so long.
const NOT_BEGUN: u16 = u16::MAX;
const _: () = assert!(COALESCED_SEND_SIZE_MAX < NOT_BEGUN as usize);

struct InFlight {
    kind: RequestKind,
    /// Where in the send that began it its first byte stands; [`NOT_BEGUN`] until it has been given to the stream, so that the
    /// peer can answer.
    begun_at: u16,
    /// Its buffers in the outgoing queue.
    queued: u32,
    /// 0 until the next send tells that this one has a time.
    sent_ns: u64,
}

/// Where the bytes of the current head are.
#[derive(Default)]
enum HeadPlace {
    #[default]
    Nowhere,
    /// In the input's buffer, from this position.
    Input(usize),
    /// Aside, as the input has moved on.
    Kept(Box<[u8]>),
}

/// What [`Connection::poll_event`] found.
enum Event {
    Head,
    /// A piece of the body, by its place in the input's buffer.
    Data(Range<usize>),
    End,
}

impl Connection {
    /// Connects to `address`, with the default options. Cancel-safe; no timeout of its own.
    ///
    /// # Errors
    /// [`Error::Connect`]. Nothing is left open.
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        match Stream::connect(address).await {
            Ok(stream) => Ok(Self::new(stream, &ConnectionOptions::default())),
            Err(source) => Err(Error::Connect { address: address.clone(), source }),
        }
    }

    /// A connection over `stream`, which nothing has been sent on yet. It receives from now on, so that what the peer does before it is asked is
    /// noticed with the worker's next turn.
    pub fn new(mut stream: Stream, options: &ConnectionOptions) -> Self {
        let reusable = stream.watch().is_ok();
        Self {
            stream,
            codec: ClientCodec::new(options.limits),
            input: Input::default(),
            given: 0,
            outgoing: InlineQueue::default(),
            in_flight: InlineQueue::default(),
            stage: ResponseStage::Between,
            meta: None,
            head: HeadPlace::Nowhere,
            first_byte_ns: 0,
            received_size: 0,
            sent_ns: 0,
            pending_body: BodyLength::None,
            pipelining: options.pipelining,
            reusable,
            last: None,
            fence: Fence::default(),
        }
    }

    /// Sends `request` and waits for the head of its response; what is left of the response before is read and dropped first.
    ///
    /// Not cancel-safe: a request that was begun is answered, so after a dropped future the connection has that response
    /// [in flight](Self::in_flight).
    ///
    /// # Errors
    /// [`RequestError::Busy`] and [`RequestError::NotReusable`] leave everything as it was. After any other the connection
    /// is to be dropped.
    pub async fn send(&mut self, request: &PreparedRequest) -> Result<Response<'_>, Error> {
        if self.stage == ResponseStage::Body {
            self.poll_discard_rest().await?;
        }
        self.start(request)?;
        self.response().await
    }

    /// Starts `request` and returns at once; it goes out with the worker's next turn, together with those started beside it.
    ///
    /// # Errors
    /// [`RequestError::Busy`] when the response before has not ended and the connection does not pipeline, or pipelines as many as
    /// [`PIPELINED_MAX`], or when the body of the request before has not been [finished](Self::finish_body); [`RequestError::NotReusable`]
    /// when it is not [reusable](Self::is_reusable). Nothing has changed.
    #[inline]
    pub fn start(&mut self, request: &PreparedRequest) -> Result<(), Error> {
        let is_full =
            if self.pipelining { self.in_flight.len() >= PIPELINED_MAX } else { !self.in_flight.is_empty() };
        if is_full || self.pending_body != BodyLength::None {
            return Err(RequestError::Busy.into());
        }
        if !self.is_reusable() {
            return Err(RequestError::NotReusable.into());
        }
        self.pending_body = request.pending_body();
        let mut in_flight = InFlight { kind: request.kind(), begun_at: NOT_BEGUN, queued: 0, sent_ns: 0 };
        match request.as_static() {
            // Alone on the wire, so the response is the proof that it arrived.
            Some(bytes)
                if !self.pipelining && bytes.len() <= SKIP_SUCCESS_SEND_SIZE_MAX && self.is_drained() =>
            {
                self.stream.start_send_skip_success(bytes).map_err(Error::Network)?;
                in_flight.begun_at = 0;
            }
            _ => {
                self.outgoing.push_back(request.to_buffer());
                in_flight.queued = 1;
            }
        }
        self.in_flight.push_back(in_flight);
        // RFC 9112 §9.6: none follows one with "close".
        self.reusable = !request.closes();
        Ok(())
    }

    /// Waits for the head of the next response, interim ones (1xx) passed over. What is left of the response before is read and
    /// dropped first. Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError::NotReusable`] when no request is in flight. [`Error::Unanswered`] when an earlier response was the last. After that, and
    /// after any other, the connection is to be dropped.
    pub async fn response(&mut self) -> Result<Response<'_>, Error> {
        poll_fn(|context| self.poll_head(context)).await?;
        Ok(Response { connection: self })
    }

    /// Reads the next response to its end and drops its body; for futures written by hand. Nothing is lost when it is not polled
    /// again: what was read so far counts.
    ///
    /// # Errors
    /// As [`response`](Self::response).
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
        let end_ns = self.stream.turn_time_ns();
        Poll::Ready(Ok(CompletedExchange { status: meta.status(), timing, end_ns }))
    }

    /// When each request that is in flight was handed to the kernel, in order; `None` for those of which it has not taken a byte.
    /// Of a send that is still under way, all counts as taken; [`abort`](Self::abort) knows better.
    pub fn in_flight_sent_ns(&self) -> impl Iterator<Item = Option<u64>> {
        let last_ns = self.stream.sent_at_ns();
        let taken_size = self.stream.failed_send_size().unwrap_or(usize::MAX);
        self.in_flight.iter().map(move |request| match (request.begun_at, request.sent_ns) {
            (NOT_BEGUN, _) => None,
            (begun_at, 0) => (usize::from(begun_at) < taken_size).then_some(last_ns),
            (_, sent_ns) => Some(sent_ns),
        })
    }

    /// Sends no more, closes, and tells what was sent. For this it waits until the kernel has let go of the send under way, which is not the
    /// peer's to delay. Dropping the future closes as well.
    ///
    /// With pipelining, what was sent is left to be read: only the sending half is closed at once, and the rest when the peer has closed, or
    /// after a second ([`runtime::sockets_closing`](crate::runtime::sockets_closing)), or when more than `closing_max` of the worker wait so.
    /// Closing with answers unread would reset the connection, and the peer's kernel then drops what it has not read yet
    /// (RFC 9112 §9.6).
    pub async fn abort(mut self, closing_max: usize) -> Aborted {
        if self.stream.is_unsent() {
            // It has no time before that.
            crate::runtime::yield_now().await;
        }
        if self.stream.is_sending() {
            self.stream.cancel_send();
            // How it ended is asked for below.
            let _ = poll_fn(|context| self.stream.poll_sent(context)).await;
        }
        let sent_ns: Vec<_> = self.in_flight_sent_ns().collect();
        let last = sent_ns.iter().rposition(Option::is_some).and_then(|at| self.in_flight.iter().nth(at));
        // Those with a time of their own were begun by an earlier send.
        let cut_size = match (self.stream.failed_send_size(), last) {
            (Some(taken_size), Some(&InFlight { begun_at, sent_ns: 0, .. })) => {
                Some(taken_size - usize::from(begun_at))
            }
            _ => None,
        };
        if self.pipelining && !self.in_flight.is_empty() && self.stream.shutdown().is_ok() {
            self.stream.close_after_peer(closing_max);
        }
        Aborted { sent_ns, cut_size }
    }

    /// Bytes that have been received so far, heads and framing included.
    #[inline]
    pub fn received_size(&self) -> u64 {
        self.received_size
    }

    /// Of those, the bytes behind the responses that were read: what has arrived of the next ones.
    pub fn unread_size(&self) -> usize {
        self.input.bytes().len() - self.given
    }

    /// Leaves the connection to be closed by the peer, who said that it would, and closes it itself only when the peer does not do so within a
    /// second, or when more than [`CLOSE_AFTER_PEER_MAX`] of the worker wait so. The side that closes first keeps the port occupied for a minute (`TIME_WAIT`, RFC 9293 §3.6.1); that
    /// shall not be the side that opens many.
    pub fn close_after_peer(self) {
        self.stream.close_after_peer(CLOSE_AFTER_PEER_MAX);
    }

    /// Requests that were started and whose responses have not ended.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the peer has sent something before it was asked for the first time, and has not closed behind it: an HTTP server may say that it
    /// waits no longer (408), and nothing else.
    pub fn has_peer_spoken_first(&self) -> bool {
        self.received_size == 0 && self.in_flight.is_empty() && self.stream.has_unread()
    }

    /// Whether another request may be started, as far as is known without asking the peer: it has not announced that it will close, was not
    /// asked to, has not closed, and has sent nothing that was not asked for. That can change at any time.
    #[inline]
    pub fn is_reusable(&self) -> bool {
        self.reusable
            && (!self.in_flight.is_empty()
                || (self.input.bytes().len() == self.given && !self.stream.has_news()))
    }

    /// Sends a piece of the body of the request that was started last, with chunk framing if it has no announced
    /// length; returns when the kernel has taken it. Not cancel-safe: how much was sent is not known.
    ///
    /// # Errors
    /// [`RequestError::BodyLength`] for more than was announced, after which the connection is to be dropped.
    /// [`Error::Network`] when the peer is gone; it may have answered before it went.
    pub async fn send_data(&mut self, data: Bytes) -> Result<(), Error> {
        self.queue_data(data)?;
        poll_fn(|context| self.poll_outgoing(context)).await
    }

    /// Ends the body of the request that was started last; returns when the kernel has taken all of it. Cancel-safe: the body has ended with
    /// the first poll, and what is not sent by then goes out with another call, or while the response is waited for.
    ///
    /// # Errors
    /// [`RequestError::BodyLength`] for less than was announced, after which the connection is to be dropped. [`Error::Network`] as
    /// [`send_data`](Self::send_data).
    pub async fn finish_body(&mut self) -> Result<(), Error> {
        self.queue_body_end()?;
        poll_fn(|context| self.poll_outgoing(context)).await
    }

    /// The stream's address at the other end.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.stream.peer_address()
    }

    /// Has what the peer does noticed while the connection is idle, so that [`is_reusable`](Self::is_reusable) is up to date. After the first
    /// response it is so anyway.
    pub fn watch(&mut self) {
        if self.stream.watch().is_err() {
            self.reusable = false;
        }
    }

    /// Whether any byte of a response to the request in flight has been seen.
    pub(crate) fn has_response_begun(&self) -> bool {
        !self.codec.is_idle()
    }

    /// The worker's [`runtime::turn_time_ns`](crate::runtime::turn_time_ns).
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.stream.turn_time_ns()
    }

    /// The response whose head [`poll_head`](Self::poll_head) has found.
    pub(crate) fn current_response(&mut self) -> Response<'_> {
        Response { connection: self }
    }

    /// The next piece of the body, to be kept; `None` at the end of the response, after which no buffer is held. The head is
    /// gone from the first call on.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.head = HeadPlace::Nowhere;
        let Some(range) = ready!(self.poll_data(context))? else {
            self.tidy();
            return Poll::Ready(Ok(None));
        };
        if range.len() >= PIECE_LENT_SIZE_MIN
            && let Some(lease) = self.input.take(&range)
        {
            self.given = 0;
            return Poll::Ready(Ok(Some(Piece::leased(lease))));
        }
        let piece = Piece::copied(&self.input.buffer()[range]);
        self.input.consume(mem::take(&mut self.given));
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
        match &mut self.pending_body {
            BodyLength::Length(left) if size <= *left => *left -= size,
            BodyLength::Chunked => {
                let Some(nonzero) = std::num::NonZeroU64::new(size) else { return Ok(()) };
                self.queue(SendBuffer::Owned(ChunkHeader::new(nonzero).to_vec()));
                self.queue(SendBuffer::Shared(data));
                self.queue(SendBuffer::Static(h1::CHUNK_END));
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
            self.queue(SendBuffer::Shared(data));
        }
        Ok(())
    }

    pub(crate) fn queue_body_end(&mut self) -> Result<(), Error> {
        match mem::replace(&mut self.pending_body, BodyLength::None) {
            BodyLength::Chunked => self.queue(SendBuffer::Static(h1::LAST_CHUNK)),
            BodyLength::Length(left) if left > 0 => {
                self.reusable = false;
                return Err(RequestError::BodyLength { announced: left, given: 0 }.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands what was started to the stream; ready when the kernel has taken all of it.
    pub(crate) fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            // After a failure this says so again, and nothing more is sent.
            ready!(self.stream.poll_sent(context)).map_err(Error::Network)?;
            let Some(buffer) = self.next_outgoing() else { return Poll::Ready(Ok(())) };
            self.stream.start_send(buffer).map_err(Error::Network)?;
        }
    }

    /// Puts a piece of the body of the request that was started last behind what waits to be sent.
    fn queue(&mut self, buffer: SendBuffer) {
        self.outgoing.push_back(buffer);
        if let Some(request) = self.in_flight.iter_mut().next_back() {
            request.queued += 1;
        }
    }

    /// What is to be sent next, small buffers together. The requests that begin with it are marked so.
    fn next_outgoing(&mut self) -> Option<SendBuffer> {
        if self.outgoing.is_empty() {
            return None;
        }
        self.raise_fence();
        let previous_ns = self.stream.sent_at_ns();
        let mut queued = 0;
        for request in self.in_flight.iter_mut() {
            // Those of the send before have their time by now; those that go with this one get theirs with the next.
            if request.begun_at != NOT_BEGUN && request.sent_ns == 0 {
                request.sent_ns = previous_ns;
            }
            queued += request.queued as usize;
        }
        // In front stand pieces of a request that was answered before it was sent whole.
        let mut answered = self.outgoing.len() - queued;
        let mut requests = self.in_flight.iter_mut().filter(|request| request.queued > 0);
        let mut current: Option<&mut InFlight> = None;
        let mut together = None;
        let mut size = 0;
        while self
            .outgoing
            .front()
            .is_some_and(|next| size == 0 || size + next.len() <= COALESCED_SEND_SIZE_MAX)
            && let Some(next) = self.outgoing.pop_front()
        {
            if answered > 0 {
                answered -= 1;
            } else {
                current = current.filter(|request| request.queued > 0).or_else(|| requests.next());
                if let Some(request) = &mut current {
                    request.queued -= 1;
                    if request.begun_at == NOT_BEGUN {
                        request.begun_at = size as u16;
                    }
                }
            }
            size += next.len();
            together = Some(match together {
                None => next,
                Some(SendBuffer::Owned(mut bytes)) => {
                    bytes.extend_from_slice(&next);
                    SendBuffer::Owned(bytes)
                }
                Some(first) => SendBuffer::Owned([&*first, &*next].concat()),
            });
        }
        together
    }

    /// Notes what has been received and not been taken for a response when requests are about to be sent.
    fn raise_fence(&mut self) {
        // Without pipelining none is sent then, see `is_reusable`.
        if self.pipelining {
            let has_rest = self.input.bytes().len() > self.given;
            let begun = self.in_flight.iter().take_while(|request| request.begun_at != NOT_BEGUN).count();
            self.fence.raise(has_rest, self.stream.unread_count(), begun);
        }
    }

    #[inline]
    fn is_drained(&self) -> bool {
        self.in_flight.is_empty() && self.outgoing.is_empty() && !self.stream.is_sending()
    }

    async fn poll_discard_rest(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_end(context)).await
    }

    /// Ready with the head of the next response in place.
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
            // No message begins with these.
            Event::Data(_) | Event::End => Poll::Ready(Err(h1::Error::Failed.into())),
        }
    }

    /// Ready at the end of the response, whose body is dropped.
    #[inline]
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.stage == ResponseStage::Body {
            ready!(self.poll_event(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The next piece of the body; `None` at the end of the response.
    #[inline]
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Range<usize>>, Error>> {
        if self.stage != ResponseStage::Body {
            return Poll::Ready(Ok(None));
        }
        match ready!(self.poll_event(context))? {
            Event::Data(range) => Poll::Ready(Ok(Some(range))),
            Event::End => Poll::Ready(Ok(None)),
            // No message has another.
            Event::Head => Poll::Ready(Err(h1::Error::Failed.into())),
        }
    }

    /// Reads on until there is something to tell. An error is final.
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
        if !self.outgoing.is_empty() || (self.pipelining && self.stream.is_sending()) {
            // A peer that cannot be sent to may still have answered; what it says, or its end, is read below.
            let _ = self.poll_outgoing(context);
        }
        self.input.consume(mem::take(&mut self.given));
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
                        self.head = HeadPlace::Input(position);
                        self.stage = ResponseStage::Body;
                        self.input.consume(consumed);
                        return Poll::Ready(Ok(Event::Head));
                    }
                    ResponseEvent::Data(data) => {
                        let start = position + (data.as_ptr().addr() - start);
                        let range = start..start + data.len();
                        self.given = consumed;
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
            match ready!(self.stream.poll_receive(context)) {
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
                Err(error) => return Poll::Ready(Err(Error::Network(error))),
            }
        }
    }

    /// The first byte of a response is there, or the end of the stream in its place.
    #[inline]
    fn begin(&mut self) -> Result<(), Error> {
        let fenced = !self.fence.admits() && !self.input.bytes().is_empty();
        match self.in_flight.front() {
            Some(request) if request.begun_at != NOT_BEGUN && !fenced => {
                self.sent_ns = if request.sent_ns == 0 { self.stream.sent_at_ns() } else { request.sent_ns };
                self.first_byte_ns = self.stream.turn_time_ns();
                self.codec.begin(request.kind);
                self.stage = ResponseStage::Head;
                Ok(())
            }
            // A response to what had not been asked.
            _ if !self.input.bytes().is_empty() => Err(Error::Protocol(h1::Error::UnexpectedBytes)),
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
        // A peer that answers before it has the whole request will misread the rest.
        let unsent =
            self.in_flight.is_empty() && (self.pending_body != BodyLength::None || !self.outgoing.is_empty());
        self.reusable &= reusable && !unsent;
    }

    /// The response whose head is there is the last. RFC 9112 §9.6: nothing more is sent but what belongs to its own request.
    fn note_last(&mut self) {
        self.reusable = false;
        self.last = Some(if self.codec.is_upgraded() {
            LastResponse::SwitchedProtocols
        } else if self.codec.announces_close() {
            LastResponse::Announced
        } else {
            LastResponse::Implied
        });
        let behind = || self.in_flight.iter().skip(1);
        let dropped: usize = behind().map(|request| request.queued as usize).sum();
        if dropped > 0 {
            let kept = self.outgoing.len().saturating_sub(dropped);
            let mut outgoing = InlineQueue::default();
            while outgoing.len() < kept
                && let Some(buffer) = self.outgoing.pop_front()
            {
                outgoing.push_back(buffer);
            }
            self.outgoing = outgoing;
            self.in_flight.iter_mut().skip(1).for_each(|request| request.queued = 0);
        }
    }

    /// Copies the current head aside before its buffer goes.
    #[inline]
    fn keep_head(&mut self) {
        if let (HeadPlace::Input(position), ResponseStage::Body, Some(meta)) =
            (&self.head, self.stage, self.meta)
        {
            let bytes = &self.input.buffer()[*position..*position + meta.length()];
            self.head = HeadPlace::Kept(bytes.into());
        }
    }

    /// Gives buffers back once a response is done with.
    #[inline]
    fn tidy(&mut self) {
        if matches!(self.stage, ResponseStage::Between | ResponseStage::Failed) {
            self.head = HeadPlace::Nowhere;
            self.input.consume(mem::take(&mut self.given));
            self.input.release();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .field("in_flight", &self.in_flight.len())
            .field("reusable", &self.reusable)
            .finish_non_exhaustive()
    }
}

/// A response: its head, and its body piece by piece, both in the buffers that they arrived in. Dropping it before its end leaves the
/// rest to be read by the connection's next use.
pub struct Response<'c> {
    connection: &'c mut Connection,
}

impl Response<'_> {
    /// The status code.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.meta().status()
    }

    /// The head, with its fields.
    pub fn head(&self) -> ResponseHead<'_> {
        let bytes = match &self.connection.head {
            HeadPlace::Input(position) => &self.connection.input.buffer()[*position..],
            HeadPlace::Kept(bytes) => bytes,
            HeadPlace::Nowhere => unreachable!("a head stays as long as its response"),
        };
        ResponseHead::from_parts(bytes, self.meta())
    }

    /// How the length of the body is told.
    pub fn body_length(&self) -> BodyLength {
        self.connection.codec.body_length()
    }

    /// When the request was sent and the response began.
    #[inline]
    pub fn timing(&self) -> Timing {
        Timing { sent_ns: self.connection.sent_ns, first_byte_ns: self.connection.first_byte_ns }
    }

    /// The next piece of the body, never empty, without its framing; `None` when the response has ended. Cancel-safe.
    ///
    /// # Errors
    /// When the response cannot be finished; the connection is to be dropped.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        let range = poll_fn(|context| self.connection.poll_data(context)).await?;
        Ok(range.map(|range| &self.connection.input.buffer()[range]))
    }

    /// As [`data`](Self::data), for futures written by hand; the piece is seen by `take`.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    pub fn poll_data<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<Result<Option<T>, Error>> {
        let range = ready!(self.connection.poll_data(context))?;
        Poll::Ready(Ok(range.map(|range| take(&self.connection.input.buffer()[range]))))
    }

    /// Reads the rest of the body and drops it, and gives its size. Cancel-safe; the size is then lost.
    ///
    /// # Errors
    /// As [`data`](Self::data).
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

    /// Reads the rest of the body into memory, at most `size_max` bytes of it; `None` if it is larger. What was read to find that out is
    /// lost then, and what follows is still to be read. Not cancel-safe: what was read is lost.
    ///
    /// # Errors
    /// As [`data`](Self::data).
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
        self.connection.meta.expect("a response is made when its head is there")
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

    /// Better no answer than one that nobody gave.
    #[test]
    fn an_answer_in_a_state_that_cannot_be_is_an_error() {
        assert_eq!(exchange_after(|_| ()).unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        // It has ended, and no head is known; a body where its head is to be.
        let disturbances: [fn(&mut Connection); 2] =
            [|connection| connection.meta = None, |connection| connection.stage = ResponseStage::Head];
        for disturb in disturbances {
            let error = exchange_after(disturb).expect_err("it has no status");
            assert!(matches!(error, Error::Protocol(h1::Error::Failed)), "{error:?}");
        }
    }
}
