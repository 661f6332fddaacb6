//! The worker's side of a [`ClientHandle`](super::ClientHandle): the queue of requests from other threads, and the task
//! that runs them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use http::{Request, Response};

use super::body::Body;
use super::call::{Call, News, REMOTE_UNREAD_SIZE_MAX, Relay, lock, wake};
use super::local::Client;
use super::request_body::RemoteRequestBody;
use crate::error::Error;
use crate::runtime::{self, Timer};

/// Maximum time that callers wait for the leader of their batch to wake them. After that the worker wakes them.
const RELAY_WAIT_NS_MAX: u64 = 200_000;

/// The queue of requests from other threads. Its size is bounded by the callers: each waits for the request it
/// submitted.
pub(super) struct Desk {
    handles: AtomicUsize,
    state: Mutex<DeskState>,
}

#[derive(Default)]
struct DeskState {
    requests: VecDeque<Handed>,
    waker: Option<Waker>,
    closed: bool,
}

type Handed = (Request<RemoteRequestBody>, Arc<Call>);

impl Desk {
    /// Creates a desk with one handle.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { handles: AtomicUsize::new(1), state: Mutex::default() })
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_handle(&self) {
        // This was the last handle, so the count cannot grow again. The lock orders this before the wake.
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = lock(&self.state).waker.take();
            wake(waker);
        }
    }

    /// Submits a request.
    pub(super) fn submit(&self, request: Request<RemoteRequestBody>, call: Arc<Call>) {
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            return wake(call.tell(ended(Err(Error::WorkerEnded))));
        }
        state.requests.push_back((request, call));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Polls for the submitted requests; `None` once there are no more handles.
    fn poll_take(&self, context: &Context<'_>) -> Poll<Option<VecDeque<Handed>>> {
        let mut state = lock(&self.state);
        if !state.requests.is_empty() {
            return Poll::Ready(Some(mem::take(&mut state.requests)));
        }
        if self.handles.load(Ordering::Acquire) == 0 {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Closes the desk when `serve` ends, and fails all queued and later requests.
struct Closing(Arc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        let requests = {
            let mut state = lock(&self.0.state);
            state.closed = true;
            mem::take(&mut state.requests)
        };
        for (_, call) in requests {
            wake(call.tell(ended(Err(Error::WorkerEnded))));
        }
    }
}

/// Runs the requests that arrive at the desk, each in a task of its own, until the last handle is dropped.
pub(super) fn serve(client: Client, desk: Arc<Desk>) -> impl Future<Output = ()> {
    // From here on every request gets an outcome: dropping `Closing` fails those that remain.
    let desk = Closing(desk);
    async move {
        let bell = Rc::new(Bell::default());
        let mut relay_timer = Timer::new();
        loop {
            let taken = poll_fn(|context| {
                bell.ring(&mut relay_timer, context);
                desk.0.poll_take(context)
            });
            let Some(requests) = taken.await else { return };
            for (request, call) in requests {
                let answering = Answering { call, bell: Rc::clone(&bell), done: Cell::new(false) };
                runtime::spawn(carry_out(client.clone(), request, answering));
            }
            // Send what has been collected. Then yield: a thread that shares this core may have more requests. If the
            // worker slept first, that thread would have to wake it.
            runtime::yield_now().await;
            thread::yield_now();
        }
    }
}

async fn carry_out(client: Client, request: Request<RemoteRequestBody>, answering: Answering) {
    let mut work = pin!(answering.carry_out(&client, request));
    poll_fn(
        |context| {
            if answering.call.is_cancelled() { Poll::Ready(()) } else { work.as_mut().poll(context) }
        },
    )
    .await;
}

/// The worker's side of a [`Call`]. If its task panics or is dropped with the worker, `drop` reports that to the
/// caller.
struct Answering {
    call: Arc<Call>,
    bell: Rc<Bell>,
    done: Cell<bool>,
}

impl Answering {
    async fn carry_out(&self, client: &Client, request: Request<RemoteRequestBody>) {
        poll_fn(|context| {
            self.call.set_worker(context);
            Poll::Ready(())
        })
        .await;
        let response = match client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                self.done.set(true);
                return self.tell(News { head: Some(Err(error)), ..News::default() });
            }
        };
        let (head, mut body) = response.into_parts();
        let size = http_body::Body::size_hint(&body).exact();
        let mut news = News { head: Some(Ok(Response::from_parts(head, size))), ..News::default() };
        loop {
            // Send everything that has arrived as one update.
            poll_fn(|context| take_pieces(&mut body, &mut news, context)).await;
            let done = news.ended.is_some();
            self.done.set(done);
            self.tell(news);
            if done {
                return;
            }
            poll_fn(|_| self.call.poll_room()).await;
            news = match body.data().await {
                Ok(Some(piece)) => News { pieces: [piece.into_bytes()].into(), ..News::default() },
                Ok(None) => ended(Ok(())),
                Err(error) => ended(Err(error)),
            };
        }
    }

    fn tell(&self, news: News) {
        if let Some(waker) = self.call.tell(news) {
            self.bell.push(Arc::clone(&self.call), waker);
        }
    }
}

/// Adds the pieces of `body` that have arrived to `news`, and the end of the body if it was reached. It is ready at
/// once.
fn take_pieces(body: &mut Body, news: &mut News, context: &mut Context<'_>) -> Poll<()> {
    let mut size = 0;
    while news.ended.is_none() && size <= REMOTE_UNREAD_SIZE_MAX {
        match body.poll_data(context) {
            Poll::Ready(Ok(Some(piece))) => {
                size += piece.len();
                news.pieces.push_back(piece.into_bytes());
            }
            Poll::Ready(Ok(None)) => news.ended = Some(Ok(())),
            Poll::Ready(Err(error)) => news.ended = Some(Err(error)),
            Poll::Pending => break,
        }
    }
    Poll::Ready(())
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.done.get() {
            self.tell(ended(Err(Error::WorkerEnded)));
        }
    }
}

fn ended(outcome: Result<(), Error>) -> News {
    News { ended: Some(outcome), ..News::default() }
}

/// Callers to wake after all tasks with news for callers have run, see [`call`](super::call).
#[derive(Default)]
struct Bell {
    callers: RefCell<Vec<(Arc<Call>, Waker)>>,
    relay: RefCell<Option<Arc<Relay>>>,
    ringer: Cell<Option<Waker>>,
}

impl Bell {
    fn push(&self, call: Arc<Call>, caller: Waker) {
        self.callers.borrow_mut().push((call, caller));
        // The ringer's task runs after all tasks that are ready now.
        wake(self.ringer.take());
    }

    fn ring(&self, timer: &mut Timer, context: &mut Context<'_>) {
        self.ringer.set(Some(context.waker().clone()));
        let mut callers = self.callers.take();
        if let Some(relay) = self.relay.take() {
            if timer.poll_elapsed(context).is_ready() {
                relay.carry_on();
            } else if relay.join(&mut callers) {
                self.relay.replace(Some(relay));
            }
        }
        let mut callers = callers.into_iter();
        let Some((leader, leader_waker)) = callers.next() else { return };
        if callers.len() > 0 {
            let relay = Arc::new(Relay::new(callers.map(|(_, waker)| waker)));
            if leader.lead(&relay) {
                timer.set(runtime::now_ns() + RELAY_WAIT_NS_MAX);
                let _ = timer.poll_elapsed(context);
                self.relay.replace(Some(relay));
            } else {
                relay.carry_on();
            }
        }
        wake(Some(leader_waker));
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.carry_on();
        }
        for (_, caller) in self.callers.take() {
            wake(Some(caller));
        }
    }
}
