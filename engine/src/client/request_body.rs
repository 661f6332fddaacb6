//! The body of a request: bytes at hand, or a stream of them.

use std::error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::error::{Error, RequestError};

/// The body of a request.
///
/// Bytes at hand are made by `From`: [`Bytes`], `Vec<u8>`, `String`, `&'static str`, `&'static [u8]`, and `()` for none. They are
/// announced by `Content-Length`, and can be sent again where a request may be replayed. Everything else that is a body is given
/// to [`stream`](Self::stream).
///
/// ```
/// use ringtide::client::RequestBody;
///
/// let body = RequestBody::from("hello");
/// assert_eq!(format!("{body:?}"), "RequestBody(5 bytes)");
/// ```
pub struct RequestBody(Content);

pub(super) enum Content {
    Bytes(Bytes),
    Stream(StreamedBody),
}

impl RequestBody {
    /// A body that is made while it is sent: a piece is asked for when the kernel has taken the one before.
    ///
    /// It is announced by `Content-Length` when its size hint is exact, and sent in chunks otherwise. Its trailers are not sent
    /// (RFC 9110 §6.5.1 lets them be dropped). An error of its own, or another length than announced, ends the request with
    /// [`RequestError::Body`] or [`RequestError::BodyLength`] and closes the connection.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::pin::Pin;
    /// use std::task::{Context, Poll};
    ///
    /// use ringtide::bytes::Bytes;
    /// use ringtide::client::RequestBody;
    /// use ringtide::http::Request;
    /// use ringtide::http_body::{Body, Frame};
    ///
    /// /// So many lines.
    /// struct Lines(u32);
    ///
    /// impl Body for Lines {
    ///     type Data = Bytes;
    ///     type Error = Infallible;
    ///
    ///     fn poll_frame(
    ///         mut self: Pin<&mut Self>,
    ///         _context: &mut Context<'_>,
    ///     ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
    ///         let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
    ///         self.0 = left;
    ///         Poll::Ready(Some(Ok(Frame::data(format!("{left} to go\n").into()))))
    ///     }
    /// }
    ///
    /// // For `Client::request`.
    /// let upload = Request::put("http://127.0.0.1:8080/lines").body(RequestBody::stream(Lines(1000)))?;
    /// # Ok::<(), ringtide::http::Error>(())
    /// ```
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body + 'static,
        B::Error: Into<Box<dyn error::Error + Send + Sync>>,
    {
        let announced = body.size_hint().exact();
        if announced == Some(0) {
            return Bytes::new().into();
        }
        Self(Content::Stream(StreamedBody { source: Box::pin(body), announced, given: 0, begun: false }))
    }

    pub(super) fn into_content(self) -> Content {
        self.0
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self(Content::Bytes(bytes))
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for RequestBody {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Bytes::new().into()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Bytes(bytes) => write!(f, "RequestBody({} bytes)", bytes.len()),
            Content::Stream(StreamedBody { announced: Some(size), .. }) => {
                write!(f, "RequestBody({size} bytes, streamed)")
            }
            Content::Stream(_) => f.write_str("RequestBody(streamed)"),
        }
    }
}

/// A body whose pieces come one by one, held to what it has announced.
pub(super) struct StreamedBody {
    source: Pin<Box<dyn Source>>,
    announced: Option<u64>,
    given: u64,
    begun: bool,
}

impl StreamedBody {
    /// How many bytes it is to give.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Whether a piece has been asked for, so that it cannot be sent from its start any more.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The next piece, `None` at the end.
    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        self.begun = true;
        let data = ready!(self.source.as_mut().poll_data(context)).map_err(RequestError::Body)?;
        self.given += data.as_ref().map_or(0, |data| data.len() as u64);
        let wrong = |announced: &u64| {
            if data.is_some() { self.given > *announced } else { self.given < *announced }
        };
        match self.announced.filter(wrong) {
            Some(announced) => {
                Poll::Ready(Err(RequestError::BodyLength { announced, given: self.given }.into()))
            }
            None => Poll::Ready(Ok(data)),
        }
    }
}

/// Any [`http_body::Body`], as far as it is of use here.
trait Source {
    fn poll_data(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Box<dyn error::Error + Send + Sync>>>;
}

impl<B> Source for B
where
    B: http_body::Body,
    B::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    fn poll_data(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Box<dyn error::Error + Send + Sync>>> {
        loop {
            match ready!(self.as_mut().poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data.copy_to_bytes(data.remaining()))));
                    }
                }
            }
        }
    }
}
