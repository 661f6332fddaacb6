//! One request and its response, as a handler sees them.

use std::fmt;
use std::future::poll_fn;
use std::io;

use http::StatusCode;
use ringtide_driver::Address;

use super::content::Content;
use super::h1::{self, Found, ServerConnection};
use super::h2;
use super::response::PreparedResponse;
use super::takeover::Takeover;
use crate::error::{Error, RequestError};
use crate::message::{Fields, RequestHead};
use crate::proto;
use crate::stream::Stream;

/// A request that waits for its response.
///
/// The head and the pieces of the body are borrowed from the buffers in which they arrived.
///
/// To respond at once with a whole response, call [`respond`](Self::respond) or [`respond_with`](Self::respond_with).
/// To send a response piece by piece, call [`stream`](Self::stream). A handler need not read the request's body first.
/// The connection reads and drops the rest if it is small, and closes if it is large. Dropping an exchange without a
/// response closes the connection.
///
/// This handler takes an upload of any size, and holds only the piece in memory that has just arrived:
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
pub struct Exchange<'c>(Inner<'c>);

enum Inner<'c> {
    Http1(h1::Exchange<'c>),
    Http2(h2::Exchange),
}

/// The proof that a handler has sent a complete response, or has disconnected.
#[derive(Debug)]
#[must_use = "a handler must return it"]
pub struct Answered(());

