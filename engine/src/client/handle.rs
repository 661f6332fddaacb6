//! The way to a client from other threads: requests and responses as values that may travel.
//!
//! A task on the client's worker, [`serve`], takes the requests from a [`Desk`] and carries each out in a task of its own. What comes back is
//! copied out of the worker's buffers. Both directions go through one [`Call`] for each request, under its lock; a waker of the
//! worker's tasks works from any thread, through the worker's inbox.

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

/// Sends requests to a [`Client`] on another thread. Clones lead to the same client; any executor will do.
///
/// Requests are carried out while the client's worker is inside [`block_on`](Worker::block_on).
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
    /// A handle to this client for other threads. The client lives on as long as the handle, its clones, and the requests that they made.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](Worker::block_on).
    #[track_caller]
    pub fn handle(&self) -> ClientHandle {
        let desk = Desk::new();
        runtime::spawn(serve(self.clone(), Arc::clone(&desk)));
        ClientHandle { desk }
    }
}

impl ClientHandle {
    /// A client on a worker of its own, in a new thread. The thread ends when the handle, its clones, and the requests that they made, are gone.
    ///
    /// # Errors
    /// As [`Worker::new`], and [`SetupError::Thread`]; the thread is gone then.
    ///
    /// # Panics
    /// When the new thread does, in making its worker, which is a fault of this library.
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
        receiver.recv().expect("the thread says how its start went")
    }

    /// Sends `GET uri`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As [`request`](Self::request); [`RequestError::Uri`](crate::error::RequestError::Uri) also when `uri` cannot be parsed.
    pub fn get(&self, uri: &str) -> RemoteRequest {
        self.start(request_to(Method::GET, uri, ().into()))
    }

    /// Sends `POST uri` with `body`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post(&self, uri: &str, body: impl Into<RemoteRequestBody>) -> RemoteRequest {
        self.start(request_to(Method::POST, uri, body.into()))
    }

    /// As [`Client::request`]. The request is sent when the future is first polled; dropping it before it is ready cancels the
    /// request over there. A body that is written while it is sent is a [`body_channel`](super::body_channel).
    ///
    /// # Errors
    /// As [`Client::request`], and [`Error::WorkerEnded`].
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

/// A request on its way through a [`ClientHandle`]: the future of its response.
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
        let call = self.call.as_ref().expect("a request that has its response is not polled again");
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

/// The body of a response on another thread than its client. Its pieces are copies. The worker reads at most [`REMOTE_UNREAD_SIZE_MAX`](super::REMOTE_UNREAD_SIZE_MAX) bytes ahead, and
/// one piece. Dropping it before its end is as with [`Body`](super::Body).
pub struct RemoteBody {
    receiving: Option<Receiving>,
    remaining: Option<u64>,
    /// The worker lives as long as somebody needs it.
    _handle: ClientHandle,
}

impl RemoteBody {
    /// The next piece, never empty; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// As [`Body::data`](super::Body::data), and [`Error::WorkerEnded`].
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|context| self.poll_data(context)).await
    }

    /// The whole rest of the body, at most `size_max` bytes of it. Not cancel-safe: what was read is lost.
    ///
    /// # Errors
    /// As [`Body::bytes`](super::Body::bytes), and [`Error::WorkerEnded`].
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
