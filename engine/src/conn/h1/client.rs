//! A client's HTTP/1.1 connection.
//!
//! Responses come in the order of their requests. Without pipelining there is one at a time.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use ringtide_driver::{Address, SendBuffer, TcpQueues};

use super::head_place::{HeadPlace, range_of};
use super::pipeline::Pipeline;
use crate::conn::client::ConnectionOptions;
use crate::conn::completion::{Aborted, CompletedExchange, Completion, RequestId, Timing};
use crate::conn::observe::Observe;
use crate::conn::piece::Piece;
use crate::conn::request::PreparedRequest;
use crate::error::{Error, LastResponse, RequestError, is_cut};
use crate::limits::PIPELINED_MAX;
use crate::proto::h1::{
    self, BodyLength, ChunkHeader, ClientCodec, RequestKind, ResponseEvent, ResponseHead, ResponseMeta,
};
use crate::runtime::InlineQueue;
use crate::stream::{Reader, Stream, Transport};

/// Minimum size of a body piece that is lent instead of copied. A lease keeps a whole receive buffer from the worker.
const PIECE_LENT_SIZE_MIN: usize = 2 * 1024;

/// A client's HTTP/1.1 connection. [`Connection`](crate::Connection) describes what its methods do.
pub(in crate::conn) struct ClientConnection {
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
    /// Present if the connection pipelines.
    pipeline: Option<Box<Pipeline>>,
    reusable: bool,
    /// Set when the current response, or the one before, is the last of this connection.
    last: Option<LastResponse>,
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
    /// 0 without pipelining.
    slot: u16,
    /// Position of the request's first byte in the stream. Once a send contains it, the peer can respond.
    position: u64,
    /// Time of the send that contains the first byte. It is set when the next send starts; meanwhile the stream knows
    /// it.
    sent_ns: u64,
}

impl InFlight {
    /// Requests begin at different positions, and no request is as short as 16 bytes. So the number needs no counter.
    #[inline]
    fn id(&self) -> RequestId {
        RequestId { slot: self.slot.into(), number: (self.position / 16) as u32 }
    }
}

/// An event that [`ClientConnection::poll_event`] returns.
enum Event {
    Head,
    /// A piece of the body, as a range of the input's buffer.
    Data(Range<usize>),
    End,
}

