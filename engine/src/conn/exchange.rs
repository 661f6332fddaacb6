//! One request and its answer, as a handler sees them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringtide_driver::Address;

use super::content::Content;
use super::response::{self, PreparedResponse};
use super::server::ServerConnection;
use super::wire::Answer;
use crate::error::{Error, RequestError};
use crate::proto::h1::{self, BodyLength, ChunkHeader, RequestHead, Version};

/// A request that wants an answer: its head, and its body piece by piece, both in the buffers that they arrived in.
///
/// It is answered by [`respond`](Self::respond) or [`respond_with`](Self::respond_with), at once and whole, or by
/// [`stream`](Self::stream) and piece by piece. The body need not be read before; what is left of it is read and dropped if it is little, and ends the connection if
/// it is much. Dropped without an answer, it ends the connection.
///
/// A handler that takes an upload of any size, with no more of it in memory than what has just arrived:
///
/// ```
/// use ringtide::Error;
/// use ringtide::http::StatusCode;
/// use ringtide::server::{Answered, Exchange};
///
/// async fn count_lines(mut exchange: Exchange<'_>) -> Result<Answered, Error> {
///     let mut count = 0;
///     while let Some(piece) = exchange.data().await? {
///         count += piece.iter().filter(|byte| **byte == b'\n').count();
///     }
///     exchange.respond(StatusCode::OK, &[], format!("{count} lines\n"))
/// }
/// ```
pub struct Exchange<'c> {
    connection: &'c mut ServerConnection,
}

/// The proof that a request was answered to its end.
#[derive(Debug)]
#[must_use = "it is what a handler returns"]
pub struct Answered(());

impl<'c> Exchange<'c> {
    /// The head.
    #[inline]
    pub fn head(&self) -> RequestHead<'_> {
        self.connection.request_head()
    }

    /// How the length of the request's body is told.
    pub fn body_length(&self) -> BodyLength {
        self.connection.body_length()
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.connection.peer_address()
    }

    /// The next piece of the request's body, never empty, without its framing; `None` when the request has ended. The first
    /// call tells a peer that waits for it to go on (`100 Continue`). Trailer fields are read and dropped. Cancel-safe.
    ///
    /// # Errors
    /// When the request cannot be read to its end; the connection ends with this exchange. A handler that returns the error has the
    /// peer told what was wrong.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        data(self.connection).await
    }

    /// Reads the rest of the body into memory, at most `size_max` bytes of it; `None` if it is larger. What was read to find that
    /// out is lost then, and what follows is still to be read. Not cancel-safe: what was read is lost.
    ///
    /// # Errors
    /// As [`data`](Self::data).
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

    /// Answers with a status, fields and a body, at once and whole. `Date`, `Connection` and `Content-Length` are added; the last is not
    /// with status 204 and 304. It leaves when the handler has ended, together with those to the pipelined requests around
    /// it. A response to HEAD is sent without its body.
    ///
    /// ```
    /// use ringtide::Error;
    /// use ringtide::http::StatusCode;
    /// use ringtide::server::{Answered, Exchange};
    ///
    /// async fn greet(exchange: Exchange<'_>) -> Result<Answered, Error> {
    ///     let language = String::from("en");
    ///     let name = exchange.head().query().unwrap_or("world").to_owned();
    ///     exchange.respond(StatusCode::OK, &[("Content-Language", &language)], format!("hello {name}\n"))
    /// }
    /// ```
    ///
    /// Names and values are text here. Those of other types go into a [`PreparedResponse`].
    ///
    /// # Errors
    /// [`RequestError::Head`] when a field holds what would be read as something else, or frames the message, or when a `body` that is
    /// not empty is given with a status that has none (204, 205, 304): it is not dropped silently. Nothing was answered; a handler that
    /// returns the error has the client answered with 500.
    pub fn respond<'b>(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        body: impl Into<Content<'b>>,
    ) -> Result<Answered, Error> {
        let body = body.into();
        let length = response::length_of(status, body.as_bytes().len()).map_err(RequestError::Head)?;
        let connection = self.connection;
        let is_head = connection.is_head_request();
        let ending = connection.begin_answer(true, false);
        encode(connection, status, fields, length, ending)?;
        if !is_head {
            connection.wire.write_data(body);
        }
        connection.wire.note(|progress| progress.answer = Answer::Whole);
        Ok(Answered(()))
    }

    /// Answers with a response that was encoded before. It leaves as that of [`respond`](Self::respond).
    #[inline]
    pub fn respond_with(self, response: &PreparedResponse) -> Answered {
        let connection = self.connection;
        let is_head = connection.is_head_request();
        let ending = connection.begin_answer(true, false);
        connection.wire.write(|out| response.encode_head(out, ending));
        if !is_head {
            connection.wire.write_data(response.body().into());
        }
        connection.wire.note(|progress| progress.answer = Answer::Whole);
        Answered(())
    }

    /// Begins an answer whose body follows through [`Responder::send`]: `length` bytes of it, or chunked when that is `None`. A client of
    /// HTTP/1.0, which knows no chunks, is told the end by the end of the connection. Fields are as with [`respond`](Self::respond).
    ///
    /// # Errors
    /// [`RequestError::Head`] when a field holds what would be read as something else, or the status is one that has no body (204, 205,
    /// 304), whatever `length` is. The exchange is dropped unanswered.
    pub fn stream(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<Responder<'c>, Error> {
        let connection = self.connection;
        response::length_of(status, 1).map_err(RequestError::Head)?;
        let length = match (length, connection.version()) {
            (Some(length), _) => BodyLength::Length(length),
            (None, Version::Http11) => BodyLength::Chunked,
            (None, Version::Http10) => BodyLength::UntilClose,
        };
        let has_body = !connection.is_head_request();
        let ending = connection.begin_answer(length != BodyLength::UntilClose, true);
        encode(connection, status, fields, length, ending)?;
        Ok(Responder { connection, left: length, has_body })
    }

    /// Ends the connection without an answer.
    pub fn disconnect(self) -> Answered {
        self.connection.disconnect();
        Answered(())
    }
}

