//! A server connection's stream and its queue of responses. The supervisor of an exchange can use this part while a
//! handler borrows the rest.
//!
//! Responses are collected in one buffer, which goes to the stream when the connection has to wait. So responses to
//! pipelined requests leave in one send. The send returns its buffer, which is then reused.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll, ready};

use ringtide_driver::{Address, Lease, SendBuffer};

use crate::conn::content::Content;
use crate::error::is_cut;
use crate::limits::{COALESCED_SEND_SIZE_MAX, STRAINED_RECEIVE_SIZE_MAX};
use crate::stream::Transport;

/// Number of bytes queued behind the send in flight at which the connection stops taking requests.
const QUEUED_SIZE_MAX: usize = COALESCED_SEND_SIZE_MAX;

pub(crate) struct Wire {
    transport: RefCell<Transport>,
    progress: Cell<Progress>,
    /// No request is taken after the current one.
    is_last: Cell<bool>,
    /// Received bytes that wait with the connection.
    held_size: Cell<u32>,
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
    pub(in crate::conn) fn new(transport: Transport) -> Self {
        Self {
            transport: RefCell::new(transport),
            progress: Cell::default(),
            is_last: Cell::new(false),
            held_size: Cell::new(0),
        }
    }

    pub(super) fn into_transport(self) -> Transport {
        self.transport.into_inner()
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
        self.transport.borrow().turn_time_ns()
    }

    #[inline]
    pub(in crate::conn) fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        match self.transport.borrow_mut().poll_receive(context) {
            // The length of a request is always known. So an end without close_notify cannot hide that something is
            // missing (RFC 9112 §9.8).
            Poll::Ready(Err(error)) if is_cut(&error) => Poll::Ready(Ok(None)),
            received => received,
        }
    }

    /// Counts `size` received bytes as unread, because they wait with the connection. Sizes up to that of a usual
    /// request do not count.
    #[inline]
    pub(crate) fn hold(&self, size: usize) {
        let size = if size > STRAINED_RECEIVE_SIZE_MAX as usize { size as u32 } else { 0 };
        if self.held_size.replace(size) != size {
            self.transport.borrow_mut().hold(size);
        }
    }

    /// Ready when the peer has sent its last byte, or the connection has failed. Unread data does not matter.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.borrow_mut().poll_ended(context)
    }

    /// Returns whether the peer has sent unread data or its last byte, or the connection has failed.
    pub(in crate::conn) fn has_news(&self) -> bool {
        self.transport.borrow_mut().has_news()
    }

    /// Appends to the queue.
    #[inline]
    pub(in crate::conn) fn write<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.transport.borrow_mut().write(write)
    }

    /// Appends `data`. Copies it if it is small; otherwise sends it as its own buffer.
    pub(in crate::conn) fn write_data(&self, data: Content<'_>) {
        if data.as_bytes().len() <= COALESCED_SEND_SIZE_MAX {
            return self.write(|out| out.extend_from_slice(data.as_bytes()));
        }
        self.transport.borrow_mut().push(SendBuffer::Shared(data.into_owned()));
    }

    /// Ready when the queue has room for more.
    #[inline]
    pub(in crate::conn) fn poll_room(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_push(context) {
            Poll::Pending if self.has_room() => Poll::Ready(Ok(())),
            pushed => pushed,
        }
    }

    /// Passes the queue to the stream. Ready when the queue is empty; the last send may still be in flight.
    #[inline]
    pub(crate) fn poll_push(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let transport = &mut *self.transport.borrow_mut();
        while transport.has_queued() {
            ready!(transport.poll_sent(context))?;
            transport.start_next()?;
            self.note(|progress| progress.moved = true);
        }
        Poll::Ready(Ok(()))
    }

    /// Frees the buffer of the last send, and the open buffer if nothing is queued. Returns false while that send is in
    /// flight.
    pub(crate) fn tidy(&self) -> bool {
        let mut transport = self.transport.borrow_mut();
        transport.free_sent_memory();
        !transport.is_sending()
    }

    /// Ready when the kernel has taken everything, and close_notify if there is TLS.
    pub(in crate::conn) fn poll_finished(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.borrow_mut().poll_finished(context)
    }

    /// Tells the peer that nothing follows, after everything was sent.
    pub(in crate::conn) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.borrow_mut().poll_shutdown(context)
    }

    pub(in crate::conn) fn peer_address(&self) -> io::Result<Address> {
        self.transport.borrow().peer_address()
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.transport.borrow().queued_size() < QUEUED_SIZE_MAX
    }
}
