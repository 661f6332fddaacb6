//! One HTTP/2 request and its response. An exchange owns its stream, so it may outlive the call of its handler.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringtide_driver::Address;

use super::server::{Connection, Request, Wakes};
use crate::conn::content::Content;
use crate::conn::response::{self, PreparedResponse};
use crate::error::{Error, RequestError};
use crate::proto::h2::{self, ErrorCode, FieldList, StreamKey};

/// A request that waits for its response.
pub(crate) struct Exchange {
    connection: Rc<Connection>,
    /// `None` only while the exchange is dropped.
    request: Option<Box<Request>>,
}

impl Exchange {
    /// `request` is one that has just begun on `connection`.
    pub(crate) fn new(connection: Rc<Connection>, request: Box<Request>) -> Self {
        Self { connection, request: Some(request) }
    }

    #[inline]
    fn request(&self) -> &Request {
        self.request.as_ref().expect("an exchange has its request until it is dropped")
    }

    #[inline]
    fn stream_key(&self) -> StreamKey {
        self.request().stream
    }

    #[inline]
    pub(in crate::conn) fn head(&self) -> h2::RequestHead<'_> {
        h2::RequestHead::new(&self.request().fields)
    }

    pub(in crate::conn) fn body_size(&self) -> Option<u64> {
        let request = self.request();
        if request.has_body { request.content_length } else { Some(0) }
    }

    pub(in crate::conn) fn peer_address(&self) -> io::Result<Address> {
        self.connection.peer_address()
    }

    pub(in crate::conn) async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        let is_some = poll_fn(|context| self.poll_data(context)).await?;
        Ok(self.request().piece.as_deref().filter(|_| is_some))
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let request = self.request.as_mut().expect("an exchange has its request until it is dropped");
        request.piece = None;
        let polled = self.connection.state.borrow_mut().poll_piece(request.stream, context);
        // The window may have to be opened again, or `100 Continue` be sent.
        self.connection.wake_task();
        match ready!(polled) {
            Ok(piece) => {
                if piece.is_none() && request.trailers.is_none() {
                    request.trailers = self.connection.state.borrow_mut().take_trailers(request.stream);
                }
                request.piece = piece;
                Poll::Ready(Ok(request.piece.is_some()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(in crate::conn) fn trailers(&self) -> Option<&FieldList> {
        self.request().trailers.as_deref()
    }

    #[inline]
    pub(in crate::conn) fn respond(
        mut self,
        status: StatusCode,
        fields: &[(&str, &str)],
        body: Content<'_>,
    ) -> Result<(), Error> {
        let stream = self.stream_key();
        let state = &mut *self.connection.state.borrow_mut();
        state.respond(stream, status, fields, body).map_err(RequestError::Head)?;
        if let Some(request) = self.request.take() {
            state.give_back(request);
        }
        self.connection.wake_task();
        Ok(())
    }

    #[inline]
    pub(in crate::conn) fn respond_with(mut self, response: &PreparedResponse) {
        let stream = self.stream_key();
        let state = &mut *self.connection.state.borrow_mut();
        state.respond_with(stream, response);
        if let Some(request) = self.request.take() {
            state.give_back(request);
        }
        self.connection.wake_task();
    }

    pub(in crate::conn) fn stream(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<Responder, Error> {
        response::length_of(status, 1).map_err(RequestError::Head)?;
        let stream = self.stream_key();
        let begun = self.connection.state.borrow_mut().begin_response(stream, status, fields, length);
        let has_body = begun.map_err(RequestError::Head)?;
        self.connection.wake_task();
        Ok(Responder { exchange: self, left: length, has_body })
    }

    /// Resets the stream. Nothing has failed; the response is not wanted any more.
    pub(in crate::conn) fn disconnect(self) {
        self.connection.reset(self.stream_key(), ErrorCode::CANCEL);
    }
}

impl Drop for Exchange {
    #[inline]
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let mut wakes = Wakes::default();
            self.connection.state.borrow_mut().abandon(request, &mut wakes);
            wakes.wake();
            self.connection.wake_task();
        }
    }
}

/// A response that has begun.
pub(crate) struct Responder {
    exchange: Exchange,
    /// Bytes of the body that are missing, if its length was announced.
    left: Option<u64>,
    has_body: bool,
}

impl Responder {
    pub(in crate::conn) async fn send(&mut self, data: Content<'_>) -> Result<(), Error> {
        poll_fn(|context| self.poll_room(context)).await?;
        self.queue(data)
    }

    pub(in crate::conn) async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        self.exchange.data().await
    }

    pub(in crate::conn) fn finish(self) -> Result<(), Error> {
        if let Some(left @ 1..) = self.left.filter(|_| self.has_body) {
            return Err(RequestError::BodyLength { announced: left, given: 0 }.into());
        }
        let stream = self.exchange.stream_key();
        self.exchange.connection.state.borrow_mut().end_response(stream);
        self.exchange.connection.wake_task();
        Ok(())
    }

    pub(in crate::conn) fn finish_with_trailers(self, trailers: &[(&str, &str)]) -> Result<(), Error> {
        if let Some(left @ 1..) = self.left.filter(|_| self.has_body) {
            return Err(RequestError::BodyLength { announced: left, given: 0 }.into());
        }
        let stream = self.exchange.stream_key();
        let state = &self.exchange.connection.state;
        let ended = state.borrow_mut().end_response_with(stream, self.has_body, trailers);
        ended.map_err(RequestError::Head)?;
        self.exchange.connection.wake_task();
        Ok(())
    }

    pub(in crate::conn) fn trailers(&self) -> Option<&FieldList> {
        self.exchange.trailers()
    }

    /// Returns how many bytes of the body are missing, if its length was announced.
    pub(in crate::conn) fn left(&self) -> Option<u64> {
        self.left
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let stream = self.exchange.stream_key();
        self.exchange.connection.state.borrow_mut().poll_room(stream, context)
    }

    fn queue(&mut self, data: Content<'_>) -> Result<(), Error> {
        let size = data.as_bytes().len() as u64;
        if size == 0 {
            return Ok(());
        }
        if let Some(left) = &mut self.left {
            if size > *left {
                return Err(RequestError::BodyLength { announced: *left, given: size }.into());
            }
            *left -= size;
        }
        if self.has_body {
            let stream = self.exchange.stream_key();
            self.exchange.connection.state.borrow_mut().send_part(stream, data);
            self.exchange.connection.wake_task();
        }
        Ok(())
    }
}
