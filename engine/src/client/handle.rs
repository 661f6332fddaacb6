//! Access to a client from other threads.
//!
//! The task [`serve`] on the client's worker takes requests from a [`Desk`] and runs each in a task of its own. It
//! copies the response out of the worker's buffers. Each request has one [`Call`], whose lock protects the data in both
//! directions. Any thread can wake the worker's tasks: their wakers go through the worker's inbox.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};

use super::call::{Call, Receiving};
use super::desk::{Desk, serve};
use super::local::{Client, request_to};
use super::options::ClientOptions;
use super::request_body::RemoteRequestBody;
use crate::error::{Error, RequestError};
use crate::runtime::{self, SetupError, Worker, WorkerOptions};

/// Sends requests to a [`Client`] on another thread.
///
/// Clones send to the same client. The futures work with any executor. The client processes requests only while its
/// worker is inside [`block_on`](Worker::block_on).
///
/// ```no_run
/// use ringtide::ClientOptions;
/// use ringtide::client::ClientHandle;
/// use ringtide::runtime::WorkerOptions;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ClientHandle::spawn(ClientOptions::default(), WorkerOptions::default())?;
/// let response = client.get("http://127.0.0.1:8080/").await?;
/// println!("{} {:?}", response.status(), response.into_body().bytes(1024 * 1024).await?);
/// # Ok(())
/// # }
/// ```
pub struct ClientHandle {
    desk: Arc<Desk>,
}

impl Client {
    /// Returns a handle that other threads can use to send requests to this client.
    ///
    /// The client lives until the handle, its clones and their requests are gone.
    ///
    /// # Panics
    /// Panics outside a worker's [`block_on`](Worker::block_on).
    #[track_caller]
    pub fn handle(&self) -> ClientHandle {
        let desk = Desk::new();
        runtime::spawn(serve(self.clone(), Arc::clone(&desk)));
        ClientHandle { desk }
    }
}

impl ClientHandle {
    /// Starts a client on a worker in a new thread.
    ///
    /// The thread ends when the handle, its clones and their requests have been dropped.
    ///
    /// # Errors
    /// As for [`Worker::new`], and [`SetupError::Thread`]. No thread is left running.
    ///
    /// # Panics
    /// Panics if the new thread panics while it creates its worker. That is a bug in this library.
    pub fn spawn(client: ClientOptions, worker: WorkerOptions) -> Result<Self, SetupError> {
        let (sender, receiver) = mpsc::channel();
        let run = move || {
            let mut worker = match Worker::new(&worker) {
                Ok(worker) => worker,
                Err(error) => return drop(sender.send(Err(error))),
            };
            worker.block_on(async {
                let desk = Desk::new();
                let serving = serve(Client::new(client), Arc::clone(&desk));
                drop(sender.send(Ok(Self { desk })));
                serving.await;
            });
        };
        thread::Builder::new().name("ringtide-client".to_owned()).spawn(run).map_err(SetupError::Thread)?;
        receiver.recv().expect("the new thread panicked before it reported its start")
    }

    /// Sends `GET uri`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As for [`request`](Self::request), and [`RequestError::Uri`](crate::error::RequestError::Uri) if `uri` cannot be
    /// parsed.
    pub fn get(&self, uri: &str) -> RemoteRequest {
        self.start(request_to(Method::GET, uri, ().into()))
    }

    /// Sends `POST uri` with `body`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn post(&self, uri: &str, body: impl Into<RemoteRequestBody>) -> RemoteRequest {
        self.start(request_to(Method::POST, uri, body.into()))
    }

    /// Sends `request` as [`Client::request`] does.
    ///
    /// The request is sent when the future is first polled. To write a body while it is sent, use a
    /// [`body_channel`](super::body_channel).
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready cancels the request on the client's worker.
    ///
    /// # Errors
    /// As for [`Client::request`], and [`Error::WorkerEnded`].
    pub fn request<B: Into<RemoteRequestBody>>(&self, request: Request<B>) -> RemoteRequest {
        self.start(Ok(request.map(Into::into)))
    }

    fn start(&self, request: Result<Request<RemoteRequestBody>, RequestError>) -> RemoteRequest {
        RemoteRequest { request: Some(request), call: None, handle: self.clone() }
    }
}

impl Clone for ClientHandle {
    fn clone(&self) -> Self {
        self.desk.add_handle();
        Self { desk: Arc::clone(&self.desk) }
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.desk.remove_handle();
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientHandle")
    }
}

/// A request sent through a [`ClientHandle`]: a future of its response.
#[must_use = "futures do nothing unless they are polled"]
pub struct RemoteRequest {
    request: Option<Result<Request<RemoteRequestBody>, RequestError>>,
    call: Option<Receiving>,
    handle: ClientHandle,
}

impl Future for RemoteRequest {
    type Output = Result<Response<RemoteBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(request) = self.request.take() {
            let call = Arc::<Call>::default();
            self.handle.desk.submit(request?, Arc::clone(&call));
            self.call = Some(Receiving::new(call));
        }
        let call = self.call.as_ref().expect("`RemoteRequest` polled after completion");
        let head = ready!(call.poll_head(context));
        let handle = self.handle.clone();
        let receiving = self.call.take();
        Poll::Ready(
            head.map(|head| head.map(|size| RemoteBody { receiving, remaining: size, _handle: handle })),
        )
    }
}

impl fmt::Debug for RemoteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteRequest({})", if self.call.is_some() { "sent" } else { "not sent" })
    }
}

/// The body of a response that a [`ClientHandle`] returned.
///
/// Its pieces are copies. The worker reads at most [`REMOTE_UNREAD_SIZE_MAX`](super::REMOTE_UNREAD_SIZE_MAX) bytes and
/// one piece ahead. Dropping the body before its end has the same effect as for [`Body`](super::Body).
pub struct RemoteBody {
    receiving: Option<Receiving>,
    remaining: Option<u64>,
    /// Keeps the worker alive.
    _handle: ClientHandle,
}

impl RemoteBody {
    /// Returns the next piece, which is never empty, or `None` at the end of the body.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped future loses no data.
    ///
    /// # Errors
    /// As for [`Body::data`](super::Body::data), and [`Error::WorkerEnded`].
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|context| self.poll_data(context)).await
    }

    /// Reads the rest of the body into memory, up to `size_max` bytes.
    ///
    /// # Cancel safety
    /// Not cancel-safe: a dropped future loses what it has read.
    ///
    /// # Errors
    /// As for [`Body::bytes`](super::Body::bytes), and [`Error::WorkerEnded`].
    pub async fn bytes(mut self, size_max: usize) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.data().await? {
            if bytes.len() + piece.len() > size_max {
                return Err(Error::BodyTooLarge { size_max });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some(receiving) = &self.receiving else { return Poll::Ready(Ok(None)) };
        let outcome = ready!(receiving.poll_piece(context));
        match &outcome {
            Ok(Some(piece)) => {
                self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(piece.len() as u64));
            }
            Ok(None) | Err(_) => self.receiving = None,
        }
        Poll::Ready(outcome)
    }
}

impl http_body::Body for RemoteBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut()
            .poll_data(context)
            .map(|outcome| outcome.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.receiving.is_none() || self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for RemoteBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
