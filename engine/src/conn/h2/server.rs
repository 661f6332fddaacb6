//! A server's HTTP/2 connection: the state that its task and its exchanges share.
//!
//! The task decodes and sends; handlers read requests and queue responses, at any time. What belongs to a request is in
//! memory that the next request uses again, so a request allocates nothing once the connection has seen as many at once.
//! There are no time limits here, only the times on which they depend: the server adds them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::StatusCode;
use ringtide_driver::Address;

use super::answers::{self, Answers};
use super::link::{COPIED_PIECE_SIZE_MAX, Link};
use crate::conn::content::Content;
use crate::conn::h1::DISCARD_SIZE_MAX;
use crate::conn::piece::Piece;
use crate::conn::response::{self, PreparedResponse};
use crate::error::{Error, ProtocolError};
use crate::proto::h1::{BodyLength, EncodeError};
use crate::proto::h2::{
    self, Codec, ErrorCode, Event, FieldList, MethodKind, Options, Role, StreamKey, StreamReset,
};
use crate::stream::{Reader, Transport};

/// Bytes of one response that wait in its stream's queue above which its handler waits.
const STREAM_QUEUED_SIZE_MAX: usize = 64 * 1024;

/// A stream's small pieces of a body are put together up to this size. Each by itself would cost more than its bytes.
const TAIL_SIZE_MAX: usize = 16 * 1024;

/// Up to this size of its fields the memory of a request is kept for another one.
const KEPT_FIELDS_SIZE_MAX: usize = 2 * 1024;

/// The payload of the PING whose answer shows that the peer has seen the first GOAWAY (RFC 9113 §6.8).
const DRAIN_PING: [u8; 8] = *b"draining";

/// What the task of a connection and its exchanges share.
pub(crate) struct Connection {
    pub(super) state: RefCell<State>,
    /// Of the connection's task.
    task: Waker,
    /// The task is being polled, and will see what its handlers do.
    is_polled: Cell<bool>,
}

pub(super) struct State {
    pub(super) link: Link,
    /// By the streams' index.
    streams: Vec<Stream>,
    /// How many streams there are.
    open: usize,
    /// Those of requests that are over, for the next ones.
    #[expect(clippy::vec_box, reason = "exchanges hold requests in their boxes, so that they stay small")]
    spare: Vec<Box<Request>>,
    /// Streams that may have sent the end of their response.
    sent: Vec<StreamKey>,
    answers: Answers,
    drain: Drain,
    has_ended: bool,
    /// Bytes of bodies that wait in all streams.
    unread_size: usize,
    /// Since when a frame or a header block has been arriving; `u64::MAX` if none is.
    partial_ns: u64,
    /// When data of any stream last left its queue.
    sent_ns: u64,
    /// Why streams are gone whose exchanges do not know it yet.
    lost: Vec<(StreamKey, StreamReset)>,
}

/// The state of a stream beyond what the codec knows.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Stream {
    /// The stream; `None` if there is none at this index.
    key: Option<StreamKey>,
    /// The handler's slot.
    slot: Option<u32>,
    is_head: bool,
    owes_continue: bool,
    pub(super) answer: Answer,
    /// The whole request has arrived.
    received: bool,
    /// What has arrived of the body and was not read.
    unread: VecDeque<Piece>,
    /// Small pieces behind them.
    tail: BytesMut,
    trailers: Option<Box<FieldList>>,
    /// The rest of the request will not arrive.
    is_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The request, once no exchange has it any more.
    request: Option<Box<Request>>,
    begun_ns: u64,
    /// When the peer last acted, or the handler last began to wait for it.
    moved_ns: u64,
}

/// How much of a response there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    #[default]
    None,
    Begun,
    Whole,
}

/// A request, as its exchange has it.
pub(crate) struct Request {
    pub(super) stream: StreamKey,
    pub(super) fields: FieldList,
    pub(super) content_length: Option<u64>,
    pub(super) has_body: bool,
    is_connect: bool,
    /// The piece of the body that the handler reads.
    pub(super) piece: Option<Piece>,
    /// Those that came after the body.
    pub(super) trailers: Option<Box<FieldList>>,
}

