//! The body of a request: bytes at hand, or a stream of them.

use std::error;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::error::{Error, RequestError};

/// The body of a request.
///
/// Bytes at hand are made by `From`: [`Bytes`], `Vec<u8>`, `String`, `&'static str`, `&'static [u8]`, and `()` for none. They are
/// announced by `Content-Length`, and can be sent again where a request may be replayed. [`file`](Self::file) is a file, and everything
/// else that is a body is given to [`stream`](Self::stream).
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
    /// To be opened by [`StreamedBody::open`].
    File(PathBuf),
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
        Self(Content::Stream(StreamedBody::new(Box::pin(body), announced)))
    }

    /// The contents of the file at `path`. It is opened when the request is made, and read while it is sent, on a thread beside the worker
    /// and at most one piece of 256 KiB ahead.
    ///
    /// The size of a plain file is announced by `Content-Length`: one that grows meanwhile is sent up to that, one that shrinks ends
    /// the request with [`RequestError::BodyLength`]. Anything else that can be read, as a pipe, is sent in chunks. A file that cannot be
    /// opened or read is [`Error::File`], which names it.
    ///
    /// ```no_run
    /// use ringtide::client::RequestBody;
    ///
    /// # async fn example(client: ringtide::Client) -> Result<(), ringtide::Error> {
    /// client.post("http://127.0.0.1:8080/photos", RequestBody::file("beach.jpg")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Content::File(path.into()))
    }

    pub(super) fn into_content(self) -> Content {
        self.0
    }
}

/// The body of a request that is handed to a client on another thread: a [`RequestBody`] that may travel.
///
/// It is made as that is, by `From` of bytes at hand, [`file`](Self::file) and [`stream`](Self::stream).
pub struct RemoteRequestBody(RemoteContent);

enum RemoteContent {
    Bytes(Bytes),
    File(PathBuf),
    Stream(Pin<Box<dyn Source + Send>>, Option<u64>),
}

impl RemoteRequestBody {
    /// As [`RequestBody::stream`]. The body is polled on the client's worker: one that needs its caller's runtime, as what reads a file or a
    /// socket of tokio's, goes through a [`body_channel`](super::body_channel) instead.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<Box<dyn error::Error + Send + Sync>>,
    {
        let announced = body.size_hint().exact();
        if announced == Some(0) {
            return Bytes::new().into();
        }
        Self(RemoteContent::Stream(Box::pin(body), announced))
    }

    /// As [`RequestBody::file`].
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(RemoteContent::File(path.into()))
    }
}

impl From<RemoteRequestBody> for RequestBody {
    fn from(body: RemoteRequestBody) -> Self {
        Self(match body.0 {
            RemoteContent::Bytes(bytes) => Content::Bytes(bytes),
            RemoteContent::File(path) => Content::File(path),
            RemoteContent::Stream(source, announced) => Content::Stream(StreamedBody::new(source, announced)),
        })
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self(Content::Bytes(bytes))
    }
}

impl From<Bytes> for RemoteRequestBody {
    fn from(bytes: Bytes) -> Self {
        Self(RemoteContent::Bytes(bytes))
    }
}

/// Bodies of bytes at hand, from what `Bytes` is made of.
macro_rules! from_bytes_at_hand {
    ($($body:ty: $($source:ty),*;)*) => {$($(
        impl From<$source> for $body {
            fn from(source: $source) -> Self {
                Bytes::from(source).into()
            }
        }
    )*

        impl From<()> for $body {
            fn from((): ()) -> Self {
                Bytes::new().into()
            }
        }
    )*};
}

from_bytes_at_hand! {
    RequestBody: Vec<u8>, String, &'static str, &'static [u8];
    RemoteRequestBody: Vec<u8>, String, &'static str, &'static [u8];
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Bytes(bytes) => write!(f, "RequestBody({} bytes)", bytes.len()),
            Content::Stream(StreamedBody { announced: Some(size), .. }) => {
                write!(f, "RequestBody({size} bytes, streamed)")
            }
            Content::Stream(_) => f.write_str("RequestBody(streamed)"),
            Content::File(path) => write!(f, "RequestBody(file {})", path.display()),
        }
    }
}

impl fmt::Debug for RemoteRequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            RemoteContent::Bytes(_) => "RemoteRequestBody(bytes)",
            RemoteContent::File(_) => "RemoteRequestBody(file)",
            RemoteContent::Stream(..) => "RemoteRequestBody(streamed)",
        })
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
    /// What `source` gives, as many bytes as are `announced` if that is known.
    pub(super) fn new(source: Pin<Box<dyn Source>>, announced: Option<u64>) -> Self {
        Self { source, announced, given: 0, begun: false }
    }

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
        let data = ready!(self.source.as_mut().poll_data(context))?;
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

/// What pieces come from: a file, or any [`http_body::Body`] as far as it is of use here.
pub(super) trait Source {
    /// The next piece, `None` at the end.
    fn poll_data(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>>;
}

impl<B> Source for B
where
    B: http_body::Body,
    B::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    fn poll_data(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            match ready!(self.as_mut().poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(RequestError::Body(error.into()).into())),
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data.copy_to_bytes(data.remaining()))));
                    }
                }
            }
        }
    }
}
