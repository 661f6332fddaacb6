//! The response that a client reads in place, head and body, for one request at a time.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::{ClientConnection, Current, Happened};
use crate::conn::completion::Timing;
use crate::conn::piece::Piece;
use crate::error::{Error, RequestError};
use crate::proto::h2::ResponseHead;

impl ClientConnection {
    /// Ready when the head of the response has arrived. For one request at a time.
    pub(in crate::conn) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_end(context))?;
        self.tidy();
        if self.in_flight == 0 {
            return Poll::Ready(Err(RequestError::NotReusable.into()));
        }
        if self.in_flight > 1 {
            return Poll::Ready(Err(RequestError::Busy.into()));
        }
        loop {
            match ready!(self.poll_happened(context))? {
                Happened::Head(stream, has_ended) => {
                    let Some(request) = self.requests.get(stream.index()).cloned() else { continue };
                    let timing = self.timing_of(&request);
                    let facts = self.link.codec.response_facts();
                    self.current = Some(Current {
                        stream,
                        head: self.link.codec.fields().clone(),
                        content_length: facts.and_then(|facts| facts.content_length),
                        timing,
                        status: request.status,
                        has_ended,
                        lent_size: 0,
                    });
                    if has_ended {
                        self.forget(stream);
                    }
                    return Poll::Ready(Ok(()));
                }
                // An earlier request may have been reset after its response had ended.
                Happened::Reset(stream, _) if self.forget(stream).is_none() => {}
                Happened::Reset(_, reset) => return Poll::Ready(Err(Error::Stream(reset))),
                Happened::Data(stream, size, _) => self.link.codec.release(stream, size),
                Happened::Trailers(_) | Happened::Nothing => {}
            }
        }
    }

    /// Ready at the end of the current response, if there is one. Drops its body.
    pub(in crate::conn) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.current.is_some() {
            match ready!(self.poll_data(context)) {
                Ok(Some(_)) => {}
                // That nobody reads the rest of has been reset, which is nothing to the next request.
                Ok(None) | Err(Error::Stream(_)) => break,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when a request can be started, or if none is in flight whose end would make room: the body of one that has its
    /// response may still be under way.
    pub(in crate::conn) fn poll_place(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.free_places() == 0 && self.is_reusable() && self.in_flight == 0 {
            if let Happened::Data(stream, size, _) = ready!(self.poll_happened(context))? {
                self.link.codec.release(stream, size);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for the next piece of the body; `None` at the end of the response.
    pub(in crate::conn) fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Range<usize>>, Error>> {
        loop {
            let Some(current) = &mut self.current else { return Poll::Ready(Ok(None)) };
            let (stream, lent_size) = (current.stream, std::mem::take(&mut current.lent_size));
            if lent_size > 0 {
                self.link.codec.release(stream, lent_size);
            }
            if self.current.as_ref().is_some_and(|current| current.has_ended) {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_happened(context))? {
                Happened::Data(of, size, ends) => {
                    if ends {
                        self.forget(of);
                    }
                    let Some(current) = self.current.as_mut().filter(|_| of == stream) else {
                        self.link.codec.release(of, size);
                        continue;
                    };
                    current.has_ended = ends;
                    current.lent_size = size;
                    if size > 0 {
                        return Poll::Ready(Ok(Some(self.link.data_range())));
                    }
                }
                Happened::Trailers(of) => {
                    self.forget(of);
                    if let Some(current) = self.current.as_mut().filter(|_| of == stream) {
                        current.has_ended = true;
                    }
                }
                Happened::Reset(of, reset) => {
                    self.forget(of);
                    if of == stream {
                        self.current = None;
                        return Poll::Ready(Err(Error::Stream(reset)));
                    }
                }
                Happened::Head(..) | Happened::Nothing => {}
            }
        }
    }

    /// Polls for the next piece of the body, which the caller may keep.
    pub(in crate::conn) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piece>, Error>> {
        let Some(_) = ready!(self.poll_data(context))? else {
            self.tidy();
            return Poll::Ready(Ok(None));
        };
        Poll::Ready(Ok(Some(self.link.take_data())))
    }

    /// Returns the piece that the last call of `poll_data` has found.
    pub(in crate::conn) fn piece(&self, range: Range<usize>) -> &[u8] {
        self.link.piece(range)
    }

    pub(in crate::conn) fn status(&self) -> StatusCode {
        self.current().status
    }

    pub(in crate::conn) fn head(&self) -> ResponseHead<'_> {
        ResponseHead::new(&self.current().head)
    }

    pub(in crate::conn) fn body_size(&self) -> Option<u64> {
        let current = self.current();
        if current.has_ended { Some(0) } else { current.content_length }
    }

    pub(in crate::conn) fn timing(&self) -> Timing {
        self.current().timing
    }

    /// Returns whether any byte of a response to a request in flight has arrived.
    pub(in crate::conn) fn has_response_begun(&self) -> bool {
        self.requests.iter().any(|request| request.stream.is_some() && request.first_byte_ns > 0)
    }

    /// Releases what the current response has borrowed, if it is done.
    pub(in crate::conn) fn tidy(&mut self) {
        if let Some(current) = self.current.take_if(|current| current.has_ended) {
            self.link.codec.release(current.stream, current.lent_size);
        }
        if self.in_flight == 0 {
            self.link.tidy();
        }
    }

    fn current(&self) -> &Current {
        self.current.as_ref().expect("a `Response` is created after its head has arrived")
    }
}
