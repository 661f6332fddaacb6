//! A client's HTTP/2 connection: many requests at once, whose responses end in any order.
//!
//! It allocates nothing per request: what it knows of a stream lies at the stream's index, and a header block that was
//! sent before is sent again.

mod reading;
mod times;
mod upload;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringtide_driver::{Address, TcpQueues};

use super::block::{Block, kind_of};
use super::link::Link;
use crate::conn::client::ConnectionOptions;
use crate::conn::completion::{Aborted, CompletedExchange, Completion, RequestId, Timing};
use crate::conn::content::Content;
use crate::conn::observe::Observe;
use crate::conn::request::PreparedRequest;
use crate::error::{Error, ProtocolError, RequestError};
use crate::proto::h1::BodyLength;
use crate::proto::h2::{
    self, Codec, ErrorCode, Event, FieldList, OpenError, ResponseHead, Role, StreamKey, StreamReset,
};
use crate::stream::Stream;

/// A client's HTTP/2 connection.
pub(in crate::conn) struct ClientConnection {
    link: Link,
    /// By the index of the stream.
    requests: Vec<Request>,
    in_flight: usize,
    /// Requests whose time of sending is not noted yet, oldest first: of the last send, and of none so far.
    unnoted: VecDeque<StreamKey>,
    block: Block,
    /// The stream whose response is read in place.
    current: Option<Current>,
    /// Found while a body was sent, and not told yet. Data of it still lies in the link.
    held: Option<Happened>,
    /// What the caller still has to provide of the last request's body.
    pending_body: Option<(StreamKey, BodyLength)>,
    go_away: Option<ErrorCode>,
    /// No request may be started: the connection has ended or failed.
    is_over: bool,
}

/// What is known of a request in flight.
#[derive(Clone, Debug)]
struct Request {
    /// `None` if the place is free.
    stream: Option<StreamKey>,
    /// Position of the request's first byte in the stream of bytes.
    position: u64,
    /// 0 while it is not noted: before the send, and as long as that is the last one.
    sent_ns: u64,
    /// 0 before the first byte of the response.
    first_byte_ns: u64,
    status: StatusCode,
}

/// The response that is read in place.
struct Current {
    stream: StreamKey,
    head: FieldList,
    content_length: Option<u64>,
    timing: Timing,
    status: StatusCode,
    has_ended: bool,
    /// Bytes that the caller reads, which are not yet returned to the peer.
    lent_size: usize,
}

/// What happened on a connection, as far as requests are concerned.
enum Happened {
    Head(StreamKey, bool),
    /// Size of the piece, which the link has.
    Data(StreamKey, usize, bool),
    Trailers(StreamKey),
    Reset(StreamKey, StreamReset),
    Nothing,
}

impl ClientConnection {
    pub(in crate::conn) fn new(stream: Stream, options: &ConnectionOptions) -> Self {
        let (mut transport, input) = stream.into_parts();
        let is_over = transport.watch().is_err();
        Self {
            link: Link::new(Codec::new(Role::Client, &options.http2), transport, input),
            requests: Vec::new(),
            in_flight: 0,
            unnoted: VecDeque::new(),
            block: Block::default(),
            current: None,
            held: None,
            pending_body: None,
            go_away: None,
            is_over,
        }
    }

    #[inline]
    pub(in crate::conn) fn start(&mut self, request: &PreparedRequest) -> Result<RequestId, Error> {
        self.check_place()?;
        self.block.prepare(request, &mut self.link.codec);
        let stream = self.open(request, request.body(), request.pending_body())?;
        Ok(id_of(stream))
    }

    /// Starts a request like `request`, but with this head and this body.
    pub(in crate::conn) fn start_like(
        &mut self,
        request: &PreparedRequest,
        head: &[u8],
        body: &[u8],
    ) -> Result<RequestId, Error> {
        self.check_place()?;
        self.block.encode_other(request, head, &mut self.link.codec);
        let stream = self.open(request, body, BodyLength::None)?;
        Ok(id_of(stream))
    }

    /// Whether a request may be started now.
    #[inline]
    fn check_place(&self) -> Result<(), RequestError> {
        // The head of the next response has no place while this one is read.
        let is_reading = self.current.as_ref().is_some_and(|current| !current.has_ended);
        if self.free_places() == 0 || self.pending_body.is_some() || is_reading {
            return Err(if self.is_reusable() { RequestError::Busy } else { RequestError::NotReusable });
        }
        Ok(())
    }

