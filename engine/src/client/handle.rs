//! The way to a client from other threads: requests and responses as values that may travel.
//!
//! A task on the client's worker, [`serve`], takes the requests from a queue and carries each out in a task of its own. What comes back is
//! copied out of the worker's buffers. Both directions go through one [`Call`] for each request, under its lock; a waker of the
//! worker's tasks works from any thread, through the worker's inbox.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};

use super::{Client, ClientOptions};
use crate::error::Error;
use crate::runtime::{self, SetupError, Worker, WorkerOptions};

/// Bytes of a body that wait on the way to another thread. Beyond that the worker reads no further, and so holds the peer back.
pub const REMOTE_UNREAD_SIZE_MAX: usize = 256 * 1024;

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
/// let request = http::Request::get("http://127.0.0.1:8080/").body(bytes::Bytes::new())?;
/// let response = client.request(request).await?;
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
        let handle =
            ClientHandle { desk: Arc::new(Desk { handles: AtomicUsize::new(1), state: Mutex::default() }) };
        runtime::spawn(serve(self.clone(), Closing(Arc::clone(&handle.desk))));
        handle
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
                let client = Client::new(client);
                let desk = Arc::new(Desk { handles: AtomicUsize::new(1), state: Mutex::default() });
                drop(sender.send(Ok(Self { desk: Arc::clone(&desk) })));
                serve(client, Closing(desk)).await;
            });
        };
        thread::Builder::new().name("ringtide-client".to_owned()).spawn(run).map_err(SetupError::Thread)?;
        receiver.recv().expect("the thread says how its start went")
    }

    /// As [`Client::request`], with a body at hand. The request is sent when the future is first polled; dropping it before it is
    /// ready cancels the request over there.
    ///
    /// # Errors
    /// As [`Client::request`], and [`Error::WorkerEnded`].
    pub fn request(&self, request: Request<Bytes>) -> RemoteRequest {
        RemoteRequest { request: Some(request), call: None, handle: self.clone() }
    }
}

impl Clone for ClientHandle {
    fn clone(&self) -> Self {
        self.desk.handles.fetch_add(1, Ordering::Relaxed);
        Self { desk: Arc::clone(&self.desk) }
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        // The last one: nobody can clone it any more. The lock orders what follows.
        if self.desk.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            wake(lock(&self.desk.state).waker.take());
        }
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
    request: Option<Request<Bytes>>,
    call: Option<Receiving>,
    handle: ClientHandle,
}