/// How far the graceful end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    None,
    /// The peer has been told to open no more streams. Those that it has opened meanwhile are served.
    Announced,
    /// The peer knows which streams are served.
    Final,
}

/// What a connection's task has to do next.
pub(crate) enum Next {
    /// Handle a request.
    Request(Box<Request>),
    /// Refuse a request whose head is too large.
    TooLarge(StreamKey),
    /// A stream is gone. Drop its handler, which is in this slot.
    Reset(StreamKey, Option<u32>, Box<StreamReset>),
    /// The peer sends nothing more.
    End,
}

/// A stream that took too long.
pub(crate) struct Late {
    pub(crate) stream: StreamKey,
    pub(crate) slot: Option<u32>,
    /// The status that says why; `None` if the peer is not there any more.
    pub(crate) status: Option<StatusCode>,
}

/// The time limits of a stream.
#[derive(Clone, Copy)]
pub(crate) struct StreamTimeouts {
    pub(crate) stall_ns: u64,
    pub(crate) request_ns: u64,
    /// After this time nobody waits for a response, unless its stream has moved since: when the peer ended its side, and the
    /// limit from then on.
    pub(crate) half_close: Option<(u64, u64)>,
}

impl Connection {
    /// `input` are bytes that have been received already.
    pub(crate) fn new(transport: Transport, input: Reader, options: &Options, task: Waker) -> Rc<Self> {
        let codec = Codec::new(Role::Server, options);
        Rc::new(Self {
            state: RefCell::new(State {
                link: Link::new(codec, transport, input),
                streams: Vec::new(),
                open: 0,
                spare: Vec::new(),
                sent: Vec::new(),
                answers: Answers::default(),
                drain: Drain::None,
                has_ended: false,
                unread_size: 0,
                partial_ns: u64::MAX,
                sent_ns: 0,
                lost: Vec::new(),
            }),
            task,
            is_polled: Cell::new(false),
        })
    }

    /// Notes that the task is polled, or no longer.
    pub(crate) fn set_polled(&self, is_polled: bool) {
        self.is_polled.set(is_polled);
    }

    /// Makes the task send what an exchange has queued.
    #[inline]
    pub(super) fn wake_task(&self) {
        if !self.is_polled.get() {
            self.task.wake_by_ref();
        }
    }

    /// Decodes what has arrived up to the next thing to do. Pending while the peer sends nothing, and while it takes
    /// nothing.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Result<Next, NextError>> {
        let mut wakes = Wakes::default();
        let next = self.state.borrow_mut().poll_next(context, &mut wakes);
        wakes.wake();
        match next {
            Poll::Ready(Ok(Found::Request(request))) => Poll::Ready(Ok(Next::Request(request))),
            Poll::Ready(Ok(Found::TooLarge(request))) => {
                let stream = request.stream;
                self.state.borrow_mut().give_back(request);
                Poll::Ready(Ok(Next::TooLarge(stream)))
            }
            Poll::Ready(Ok(Found::Reset(stream, slot, reset))) => {
                Poll::Ready(Ok(Next::Reset(stream, slot, reset)))
            }
            Poll::Ready(Ok(Found::End)) => Poll::Ready(Ok(Next::End)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Notes that the peer sends nothing more. Handlers that wait for the rest of their request learn it.
    pub(crate) fn end_input(&self) {
        let mut wakes = Wakes::default();
        let state = &mut *self.state.borrow_mut();
        state.has_ended = true;
        state.partial_ns = u64::MAX;
        for entry in state.streams.iter_mut().filter(|entry| entry.key.is_some() && !entry.received) {
            entry.is_cut = true;
            wakes.add(entry.reader.take());
        }
        wakes.wake();
    }

    /// Ends all streams and the connection. Exchanges that other tasks hold learn it.
    pub(crate) fn end(&self) {
        let mut wakes = Wakes::default();
        let state = &mut *self.state.borrow_mut();
        let streams: Vec<_> = state.streams.iter().filter_map(|entry| entry.key).collect();
        for stream in &streams {
            state.lose(*stream, &mut wakes);
        }
        if !streams.is_empty() {
            state.link.shutdown_now();
        }
        wakes.wake();
    }

    /// Returns since when a frame or a header block has been arriving; `u64::MAX` if none is.
    pub(crate) fn partial_ns(&self) -> u64 {
        self.state.borrow().partial_ns
    }

    /// Returns how often the peer did what a limit bounds.
    pub(crate) fn counters(&self) -> h2::Counters {
        self.state.borrow().link.codec.counters()
    }

    /// Sends what waits. Ready when the transport has nothing queued.
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wakes = Wakes::default();
        let flushed = self.state.borrow_mut().poll_flush(context, &mut wakes);
        wakes.wake();
        flushed
    }

    /// Returns whether the transport holds so much that no more requests should be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.state.borrow().link.is_overfull()
    }