impl<'c> Exchange<'c> {
    /// Returns the head of the request.
    #[inline]
    pub fn head(&self) -> RequestHead<'_> {
        match &self.0 {
            Inner::Http1(exchange) => exchange.head().into(),
            Inner::Http2(exchange) => exchange.head().into(),
        }
    }

    /// Returns the size of the request's body, or `None` if only its end will tell.
    pub fn body_size(&self) -> Option<u64> {
        match &self.0 {
            Inner::Http1(exchange) => exchange.body_size(),
            Inner::Http2(exchange) => exchange.body_size(),
        }
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    /// As for getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        match &self.0 {
            Inner::Http1(exchange) => exchange.peer_address(),
            Inner::Http2(exchange) => exchange.peer_address(),
        }
    }

    /// Returns the next piece of the request's body without its framing, or `None` when the request has ended. A piece
    /// is never empty.
    ///
    /// If the peer waits for `100 Continue`, the first call sends it. After the end, [`trailers`](Self::trailers) has the
    /// trailer fields.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future loses no data.
    ///
    /// # Errors
    /// The request cannot be read to its end. The connection closes after this exchange. If the handler returns the
    /// error, the peer receives a response that describes it.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        match &mut self.0 {
            Inner::Http1(exchange) => exchange.data().await,
            Inner::Http2(exchange) => exchange.data().await,
        }
    }

    /// Returns the trailer fields that came after the request's body, once [`data`](Self::data) has returned `None`. `None`
    /// if there are none.
    pub fn trailers(&self) -> Option<Fields<'_>> {
        let list = match &self.0 {
            Inner::Http1(exchange) => exchange.trailers(),
            Inner::Http2(exchange) => exchange.trailers(),
        };
        list.map(|list| proto::h2::Fields::new(list).into())
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

    /// Responds with a status, header fields and a whole body.
    ///
    /// This adds `Date`, `Connection` where it is needed, and `Content-Length` except for status 204 and 304. The
    /// response is sent after the handler returns, in one send with the responses to the pipelined requests around it.
    /// A response to HEAD is sent without its body.
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
    /// Field names and values are text here. For other types, use a [`PreparedResponse`].
    ///
    /// # Errors
    /// [`RequestError::Head`](crate::error::RequestError::Head) in these cases:
    /// - A field has bytes that the peer could read as something else, or it sets the message's framing.
    /// - `body` is not empty but the status allows none (204, 205, 304). The body is not dropped silently.
    ///
    /// Nothing was sent. If the handler returns the error, the client receives a response with status 500.
    pub fn respond<'b>(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        body: impl Into<Content<'b>>,
    ) -> Result<Answered, Error> {
        let body = body.into();
        match self.0 {
            Inner::Http1(exchange) => exchange.respond(status, fields, body)?,
            Inner::Http2(exchange) => exchange.respond(status, fields, body)?,
        }
        Ok(Answered(()))
    }

    /// Responds with a response that was encoded before. It is sent like that of [`respond`](Self::respond).
    #[inline]
    pub fn respond_with(self, response: &PreparedResponse) -> Answered {
        match self.0 {
            Inner::Http1(exchange) => exchange.respond_with(response),
            Inner::Http2(exchange) => exchange.respond_with(response),
        }
        Answered(())
    }

    /// Begins a response whose body the caller sends with [`Responder::send`].
    ///
    /// The body has `length` bytes, or is sent in chunks if `length` is `None`. An HTTP/1.0 client does not understand
    /// chunks, so for it the end of the connection marks the end of the body. Fields work as for
    /// [`respond`](Self::respond).
    ///
    /// # Errors
    /// [`RequestError::Head`](crate::error::RequestError::Head) in these cases:
    /// - A field has bytes that the peer could read as something else, or it sets the message's framing.
    /// - The status allows no body (204, 205, 304). This holds for every `length`, even 0.
    ///
    /// Nothing was sent, and the exchange is dropped without a response.
    pub fn stream(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<Responder<'c>, Error> {
        Ok(Responder(match self.0 {
            Inner::Http1(exchange) => Responding::Http1(exchange.stream(status, fields, length)?),
            Inner::Http2(exchange) => Responding::Http2(exchange.stream(status, fields, length)?),
        }))
    }

    /// Returns the exchange for another task, which may respond after the handler's future has been dropped. Returns it
    /// unchanged if it borrows its connection, as over HTTP/1.1.
    ///
    /// The handler still returns the [`Answered`] that proves the response. While it waits for that proof, it is dropped if the
    /// stream ends; the exchange then gives an error, or its response goes nowhere.
    ///
    /// # Errors
    /// The exchange itself.
    pub fn detach(self) -> Result<Exchange<'static>, Self> {
        match self.0 {
            Inner::Http1(_) => Err(self),
            Inner::Http2(exchange) => Ok(exchange.into()),
        }
    }

    /// Responds with a switch to another protocol, and gives the connection's stream to `take`.
    ///
    /// `status` is 101 (Switching Protocols) to a request with `Connection: upgrade`, or a status of success to CONNECT, which
    /// handlers get with [`ServiceOptions::accept_connect`](crate::server::ServiceOptions::accept_connect). `fields` name the
    /// protocol with `Upgrade`, and have what else the protocol asks for; this adds `Connection` and `Date`.
    ///
    /// `take` begins when the handler has returned and the kernel has taken the response and those before it. What the client has
    /// sent behind its request comes first when the stream is read. With TLS, the stream goes on with it.
    ///
    /// The server still counts the connection under its limit, and applies no time limits but that of the shutdown: when
    /// [`shutdown_timeout`](crate::server::ServiceOptions::shutdown_timeout) is over, it drops `take`. A panic is reported and ends
    /// this connection only. If the handler returns an error after this, `take` never begins, and the connection closes.
    ///
    /// This server speaks a protocol of lines to clients that ask for it:
    ///
    /// ```
    /// use ringtide::Error;
    /// use ringtide::http::StatusCode;
    /// use ringtide::server::{Answered, Exchange};
    /// use ringtide::stream::Stream;
    ///
    /// async fn handle(exchange: Exchange<'_>) -> Result<Answered, Error> {
    ///     if exchange.head().fields().get("upgrade") != Some(b"lines") {
    ///         return exchange.respond(StatusCode::UPGRADE_REQUIRED, &[("Upgrade", "lines")], "this is about lines\n");
    ///     }
    ///     exchange.upgrade(StatusCode::SWITCHING_PROTOCOLS, &[("Upgrade", "lines")], async |stream| {
    ///         // The client learns of an error by the end of the stream.
    ///         let _ = count_lines(stream).await;
    ///     })
    /// }
    ///
    /// async fn count_lines(mut stream: Stream) -> std::io::Result<()> {
    ///     let mut count = 0;
    ///     while stream.read_line(1_000).await?.is_some() {
    ///         count += 1;
    ///         stream.write_all(format!("{count} lines\n").as_bytes()).await?;
    ///     }
    ///     stream.close().await
    /// }
    /// ```
    ///
    /// # Errors
    /// Nothing was sent. If the handler returns the error, the client receives a response with status 500.
    /// - [`RequestError::Upgrade`](crate::error::RequestError::Upgrade): the request does not ask for another protocol, its body
    ///   has not been [read](Self::data), `status` is another one, or the connection speaks HTTP/2.
    /// - [`RequestError::Head`](crate::error::RequestError::Head): as for [`respond`](Self::respond).
    pub fn upgrade(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        take: impl AsyncFnOnce(Stream) + 'static,
    ) -> Result<Answered, Error> {
        match self.0 {
            Inner::Http1(exchange) => exchange.upgrade(status, fields, Takeover::new(take))?,
            // RFC 9113 §8.6: it has no 101.
            Inner::Http2(_) => {
                return Err(RequestError::Upgrade { reason: "the connection speaks HTTP/2" }.into());
            }
        }
        Ok(Answered(()))
    }

    /// Closes the connection without a response.
    pub fn disconnect(self) -> Answered {
        match self.0 {
            Inner::Http1(exchange) => exchange.disconnect(),
            Inner::Http2(exchange) => exchange.disconnect(),
        }
        Answered(())
    }
}

impl From<h2::Exchange> for Exchange<'_> {
    #[inline]
    fn from(exchange: h2::Exchange) -> Self {
        Self(Inner::Http2(exchange))
    }
}

