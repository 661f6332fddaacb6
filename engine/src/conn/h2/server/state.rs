//! The state of a connection and of its streams: how they begin and end.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

use super::request::Request;
use super::wakes::Wakes;
use crate::conn::h2::answers::Answers;
use crate::conn::h2::link::Link;
use crate::conn::piece::Piece;
use crate::error::Error;
use crate::proto::h2::{
    self, Codec, ErrorCode, Event, FieldList, MethodKind, Options, Role, StreamKey, StreamReset,
};
use crate::stream::{Reader, Transport};

/// Up to this size of its fields the memory of a request is kept for another one.
const KEPT_FIELDS_SIZE_MAX: usize = 2 * 1024;

/// The payload of the PING whose answer shows that the peer has seen the first GOAWAY (RFC 9113 §6.8).
const DRAIN_PING: [u8; 8] = *b"draining";

pub(in crate::conn::h2) struct State {
    pub(super) link: Link,
    /// By the streams' index.
    pub(super) streams: Vec<Stream>,
    /// How many streams there are.
    pub(super) open: usize,
    /// Those of requests that are over, for the next ones.
    #[expect(clippy::vec_box, reason = "exchanges hold requests in their boxes, so that they stay small")]
    pub(super) spare: Vec<Box<Request>>,
    /// Streams that may have sent the end of their response.
    pub(super) sent: Vec<StreamKey>,
    pub(super) answers: Answers,
    pub(super) drain: Drain,
    pub(super) has_ended: bool,
    /// Bytes of bodies that wait in all streams.
    pub(super) unread_size: usize,
    /// Since when a frame or a header block has been arriving; `u64::MAX` if none is.
    pub(super) partial_ns: u64,
    /// When data of any stream last left its queue.
    pub(super) sent_ns: u64,
    /// Why streams are gone whose exchanges do not know it yet.
    pub(super) lost: Vec<(StreamKey, StreamReset)>,
}

/// The state of a stream beyond what the codec knows.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Stream {
    /// The stream; `None` if there is none at this index.
    pub(super) key: Option<StreamKey>,
    /// The handler's slot.
    pub(super) slot: Option<u32>,
    pub(super) is_head: bool,
    pub(super) owes_continue: bool,
    pub(super) answer: Answer,
    /// The whole request has arrived.
    pub(super) received: bool,
    /// What has arrived of the body and was not read.
    pub(super) unread: VecDeque<Piece>,
    /// Small pieces behind them.
    pub(super) tail: BytesMut,
    pub(super) trailers: Option<Box<FieldList>>,
    /// The rest of the request will not arrive.
    pub(super) is_cut: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// The request, once no exchange has it any more.
    pub(super) request: Option<Box<Request>>,
    pub(super) begun_ns: u64,
    /// When the peer last acted, or the handler last began to wait for it.
    pub(super) moved_ns: u64,
}

/// How much of a response there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    #[default]
    None,
    Begun,
    Whole,
}

/// How far the graceful end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    None,
    /// The peer has been told to open no more streams. Those that it has opened meanwhile are served.
    Announced,
    /// The peer knows which streams are served.
    Final,
}

/// Why nothing more can be read from a connection.
#[derive(Debug)]
pub(crate) enum NextError {
    Network,
    Protocol(h2::Error),
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

impl State {
    /// `input` are bytes that have been received already.
    pub(super) fn new(transport: Transport, input: Reader, options: &Options) -> Self {
        Self {
            link: Link::new(Codec::new(Role::Server, options), transport, input),
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
        }
    }

    /// Decodes what has arrived up to the next thing to do.
    #[inline]
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        wakes: &mut Wakes,
    ) -> Poll<Result<Next, NextError>> {
        loop {
            if self.has_ended {
                return Poll::Pending;
            }
            // A peer that does not read its responses gets no further ones. And the windows allow more than the worker can
            // hold, so that transfers are fast when nobody attacks.
            if self.link.is_overfull() || self.link.poll_relief(context).is_pending() {
                // A frame that nobody reads is not late.
                self.partial_ns = u64::MAX;
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
                        return Poll::Ready(Ok(Next::End));
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
                    return Poll::Ready(Ok(Next::Request(request)));
                }
                Event::Data { stream, data, ends } => {
                    let size = data.len();
                    self.receive(stream, size, ends, wakes);
                }
                Event::HeadTooLarge { stream } => {
                    let request = self.begin(stream, false);
                    self.give_back(request);
                    return Poll::Ready(Ok(Next::TooLarge(stream)));
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
                    return Poll::Ready(Ok(Next::Reset(stream, slot, Box::new(reset))));
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

    pub(super) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        wakes: &mut Wakes,
    ) -> Poll<io::Result<()>> {
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

    /// Returns the state of a stream, unless the stream is gone.
    #[inline]
    pub(super) fn stream_mut(&mut self, stream: StreamKey) -> Option<&mut Stream> {
        entry_mut(&mut self.streams, stream)
    }

    /// Returns why a stream is gone that an exchange still has.
    pub(super) fn why_lost(&self, stream: StreamKey) -> Error {
        let lost = self.lost.iter().find(|(lost, _)| *lost == stream);
        lost.map_or(Error::Closed, |(_, reset)| Error::Stream(reset.clone()))
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
    pub(super) fn lose(&mut self, stream: StreamKey, wakes: &mut Wakes) -> Option<u32> {
        let entry = entry_mut(&mut self.streams, stream)?;
        wakes.add(entry.reader.take());
        wakes.add(entry.writer.take());
        let slot = entry.slot.take();
        self.link.drop_queued(stream);
        self.remove(stream);
        slot
    }

    pub(super) fn remove(&mut self, stream: StreamKey) {
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
    pub(in crate::conn::h2) fn give_back(&mut self, mut request: Box<Request>) {
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
    pub(in crate::conn::h2) fn abandon(&mut self, request: Box<Request>, wakes: &mut Wakes) {
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

    /// Tells the peer to open no more streams.
    pub(super) fn announce_end(&mut self) {
        if self.drain == Drain::None {
            self.drain = Drain::Announced;
            self.link.codec.announce_close();
            self.link.codec.ping(DRAIN_PING);
        }
    }

    pub(super) fn drain_finally(&mut self) {
        if self.drain != Drain::Final {
            self.drain = Drain::Final;
            self.link.codec.go_away(ErrorCode::NO_ERROR);
        }
    }
}

#[inline]
pub(super) fn entry_mut(streams: &mut [Stream], stream: StreamKey) -> Option<&mut Stream> {
    streams.get_mut(stream.index()).filter(|entry| entry.key == Some(stream))
}

/// Returns the state of a stream whose response is not complete. The server completes that of a stream that took too long,
/// while its exchange may be with another task, to which the stream is gone then.
#[inline]
pub(super) fn unanswered_mut(streams: &mut [Stream], stream: StreamKey) -> Option<&mut Stream> {
    entry_mut(streams, stream).filter(|entry| entry.answer != Answer::Whole)
}
