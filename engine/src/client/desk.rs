//! The worker's side of a [`ClientHandle`](super::ClientHandle): where requests from other threads are handed in, and the task that
//! has them carried out.

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

/// How long callers wait at most for the first of their batch to wake them, before the worker does.
const RELAY_WAIT_NS_MAX: u64 = 200_000;

/// Where requests from other threads are handed in. Bounded by its callers: each waits for what it has handed in.
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
    /// A desk with one handle to it.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { handles: AtomicUsize::new(1), state: Mutex::default() })
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_handle(&self) {
        // The last one: nobody can clone it any more. The lock orders what follows.
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = lock(&self.state).waker.take();
            wake(waker);
        }
    }

    /// Hands a request in.
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

    /// The requests that have been handed in; `None` when there will be none.
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

/// Refuses what is handed in once nobody serves any more.
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

/// Carries out what comes to the desk, each request in a task of its own, until the last handle has gone.
pub(super) fn serve(client: Client, desk: Arc<Desk>) -> impl Future<Output = ()> {
    // From now on somebody answers, if only by being dropped.
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
            // Whoever shares the core with this thread may have more, and would have to wake it for that once it waits. What is there
            // goes out before.
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

/// The worker's hold on a call. Should the task be dropped with its worker, or panic, the caller still hears of its end.
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
            // What is there goes over as one.
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

/// Adds the pieces of `body` that are there to `news`, and its end. Ready at once.
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

/// Callers who are to be woken when all tasks that have something for them have run, see [`call`](super::call).
#[derive(Default)]
struct Bell {
    callers: RefCell<Vec<(Arc<Call>, Waker)>>,
    relay: RefCell<Option<Arc<Relay>>>,
    ringer: Cell<Option<Waker>>,
}

impl Bell {
    fn push(&self, call: Arc<Call>, caller: Waker) {
        self.callers.borrow_mut().push((call, caller));
        // It comes after all tasks that are ready now.
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