    /// Opens a stream with the block that was encoded last, and sends its body or notes that it is to come.
    #[inline]
    fn open(
        &mut self,
        request: &PreparedRequest,
        body: &[u8],
        pending_body: BodyLength,
    ) -> Result<StreamKey, Error> {
        let ends = body.is_empty() && pending_body == BodyLength::None;
        let (position, opened) = self.link.open(&self.block.bytes, kind_of(request), ends);
        let stream = opened.map_err(|error| match error {
            OpenError::Full => RequestError::Busy,
            OpenError::Closing => RequestError::NotReusable,
        })?;
        if self.requests.len() <= stream.index() {
            self.requests.resize(stream.index() + 1, Request::FREE);
        }
        self.requests[stream.index()] = Request { stream: Some(stream), position, ..Request::FREE };
        self.in_flight += 1;
        self.unnoted.push_back(stream);
        if pending_body != BodyLength::None {
            self.pending_body = Some((stream, pending_body));
        } else if !body.is_empty() {
            self.link.send_data(stream, Content::from(body), true);
        }
        Ok(stream)
    }

    /// Polls until a request has ended, and drops the bodies of responses.
    // Inlined, it would make the callers' path for HTTP/1.1 slower.
    #[inline(never)]
    pub(in crate::conn) fn poll_completion(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Completion, Error>> {
        self.poll_completion_with(context, &mut ())
    }

    /// Does the same, and shows the responses to `observer`.
    #[inline]
    pub(in crate::conn) fn poll_completion_with(
        &mut self,
        context: &mut Context<'_>,
        observer: &mut impl Observe,
    ) -> Poll<Result<Completion, Error>> {
        if let Some(current) = self.current.take() {
            self.link.codec.release(current.stream, current.lent_size);
            if current.has_ended {
                let exchange = CompletedExchange {
                    status: current.status,
                    timing: current.timing,
                    end_ns: self.link.turn_time_ns(),
                };
                return Poll::Ready(Ok(Completion { id: id_of(current.stream), result: Ok(exchange) }));
            }
        }
        if let Some(completion) = self.take_held() {
            return Poll::Ready(Ok(completion));
        }
        loop {
            let event = match self.link.decode() {
                Ok(event) => event,
                Err(error) => return self.fail(error, context),
            };
            // Straight to its request, without a `Happened` in between: this runs twice for a typical response.
            let (stream, ends) = match event {
                Event::Head { stream, ends } => {
                    self.note_head(stream);
                    observer.head(id_of(stream), ResponseHead::new(self.link.codec.fields()).into());
                    (stream, ends)
                }
                Event::Data { stream, data, ends } => {
                    observer.data(id_of(stream), data);
                    let size = data.len();
                    self.link.codec.release(stream, size);
                    (stream, ends)
                }
                Event::Trailers { stream } => (stream, true),
                Event::NeedMore => {
                    ready!(self.poll_receive(context))?;
                    continue;
                }
                Event::Reset { stream, reset } => {
                    self.stop_sending_on(stream);
                    if self.forget(stream).is_none() {
                        continue;
                    }
                    let result = Err(Error::Stream(reset));
                    return Poll::Ready(Ok(Completion { id: id_of(stream), result }));
                }
                Event::Informational { stream } => {
                    self.note_begun(stream);
                    continue;
                }
                Event::GoAway { code, .. } => {
                    self.go_away = Some(code);
                    continue;
                }
                Event::SendOpened | Event::Pong { .. } | Event::HeadTooLarge { .. } => continue,
            };
            if ends && let Some(request) = self.forget(stream) {
                let timing = self.timing_of(&request);
                let end_ns = self.link.turn_time_ns();
                let exchange = CompletedExchange { status: request.status, timing, end_ns };
                return Poll::Ready(Ok(Completion { id: id_of(stream), result: Ok(exchange) }));
            }
        }
    }

    /// What was found while a body was sent, if it ends a request. The rest is dropped.
    #[inline]
    fn take_held(&mut self) -> Option<Completion> {
        if self.held.is_none() { None } else { self.complete_held() }
    }

    #[cold]
    fn complete_held(&mut self) -> Option<Completion> {
        let (stream, ends) = match self.held.take()? {
            Happened::Head(stream, ends) => (stream, ends),
            Happened::Data(stream, size, ends) => {
                self.link.codec.release(stream, size);
                (stream, ends)
            }
            Happened::Trailers(stream) => (stream, true),
            Happened::Reset(stream, reset) => {
                self.forget(stream)?;
                return Some(Completion { id: id_of(stream), result: Err(Error::Stream(reset)) });
            }
            Happened::Nothing => return None,
        };
        let request = if ends { self.forget(stream)? } else { return None };
        let exchange = CompletedExchange {
            status: request.status,
            timing: self.timing_of(&request),
            end_ns: self.link.turn_time_ns(),
        };
        Some(Completion { id: id_of(stream), result: Ok(exchange) })
    }

    /// Ends a request before its response. Returns false if it is not in flight.
    pub(in crate::conn) fn cancel(&mut self, id: RequestId) -> bool {
        let stream = StreamKey { index: id.slot, id: id.number };
        let was_in_flight = self.forget(stream).is_some();
        if was_in_flight {
            self.stop_sending_on(stream);
            self.link.codec.reset(stream, ErrorCode::CANCEL);
            if let Some(current) = self.current.take_if(|current| current.stream == stream) {
                self.link.codec.release(stream, current.lent_size);
            }
        }
        was_in_flight
    }

    /// Returns when a request was submitted to the kernel; `None` if no byte of it was.
    #[inline]
    pub(in crate::conn) fn sent_ns(&self, id: RequestId) -> Option<u64> {
        self.sent_ns_of(self.request(id)?)
    }

    #[inline]
    pub(in crate::conn) fn is_in_flight(&self, id: RequestId) -> bool {
        self.request(id).is_some()
    }

    pub(in crate::conn) fn has_begun(&self, id: RequestId) -> bool {
        self.request(id).is_some_and(|request| request.first_byte_ns > 0)
    }

    #[inline]
    fn request(&self, id: RequestId) -> Option<&Request> {
        let stream = StreamKey { index: id.slot, id: id.number };
        self.requests.get(stream.index()).filter(|request| request.stream == Some(stream))
    }

    pub(in crate::conn) fn in_flight_sent_ns(&self) -> impl Iterator<Item = (RequestId, Option<u64>)> {
        let mut in_flight: Vec<_> =
            self.requests.iter().filter_map(|request| Some((request.stream?, request))).collect();
        in_flight.sort_unstable_by_key(|(stream, _)| stream.id);
        in_flight.into_iter().map(|(stream, request)| (id_of(stream), self.sent_ns_of(request)))
    }

    /// Stops sending, and waits until the kernel has released the send in flight.
    pub(in crate::conn) async fn stop_sending(&mut self) {
        self.link.stop_sending().await;
    }

    /// Closes the connection after `stop_sending`, and returns what was sent.
    pub(in crate::conn) fn into_aborted(mut self, closing_max: usize) -> Aborted {
        let sent_ns: Vec<_> = self.in_flight_sent_ns().collect();
        let last = sent_ns.iter().rev().find(|(_, sent_ns)| sent_ns.is_some());
        let position = last.map(|(id, _)| self.requests[id.slot as usize].position);
        let transport = self.link.transport();
        let offset = position.and_then(|position| transport.offset_in_last_send(position));
        let cut_size =
            transport.failed_send_size().zip(offset).map(|(taken, offset)| taken - offset as usize);
        if self.in_flight > 0 && self.link.shutdown_sending() {
            self.link.into_transport().close_after_peer(closing_max);
        }
        Aborted { sent_ns, cut_size }
    }

    #[inline]
    pub(in crate::conn) fn sent_size(&self) -> u64 {
        self.link.transport().sent_size()
    }

    #[inline]
    pub(in crate::conn) fn received_size(&self) -> u64 {
        self.link.received_size()
    }

    pub(in crate::conn) fn unread(&self) -> &[u8] {
        self.link.unread()
    }

    pub(in crate::conn) fn close_after_peer(self, count_max: usize) {
        self.link.into_transport().close_after_peer(count_max);
    }

    #[inline]
    pub(in crate::conn) fn in_flight(&self) -> usize {
        self.in_flight
    }

    #[inline]
    pub(in crate::conn) fn is_full(&self) -> bool {
        self.link.codec.opens_now_max() == 0
    }

    /// Returns how many requests may be started now.
    #[inline]
    pub(in crate::conn) fn free_places(&self) -> usize {
        if self.is_over || self.link.has_ended() { 0 } else { self.link.codec.opens_now_max() as usize }
    }

    /// Returns whether another request may be started, now or when there is room.
    #[inline]
    pub(in crate::conn) fn is_reusable(&self) -> bool {
        !self.is_over && !self.link.codec.is_closing() && !self.link.has_ended()
    }

    /// Returns how many requests the peer takes at once, if it has said so.
    pub(in crate::conn) fn streams_max(&self) -> Option<u32> {
        self.link.codec.peer_settings().streams_max
    }

    /// Returns the code of the GOAWAY that the peer has sent.
    pub(in crate::conn) fn go_away(&self) -> Option<ErrorCode> {
        self.go_away
    }

    /// Takes the stream of bytes out of the connection, as it is on the wire.
    pub(in crate::conn) fn into_stream(self) -> Stream {
        self.link.into_stream()
    }

    pub(in crate::conn) fn peer_address(&self) -> io::Result<Address> {
        self.link.peer_address()
    }

    pub(in crate::conn) fn tcp_queues(&self) -> io::Result<TcpQueues> {
        self.link.tcp_queues()
    }

    pub(in crate::conn) fn turn_time_ns(&self) -> u64 {
        self.link.turn_time_ns()
    }

    /// Decodes what has arrived, and receives more. When it has to wait, it sends what waits to be sent.
    #[inline]
    fn poll_happened(&mut self, context: &mut Context<'_>) -> Poll<Result<Happened, Error>> {
        if let Some(happened) = self.held.take() {
            return Poll::Ready(Ok(happened));
        }
        loop {
            let event = match self.link.decode() {
                Ok(event) => event,
                Err(error) => return self.fail(error, context),
            };
            return Poll::Ready(Ok(match event {
                Event::Head { stream, ends } => {
                    self.note_head(stream);
                    Happened::Head(stream, ends)
                }
                Event::Informational { stream } => {
                    self.note_begun(stream);
                    Happened::Nothing
                }
                Event::Data { stream, data, ends } => Happened::Data(stream, data.len(), ends),
                Event::Trailers { stream } => Happened::Trailers(stream),
                Event::Reset { stream, reset } => {
                    self.stop_sending_on(stream);
                    Happened::Reset(stream, reset)
                }
                Event::GoAway { code, .. } => {
                    self.go_away = Some(code);
                    Happened::Nothing
                }
                Event::SendOpened | Event::Pong { .. } | Event::HeadTooLarge { .. } => Happened::Nothing,
                Event::NeedMore => {
                    ready!(self.poll_receive(context))?;
                    continue;
                }
            }));
        }
    }

    /// Receives more. When it has to wait, it sends what waits to be sent. The end of the stream is an error.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.link.poll_receive(context) {
            Poll::Ready(Ok(true)) => {
                self.note_sent_times();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(false)) => {
                self.is_over = true;
                Poll::Ready(Err(match self.link.end_of_stream() {
                    Ok(()) => Error::Closed,
                    Err(error) => Error::Protocol(ProtocolError::H2(error)),
                }))
            }
            Poll::Ready(Err(error)) => {
                self.is_over = true;
                Poll::Ready(Err(Error::of_stream(error)))
            }
            Poll::Pending => {
                // Even if the peer cannot be sent to, it may have responded. The receive reports that, or the end.
                let _ = self.poll_flush(context);
                if self.in_flight > 0 {
                    self.link.expect_more();
                }
                Poll::Pending
            }
        }
    }

    /// Drops what is to be sent on a stream that was reset.
    #[cold]
    fn stop_sending_on(&mut self, stream: StreamKey) {
        self.link.drop_queued(stream);
        if self.pending_body.is_some_and(|(pending, _)| pending == stream) {
            self.pending_body = None;
        }
    }

    /// Tells the peer why the connection cannot go on, as far as the socket takes it at once.
    #[cold]
    fn fail<T>(&mut self, error: h2::Error, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        self.is_over = true;
        let _ = self.poll_flush(context);
        Poll::Ready(Err(Error::Protocol(ProtocolError::H2(error))))
    }

    #[inline]
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.note_sent_times();
        self.link.poll_flush(context, |_| ()).map_err(Error::of_stream)
    }

    #[inline]
    fn request_mut(&mut self, stream: StreamKey) -> Option<&mut Request> {
        request_mut(&mut self.requests, stream)
    }

    /// Removes a request that is over.
    #[inline]
    fn forget(&mut self, stream: StreamKey) -> Option<Request> {
        let request = request_mut(&mut self.requests, stream)?;
        let request = std::mem::replace(request, Request::FREE);
        self.in_flight -= 1;
        Some(request)
    }
}

impl Request {
    const FREE: Self =
        Self { stream: None, position: 0, sent_ns: 0, first_byte_ns: 0, status: StatusCode::OK };
}

#[inline]
fn request_mut(requests: &mut [Request], stream: StreamKey) -> Option<&mut Request> {
    requests.get_mut(stream.index()).filter(|request| request.stream == Some(stream))
}

#[inline]
fn id_of(stream: StreamKey) -> RequestId {
    RequestId { slot: stream.index, number: stream.id }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("in_flight", &self.in_flight)
            .field("reusable", &self.is_reusable())
            .finish_non_exhaustive()
    }
}
