//! A client's HTTP/2 connection that many tasks share: each has a stream, and one task drives the connection.
//!
//! A request is written by the task that sends it; the driving task sends what all of them have written, and passes on
//! what arrives. Received data is copied: a task that reads slowly, or keeps what it read, holds back its own stream by
//! its window, and none of the receive buffers that the others need.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};

use super::block::{Block, kind_of};
use super::heads::{Head, Heads, headers};
use super::link::Link;
use crate::conn::content::Content;
use crate::conn::piece::Piece;
use crate::conn::request::PreparedRequest;
use crate::error::{Error, ProtocolError, RequestError};
use crate::proto::h1::{BodyLength, Incomplete};
use crate::proto::h2::{
    self, Codec, ErrorCode, Event, OpenError, Options, ResetCause, Role, StreamFault, StreamKey, StreamReset,
};
use crate::runtime::Timer;
use crate::stream;
use crate::tls;

/// Bytes of one request that wait in its stream's queue above which its body is not asked for more.
const STREAM_QUEUED_SIZE_MAX: usize = 64 * 1024;

/// A piece of a body up to this size is collected in memory that its place keeps for the next request, and copied when it is
/// read. A larger one is read where it was collected.
const KEPT_SIZE_MAX: usize = 1024;

/// How long a connection that closes may take to send what it still has.
const CLOSE_NS: u64 = 1_000_000_000;

/// The payload of the PING that asks whether the peer is there.
const ALIVE_PING: [u8; 8] = *b"alive?  ";

/// When a silent peer is asked whether it is there, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Duration,
}

/// A connection that many tasks share.
pub(crate) struct SharedConnection {
    state: RefCell<State>,
    /// Of the driving task, once it runs.
    task: OnceCell<Waker>,
    /// The driving task is being polled or was woken, and will see what was written.
    is_awake: Cell<bool>,
    /// Streams that were promised and are not open yet.
    reserved: Cell<u32>,
    /// How many streams the peer takes, before it has said so.
    assumed_max: Cell<u32>,
    /// Somebody waits for a stream.
    is_wanted: Cell<bool>,
    /// It closes as soon as no task uses it.
    is_retired: Cell<bool>,
    /// Kept for its memory.
    wakes: Cell<Vec<Waker>>,
}

struct State {
    link: Link,
    streams: Vec<Stream>,
    free: Vec<u32>,
    /// Which of the streams is at an index of the codec. The codec forgets a stream before its task has read it.
    slots: Vec<u32>,
    in_use: usize,
    heads: Heads,
    block: Block,
    /// Those of requests that are over, for the next ones. Setting one again is much cheaper than making it.
    timers: Vec<Timer>,
    timer: Timer,
    keep_alive: KeepAlive,
    received_ns: u64,
    /// When the PING was sent that the peer has not answered.
    asked_ns: Option<u64>,
    idle_ns: u64,
    closing: Closing,
    end: Option<End>,
}

/// What is known of a request. It stays until its task drops it.
#[derive(Default)]
struct Stream {
    key: Option<StreamKey>,
    head: Option<Rc<Head>>,
    /// Any byte of a response has arrived.
    has_begun: bool,
    has_head: bool,
    content_length: Option<u64>,
    received_size: u64,
    /// What has arrived of the body and was not read.
    unread: Vec<u8>,
    /// The whole response has arrived.
    received: bool,
    /// The fields that came after the body.
    trailers: Option<Box<HeaderMap>>,
    reset: Option<StreamReset>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// What waits is being sent.
    Sending,
    Done,
}

/// How a connection has ended.
#[derive(Debug)]
enum End {
    Closed,
    Protocol(h2::Error),
    Tls(tls::Error),
    Network(io::Error),
    /// The peer does not answer PING.
    Silent,
}

