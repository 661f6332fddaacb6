//! What the two sides of an HTTP/2 connection share: a codec between a transport and the bodies of many streams.
//!
//! Received bytes are decoded where they lie. What is sent is collected in one buffer: frames of the codec, heads, and
//! the data of the streams in turn. Data leaves its stream's queue only while the buffer is short, so a peer that does
//! not read stops all streams, and a stream without a window stops only itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use ringtide_driver::{Address, TcpQueues};

use crate::conn::content::Content;
use crate::conn::piece::Piece;
use crate::error::is_cut;
use crate::limits::{BULK_SEND_SIZE_MAX, STRAINED_RECEIVE_SIZE_MAX};
use crate::proto::h2::{Codec, Error, Event, FRAME_HEADER_SIZE, OpenError, RequestKind, StreamKey};
use crate::stream::{Reader, Stream, Transport};

/// Bytes that wait in the transport above which a piece of a body takes its turn in its stream's queue, even if it could leave at
/// once. A client also lets the body of a request wait above this size.
pub(in crate::conn) const QUEUED_SIZE_MAX: usize = 64 * 1024;

/// Bytes that wait in the transport above which a server takes no more requests. Data of the streams alone does not reach it:
/// while large bodies leave, resets, windows and further requests have to be read.
const QUEUED_ANSWERS_SIZE_MAX: usize = BULK_SEND_SIZE_MAX + QUEUED_SIZE_MAX;

/// Bytes of the codec's own frames that wait in the transport above which nothing more is received. Most of them answer
/// frames of the peer, so a peer that sends such frames and takes no answers would make them grow. Data and heads do not
/// count: two sides that both stop reading while they send would wait for each other.
const ANSWERS_SIZE_MAX: usize = 64 * 1024;

/// Received data up to this size is copied. A smaller piece would keep a whole receive buffer from the kernel.
pub(super) const COPIED_PIECE_SIZE_MAX: usize = 2 * 1024;

/// Content up to this size is copied when it is queued, and a part of a piece when it leaves. A send refers to larger parts in
/// their own memory.
const COPIED_CONTENT_SIZE_MAX: usize = 4 * 1024;

/// Bytes of one stream that are sent before it is another's turn. The peer may allow larger frames, but the others would wait
/// for them.
const TURN_SIZE_MAX: usize = 16 * 1024;

pub(in crate::conn) struct Link {
    pub(in crate::conn) codec: Codec,
    transport: Transport,
    input: Reader,
    /// Bytes of the input that the last event covers. They are consumed when the next event is decoded.
    covered: usize,
    /// The data of the last event, counted from the first byte that has not been consumed.
    data: Range<usize>,
    /// By the streams' index.
    bodies: Vec<Body>,
    /// The streams that have data to send, in turn.
    turn: VecDeque<StreamKey>,
    answers: Answers,
    received_size: u64,
    /// What was reported to the transport as held.
    held_size: u32,
}

/// Counts the bytes of the codec's own frames that wait in the transport: those in the part before the mark, and those
/// behind it.
#[derive(Default)]
struct Answers {
    before: usize,
    behind: usize,
    mark: u64,
}

/// What waits to be sent on a stream.
#[derive(Default)]
struct Body {
    /// The stream; `None` if there is none at this index.
    stream: Option<StreamKey>,
    pieces: VecDeque<Bytes>,
    /// Small pieces behind them. They leave in common frames.
    tail: BytesMut,
    /// The size of all of them.
    size: usize,
    /// The stream ends after these pieces.
    ends: bool,
    /// The header block that ends the stream.
    trailers: Option<Vec<u8>>,
    /// The stream is in the list of those that take turns.
    is_listed: bool,
}

