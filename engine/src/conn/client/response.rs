//! A response, as the caller of a connection reads it.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::connection::Connection;
use crate::conn::completion::Timing;
use crate::conn::request::PreparedRequest;
use crate::error::Error;
use crate::message::ResponseHead;

/// A response, borrowed from the buffers in which it arrived: its head, then its body piece by piece.
///
/// After a response is dropped before its end, the next use of the connection reads and drops the rest.
pub struct Response<'c> {
    connection: &'c mut Connection,
}

// These are here because a response depends on its connection, not the reverse.
impl Connection {
    /// Sends `request` and waits for the head of its response.
    ///
    /// If the previous response has not been read to its end, this first reads and drops the rest. Over HTTP/2 it also waits
    /// until the peer has taken the previous request's body, or has refused it, if it takes no other request before.
    ///
    /// # Cancel safety
    /// Not cancel-safe: the peer responds to a request that has started. After a dropped future, the connection has
    /// that response [in flight](Self::in_flight).
    ///
    /// # Errors
    /// [`RequestError::Busy`](crate::error::RequestError::Busy) and
    /// [`RequestError::NotReusable`](crate::error::RequestError::NotReusable) leave everything unchanged. After any other
    /// error the caller must drop the connection.
    pub async fn send(&mut self, request: &PreparedRequest) -> Result<Response<'_>, Error> {
        poll_fn(|context| {
            ready!(self.poll_end(context))?;
            self.poll_place(context)
        })
        .await?;
        self.start(request)?;
        self.response().await
    }

    /// Waits for the head of the next final response. Interim responses (1xx) are skipped.
    ///
    /// If the previous response has not been read to its end, this first reads and drops the rest.
    ///
    /// # Cancel safety
    /// Cancel-safe: a later call continues where a dropped future stopped.
    ///
    /// # Errors
    /// After an error the caller must drop the connection, unless no request was in flight.
    /// - [`RequestError::NotReusable`](crate::error::RequestError::NotReusable): no request is in flight, or an earlier
    ///   error was final.
    /// - [`Error::Unanswered`]: an earlier response was the last.
    /// - Any other error: the response cannot be received.
    pub async fn response(&mut self) -> Result<Response<'_>, Error> {
        poll_fn(|context| self.poll_head(context)).await?;
        Ok(Response { connection: self })
    }

    /// Returns the response whose head `poll_head` has found.
    pub(crate) fn current_response(&mut self) -> Response<'_> {
        Response { connection: self }
    }
}

impl Response<'_> {
    /// Returns the status code.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.connection.status()
    }

    /// Returns the head with its fields.
    pub fn head(&self) -> ResponseHead<'_> {
        self.connection.head()
    }

    /// Returns the size of the body in bytes, or `None` if only its end shows it.
    pub fn body_size(&self) -> Option<u64> {
        self.connection.body_size()
    }

    /// Returns when the request was sent and when the response began.
    #[inline]
    pub fn timing(&self) -> Timing {
        self.connection.timing()
    }

    /// Returns the next piece of the body without its framing, or `None` when the response has ended. A piece is never
    /// empty.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future loses no data.
    ///
    /// # Errors
    /// The response cannot be completed. The caller must drop the connection.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        let range = poll_fn(|context| self.connection.poll_data(context)).await?;
        Ok(range.map(|range| self.connection.piece(range)))
    }

    /// Polls for the next piece as [`data`](Self::data) does, and passes it to `take`.
    ///
    /// Use this in futures written by hand.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub fn poll_data<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<Result<Option<T>, Error>> {
        let range = ready!(self.connection.poll_data(context))?;
        Poll::Ready(Ok(range.map(|range| take(self.connection.piece(range)))))
    }

    /// Reads and drops the rest of the body, and returns its size in bytes.
    ///
    /// # Cancel safety
    /// Cancel-safe, but a dropped future loses the size.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub async fn discard(&mut self) -> Result<u64, Error> {
        let mut size = 0;
        poll_fn(|context| {
            while let Some(range) = ready!(self.connection.poll_data(context))? {
                size += range.len() as u64;
            }
            Poll::Ready(Ok(size))
        })
        .await
    }

    /// Reads the rest of the body into memory, up to `size_max` bytes. Returns `None` if it is larger.
    ///
    /// In that case, what was read so far is lost, and the caller can still read what follows.
    ///
    /// # Cancel safety
    /// Not cancel-safe: a dropped future loses what it has read.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub async fn body(&mut self, size_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut body = Vec::new();
        while let Some(piece) = self.data().await? {
            if body.len() + piece.len() > size_max {
                return Ok(None);
            }
            body.extend_from_slice(piece);
        }
        Ok(Some(body))
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({})", self.status())
    }
}

impl Drop for Response<'_> {
    #[inline]
    fn drop(&mut self) {
        self.connection.tidy();
    }
}