impl SharedConnection {
    /// `stream` is one on which nothing was sent yet.
    pub(crate) fn new(stream: stream::Stream, options: &Options, keep_alive: KeepAlive) -> Rc<Self> {
        let (mut transport, input) = stream.into_parts();
        let end = transport.watch().err().map(End::of_stream);
        let now_ns = transport.turn_time_ns();
        let mut timer = Timer::new();
        if keep_alive.interval.is_some() {
            // It then gets its time.
            timer.set(0);
        }
        Rc::new(Self {
            state: RefCell::new(State {
                link: Link::new(Codec::new(Role::Client, options), transport, input),
                streams: Vec::new(),
                free: Vec::new(),
                slots: Vec::new(),
                in_use: 0,
                heads: Heads::default(),
                block: Block::default(),
                timers: Vec::new(),
                timer,
                keep_alive,
                received_ns: now_ns,
                asked_ns: None,
                idle_ns: now_ns,
                closing: Closing::No,
                end,
            }),
            task: OnceCell::new(),
            is_awake: Cell::new(false),
            reserved: Cell::new(0),
            assumed_max: Cell::new(u32::MAX),
            is_wanted: Cell::new(false),
            is_retired: Cell::new(false),
            wakes: Cell::default(),
        })
    }

    /// Drives the connection: passes on what has arrived, and sends what waits. Ready when it is over.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.task.get_or_init(|| context.waker().clone());
        self.is_awake.set(true);
        let mut wakes = self.wakes.take();
        let polled = {
            let state = &mut *self.state.borrow_mut();
            let is_unused = state.in_use == 0 && self.reserved.get() == 0;
            let may_close = is_unused && (self.is_retired.get() || state.link.codec.is_closing());
            state.poll(may_close, context, &mut wakes)
        };
        self.is_awake.set(false);
        wakes.drain(..).for_each(Waker::wake);
        self.wakes.set(wakes);
        polled
    }

    /// Promises a stream, if there is one to be had.
    #[inline]
    pub(crate) fn reserve(self: &Rc<Self>) -> Option<Place> {
        let has_room = {
            let state = self.state.borrow();
            let codec = &state.link.codec;
            let opens_max = if codec.peer_settings().is_known {
                codec.opens_now_max()
            } else {
                codec.opens_now_max().min(self.assumed_max.get().saturating_sub(codec.streams() as u32))
            };
            state.is_open() && opens_max > self.reserved.get()
        };
        has_room.then(|| {
            self.reserved.set(self.reserved.get() + 1);
            Place { connection: Rc::clone(self) }
        })
    }

    /// Returns whether requests may start, now or when others have ended.
    pub(crate) fn is_open(&self) -> bool {
        self.state.borrow().is_open()
    }

    /// Returns whether the peer has not said yet how many streams it takes.
    pub(crate) fn is_settling(&self) -> bool {
        self.is_open() && !self.state.borrow().link.codec.peer_settings().is_known
    }

    /// Returns how many streams the peer takes, if it has said so.
    pub(crate) fn streams_max(&self) -> Option<u32> {
        self.state.borrow().link.codec.peer_settings().streams_max
    }

    /// Makes the connection promise no more than so many streams before the peer has said how many it takes.
    pub(crate) fn assume_streams_max(&self, max: u32) {
        self.assumed_max.set(max);
    }

    /// Returns since when no task has used the connection.
    pub(crate) fn idle_since_ns(&self) -> Option<u64> {
        let state = self.state.borrow();
        (state.in_use == 0 && self.reserved.get() == 0).then_some(state.idle_ns)
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn tidy(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.in_use == 0 {
            state.link.tidy();
            (state.streams, state.free, state.slots) = Default::default();
            (state.timers, state.block, state.heads) = Default::default();
        }
    }

    /// Closes the connection once all its requests are over.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
        self.wake_task();
    }

    /// Returns whether somebody waits for a stream.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.get()
    }

    /// Notes whether somebody waits for a stream.
    pub(crate) fn set_wanted(&self, is_wanted: bool) {
        self.is_wanted.set(is_wanted);
    }

    #[inline]
    fn wake_task(&self) {
        if !self.is_awake.replace(true)
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

/// A stream that a connection has promised.
pub(crate) struct Place {
    connection: Rc<SharedConnection>,
}

impl Place {
    /// Returns whether a request can be started now.
    pub(crate) fn can_start(&self) -> bool {
        let state = self.connection.state.borrow();
        state.is_open() && state.link.codec.opens_now_max() > 0
    }

    /// Returns whether no other request is in flight on the connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.connection.state.borrow().in_use == 0
    }

    /// Starts a request. The driving task sends it, with those of the other tasks that run before it.
    pub(crate) fn start(self, request: &PreparedRequest) -> Result<Exchange, Error> {
        let state = &mut *self.connection.state.borrow_mut();
        let (slot, timer) = state.start(request)?;
        self.connection.wake_task();
        Ok(Exchange { connection: Rc::clone(&self.connection), slot, timer: Some(timer) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.reserved.set(connection.reserved.get() - 1);
        // What was promised may now be another's, or the connection may close.
        if connection.is_wanted.get() || connection.is_retired.get() {
            connection.wake_task();
        }
    }
}

/// A request on a shared connection, and its response. Dropping it before its end resets the stream.
pub(crate) struct Exchange {
    connection: Rc<SharedConnection>,
    slot: u32,
    /// `None` once it is dropped.
    timer: Option<Timer>,
}

impl Exchange {
    /// Returns a timer for the limits of this request.
    pub(crate) fn timer(&mut self) -> &mut Timer {
        self.timer.as_mut().expect("only `drop` takes it")
    }

    /// Notes that the response takes longer than its task waits. If the peer does not answer a PING either, the connection ends:
    /// otherwise the next requests would time out on it, one by one.
    #[cold]
    pub(crate) fn doubt(&self) {
        let state = &mut *self.connection.state.borrow_mut();
        if state.end.is_none() && state.closing == Closing::No && state.asked_ns.is_none() {
            state.ask();
            // It then gets its time.
            state.timer.set(0);
            self.connection.wake_task();
        }
    }

    /// Ready when the head of the response has arrived.
    pub(crate) fn poll_head(&self, context: &Context<'_>) -> Poll<Result<(), Error>> {
        let state = &mut *self.connection.state.borrow_mut();
        let stream = &mut state.streams[self.slot as usize];
        if stream.head.is_some() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = stream.error(state.end.as_ref()) {
            return Poll::Ready(Err(error));
        }
        wait_at(&mut stream.reader, context);
        Poll::Pending
    }

    /// Returns the status of the head that has arrived.
    pub(crate) fn status(&self) -> StatusCode {
        let state = self.connection.state.borrow();
        state.streams[self.slot as usize].head.as_ref().map_or(StatusCode::OK, |head| head.status)
    }

    /// Takes the head that has arrived, and returns also the size of the body if it is known.
    pub(crate) fn take_head(&self) -> (Response<()>, Option<u64>) {
        let state = &mut *self.connection.state.borrow_mut();
        let stream = &mut state.streams[self.slot as usize];
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_2;
        if let Some(head) = stream.head.take() {
            *response.status_mut() = head.status;
            *response.headers_mut() = head.into_headers();
        }
        let size = if stream.received { Some(stream.unread.len() as u64) } else { stream.content_length };
        (response, size)
    }

    /// Returns whether any byte of a response has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        self.connection.state.borrow().streams[self.slot as usize].has_begun
    }

    /// Polls for what has arrived of the body; `None` at its end.
    pub(crate) fn poll_piece(&self, context: &Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        let state = &mut *self.connection.state.borrow_mut();
        let stream = &mut state.streams[self.slot as usize];
        if !stream.unread.is_empty() {
            let piece = stream.take_unread();
            if let Some(key) = stream.key {
                state.link.codec.release(key, piece.len());
                if state.link.codec.has_output() {
                    self.connection.wake_task();
                }
            }
            return Poll::Ready(Ok(Some(piece)));
        }
        if stream.received {
            return Poll::Ready(Ok(None));
        }
        if let Some(error) = stream.error(state.end.as_ref()) {
            return Poll::Ready(Err(error));
        }
        wait_at(&mut stream.reader, context);
        Poll::Pending
    }

    /// Takes the fields that came after the body, once that has been read.
    pub(crate) fn take_trailers(&self) -> Option<Box<HeaderMap>> {
        self.connection.state.borrow_mut().streams[self.slot as usize].trailers.take()
    }

    /// Ready when another piece of the request's body may be queued. An error means that the peer does not take it.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<Result<(), Error>> {
        let state = &mut *self.connection.state.borrow_mut();
        let stream = &mut state.streams[self.slot as usize];
        let sendable = stream.key.filter(|key| state.link.codec.is_sendable(*key) && state.end.is_none());
        let Some(key) = sendable else {
            return Poll::Ready(Err(stream.error(state.end.as_ref()).unwrap_or(Error::Closed)));
        };
        if state.link.queued_size(key) < STREAM_QUEUED_SIZE_MAX {
            return Poll::Ready(Ok(()));
        }
        wait_at(&mut stream.writer, context);
        Poll::Pending
    }

    /// Queues a piece of the request's body, the last one if it `ends`.
    pub(crate) fn queue_data(&self, data: Bytes, ends: bool) {
        let state = &mut *self.connection.state.borrow_mut();
        if let Some(key) = state.streams[self.slot as usize].key {
            state.link.send_data(key, Content::from(data), ends);
            self.connection.wake_task();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = &self.connection;
        let is_last = {
            let state = &mut *connection.state.borrow_mut();
            state.forget(self.slot, self.timer.take());
            if state.link.codec.has_output() {
                connection.wake_task();
            }
            state.in_use == 0
        };
        if is_last || connection.is_wanted.get() {
            connection.wake_task();
        }
    }
}

impl State {
    fn poll(&mut self, may_close: bool, context: &mut Context<'_>, wakes: &mut Vec<Waker>) -> Poll<()> {
        if self.end.is_none()
            && let Some(end) = self.receive(context, wakes)
        {
            self.end(end, wakes);
        }
        if self.end.is_none() && self.closing == Closing::No {
            self.keep_alive(context, wakes);
        }
        if may_close && self.closing == Closing::No {
            self.closing = Closing::Sending;
            self.link.codec.go_away(ErrorCode::NO_ERROR);
            self.timer.set(self.link.turn_time_ns().saturating_add(CLOSE_NS));
        }
        let streams = &mut self.streams;
        let slots = &self.slots;
        let flushed = self.link.poll_flush(context, |key| {
            if let Some(stream) = stream_mut(streams, slots, key) {
                wakes.extend(stream.writer.take());
            }
        });
        // A peer that cannot be sent to may have responded. The receive reports that, or the end.
        if self.end.is_some() {
            return Poll::Ready(());
        }
        if self.closing == Closing::Sending {
            let is_sent = match flushed {
                Poll::Ready(Ok(())) => self.link.poll_shutdown(context).is_ready(),
                Poll::Ready(Err(_)) => true,
                Poll::Pending => false,
            };
            if is_sent || self.timer.poll_elapsed(context).is_ready() {
                self.closing = Closing::Done;
            }
        }
        if self.closing == Closing::Done { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_open(&self) -> bool {
        self.end.is_none() && !self.link.codec.is_closing() && !self.link.has_ended()
    }

    /// Passes on all that has arrived. Returns how the connection has ended, if it has.
    fn receive(&mut self, context: &mut Context<'_>, wakes: &mut Vec<Waker>) -> Option<End> {
        loop {
            let event = match self.link.decode() {
                Ok(event) => event,
                Err(error) => return Some(End::Protocol(error)),
            };
            match event {
                Event::NeedMore => match self.link.poll_receive(context) {
                    Poll::Ready(Ok(true)) => {
                        self.received_ns = self.link.turn_time_ns();
                        self.asked_ns = None;
                    }
                    Poll::Ready(Ok(false)) => {
                        return Some(self.link.end_of_stream().err().map_or(End::Closed, End::Protocol));
                    }
                    Poll::Ready(Err(error)) => return Some(End::of_stream(error)),
                    Poll::Pending => {
                        if self.in_use > 0 {
                            self.link.expect_more();
                        }
                        return None;
                    }
                },
                Event::Head { stream: key, ends } => {
                    let codec = &mut self.link.codec;
                    let Some(stream) = stream_mut(&mut self.streams, &self.slots, key) else { continue };
                    (stream.has_begun, stream.has_head) = (true, true);
                    stream.content_length = codec.response_facts().and_then(|facts| facts.content_length);
                    stream.received = ends;
                    match self.heads.arrived(codec) {
                        Ok(head) => stream.head = Some(head),
                        Err(error) => {
                            let code = ErrorCode::PROTOCOL_ERROR;
                            let cause = ResetCause::Fault(StreamFault::Head(error));
                            stream.reset = Some(StreamReset { code, cause });
                            codec.reset(key, code);
                        }
                    }
                    wakes.extend(stream.reader.take());
                }
                Event::Data { stream: key, data, ends } => {
                    let Some(stream) = stream_mut(&mut self.streams, &self.slots, key) else {
                        // Nobody will read it.
                        let size = data.len();
                        self.link.codec.release(key, size);
                        continue;
                    };
                    if stream.unread.is_empty() {
                        // A body that comes at once is not copied again.
                        stream.unread.reserve_exact(data.len());
                    }
                    stream.unread.extend_from_slice(data);
                    stream.received_size += data.len() as u64;
                    stream.received |= ends;
                    wakes.extend(stream.reader.take());
                }
                Event::Trailers { stream: key } => {
                    let Some(stream) = stream_mut(&mut self.streams, &self.slots, key) else { continue };
                    match headers(self.link.codec.fields()) {
                        Ok(trailers) => {
                            stream.received = true;
                            stream.trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
                        }
                        Err(error) => {
                            let cause = ResetCause::Fault(StreamFault::Head(error));
                            stream.reset = Some(StreamReset { code: ErrorCode::PROTOCOL_ERROR, cause });
                        }
                    }
                    wakes.extend(stream.reader.take());
                }
                Event::Informational { stream: key } => {
                    if let Some(stream) = stream_mut(&mut self.streams, &self.slots, key) {
                        stream.has_begun = true;
                    }
                }
                Event::Reset { stream: key, reset } => {
                    self.link.drop_queued(key);
                    let Some(stream) = stream_mut(&mut self.streams, &self.slots, key) else { continue };
                    // RFC 9113 §8.1: after a whole response, a reset only stops the request's body.
                    stream.reset = Some(reset);
                    wakes.extend(stream.reader.take());
                    wakes.extend(stream.writer.take());
                }
                Event::GoAway { .. }
                | Event::SendOpened
                | Event::Pong { .. }
                | Event::HeadTooLarge { .. } => {}
            }
        }
    }

    /// Ends the connection: all requests fail whose responses have not arrived.
    #[cold]
    fn end(&mut self, end: End, wakes: &mut Vec<Waker>) {
        self.end = Some(end);
        for stream in &mut self.streams {
            wakes.extend(stream.reader.take());
            wakes.extend(stream.writer.take());
        }
    }

    /// Asks a silent peer whether it is there, and ends the connection if it does not answer.
    fn keep_alive(&mut self, context: &mut Context<'_>, wakes: &mut Vec<Waker>) {
        while self.timer.poll_elapsed(context).is_ready() {
            let now_ns = self.link.turn_time_ns();
            let (since_ns, limit) = match (self.asked_ns, self.keep_alive.interval) {
                (Some(asked_ns), _) => (asked_ns, self.keep_alive.timeout),
                (None, Some(interval)) => (self.received_ns, interval),
                (None, None) => return self.timer.unset(),
            };
            let due_ns = since_ns.saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
            if now_ns < due_ns {
                self.timer.set(due_ns);
            } else if self.asked_ns.is_some() {
                return self.end(End::Silent, wakes);
            } else {
                self.ask();
            }
        }
    }

    /// Asks the peer whether it is there.
    fn ask(&mut self) {
        self.link.codec.ping(ALIVE_PING);
        self.asked_ns = Some(self.link.turn_time_ns());
    }

    #[inline]
    fn start(&mut self, request: &PreparedRequest) -> Result<(u32, Timer), Error> {
        if !self.is_open() {
            return Err(RequestError::NotReusable.into());
        }
        if self.link.codec.opens_now_max() == 0 {
            return Err(RequestError::Busy.into());
        }
        self.block.prepare(request, &mut self.link.codec);
        let body = request.body();
        let ends = body.is_empty() && request.pending_body() == BodyLength::None;
        let (_, opened) = self.link.open(&self.block.bytes, kind_of(request), ends);
        let key = opened.map_err(|error| match error {
            OpenError::Full => RequestError::Busy,
            OpenError::Closing => RequestError::NotReusable,
        })?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.streams.push(Stream::default());
            self.streams.len() as u32 - 1
        });
        if self.slots.len() <= key.index() {
            self.slots.resize(key.index() + 1, 0);
        }
        self.slots[key.index()] = slot;
        self.streams[slot as usize].key = Some(key);
        self.in_use += 1;
        if !body.is_empty() {
            self.link.send_data(key, Content::from(body), true);
        }
        Ok((slot, self.timers.pop().unwrap_or_default()))
    }

    /// Ends a request that its task has dropped.
    fn forget(&mut self, slot: u32, timer: Option<Timer>) {
        let stream = &mut self.streams[slot as usize];
        if let Some(key) = stream.key {
            if !stream.unread.is_empty() {
                self.link.codec.release(key, stream.unread.len());
            }
            if self.link.codec.is_open(key) {
                self.link.drop_queued(key);
                self.link.codec.reset(key, ErrorCode::CANCEL);
            }
        }
        stream.clear();
        self.free.push(slot);
        if let Some(mut timer) = timer {
            timer.unset();
            self.timers.push(timer);
        }
        self.in_use -= 1;
        if self.in_use == 0 {
            self.idle_ns = self.link.turn_time_ns();
        }
    }
}

impl Stream {
    /// Makes it that of no request. It keeps memory for a small body.
    fn clear(&mut self) {
        if self.unread.capacity() > KEPT_SIZE_MAX {
            self.unread = Vec::new();
        }
        self.unread.clear();
        (self.key, self.head, self.content_length, self.received_size) = (None, None, None, 0);
        (self.has_begun, self.has_head, self.received) = (false, false, false);
        (self.reset, self.reader, self.writer, self.trailers) = (None, None, None, None);
    }

    /// Takes what has arrived of the body and was not read.
    fn take_unread(&mut self) -> Piece {
        if self.unread.capacity() > KEPT_SIZE_MAX {
            return Piece::copy(mem::take(&mut self.unread).into());
        }
        let piece = Piece::copied(&self.unread);
        self.unread.clear();
        piece
    }

    /// Returns why nothing more comes, if nothing does.
    fn error(&self, end: Option<&End>) -> Option<Error> {
        if let Some(reset) = &self.reset {
            return Some(Error::Stream(reset.clone()));
        }
        Some(match end? {
            End::Closed if self.has_head => {
                let (expected, received) = (self.content_length, self.received_size);
                Error::Incomplete(Incomplete::Body { expected, received })
            }
            End::Closed if self.has_begun => Error::Incomplete(Incomplete::Head),
            End::Closed => Error::Closed,
            End::Protocol(error) => Error::Protocol(ProtocolError::H2(*error)),
            End::Tls(error) => Error::Tls(error.clone()),
            End::Network(error) => Error::Network(copy_of(error)),
            End::Silent => {
                Error::Network(io::Error::new(io::ErrorKind::TimedOut, "the peer does not answer PING"))
            }
        })
    }
}

impl End {
    fn of_stream(error: io::Error) -> Self {
        match tls::Error::of_io(&error) {
            Some(error) => Self::Tls(error.clone()),
            None => Self::Network(error),
        }
    }
}

impl fmt::Debug for SharedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("SharedConnection")
            .field("in_use", &state.in_use)
            .field("end", &state.end)
            .finish_non_exhaustive()
    }
}

/// Many requests fail with one error.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[inline]
fn stream_mut<'s>(streams: &'s mut [Stream], slots: &[u32], key: StreamKey) -> Option<&'s mut Stream> {
    let slot = *slots.get(key.index())?;
    streams.get_mut(slot as usize).filter(|stream| stream.key == Some(key))
}

fn wait_at(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}