impl Link {
    /// `input` are bytes that have been received already.
    pub(in crate::conn) fn new(codec: Codec, transport: Transport, input: Reader) -> Self {
        let mut link = Self {
            codec,
            transport,
            input,
            covered: 0,
            data: 0..0,
            bodies: Vec::new(),
            turn: VecDeque::new(),
            answers: Answers::default(),
            received_size: 0,
            held_size: 0,
        };
        link.take_output();
        link
    }

    /// Decodes the next event.
    #[inline]
    pub(in crate::conn) fn decode(&mut self) -> Result<Event<'_>, Error> {
        self.input.consume(mem::take(&mut self.covered));
        let bytes = self.input.bytes();
        let (consumed, event) = self.codec.decode(bytes)?;
        self.covered = consumed;
        if let Event::Data { data, .. } = event {
            let start = data.as_ptr().addr() - bytes.as_ptr().addr();
            self.data = start..start + data.len();
        }
        Ok(event)
    }

    /// Takes the data of the event that was just decoded.
    pub(in crate::conn) fn take_data(&mut self) -> Piece {
        let range = mem::take(&mut self.data);
        if range.len() > COPIED_PIECE_SIZE_MAX {
            let position = self.input.position();
            let place = position + range.start..position + range.end;
            if let Some(lease) = self.input.take(&place) {
                self.covered -= range.end;
                return Piece::leased(lease);
            }
        }
        Piece::copied(&self.input.bytes()[range])
    }

    /// Returns whether the peer may end the stream of bytes here.
    pub(in crate::conn) fn end_of_stream(&self) -> Result<(), Error> {
        self.codec.end_of_stream(self.input.bytes().len() - self.covered)
    }

    /// Receives more, after all that was received has been decoded. Returns false at the end of the stream. Pending also
    /// while the peer does not take the answers to what it has sent.
    #[inline]
    pub(in crate::conn) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.input.consume(mem::take(&mut self.covered));
        self.input.release();
        self.take_output();
        while self.answers.before + self.answers.behind > ANSWERS_SIZE_MAX && self.are_answers_waiting() {
            ready!(self.transport.poll_sent(context))?;
            self.transport.start_bulk()?;
        }
        match ready!(self.transport.poll_receive(context)) {
            Ok(Some(lease)) => {
                self.received_size += lease.len() as u64;
                self.codec.set_time_ns(self.transport.turn_time_ns());
                self.input.extend(lease);
                Poll::Ready(Ok(true))
            }
            Ok(None) => Poll::Ready(Ok(false)),
            // Frames say how long they are, so nothing can be missing unnoticed (RFC 9112 §9.8).
            Err(error) if is_cut(&error) => Poll::Ready(Ok(false)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Opens a stream with the header block of a request. Returns also the position of its first byte in what is sent.
    #[inline]
    pub(in crate::conn) fn open(
        &mut self,
        block: &[u8],
        kind: RequestKind,
        ends: bool,
    ) -> (u64, Result<StreamKey, OpenError>) {
        self.take_output();
        let codec = &mut self.codec;
        let position = self.transport.end();
        (position, self.transport.write(|out| codec.open(block, kind, ends, out)))
    }

    /// Sends a header block. `ends` the stream's sending side.
    #[inline]
    pub(in crate::conn) fn send_head(&mut self, stream: StreamKey, block: &[u8], ends: bool) {
        self.take_output();
        let codec = &mut self.codec;
        // A block that was encoded and not sent would leave the peer's table behind.
        debug_assert!(codec.is_sendable(stream), "a block is encoded only for a stream that takes it");
        self.transport.write(|out| codec.send_head(stream, block, ends, out));
    }

    /// Ends a stream with trailers, a header block that uses no table, after what waits in its queue.
    pub(in crate::conn) fn send_trailers(&mut self, stream: StreamKey, block: Vec<u8>) {
        if !self.codec.is_sendable(stream) {
            return;
        }
        if let Some(body) = self.bodies.get_mut(stream.index())
            && body.stream == Some(stream)
            && body.is_listed
        {
            (body.ends, body.trailers) = (true, Some(block));
        } else {
            self.send_late_head(stream, &block);
        }
    }

    /// Sends a block that was encoded some time ago without a table.
    fn send_late_head(&mut self, stream: StreamKey, late: &[u8]) {
        let mut block = Vec::new();
        self.codec.encoder().begin(&mut block);
        block.extend_from_slice(late);
        self.send_head(stream, &block, true);
    }

    /// Sends `content` on a stream: at once if it `ends` the stream and nothing is in the way. Otherwise it waits for the
    /// next flush, so that small pieces share a frame.
    #[inline]
    pub(in crate::conn) fn send_data(&mut self, stream: StreamKey, content: Content<'_>, ends: bool) {
        if !self.codec.is_sendable(stream) {
            return;
        }
        let size = content.as_bytes().len();
        if ends
            && self.turn.is_empty()
            && size < QUEUED_SIZE_MAX
            && self.codec.send_capacity(stream) as usize >= size
            && self.transport.queued_size() < QUEUED_SIZE_MAX
        {
            let header = self.codec.send_data(stream, size as u32, ends);
            return self.transport.write(|out| {
                out.extend_from_slice(&header);
                out.extend_from_slice(content.as_bytes());
            });
        }
        let index = stream.index();
        if index >= self.bodies.len() {
            self.bodies.resize_with(index + 1, Body::default);
        }
        let body = &mut self.bodies[index];
        if body.stream != Some(stream) {
            // What is left is of a stream that has ended.
            *body = Body { stream: Some(stream), ..Body::default() };
        }
        body.ends = ends;
        if size > 0 {
            body.size += size;
            if size <= COPIED_CONTENT_SIZE_MAX {
                body.tail.extend_from_slice(content.as_bytes());
            } else {
                if !body.tail.is_empty() {
                    body.pieces.push_back(body.tail.split().freeze());
                }
                body.pieces.push_back(content.into_owned());
            }
        }
        if !mem::replace(&mut body.is_listed, true) {
            self.turn.push_back(stream);
        }
    }

    /// Returns how many bytes wait in a stream's queue.
    #[inline]
    pub(in crate::conn) fn queued_size(&self, stream: StreamKey) -> usize {
        self.body(stream).map_or(0, |body| body.size)
    }

    /// Returns whether a stream's queue has something to send, if only its end.
    pub(in crate::conn) fn has_queued(&self, stream: StreamKey) -> bool {
        self.body(stream).is_some_and(|body| body.is_listed)
    }

    /// Drops what waits in the queue of a stream, which has been reset.
    pub(in crate::conn) fn drop_queued(&mut self, stream: StreamKey) {
        if let Some(body) = self.bodies.get_mut(stream.index())
            && body.stream == Some(stream)
        {
            *body = Body::default();
        }
    }

    #[inline]
    fn body(&self, stream: StreamKey) -> Option<&Body> {
        self.bodies.get(stream.index()).filter(|body| body.stream == Some(stream))
    }

    /// Moves what the codec itself has to say to the transport.
    #[inline]
    fn take_output(&mut self) {
        if self.codec.has_output() {
            let codec = &mut self.codec;
            let size = self.transport.write(|out| {
                let before = out.len();
                codec.take_output(out);
                out.len() - before
            });
            if self.answers.before == 0 {
                self.answers = Answers { before: size, behind: 0, mark: self.transport.end() };
            } else {
                self.answers.behind += size;
            }
        }
    }

    /// Returns whether too many answers wait in the transport, after a new count.
    #[cold]
    fn are_answers_waiting(&mut self) -> bool {
        // What is before the mark has left. The end of what is behind it is not known, so that is the next mark.
        if !self.transport.has_started(self.answers.mark - 1) {
            return true;
        }
        self.answers = Answers { before: self.answers.behind, behind: 0, mark: self.transport.end() };
        self.answers.before > ANSWERS_SIZE_MAX
    }

    /// Counts `size` bytes of bodies that wait with the streams as unread. Few do not count.
    #[inline]
    pub(in crate::conn) fn hold(&mut self, size: usize) {
        let size = if size > STRAINED_RECEIVE_SIZE_MAX as usize { size as u32 } else { 0 };
        if mem::replace(&mut self.held_size, size) != size {
            self.transport.hold(size);
        }
    }

    /// Pending while the worker holds so much unread that a connection which contributes to it should receive no more: until
    /// the worker has less, or this connection contributes nothing.
    #[inline]
    pub(in crate::conn) fn poll_relief(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.held_size == 0 { Poll::Ready(()) } else { self.transport.poll_relief(context) }
    }

    /// Returns whether [`poll_relief`](Self::poll_relief) would be pending.
    pub(in crate::conn) fn is_under_strain(&self) -> bool {
        self.held_size > 0 && self.transport.is_under_strain()
    }

    /// Returns whether a frame has begun to arrive, or a header block, and not all of it is there. The data of a body does not
    /// count.
    pub(in crate::conn) fn is_inside_frame(&self) -> bool {
        self.input.bytes().len() > self.covered || self.codec.is_inside_header_block()
    }

    /// Ends the sending side, so that the peer can read what was sent before the stream closes. Returns whether that was
    /// possible.
    pub(in crate::conn) fn shutdown_sending(&mut self) -> bool {
        self.transport.shutdown_now().is_ok()
    }

    /// Ends the stream of bytes at once, in both directions.
    pub(in crate::conn) fn shutdown_now(&mut self) {
        // It may have ended already.
        let _ = self.transport.shutdown_now();
    }

    /// Returns whether the transport holds so much that no more requests should be taken.
    #[inline]
    pub(in crate::conn) fn is_overfull(&self) -> bool {
        self.transport.queued_size() >= QUEUED_ANSWERS_SIZE_MAX
    }

    /// Sends what waits. Ready when the transport has nothing queued; the last send may still be in flight, and streams
    /// may wait for a window. Calls `moved` for each stream of which data has left the queue.
    #[inline]
    pub(in crate::conn) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        mut moved: impl FnMut(StreamKey),
    ) -> Poll<io::Result<()>> {
        loop {
            self.take_output();
            if !self.turn.is_empty() {
                self.pump(&mut moved);
            }
            if !self.transport.has_queued() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.transport.poll_sent(context))?;
            self.transport.start_bulk()?;
        }
    }

    /// Moves data of the streams to the transport, a frame of each in turn.
    fn pump(&mut self, moved: &mut impl FnMut(StreamKey)) {
        let mut blocked = 0;
        // Counted here, because the transport would have to add up its pieces for each frame.
        let mut room = self.transport.bulk_size_max().saturating_sub(self.transport.queued_size());
        while blocked < self.turn.len() && room > 0 {
            let Some(stream) = self.turn.pop_front() else { return };
            let body = &mut self.bodies[stream.index()];
            if body.stream != Some(stream) || !body.is_listed {
                continue;
            }
            if !self.codec.is_sendable(stream) {
                *body = Body::default();
                continue;
            }
            let size = body.size.min(self.codec.send_capacity(stream) as usize).min(TURN_SIZE_MAX);
            if size == 0 && body.size > 0 {
                blocked += 1;
                self.turn.push_back(stream);
                continue;
            }
            blocked = 0;
            room = room.saturating_sub(FRAME_HEADER_SIZE + size);
            body.size -= size;
            let is_last = body.size == 0;
            let header;
            // What precedes the next byte: the header, until it was sent.
            let mut head: &[u8] = &[];
            if size > 0 || body.trailers.is_none() {
                let ends = body.ends && is_last && body.trailers.is_none();
                header = self.codec.send_data(stream, size as u32, ends);
                head = &header;
            }
            let mut left = size;
            while left > 0 {
                let Some(piece) = body.pieces.front_mut() else {
                    self.transport.write(|out| {
                        out.extend_from_slice(mem::take(&mut head));
                        out.extend_from_slice(&body.tail[..left]);
                    });
                    body.tail.advance(left);
                    break;
                };
                let count = left.min(piece.len());
                let part = piece.split_to(count);
                left -= count;
                let head = mem::take(&mut head);
                if count <= COPIED_CONTENT_SIZE_MAX {
                    self.transport.write(|out| {
                        out.extend_from_slice(head);
                        out.extend_from_slice(&part);
                    });
                } else {
                    self.transport.push_piece(head, part);
                }
                if piece.is_empty() {
                    body.pieces.pop_front();
                }
            }
            if !head.is_empty() {
                self.transport.write(|out| out.extend_from_slice(head));
            }
            if is_last {
                body.is_listed = false;
                if let Some(block) = body.trailers.take() {
                    self.send_late_head(stream, &block);
                }
            } else {
                self.turn.push_back(stream);
            }
            moved(stream);
        }
    }

    /// Frees memory that an idle connection does not need. Returns false while a send is in flight.
    pub(in crate::conn) fn tidy(&mut self) -> bool {
        self.transport.free_sent_memory();
        self.codec.tidy();
        if self.turn.is_empty() {
            (self.bodies, self.turn) = Default::default();
        }
        !self.transport.is_sending()
    }

    /// Ready when everything was sent, and the peer was told that nothing follows.
    pub(in crate::conn) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(context)
    }

    /// Receives and drops. Returns the size, or `None` at the end of the stream.
    pub(in crate::conn) fn poll_discard(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        let received = ready!(self.transport.poll_receive(context))?;
        Poll::Ready(Ok(received.map(|lease| lease.len())))
    }

    /// Cancels the send in flight, and waits until the kernel has released it.
    pub(in crate::conn) async fn stop_sending(&mut self) {
        if self.transport.is_unsent() {
            // The send has no timestamp before the next turn.
            crate::runtime::yield_now().await;
        }
        if self.transport.is_sending() {
            self.transport.cancel_send();
            // The caller asks how it ended.
            let _ = poll_fn(|context| self.transport.poll_sent(context)).await;
        }
    }

    /// Returns what was received and not decoded.
    pub(in crate::conn) fn unread(&self) -> &[u8] {
        &self.input.bytes()[self.covered..]
    }

    /// Returns where the data of the event that was just decoded is; [`piece`](Self::piece) reads it.
    pub(in crate::conn) fn data_range(&self) -> Range<usize> {
        self.data.clone()
    }

    /// Returns a part of the data of the event that was just decoded.
    pub(in crate::conn) fn piece(&self, range: Range<usize>) -> &[u8] {
        &self.input.bytes()[range]
    }

    /// Returns how many bytes were received.
    #[inline]
    pub(in crate::conn) fn received_size(&self) -> u64 {
        self.received_size
    }

    /// Returns whether the peer has ended its side, or the connection has failed.
    #[inline]
    pub(in crate::conn) fn has_ended(&self) -> bool {
        self.transport.has_ended()
    }

    #[inline]
    pub(in crate::conn) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(in crate::conn) fn into_stream(mut self) -> Stream {
        self.input.consume(self.covered);
        Stream::from_parts(self.transport, self.input)
    }

    pub(in crate::conn) fn into_transport(self) -> Transport {
        self.transport
    }

    /// Notes that the peer still has something to answer.
    pub(in crate::conn) fn expect_more(&mut self) {
        self.transport.expect_more();
    }

    #[inline]
    pub(in crate::conn) fn turn_time_ns(&self) -> u64 {
        self.transport.turn_time_ns()
    }

    pub(in crate::conn) fn peer_address(&self) -> io::Result<Address> {
        self.transport.peer_address()
    }

    pub(in crate::conn) fn tcp_queues(&self) -> io::Result<TcpQueues> {
        self.transport.tcp_queues()
    }
}