// This is here because an exchange depends on its connection, not the reverse.
impl ServerConnection {
    /// Returns the next request, or `None` if there is none.
    ///
    /// There is none if the peer ended the stream between two requests, if the last response announced the end of the
    /// connection, or if the previous exchange was dropped without a response.
    ///
    /// This first reads and drops the rest of the previous request, up to
    /// [`DISCARD_SIZE_MAX`](super::DISCARD_SIZE_MAX) bytes. When no further request has arrived, it sends the
    /// queued responses.
    ///
    /// # Cancel safety
    /// Cancel-safe: a later call continues where a dropped future stopped.
    ///
    /// # Errors
    /// After any error there are no further requests.
    /// - [`Error::Protocol`], and [`Error::Incomplete`] if the peer ended the stream inside a head.
    ///   [`refuse`](Self::refuse) responds to the peer with a matching status.
    /// - [`Error::Network`].
    pub async fn request(&mut self) -> Result<Option<Exchange<'_>>, Error> {
        let found = poll_fn(|context| self.poll_request(context)).await?;
        Ok((found == Found::Request).then(|| self.exchange()))
    }

    /// Returns the current request, after `poll_request` was ready with `true`.
    #[inline]
    pub(crate) fn exchange(&mut self) -> Exchange<'_> {
        Exchange(Inner::Http1(h1::Exchange { connection: self }))
    }
}

/// A response that has begun.
///
/// The handler must [finish](Self::finish) it. Dropping it earlier closes the connection, so that the peer notices that
/// a part is missing.
///
/// This handler sends a response while it produces it:
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
pub struct Responder<'c>(Responding<'c>);

enum Responding<'c> {
    Http1(h1::Responder<'c>),
    Http2(h2::Responder),
}

impl Responder<'_> {
    /// Queues a piece of the response's body. A small piece is copied; a large owned one is not.
    ///
    /// This waits until the peer has taken most of what was queued before, so that back-pressure from a slow reader
    /// stops the handler. An empty piece sends nothing.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future has sent nothing.
    ///
    /// # Errors
    /// - [`RequestError::BodyLength`](crate::error::RequestError::BodyLength): the piece exceeds the announced length.
    ///   Nothing of it is sent.
    /// - [`Error::Network`]: the peer is gone.
    pub async fn send<'b>(&mut self, data: impl Into<Content<'b>>) -> Result<(), Error> {
        let data = data.into();
        match &mut self.0 {
            Responding::Http1(responder) => responder.send(data).await,
            Responding::Http2(responder) => responder.send(data).await,
        }
    }

    /// Returns the next piece of the request's body, as [`Exchange::data`] does.
    ///
    /// # Errors
    /// As for [`Exchange::data`]. Since the response has begun, the peer learns of an error only by the end of the
    /// connection.
    pub async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        match &mut self.0 {
            Responding::Http1(responder) => responder.data().await,
            Responding::Http2(responder) => responder.data().await,
        }
    }

    /// Returns the trailer fields of the request, as [`Exchange::trailers`] does.
    pub fn trailers(&self) -> Option<Fields<'_>> {
        let list = match &self.0 {
            Responding::Http1(responder) => responder.trailers(),
            Responding::Http2(responder) => responder.trailers(),
        };
        list.map(|list| proto::h2::Fields::new(list).into())
    }

    /// Ends the response with trailer fields, such as a checksum of the body.
    ///
    /// Over HTTP/1.1 only a body of unknown length can have trailers: after another one they are dropped.
    ///
    /// # Errors
    /// As for [`finish`](Self::finish), and [`RequestError::Head`](crate::error::RequestError::Head) if a field may not be
    /// sent. The connection then closes,
    /// or over HTTP/2 the stream.
    pub fn finish_with_trailers(self, trailers: &[(&str, &str)]) -> Result<Answered, Error> {
        match self.0 {
            Responding::Http1(responder) => responder.finish_with_trailers(trailers)?,
            Responding::Http2(responder) => responder.finish_with_trailers(trailers)?,
        }
        Ok(Answered(()))
    }

    /// Ends the response.
    ///
    /// # Errors
    /// [`RequestError::BodyLength`](crate::error::RequestError::BodyLength) if the body is shorter than announced. The
    /// connection then closes.
    pub fn finish(self) -> Result<Answered, Error> {
        match self.0 {
            Responding::Http1(responder) => responder.finish()?,
            Responding::Http2(responder) => responder.finish()?,
        }
        Ok(Answered(()))
    }
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({:?})", self.head())
    }
}

impl fmt::Debug for Responder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Responding::Http1(responder) => write!(f, "Responder({:?} left)", responder.left()),
            Responding::Http2(responder) => write!(f, "Responder({:?} left)", responder.left()),
        }
    }
}