    /// Returns how many streams there are.
    pub(crate) fn streams(&self) -> usize {
        self.state.borrow().open
    }

    /// Notes which slot has the handler of a stream.
    pub(crate) fn set_slot(&self, stream: StreamKey, slot: u32) {
        if let Some(entry) = self.state.borrow_mut().stream_mut(stream) {
            entry.slot = Some(slot);
        }
    }

    /// Notes that a handler has ended. Returns whether a complete response is there, or the stream is gone.
    pub(crate) fn end_handler(&self, stream: StreamKey) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Some(entry) = state.stream_mut(stream) else { return true };
        entry.slot = None;
        entry.answer == Answer::Whole
    }

    /// Returns whether the response on a stream has begun. True if the stream is gone.
    pub(crate) fn has_begun(&self, stream: StreamKey) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.stream_mut(stream).is_none_or(|entry| entry.answer != Answer::None)
    }

    /// Returns the error code with which a handler that failed ends a stream whose response has begun.
    pub(crate) fn reset(&self, stream: StreamKey, code: ErrorCode) {
        let mut wakes = Wakes::default();
        self.state.borrow_mut().reset(stream, code, &mut wakes);
        wakes.wake();
        self.wake_task();
    }

    /// Responds with a status and a line of text that contains the reason, unless a response has begun.
    pub(crate) fn fail(&self, stream: StreamKey, status: StatusCode, reason: &str) {
        let mut wakes = Wakes::default();
        self.state.borrow_mut().fail(stream, status, reason, &mut wakes);
        // Its exchange may be with another task.
        wakes.wake();
        self.wake_task();
    }

    /// Keeps a request that gets no exchange with its stream.
    pub(crate) fn keep_request(&self, request: Box<Request>) {
        if let Some(entry) = self.state.borrow_mut().stream_mut(request.stream) {
            entry.request = Some(request);
        }
    }

    /// Takes the request on a stream, if no exchange has it.
    pub(crate) fn take_request(&self, stream: StreamKey) -> Option<Box<Request>> {
        self.state.borrow_mut().stream_mut(stream)?.request.take()
    }

    /// Begins the graceful end: the peer is to open no more streams. It is told twice, because some may be under way
    /// (RFC 9113 §6.8).
    pub(crate) fn drain(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.drain == Drain::None {
            state.drain = Drain::Announced;
            state.link.codec.announce_close();
            state.link.codec.ping(DRAIN_PING);
        }
    }

    /// Tells the peer which streams are served: those that have begun.
    pub(crate) fn drain_finally(&self) {
        self.state.borrow_mut().drain_finally();
    }

    /// Returns whether the graceful end has come so far that no more requests can come.
    pub(crate) fn is_final(&self) -> bool {
        self.state.borrow().drain == Drain::Final
    }

    /// Returns whether the peer has not begun to speak HTTP/2 yet.
    pub(crate) fn awaits_preface(&self) -> bool {
        self.state.borrow().link.codec.awaits_preface()
    }

    /// Finds the streams that took too long. Returns when the next one will have.
    pub(crate) fn sweep(&self, timeouts: StreamTimeouts, late: &mut Vec<Late>) -> u64 {
        self.state.borrow().sweep(timeouts, late)
    }

    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.state.borrow().link.turn_time_ns()
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        self.state.borrow().link.peer_address()
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn tidy(&self) {
        let state = &mut *self.state.borrow_mut();
        state.link.tidy();
        if state.open == 0 {
            (state.streams, state.spare, state.sent) = Default::default();
        }
    }

    /// Sends what waits, and tells the peer that nothing follows.
    pub(crate) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().link.poll_shutdown(context)
    }

    /// Receives and drops what the peer still sends, up to a limit, until it closes.
    pub(crate) fn poll_linger(&self, discarded: &mut u64, context: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        while *discarded <= DISCARD_SIZE_MAX {
            match state.link.poll_discard(context) {
                Poll::Ready(Ok(Some(size))) => *discarded += size as u64,
                Poll::Ready(Ok(None) | Err(_)) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

/// Why nothing more can be read from a connection.
#[derive(Debug)]
pub(crate) enum NextError {
    Network,
    Protocol(h2::Error),
}

enum Found {
    Request(Box<Request>),
    TooLarge(Box<Request>),
    Reset(StreamKey, Option<u32>, Box<StreamReset>),
    End,
}

impl State {
    #[inline]
    fn poll_next(&mut self, context: &mut Context<'_>, wakes: &mut Wakes) -> Poll<Result<Found, NextError>> {
        loop {
            if self.has_ended {
                return Poll::Pending;
            }
            // A peer that does not read its responses gets no further ones. And the windows allow more than the worker can
            // hold, so that transfers are fast when nobody attacks.
            if self.link.is_overfull() || self.link.is_under_strain() {
                return Poll::Pending;
            }
            let event = match self.link.decode() {
                Ok(event) => event,
                Err(error) => {
                    // The codec has told the peer.
                    self.drain = Drain::Final;
                    return Poll::Ready(Err(NextError::Protocol(error)));
                }
            };
            if !matches!(event, Event::NeedMore) {
                self.partial_ns = u64::MAX;
            }
            match event {
                Event::NeedMore => match self.link.poll_receive(context) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => {
                        self.has_ended = true;
                        self.link.end_of_stream().map_err(NextError::Protocol)?;
                        return Poll::Ready(Ok(Found::End));
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(NextError::Network)),
                    Poll::Pending => {
                        if self.link.is_inside_frame() {
                            self.partial_ns = self.partial_ns.min(self.link.turn_time_ns());
                        } else {
                            self.partial_ns = u64::MAX;
                        }
                        return Poll::Pending;
                    }
                },
                Event::Head { stream, ends } => {
                    let request = self.begin(stream, ends);
                    return Poll::Ready(Ok(Found::Request(request)));
                }
                Event::Data { stream, data, ends } => {
                    let size = data.len();
                    self.receive(stream, size, ends, wakes);
                }
                Event::HeadTooLarge { stream } => {
                    let request = self.begin(stream, false);
                    return Poll::Ready(Ok(Found::TooLarge(request)));
                }
                Event::Trailers { stream } => {
                    let trailers = Box::new(self.link.codec.fields().clone());
                    if let Some(entry) = self.stream_mut(stream) {
                        entry.trailers = Some(trailers);
                    }
                    self.receive(stream, 0, true, wakes);
                }
                Event::Reset { stream, reset } => {
                    let Some(entry) = self.stream_mut(stream) else { continue };
                    // An exchange that another task holds asks for it.
                    if entry.request.is_none() && entry.answer != Answer::Whole {
                        self.lost.push((stream, reset.clone()));
                    }
                    let slot = self.lose(stream, wakes);
                    return Poll::Ready(Ok(Found::Reset(stream, slot, Box::new(reset))));
                }
                Event::Pong { payload } if payload == DRAIN_PING && self.drain == Drain::Announced => {
                    self.drain_finally();
                }
                Event::SendOpened
                | Event::GoAway { .. }
                | Event::Pong { .. }
                | Event::Informational { .. } => {}
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, wakes: &mut Wakes) -> Poll<io::Result<()>> {
        let now_ns = self.link.turn_time_ns();
        self.link.hold(self.unread_size);
        let streams = &mut self.streams;
        let sent = &mut self.sent;
        let sent_ns = &mut self.sent_ns;
        let flushed = self.link.poll_flush(context, |stream| {
            *sent_ns = now_ns;
            if let Some(entry) = entry_mut(streams, stream) {
                entry.moved_ns = now_ns;
                wakes.add(entry.writer.take());
                if entry.answer == Answer::Whole {
                    sent.push(stream);
                }
            }
        });
        while let Some(stream) = self.sent.pop() {
            self.settle_if_sent(stream);
        }
        flushed
    }

    /// Notes a new request.
    #[inline]
    fn begin(&mut self, stream: StreamKey, ends: bool) -> Box<Request> {
        let mut request = self.spare.pop().unwrap_or_else(|| Box::new(Request::new(stream)));
        let facts = self.link.codec.request_facts();
        let expects_continue = facts.is_some_and(|facts| facts.expects_continue);
        request.stream = stream;
        request.content_length = facts.and_then(|facts| facts.content_length);
        request.has_body = !ends;
        request.is_connect = facts
            .is_some_and(|facts| matches!(facts.method, MethodKind::Connect | MethodKind::ExtendedConnect));
        request.fields.copy_from(self.link.codec.fields());
        let index = stream.index();
        if index >= self.streams.len() {
            self.streams.resize_with(index + 1, Stream::default);
        }
        let now_ns = self.link.turn_time_ns();
        debug_assert_eq!(self.streams[index].key, None, "the last stream at this index is gone");
        if let Some(last) = self.streams[index].key {
            // Nothing of it must ever reach another request.
            self.remove(last);
        }
        let entry = &mut self.streams[index];
        entry.key = Some(stream);
        entry.is_head = facts.is_some_and(|facts| facts.method == MethodKind::Head);
        entry.owes_continue = expects_continue && !ends;
        entry.answer = Answer::None;
        entry.received = ends;
        entry.is_cut = false;
        (entry.begun_ns, entry.moved_ns) = (now_ns, now_ns);
        self.open += 1;
        request
    }

    /// Notes `size` bytes of a request's body, which are the data of the last event.
    fn receive(&mut self, stream: StreamKey, size: usize, ends: bool, wakes: &mut Wakes) {
        let now_ns = self.link.turn_time_ns();
        let Some(entry) = entry_mut(&mut self.streams, stream) else {
            // Nobody will read it.
            self.link.codec.release(stream, size);
            return;
        };
        if entry.answer == Answer::Whole {
            // Nor this, while the response waits for a window.
            entry.received |= ends;
            self.link.codec.release(stream, size);
            return;
        }
        entry.moved_ns = now_ns;
        entry.owes_continue = false;
        if size > 0 {
            self.unread_size += size;
            if size <= COPIED_PIECE_SIZE_MAX {
                if entry.tail.len() >= TAIL_SIZE_MAX {
                    entry.unread.push_back(Piece::copy(entry.tail.split().freeze()));
                }
                entry.tail.extend_from_slice(self.link.piece(self.link.data_range()));
            } else {
                if !entry.tail.is_empty() {
                    entry.unread.push_back(Piece::copy(entry.tail.split().freeze()));
                }
                entry.unread.push_back(self.link.take_data());
            }
        }
        entry.received |= ends;
        wakes.add(entry.reader.take());
    }

    /// Returns the state of a stream, unless the stream is gone.
    #[inline]
    pub(super) fn stream_mut(&mut self, stream: StreamKey) -> Option<&mut Stream> {
        entry_mut(&mut self.streams, stream)
    }

    /// Responds with a whole response. Does nothing if the stream is gone.
    #[inline]
    pub(super) fn respond(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        fields: &[(&str, &str)],
        body: Content<'_>,
    ) -> Result<(), EncodeError> {
        let size = body.as_bytes().len();
        let length = response::length_of(status, size)?;
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else { return Ok(()) };
        let ends = size == 0 || entry.is_head;
        self.answers.send_head(&mut self.link, stream, (status, fields, length), ends)?;
        self.send_whole(stream, body, ends);
        Ok(())
    }

    /// Responds with a response that was encoded before. Does nothing if the stream is gone.
    #[inline]
    pub(super) fn respond_with(&mut self, stream: StreamKey, response: &PreparedResponse) {
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else { return };
        let ends = response.body().is_empty() || entry.is_head;
        self.answers.send_prepared_head(&mut self.link, stream, response, ends);
        self.send_whole(stream, response.body().into(), ends);
    }

    fn fail(&mut self, stream: StreamKey, status: StatusCode, reason: &str, wakes: &mut Wakes) {
        let Some(entry) = self.stream_mut(stream) else { return };
        if entry.answer != Answer::None {
            return;
        }
        wakes.add(entry.reader.take());
        let responded = if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            // Nobody knows whether its method is HEAD.
            self.respond(stream, status, &[], Content::from(&[]))
        } else {
            let body = format!("{status}: {reason}\n");
            let fields = [("content-type", "text/plain; charset=utf-8")];
            self.respond(stream, status, &fields, body.into())
        };
        responded.expect("constants are valid");
    }

    /// Begins a response. Returns whether its body is to be sent: not after HEAD, or if the stream is gone.
    pub(super) fn begin_response(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<bool, EncodeError> {
        // It is never an error to begin a response that nobody waits for.
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else { return Ok(true) };
        let has_body = !entry.is_head;
        let length = length.map_or(BodyLength::UntilClose, BodyLength::Length);
        // The stream does not end here, even without a body: it would be over, and its handler still be running.
        self.answers.send_head(&mut self.link, stream, (status, fields, length), false)?;
        entry.answer = Answer::Begun;
        Ok(has_body)
    }

    /// Sends a part of a response that was begun.
    #[inline]
    pub(super) fn send_part(&mut self, stream: StreamKey, data: Content<'_>) {
        if unanswered_mut(&mut self.streams, stream).is_some() {
            self.link.send_data(stream, data, false);
        }
    }

    /// Ends a response that was begun.
    pub(super) fn end_response(&mut self, stream: StreamKey) {
        if unanswered_mut(&mut self.streams, stream).is_some() {
            self.send_whole(stream, Content::from(&[]), false);
        }
    }

    #[inline]
    fn send_whole(&mut self, stream: StreamKey, body: Content<'_>, ended: bool) {
        if !ended {
            self.link.send_data(stream, body, true);
        }
        if let Some(entry) = self.stream_mut(stream) {
            entry.answer = Answer::Whole;
        }
        self.drop_unread(stream);
        self.settle_if_sent(stream);
    }

    /// Polls for the next piece of a request's body. `None` at its end, and an error if the stream is gone.
    pub(super) fn poll_piece(
        &mut self,
        stream: StreamKey,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piece>, Error>> {
        let now_ns = self.link.turn_time_ns();
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else {
            return Poll::Ready(Err(self.why_lost(stream)));
        };
        let piece = match entry.unread.pop_front() {
            None if !entry.tail.is_empty() => Some(Piece::copy(mem::take(&mut entry.tail).freeze())),
            piece => piece,
        };
        if let Some(piece) = piece {
            self.unread_size -= piece.len();
            // The handler reads it now.
            self.link.codec.release(stream, piece.len());
            return Poll::Ready(Ok(Some(piece)));
        }
        if entry.received {
            return Poll::Ready(Ok(None));
        }
        if entry.is_cut {
            return Poll::Ready(Err(Error::Protocol(ProtocolError::H2(h2::Error::Incomplete))));
        }
        if entry.reader.is_none() {
            entry.moved_ns = now_ns;
        }
        wait_at(&mut entry.reader, context);
        // RFC 9110 §10.1.1: not after the final response has begun, nor once the body has started to arrive.
        if mem::take(&mut entry.owes_continue) && entry.answer == Answer::None {
            self.answers.send_continue(&mut self.link, stream);
        }
        Poll::Pending
    }

    /// Polls for room in the queue of a stream.
    pub(super) fn poll_room(
        &mut self,
        stream: StreamKey,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let now_ns = self.link.turn_time_ns();
        let queued_size = self.link.queued_size(stream);
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else {
            return Poll::Ready(Err(self.why_lost(stream)));
        };
        if queued_size < STREAM_QUEUED_SIZE_MAX {
            return Poll::Ready(Ok(()));
        }
        if entry.writer.is_none() {
            entry.moved_ns = now_ns;
        }
        wait_at(&mut entry.writer, context);
        Poll::Pending
    }

    /// Returns why a stream is gone that an exchange still has.
    fn why_lost(&self, stream: StreamKey) -> Error {
        let lost = self.lost.iter().find(|(lost, _)| *lost == stream);
        lost.map_or(Error::Closed, |(_, reset)| Error::Stream(reset.clone()))
    }

    /// Takes the trailers of a request.
    pub(super) fn take_trailers(&mut self, stream: StreamKey) -> Option<Box<FieldList>> {
        self.stream_mut(stream)?.trailers.take()
    }

    /// Ends a response that was begun with trailers.
    pub(super) fn end_response_with(
        &mut self,
        stream: StreamKey,
        has_body: bool,
        trailers: &[(&str, &str)],
    ) -> Result<(), EncodeError> {
        let block = answers::encode_trailers(trailers)?;
        if block.is_empty() || !has_body {
            self.end_response(stream);
        } else if unanswered_mut(&mut self.streams, stream).is_some() {
            self.link.send_trailers(stream, block);
            self.send_whole(stream, Content::from(&[]), true);
        }
        Ok(())
    }

    /// Ends a stream, if its response is complete and has been sent: the rest of the request is not wanted.
    pub(super) fn settle_if_sent(&mut self, stream: StreamKey) {
        let Some(entry) = entry_mut(&mut self.streams, stream) else { return };
        if entry.answer != Answer::Whole || self.link.has_queued(stream) {
            return;
        }
        if !entry.received {
            // RFC 9113 §8.1: after a complete response, this asks the peer to stop without an error.
            self.link.codec.reset(stream, ErrorCode::NO_ERROR);
        }
        self.remove(stream);
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self, stream: StreamKey, code: ErrorCode, wakes: &mut Wakes) {
        if self.stream_mut(stream).is_some() {
            self.link.codec.reset(stream, code);
            self.lose(stream, wakes);
        }
    }

    /// Removes a stream that was reset. Returns the slot of its handler.
    fn lose(&mut self, stream: StreamKey, wakes: &mut Wakes) -> Option<u32> {
        let entry = entry_mut(&mut self.streams, stream)?;
        wakes.add(entry.reader.take());
        wakes.add(entry.writer.take());
        let slot = entry.slot.take();
        self.link.drop_queued(stream);
        self.remove(stream);
        slot
    }

    /// Drops what has arrived of a request's body and was not read.
    #[inline]
    fn drop_unread(&mut self, stream: StreamKey) {
        let Some(entry) = entry_mut(&mut self.streams, stream) else { return };
        // Few requests have a body, and few bodies are left.
        if !entry.tail.is_empty() || !entry.unread.is_empty() {
            let mut unread = mem::take(&mut entry.tail).len();
            unread += entry.unread.drain(..).map(|piece| piece.len()).sum::<usize>();
            self.unread_size -= unread;
            self.link.codec.release(stream, unread);
        }
    }

    fn remove(&mut self, stream: StreamKey) {
        let Some(entry) = entry_mut(&mut self.streams, stream) else { return };
        entry.slot = None;
        (entry.reader, entry.writer) = (None, None);
        if entry.trailers.is_some() {
            entry.trailers = None;
        }
        let request = entry.request.take();
        self.drop_unread(stream);
        self.streams[stream.index()].key = None;
        self.open -= 1;
        if let Some(request) = request {
            self.give_back(request);
        }
    }

    /// Keeps the memory of a request that is over.
    #[inline]
    pub(super) fn give_back(&mut self, mut request: Box<Request>) {
        if !self.lost.is_empty() {
            self.lost.retain(|(stream, _)| *stream != request.stream);
        }
        // One with many fields would keep much memory.
        if request.fields.size() <= KEPT_FIELDS_SIZE_MAX {
            if request.has_body {
                (request.piece, request.trailers) = (None, None);
            }
            self.spare.push(request);
        }
    }

    /// Takes back the request of an exchange that was dropped. Without a response, its stream ends.
    pub(super) fn abandon(&mut self, request: Box<Request>, wakes: &mut Wakes) {
        let stream = request.stream;
        match entry_mut(&mut self.streams, stream) {
            // The server reports the failure of its handler, and responds.
            Some(entry) if entry.slot.is_some() => entry.request = Some(request),
            Some(entry) => {
                let is_over = entry.answer == Answer::Whole;
                self.give_back(request);
                if !is_over {
                    self.reset(stream, ErrorCode::INTERNAL_ERROR, wakes);
                }
            }
            None => self.give_back(request),
        }
    }

    fn drain_finally(&mut self) {
        if self.drain != Drain::Final {
            self.drain = Drain::Final;
            self.link.codec.go_away(ErrorCode::NO_ERROR);
        }
    }

    fn sweep(&self, timeouts: StreamTimeouts, late: &mut Vec<Late>) -> u64 {
        let now_ns = self.link.turn_time_ns();
        let mut next_ns = u64::MAX;
        for entry in &self.streams {
            let Some(stream) = entry.key else { continue };
            let has_queued = self.link.has_queued(stream);
            let waits = entry.reader.is_some() || entry.writer.is_some() || has_queued;
            // While others go first, the wait is not the peer's fault, unless it keeps the window of this stream shut.
            let takes_turns = has_queued && self.link.codec.has_window(stream);
            let moved_ns = if takes_turns { entry.moved_ns.max(self.sent_ns) } else { entry.moved_ns };
            let stall_ns = if waits { moved_ns.saturating_add(timeouts.stall_ns) } else { u64::MAX };
            let request_ns = if entry.received && entry.answer != Answer::None {
                u64::MAX
            } else {
                entry.begun_ns.saturating_add(timeouts.request_ns)
            };
            let gone_ns = match timeouts.half_close {
                Some((ended_ns, limit_ns)) if !waits => ended_ns.max(entry.moved_ns).saturating_add(limit_ns),
                _ => u64::MAX,
            };
            let deadline_ns = stall_ns.min(request_ns).min(gone_ns);
            if deadline_ns > now_ns {
                // A handler may begin to wait at any time.
                next_ns = next_ns.min(deadline_ns).min(now_ns.saturating_add(timeouts.stall_ns));
                continue;
            }
            let status = if gone_ns == deadline_ns {
                None
            } else if entry.received {
                Some(StatusCode::SERVICE_UNAVAILABLE)
            } else {
                Some(StatusCode::REQUEST_TIMEOUT)
            };
            late.push(Late { stream, slot: entry.slot, status });
        }
        next_ns
    }
}

impl Request {
    /// Returns the stream.
    pub(crate) fn stream(&self) -> StreamKey {
        self.stream
    }

    /// Returns whether its method is CONNECT.
    #[inline]
    pub(crate) fn is_connect(&self) -> bool {
        self.is_connect
    }

    /// Returns its head.
    pub(crate) fn head(&self) -> h2::RequestHead<'_> {
        h2::RequestHead::new(&self.fields)
    }

    fn new(stream: StreamKey) -> Self {
        Self {
            stream,
            // What it takes over has been checked.
            fields: FieldList::new(u32::MAX, u32::MAX),
            content_length: None,
            has_body: false,
            is_connect: false,
            piece: None,
            trailers: None,
        }
    }
}

#[inline]
fn entry_mut(streams: &mut [Stream], stream: StreamKey) -> Option<&mut Stream> {
    streams.get_mut(stream.index()).filter(|entry| entry.key == Some(stream))
}

/// Returns the state of a stream whose response is not complete. The server completes that of a stream that took too long,
/// while its exchange may be with another task, to which the stream is gone then.
#[inline]
fn unanswered_mut(streams: &mut [Stream], stream: StreamKey) -> Option<&mut Stream> {
    entry_mut(streams, stream).filter(|entry| entry.answer != Answer::Whole)
}

fn wait_at(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

/// Wakers to wake when the state is no longer borrowed: they may run foreign code.
#[derive(Default)]
pub(super) struct Wakes {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakes {
    #[inline]
    pub(super) fn add(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            match &self.first {
                None => self.first = Some(waker),
                Some(_) => self.others.push(waker),
            }
        }
    }

    #[inline]
    pub(super) fn wake(self) {
        if self.first.is_some() {
            self.wake_all();
        }
    }

    #[inline(never)]
    fn wake_all(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}