impl Future for RemoteRequest {
    type Output = Result<Response<RemoteBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(request) = self.request.take() {
            let call = Arc::<Call>::default();
            self.handle.desk.submit(request, Arc::clone(&call));
            self.call = Some(Receiving(call));
        }
        let call = self.call.as_ref().expect("a request that has its response is not polled again");
        let mut state = lock(&call.0.state);
        let Some(head) = state.head.take() else {
            if state.ended.is_some() {
                return Poll::Ready(Err(Error::WorkerEnded));
            }
            state.receiver = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(state);
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

/// The body of a response on another thread than its client. Its pieces are copies. The worker reads at most [`REMOTE_UNREAD_SIZE_MAX`] bytes ahead, and
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
        let mut state = lock(&receiving.0.state);
        if let Some(piece) = state.pieces.pop_front() {
            state.unread_size -= piece.len();
            let sender = if state.unread_size <= REMOTE_UNREAD_SIZE_MAX { state.sender.take() } else { None };
            drop(state);
            wake(sender);
            self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(piece.len() as u64));
            return Poll::Ready(Ok(Some(piece)));
        }
        if let Some(outcome) = state.ended.take() {
            drop(state);
            self.receiving = None;
            return Poll::Ready(outcome.map(|()| None));
        }
        state.receiver = Some(context.waker().clone());
        Poll::Pending
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

/// Where requests from other threads are handed in. Bounded by its callers: each waits for what it has handed in.
struct Desk {
    handles: AtomicUsize,
    state: Mutex<DeskState>,
}

#[derive(Default)]
struct DeskState {
    requests: VecDeque<(Request<Bytes>, Arc<Call>)>,
    waker: Option<Waker>,
    closed: bool,
}

impl Desk {
    fn submit(&self, request: Request<Bytes>, call: Arc<Call>) {
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            return call.end(Err(Error::WorkerEnded));
        }
        state.requests.push_back((request, call));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// The next request; `None` when there will be none.
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<(Request<Bytes>, Arc<Call>)>> {
        let mut state = lock(&self.state);
        if let Some(next) = state.requests.pop_front() {
            return Poll::Ready(Some(next));
        }
        if self.handles.load(Ordering::Acquire) == 0 {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Refuses what is handed in once nobody serves any more.
struct Closing(Arc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        let requests = {
            let mut state = lock(&self.0.state);
            state.closed = true;
            std::mem::take(&mut state.requests)
        };
        for (_, call) in requests {
            call.end(Err(Error::WorkerEnded));
        }
    }
}

async fn serve(client: Client, desk: Closing) {
    while let Some((request, call)) = poll_fn(|context| desk.0.poll_next(context)).await {
        let client = client.clone();
        runtime::spawn(async move {
            // Should the task be dropped with its worker, or panic in a user's waker, the caller still hears of its end.
            let answering = Answering(call);
            let mut work = pin!(answering.0.carry_out(&client, request));
            poll_fn(|context| {
                if answering.0.is_cancelled(context) { Poll::Ready(()) } else { work.as_mut().poll(context) }
            })
            .await;
        });
    }
}

/// One request, between the thread that wants it and the worker that carries it out.
#[derive(Default)]
struct Call {
    state: Mutex<CallState>,
}

#[derive(Default)]
struct CallState {
    /// The head, with the size of the body if that is known.
    head: Option<Result<Response<Option<u64>>, Error>>,
    pieces: VecDeque<Bytes>,
    unread_size: usize,
    ended: Option<Result<(), Error>>,
    cancelled: bool,
    receiver: Option<Waker>,
    /// Waits for room.
    sender: Option<Waker>,
    /// Waits for the caller to go away.
    cancel: Option<Waker>,
}

impl Call {
    /// The worker's side.
    async fn carry_out(&self, client: &Client, request: Request<Bytes>) {
        let response = match client.request(request).await {
            Ok(response) => response,
            Err(error) => return self.update(|state| state.head = Some(Err(error))),
        };
        let (head, mut body) = response.into_parts();
        let size = http_body::Body::size_hint(&body).exact();
        self.update(|state| state.head = Some(Ok(Response::from_parts(head, size))));
        loop {
            poll_fn(|context| self.poll_room(context)).await;
            match body.data().await {
                Ok(Some(piece)) => self.update(|state| {
                    state.unread_size += piece.len();
                    state.pieces.push_back(piece.into_bytes());
                }),
                Ok(None) => return self.end(Ok(())),
                Err(error) => return self.end(Err(error)),
            }
        }
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.unread_size <= REMOTE_UNREAD_SIZE_MAX {
            return Poll::Ready(());
        }
        state.sender = Some(context.waker().clone());
        Poll::Pending
    }

    fn is_cancelled(&self, context: &mut Context<'_>) -> bool {
        let mut state = lock(&self.state);
        state.cancel = Some(context.waker().clone());
        state.cancelled
    }

    /// Changes what the caller sees, and wakes it.
    fn update(&self, change: impl FnOnce(&mut CallState)) {
        let receiver = {
            let mut state = lock(&self.state);
            change(&mut state);
            state.receiver.take()
        };
        wake(receiver);
    }

    /// Nothing more will come. What was said first counts.
    fn end(&self, outcome: Result<(), Error>) {
        self.update(|state| {
            state.ended.get_or_insert(outcome);
        });
    }
}

/// The worker's hold on a call.
struct Answering(Arc<Call>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end(Err(Error::WorkerEnded));
    }
}

/// The caller's hold on a call: dropping it cancels.
struct Receiving(Arc<Call>);

impl Drop for Receiving {
    fn drop(&mut self) {
        let cancel = {
            let mut state = lock(&self.0.state);
            state.cancelled = true;
            state.pieces.clear();
            state.cancel.take()
        };
        wake(cancel);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
