//! A server connection's stream and its queue of responses. The supervisor of an exchange can use this part while a
//! handler borrows the rest.
//!
//! Responses are collected in one buffer, which goes to the stream when the connection has to wait. So responses to
//! pipelined requests leave in one send. The send returns its buffer, which is then reused.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll, ready};

use ringtide_driver::{Address, Lease, SendBuffer};

use super::content::Content;
use crate::limits::{COALESCED_SEND_SIZE_MAX, STRAINED_RECEIVE_SIZE_MAX};
use crate::runtime::InlineQueue;
use crate::stream::Stream;

/// Number of bytes queued behind the send in flight at which the connection stops taking requests.
const QUEUED_SIZE_MAX: usize = COALESCED_SEND_SIZE_MAX;

/// Capacity of a new buffer: enough for a usual response.
const BUFFER_SIZE: usize = 512;

pub(crate) struct Wire {
    io: RefCell<Io>,
    progress: Cell<Progress>,
    /// No request is taken after the current one.
    is_last: Cell<bool>,
    /// Received bytes that wait with the connection.
    held_size: Cell<u32>,
}

struct Io {
    stream: Stream,
    /// Sent in this order, before `open`.
    sealed: InlineQueue<SendBuffer>,
    sealed_size: usize,
    /// The buffer to which responses are appended.
    open: Vec<u8>,
}

/// Progress of the current exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// How much of the response is queued.
    pub(crate) answer: Answer,
    /// The whole request has been read.
    pub(crate) received: bool,
    /// The last poll found that the peer has to act first.
    pub(crate) waits: bool,
    /// The peer has acted since this was last cleared.
    pub(crate) moved: bool,
}

/// How much of a response there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    #[default]
    None,
    /// At least its head.
    Begun,
    Whole,
}

impl Progress {
    /// Returns whether it is too late for another response.
    #[inline]
    pub(crate) fn has_begun(self) -> bool {
        self.answer != Answer::None
    }
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        let io = Io { stream, sealed: InlineQueue::default(), sealed_size: 0, open: Vec::new() };
        Self {
            io: RefCell::new(io),
            progress: Cell::default(),
            is_last: Cell::new(false),
            held_size: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn progress(&self) -> Progress {
        self.progress.get()
    }

    #[inline]
    pub(crate) fn note(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.get();
        change(&mut progress);
        self.progress.set(progress);
    }

    #[inline]
    pub(crate) fn is_last(&self) -> bool {
        self.is_last.get()
    }

    /// Makes the next response announce the end of the connection.
    pub(crate) fn set_last(&self) {
        self.is_last.set(true);
    }

    #[inline]
    pub(crate) fn turn_time_ns(&self) -> u64 {
        self.io.borrow().stream.turn_time_ns()
    }

    #[inline]
    pub(super) fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        self.io.borrow_mut().stream.poll_receive(context)
    }

    /// Counts `size` received bytes as unread, because they wait with the connection. Sizes up to that of a usual
    /// request do not count.
    #[inline]
    pub(crate) fn hold(&self, size: usize) {
        let size = if size > STRAINED_RECEIVE_SIZE_MAX as usize { size as u32 } else { 0 };
        if self.held_size.replace(size) != size {
            self.io.borrow_mut().stream.hold(size);
        }
    }

    /// Ready when the peer has sent its last byte, or the connection has failed. Unread data does not matter.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.borrow_mut().stream.poll_ended(context)
    }

    /// Returns whether the peer has sent unread data or its last byte, or the connection has failed.
    pub(super) fn has_news(&self) -> bool {
        self.io.borrow().stream.has_news()
    }

    /// Appends to the queue.
    #[inline]
    pub(super) fn write<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut io = self.io.borrow_mut();
        if io.open.capacity() == 0 {
            match io.stream.take_sent() {
                Some(buffer) => io.reuse(buffer),
                None => io.open.reserve(BUFFER_SIZE),
            }
        }
        write(&mut io.open)
    }

    /// Appends `data`. Copies it if it is small; otherwise sends it as its own buffer.
    pub(super) fn write_data(&self, data: Content<'_>) {
        if data.as_bytes().len() <= COALESCED_SEND_SIZE_MAX {
            return self.write(|out| out.extend_from_slice(data.as_bytes()));
        }
        let mut io = self.io.borrow_mut();
        if !io.open.is_empty() {
            let open = std::mem::take(&mut io.open);
            io.seal(SendBuffer::Owned(open));
        }
        io.seal(SendBuffer::Shared(data.into_owned()));
    }

    /// Ready when the queue has room for more.
    #[inline]
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.io.borrow().has_room() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_push(context) {
            Poll::Pending if self.io.borrow().has_room() => Poll::Ready(Ok(())),
            pushed => pushed,
        }
    }

    /// Passes the queue to the stream. Ready when the queue is empty; the last send may still be in flight.
    #[inline]
    pub(crate) fn poll_push(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = &mut *self.io.borrow_mut();
        while !io.is_empty() {
            if let Some(buffer) = ready!(io.stream.poll_sent(context))? {
                io.reuse(buffer);
            }
            if let Some(buffer) = io.next() {
                io.stream.start_send(buffer)?;
                self.note(|progress| progress.moved = true);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the kernel has taken everything.
    pub(super) fn poll_flushed(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(context))?;
        let io = &mut *self.io.borrow_mut();
        if let Some(buffer) = ready!(io.stream.poll_sent(context))? {
            io.reuse(buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// Frees the buffer of the last send, and the open buffer if nothing is queued. Returns false while that send is in
    /// flight.
    pub(crate) fn tidy(&self) -> bool {
        let io = &mut *self.io.borrow_mut();
        drop(io.stream.take_sent());
        if io.is_empty() {
            io.open = Vec::new();
        }
        !io.stream.is_sending()
    }

    pub(super) fn shutdown(&self) -> io::Result<()> {
        self.io.borrow_mut().stream.shutdown()
    }

    pub(super) fn peer_address(&self) -> io::Result<Address> {
        self.io.borrow().stream.peer_address()
    }
}

impl Io {
    #[inline]
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.sealed_size + self.open.len() < QUEUED_SIZE_MAX
    }

    fn seal(&mut self, buffer: SendBuffer) {
        self.sealed_size += buffer.len();
        self.sealed.push_back(buffer);
    }

    /// Takes the next buffer to send.
    #[inline]
    fn next(&mut self) -> Option<SendBuffer> {
        if let Some(buffer) = self.sealed.pop_front() {
            self.sealed_size -= buffer.len();
            return Some(buffer);
        }
        if self.open.is_empty() {
            return None;
        }
        Some(SendBuffer::Owned(std::mem::take(&mut self.open)))
    }

    /// Reuses the buffer of a finished send for the next responses.
    #[inline]
    fn reuse(&mut self, mut bytes: Vec<u8>) {
        if self.open.capacity() == 0 {
            bytes.clear();
            self.open = bytes;
        }
    }
}