impl ClientConnection {
    pub(in crate::conn) fn new(stream: Stream, options: &ConnectionOptions) -> Self {
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
            pipeline: options.pipelining.then(Box::default),
            reusable,
            last: None,
        }
    }

    #[inline]
    pub(in crate::conn) fn start(&mut self, request: &PreparedRequest) -> Result<RequestId, Error> {
        self.begin_request(request, None)
    }

    /// Starts a request like `request`, but with these bytes and no further body.
    pub(in crate::conn) fn start_like(
        &mut self,
        request: &PreparedRequest,
        bytes: &[u8],
    ) -> Result<RequestId, Error> {
        self.begin_request(request, Some(bytes))
    }

    #[inline]
    fn begin_request(&mut self, request: &PreparedRequest, other: Option<&[u8]>) -> Result<RequestId, Error> {
        if self.is_full() || self.pending_body.is_some() {
            return Err(RequestError::Busy.into());
        }
        if !self.is_reusable() {
            return Err(RequestError::NotReusable.into());
        }
        if other.is_none() && request.pending_body() != BodyLength::None {
            self.pending_body = Some(Box::new(request.pending_body()));
        }
        let slot = match &mut self.pipeline {
            None => 0,
            Some(pipeline) => pipeline.take_slot(self.in_flight.len()),
        };
        let in_flight = InFlight { kind: request.kind(), slot, position: self.transport.end(), sent_ns: 0 };
        // With nothing else in flight the caller waits for the response rather than for this send, so the send needs no
        // completion when it succeeds.
        let is_alone = self.pipeline.is_none();
        match (other, request.as_static()) {
            (Some(bytes), _) => self.transport.write(|out| out.extend_from_slice(bytes)),
            (None, Some(bytes))
                if is_alone && self.transport.start_skip_success(bytes).map_err(Error::of_stream)? => {}
            _ => self.transport.push(request.to_buffer()),
        }
        let id = in_flight.id();
        self.in_flight.push_back(in_flight);
        // RFC 9112 §9.6: no request may follow one with "close".
        self.reusable = !request.closes();
        Ok(id)
    }

    /// Polls the next response to its end and drops its body.
    #[inline]
    pub(in crate::conn) fn poll_completion(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Completion, Error>> {
        if self.stage != ResponseStage::Body {
            ready!(self.poll_head(context))?;
        }
        let id = self.in_flight.front().map(InFlight::id);
        if !self.skip_body() {
            ready!(self.poll_end(context))?;
        }
        // A response that has ended had a head, and a request.
        let (Some(id), Some(meta)) = (id, self.meta) else {
            return Poll::Ready(Err(h1::Error::Failed.into()));
        };
        let timing = self.timing();
        self.tidy();
        let end_ns = self.transport.turn_time_ns();
        let exchange = CompletedExchange { status: meta.status(), timing, end_ns };
        Poll::Ready(Ok(Completion { id, result: Ok(exchange) }))
    }

    /// Does the same, and shows the response to `observer`.
    pub(in crate::conn) fn poll_completion_with(
        &mut self,
        context: &mut Context<'_>,
        observer: &mut impl Observe,
    ) -> Poll<Result<Completion, Error>> {
        let id = |connection: &Self| connection.in_flight.front().map(InFlight::id);
        if self.stage != ResponseStage::Body {
            ready!(self.poll_head(context))?;
            if let Some(id) = id(self) {
                observer.head(id, self.head().into());
            }
        }
        if let Some(id) = id(self) {
            while let Some(range) = ready!(self.poll_data(context))? {
                observer.data(id, self.piece(range));
            }
            let Some(meta) = self.meta else { return Poll::Ready(Err(h1::Error::Failed.into())) };
            let timing = self.timing();
            self.tidy();
            let end_ns = self.transport.turn_time_ns();
            let exchange = CompletedExchange { status: meta.status(), timing, end_ns };
            return Poll::Ready(Ok(Completion { id, result: Ok(exchange) }));
        }
        Poll::Ready(Err(h1::Error::Failed.into()))
    }

    pub(in crate::conn) fn in_flight_sent_ns(&self) -> impl Iterator<Item = (RequestId, Option<u64>)> {
        let last_ns = self.transport.sent_at_ns();
        let taken_size = self.transport.failed_send_size().map_or(u64::MAX, |size| size as u64);
        self.in_flight.iter().map(move |request| {
            let sent_ns = match self.transport.offset_in_last_send(request.position) {
                None => Some(request.sent_ns),
                Some(_) if !self.transport.has_started(request.position) => None,
                Some(offset) => (offset < taken_size).then_some(last_ns),
            };
            (request.id(), sent_ns)
        })
    }

    /// Stops sending, and waits until the kernel has released the send in flight.
    pub(in crate::conn) async fn stop_sending(&mut self) {
        if self.transport.is_unsent() {
            // The send has no timestamp before the next turn.
            crate::runtime::yield_now().await;
        }
        if self.transport.is_sending() {
            self.transport.cancel_send();
            // `into_aborted` asks how it ended.
            let _ = poll_fn(|context| self.transport.poll_sent(context)).await;
        }
    }

    /// Closes the connection after `stop_sending`, and returns what was sent.
    pub(in crate::conn) fn into_aborted(mut self, closing_max: usize) -> Aborted {
        let sent_ns: Vec<_> = self.in_flight_sent_ns().collect();
        let last = sent_ns.iter().rposition(|(_, sent_ns)| sent_ns.is_some());
        let last = last.and_then(|at| self.in_flight.iter().nth(at));
        let offset = last.and_then(|request| self.transport.offset_in_last_send(request.position));
        // If the last request began in an earlier send, all of that send was taken.
        let cut_size =
            self.transport.failed_send_size().zip(offset).map(|(taken, offset)| taken - offset as usize);
        if self.pipeline.is_some() && !self.in_flight.is_empty() && self.transport.shutdown_now().is_ok() {
            self.transport.close_after_peer(closing_max);
        }
        Aborted { sent_ns, cut_size }
    }

    #[inline]
    pub(in crate::conn) fn sent_size(&self) -> u64 {
        self.transport.sent_size()
    }

    #[inline]
    pub(in crate::conn) fn received_size(&self) -> u64 {
        self.received_size
    }

    pub(in crate::conn) fn unread(&self) -> &[u8] {
        &self.input.bytes()[self.input.given()..]
    }

    pub(in crate::conn) fn close_after_peer(self, closing_max: usize) {
        self.transport.close_after_peer(closing_max);
    }

    #[inline]
    pub(in crate::conn) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    #[inline]
    pub(in crate::conn) fn is_full(&self) -> bool {
        match self.pipeline {
            None => !self.in_flight.is_empty(),
            Some(_) => self.in_flight.len() >= PIPELINED_MAX,
        }
    }

    pub(in crate::conn) fn free_places(&mut self) -> usize {
        let places = if self.pipeline.is_some() { PIPELINED_MAX } else { 1 };
        if self.is_reusable() { places.saturating_sub(self.in_flight.len()) } else { 0 }
    }

    pub(in crate::conn) fn has_peer_spoken_first(&mut self) -> bool {
        self.received_size == 0
            && self.in_flight.is_empty()
            && (!self.unread().is_empty() || self.transport.has_unread())
    }

    pub(in crate::conn) fn has_unexpected_bytes(&mut self) -> bool {
        self.in_flight.is_empty()
            && (!self.unread().is_empty() || self.transport.has_unread())
            && !matches!(self.last, Some(LastResponse::SwitchedProtocols))
    }

    #[inline]
    pub(in crate::conn) fn is_reusable(&mut self) -> bool {
        self.reusable
            && (!self.in_flight.is_empty()
                || (self.input.bytes().len() == self.input.given() && !self.transport.has_news()))
    }

    pub(in crate::conn) fn into_stream(mut self) -> Stream {
        self.input.consume_given();
        self.input.release();
        Stream::from_parts(self.transport, self.input)
    }

    pub(in crate::conn) fn peer_address(&self) -> io::Result<Address> {
        self.transport.peer_address()
    }

    pub(in crate::conn) fn tcp_queues(&self) -> io::Result<TcpQueues> {
        self.transport.tcp_queues()
    }

    pub(in crate::conn) fn has_response_begun(&self) -> bool {
        !self.codec.is_idle()
    }

    pub(in crate::conn) fn turn_time_ns(&self) -> u64 {
        self.transport.turn_time_ns()
    }

    #[inline]
    pub(in crate::conn) fn status(&self) -> StatusCode {
        self.meta().status()
    }

    pub(in crate::conn) fn head(&self) -> ResponseHead<'_> {
        ResponseHead::from_parts(self.head.bytes(&self.input), self.meta())
    }

    #[inline]
    fn meta(&self) -> ResponseMeta {
        self.meta.expect("a `Response` is created after its head has arrived")
    }

    pub(in crate::conn) fn body_size(&self) -> Option<u64> {
        self.codec.body_length().size()
    }

    #[inline]
    pub(in crate::conn) fn timing(&self) -> Timing {
        Timing { sent_ns: self.sent_ns, first_byte_ns: self.first_byte_ns }
    }

    pub(in crate::conn) fn piece(&self, range: Range<usize>) -> &[u8] {
        &self.input.buffer()[range]
    }

    pub(in crate::conn) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piece>, Error>> {
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

    pub(in crate::conn) fn queue_data(&mut self, data: Bytes) -> Result<(), Error> {
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

    pub(in crate::conn) fn queue_body_end(&mut self) -> Result<(), Error> {
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

    pub(in crate::conn) fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
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
        if let Some(pipeline) = &mut self.pipeline {
            let has_rest = self.input.bytes().len() > self.input.given();
            let begun = self
                .in_flight
                .iter()
                .take_while(|request| self.transport.has_started(request.position))
                .count();
            pipeline.fence.raise(has_rest, self.transport.unread_count(), begun);
        }
    }

    #[inline]
    pub(in crate::conn) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
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
    pub(in crate::conn) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.stage == ResponseStage::Body {
            ready!(self.poll_event(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the response if all of its body is at hand, without the events that nobody looks at.
    #[inline]
    fn skip_body(&mut self) -> bool {
        self.input.consume_given();
        let Some(size) = self.codec.skip_body(self.input.bytes().len()) else { return false };
        self.input.consume(size);
        self.end(self.codec.is_reusable());
        true
    }

    /// Polls for the next piece of the body; `None` at the end of the response.
    #[inline]
    pub(in crate::conn) fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Range<usize>>, Error>> {
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
                let unread = bytes.as_ptr();
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
                        let range = range_of(data, unread, position);
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
                if self.transport.has_queued() || (self.pipeline.is_some() && self.transport.is_sending()) {
                    // Even if the peer cannot be sent to, it may have responded. The receive reports that, or the end.
                    let _ = self.poll_outgoing(context);
                }
                if self.stage != ResponseStage::Between || self.in_flight.len() > 1 {
                    self.transport.expect_more();
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
                    if let Some(pipeline) = &mut self.pipeline {
                        pipeline.fence.next_piece();
                    }
                    if let (ResponseStage::Body, Some(meta)) = (self.stage, self.meta) {
                        self.head.keep(&self.input, meta.length());
                    }
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
        let fenced = self.pipeline.as_ref().is_some_and(|pipeline| !pipeline.fence.admits())
            && !self.input.bytes().is_empty();
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
        let answered = self.in_flight.pop_front();
        if let (Some(pipeline), Some(request)) = (&mut self.pipeline, answered) {
            pipeline.answered(request.slot, self.in_flight.len());
        }
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

    /// Releases the buffers once a response is done.
    #[inline]
    pub(in crate::conn) fn tidy(&mut self) {
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

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("transport", &self.transport)
            .field("in_flight", &self.in_flight.len())
            .field("reusable", &self.reusable)
            .finish_non_exhaustive()
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
    fn exchange_after(disturb: fn(&mut ClientConnection)) -> Result<Completion, Error> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
            let mut connection = ClientConnection::new(stream, &ConnectionOptions::default());
            let request = http::Request::get("http://h/").body(bytes::Bytes::new()).unwrap();
            connection.start(&PreparedRequest::new(&request).unwrap()).unwrap();
            theirs.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").unwrap();
            poll_fn(|context| connection.poll_head(context)).await.unwrap();
            disturb(&mut connection);
            poll_fn(|context| connection.poll_completion(context)).await
        })
    }

    /// Whether bytes that no request asked for are known when a connection is no longer reusable: after a response that
    /// came as `sent`, and `late` behind it. Then the peer closes if it `closes`.
    fn unexpected_bytes(sent: &[u8], late: &[u8], closes: bool) -> bool {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
            let mut connection = ClientConnection::new(stream, &ConnectionOptions::default());
            let request = http::Request::get("http://h/")
                .header("connection", "upgrade")
                .header("upgrade", "x")
                .body(bytes::Bytes::new())
                .unwrap();
            connection.start(&PreparedRequest::new(&request).unwrap()).unwrap();
            assert!(!connection.has_unexpected_bytes());
            theirs.write_all(sent).unwrap();
            poll_fn(|context| connection.poll_completion(context)).await.unwrap();
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
        assert_eq!(exchange_after(|_| ()).unwrap().result.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        // It has ended, and no head is known; a body where its head is to be.
        let disturbances: [fn(&mut ClientConnection); 2] =
            [|connection| connection.meta = None, |connection| connection.stage = ResponseStage::Head];
        for disturb in disturbances {
            let error = exchange_after(disturb).expect_err("it has no status");
            assert!(matches!(error, Error::Protocol(ProtocolError::H1(h1::Error::Failed))), "{error:?}");
        }
    }
}