// Here, as an exchange knows its connection, and not the other way round.
impl ServerConnection {
    /// The next request; `None` when there will be none: the peer has ended between two requests, or was told that the last answer was the last, or the
    /// exchange before was dropped unanswered. What is left of the request before is read and dropped first, up to
    /// [`DISCARD_SIZE_MAX`](super::server::DISCARD_SIZE_MAX). Answers that are queued are sent when there is no further request to take. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Protocol`], and [`Error::Incomplete`] when the peer ended inside a head; [`refuse`](Self::refuse) can tell it.
    /// [`Error::Network`]. No further request comes after any of them.
    pub async fn request(&mut self) -> Result<Option<Exchange<'_>>, Error> {
        let found = poll_fn(|context| self.poll_request(context)).await?;
        Ok(found.then_some(Exchange { connection: self }))
    }

    /// The current request, after `poll_request` was ready with `true`.
    #[inline]
    pub(crate) fn exchange(&mut self) -> Exchange<'_> {
        Exchange { connection: self }
    }
}

/// An answer that has begun. It is to be [finished](Self::finish): dropped before, it ends the connection, so that the peer sees that a part
/// is missing.
///
/// A handler whose answer is sent while it is made:
///
/// ```
/// use std::time::Duration;
///
/// use ringtide::http::StatusCode;
/// use ringtide::server::{Answered, Exchange};
/// use ringtide::{Error, runtime};
///
/// async fn count_down(exchange: Exchange<'_>) -> Result<Answered, Error> {
///     let mut responder = exchange.stream(StatusCode::OK, &[("Content-Type", "text/plain")], None)?;
///     for seconds in (1..=10).rev() {
///         responder.send(format!("{seconds}\n")).await?;
///         runtime::sleep(Duration::from_secs(1)).await;
///     }
///     responder.finish()
/// }
/// ```
pub struct Responder<'c> {
    connection: &'c mut ServerConnection,
    left: BodyLength,
    has_body: bool,
}

impl Responder<'_> {
    /// Sends a piece of the answer's body, little of it copied and much as it is. Returns when it is queued, which it is as soon as the
    /// peer has taken most of what was queued before: a slow reader holds its handler back. An empty piece is none. Cancel-safe: a
    /// dropped future has sent nothing.
    ///
    /// # Errors
    /// [`RequestError::BodyLength`] for more than was announced, of which nothing is sent. [`Error::Network`] when the peer is gone.
    pub async fn send<'b>(&mut self, data: impl Into<Content<'b>>) -> Result<(), Error> {
        let data = data.into();
        poll_fn(|context| self.poll_room(context)).await?;
        self.queue(data)
    }

    /// The next piece of the request's body, as [`Exchange::data`].
    ///
    /// # Errors
    /// As [`Exchange::data`]. As the answer has begun, the peer is told by the end of the connection alone.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        data(self.connection).await
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// [`RequestError::BodyLength`] for less than was announced; the connection ends.
    pub fn finish(self) -> Result<Answered, Error> {
        match self.left {
            BodyLength::Length(left) if left > 0 && self.has_body => {
                return Err(RequestError::BodyLength { announced: left, given: 0 }.into());
            }
            BodyLength::Chunked if self.has_body => {
                self.connection.wire.write(|out| out.extend_from_slice(h1::LAST_CHUNK));
            }
            _ => {}
        }
        self.connection.wire.note(|progress| progress.answer = Answer::Whole);
        Ok(Answered(()))
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let wire = &self.connection.wire;
        let room = wire.poll_room(context);
        wire.note(|progress| progress.waits |= room.is_pending());
        ready!(room).map_err(Error::Network)?;
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, data: Content<'_>) -> Result<(), Error> {
        let Some(size) = NonZeroU64::new(data.as_bytes().len() as u64) else { return Ok(()) };
        match &mut self.left {
            BodyLength::Length(left) if size.get() > *left => {
                return Err(RequestError::BodyLength { announced: *left, given: size.get() }.into());
            }
            BodyLength::Length(left) => *left -= size.get(),
            _ => {}
        }
        if !self.has_body {
            return Ok(());
        }
        let wire = &self.connection.wire;
        if self.left == BodyLength::Chunked {
            wire.write(|out| out.extend_from_slice(&ChunkHeader::new(size)));
            wire.write_data(data);
            wire.write(|out| out.extend_from_slice(h1::CHUNK_END));
        } else {
            wire.write_data(data);
        }
        Ok(())
    }
}

async fn data(connection: &mut ServerConnection) -> Result<Option<&[u8]>, Error> {
    let range = poll_fn(|context| connection.poll_data(context)).await?;
    Ok(range.map(|range| &connection.input.buffer()[range]))
}

fn encode(
    connection: &ServerConnection,
    status: StatusCode,
    fields: &[(&str, &str)],
    length: BodyLength,
    ending: response::Ending,
) -> Result<(), Error> {
    let encoded = connection
        .wire
        .write(|out| response::encode_head(out, status, fields.iter().copied(), length, ending));
    encoded.map_err(|error| {
        // Nothing was written, so another answer is possible.
        connection.wire.note(|progress| progress.answer = Answer::None);
        RequestError::Head(error).into()
    })
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({:?})", self.head())
    }
}

impl fmt::Debug for Responder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder({:?} left)", self.left)
    }
}
