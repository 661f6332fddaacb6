//! The body of a request: bytes in memory, a file or a stream.

use std::error;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::error::{Error, RequestError};

/// The body of a request.
///
/// `From` creates a body from bytes in memory: [`Bytes`], `Vec<u8>`, `String`, `&'static str`, `&'static [u8]`, or `()`
/// for an empty body. Such a body is sent with `Content-Length`, and the client can send it again if it replays the
/// request. [`file`](Self::file) creates a body from a file, and [`stream`](Self::stream) from any other
/// [`http_body::Body`].
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
    File(PathBuf),
    Stream(StreamedBody),
}

impl RequestBody {
    /// Creates a body that is produced while it is sent.
    ///
    /// The client polls `body` for the next piece when the kernel has taken the previous one. It sends the body with
    /// `Content-Length` if the size hint is exact, and in chunks otherwise. It does not send trailers (RFC 9110 §6.5.1
    /// allows them to be dropped).
    ///
    /// If the body fails, the request ends with [`RequestError::Body`]. If its length is not the announced one, the
    /// request ends with [`RequestError::BodyLength`]. Either closes the connection.
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
    /// /// Produces this many lines.
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
    /// // Pass it to `Client::request`.
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

    /// Creates a body from the contents of the file at `path`.
    ///
    /// The client opens the file when it starts the request. It reads the file while it sends it, on a thread beside
    /// the worker, and at most one piece of 256 KiB ahead.
    ///
    /// A regular file is sent with its size as `Content-Length`. If the file grows while it is sent, the client sends
    /// only the announced size. If it shrinks, the request ends with [`RequestError::BodyLength`]. Any other readable
    /// file, such as a pipe, is sent in chunks. If the file cannot be opened or read, the request ends with
    /// [`Error::File`], which contains its path.
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

    /// Returns whether it must be [opened](Self::open).
    pub(super) fn is_file(&self) -> bool {
        matches!(self.0, Content::File(_))
    }

    /// Opens the body if it is a file.
    pub(super) async fn open(self) -> Result<Self, Error> {
        let Content::File(path) = self.0 else { return Ok(self) };
        let body = StreamedBody::open(path).await?;
        // An empty body needs no upload step. So the request is already sent whole when the response arrives.
        Ok(Self(if body.announced() == Some(0) {
            Content::Bytes(Bytes::new())
        } else {
            Content::Stream(body)
        }))
    }

    pub(super) fn into_content(self) -> Content {
        self.0
    }
}

/// The body of a request sent through a [`ClientHandle`](super::ClientHandle): a [`RequestBody`] that can move to
/// another thread.
///
/// Create it in the same way: with `From` for bytes in memory, with [`file`](Self::file), or with
/// [`stream`](Self::stream).
pub struct RemoteRequestBody(RemoteContent);

enum RemoteContent {
    Bytes(Bytes),
    File(PathBuf),
    Stream(Pin<Box<dyn Source + Send>>, Option<u64>),
}

impl RemoteRequestBody {
    /// Creates a body that is produced while it is sent, as [`RequestBody::stream`] does.
    ///
    /// The client's worker polls the body. A body that depends on the caller's runtime, such as one that reads a tokio
    /// file or socket, must go through a [`body_channel`](super::body_channel) instead.
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

    /// Creates a body from the contents of a file, as [`RequestBody::file`] does.
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

/// Implements `From` for the types that convert into `Bytes`.
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

/// A body that is read piece by piece. It checks the length against the announced one.
pub(super) struct StreamedBody {
    source: Pin<Box<dyn Source>>,
    announced: Option<u64>,
    given: u64,
    begun: bool,
}

impl StreamedBody {
    /// Creates a body that reads from `source`, which should return as many bytes as `announced`, if that is known.
    pub(super) fn new(source: Pin<Box<dyn Source>>, announced: Option<u64>) -> Self {
        Self { source, announced, given: 0, begun: false }
    }

    /// Returns the announced length in bytes.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Returns whether a piece has been requested. If so, the body cannot be sent from its start again.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Polls for the next piece; `None` at the end.
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

/// The source of a body's pieces: a file, or an [`http_body::Body`] without its trailers.
pub(super) trait Source {
    /// Polls for the next piece; `None` at the end.
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
