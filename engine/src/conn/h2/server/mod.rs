//! A server's HTTP/2 connection: the state that its task and its exchanges share.
//!
//! The task decodes and sends; handlers read requests and queue responses, at any time. What belongs to a request is in
//! memory that the next request uses again, so a request allocates nothing once the connection has seen as many at once.
//! There are no time limits here, only the times on which they depend: the server adds them.

mod body;
mod late;
mod request;
mod response;
mod state;
mod wakes;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringtide_driver::Address;

pub(crate) use self::late::{Late, StreamTimeouts};
pub(crate) use self::request::Request;
use self::state::{Answer, Drain, State};
pub(crate) use self::state::{Next, NextError};
pub(in crate::conn::h2) use self::wakes::Wakes;
use crate::conn::h1::DISCARD_SIZE_MAX;
use crate::proto::h2::{self, ErrorCode, Options, StreamKey};
use crate::stream::{Reader, Transport};

/// What the task of a connection and its exchanges share.
pub(crate) struct Connection {
    pub(super) state: RefCell<State>,
    /// Of the connection's task.
    task: Waker,
    /// The task is being polled, and will see what its handlers do.
    is_polled: Cell<bool>,
}

impl Connection {
    /// `input` are bytes that have been received already.
    pub(crate) fn new(transport: Transport, input: Reader, options: &Options, task: Waker) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State::new(transport, input, options)),
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
        next
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
        self.state.borrow_mut().announce_end();
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

    /// Returns whether the peer has not acknowledged our SETTINGS, although it could: its preface has come, and what it sends is
    /// read.
    pub(crate) fn awaits_settings(&self) -> bool {
        let link = &self.state.borrow().link;
        let is_reading = !link.is_overfull() && !link.is_under_strain();
        is_reading && !link.codec.awaits_preface() && !link.codec.is_acknowledged()
    }

    /// Returns whether the peer has acknowledged our SETTINGS.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.borrow().link.codec.is_acknowledged()
    }

    /// Ends the connection because the peer has not acknowledged our SETTINGS.
    pub(crate) fn settings_timeout(&self) -> h2::Error {
        let state = &mut *self.state.borrow_mut();
        state.drain = Drain::Final;
        state.link.codec.settings_timeout()
    }

    /// Finds the streams whose data can never leave, because the peer has ended its side. To be called after a flush that was
    /// ready.
    pub(crate) fn find_blocked(&self, late: &mut Vec<Late>) {
        self.state.borrow().find_blocked(late);
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
