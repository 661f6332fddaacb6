//! A request shared by two threads: what the worker sends to the caller, what the caller wants from the worker, and
//! their wakers.
//!
//! Waking a caller is expensive. For most executors it is a system call. If the caller shares a core with the worker,
//! the system may run it at once for a single response and then switch back. So the worker wakes callers in batches: it
//! wakes only one of them, the leader. The leader's next poll wakes the others from inside its own executor, where a
//! wake costs next to nothing.
//!
//! The other callers do not depend on the leader. If the leader does not wake the callers in its [`Relay`] soon, the
//! worker does.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;

use crate::error::Error;

/// Maximum number of body bytes that wait for a caller on another thread.
///
/// Beyond that the worker stops reading, so that back-pressure stops the peer.
pub const REMOTE_UNREAD_SIZE_MAX: usize = 256 * 1024;

/// The head of a response, with the size of its body if known.
pub(super) type Head = Response<Option<u64>>;

/// One request. The caller holds it in a [`Receiving`]; the worker holds it in the request's task.
#[derive(Default)]
pub(super) struct Call {
    state: Mutex<State>,
    /// The caller has dropped its [`Receiving`]. This flag is outside `state` because the worker checks it at every
    /// poll.
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    news: News,
    unread_size: usize,
    /// Waker of the caller, if it waits for news.
    caller: Option<Waker>,
    /// Other callers that this caller wakes when it takes its news.
    relay: Option<Arc<Relay>>,
    /// Waker of the worker's task. It never changes.
    worker: Option<Waker>,
    worker_waits_for_room: bool,
}

/// What the worker sends to the caller, in this order.
#[derive(Default)]
pub(super) struct News {
    pub(super) head: Option<Result<Head, Error>>,
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) ended: Option<Result<(), Error>>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.head.is_none() && self.pieces.is_empty() && self.ended.is_none()
    }
}

/// The worker's side.
impl Call {
    /// Returns whether the caller has dropped its [`Receiving`]. The drop wakes the worker's task, if it is
    /// [known](Self::set_worker).
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Stores the waker of the worker's task.
    pub(super) fn set_worker(&self, context: &Context<'_>) {
        lock(&self.state).worker = Some(context.waker().clone());
    }

    /// Ready when there is room for another piece.
    pub(super) fn poll_room(&self) -> Poll<()> {
        let mut state = lock(&self.state);
        state.worker_waits_for_room = state.unread_size > REMOTE_UNREAD_SIZE_MAX;
        if state.worker_waits_for_room { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Adds `news` for the caller. Returns the caller's waker if the caller waits.
    #[must_use = "the caller must be woken"]
    pub(super) fn tell(&self, mut news: News) -> Option<Waker> {
        let mut state = lock(&self.state);
        state.unread_size += news.pieces.iter().map(Bytes::len).sum::<usize>();
        if state.news.is_empty() {
            state.news = news;
        } else {
            let known = &mut state.news;
            known.head = known.head.take().or(news.head);
            known.pieces.append(&mut news.pieces);
            // The first outcome counts.
            known.ended = known.ended.take().or(news.ended);
        }
        if let News { ended: Some(_), .. } | News { head: Some(Err(_)), .. } = state.news {
            // The worker's task ends here, so the caller must not wake it any more.
            state.worker = None;
        }
        state.caller.take()
    }

    /// Makes the caller wake the callers in `relay` when it takes its news. Returns false if it has already taken its
    /// news.
    pub(super) fn lead(&self, relay: &Arc<Relay>) -> bool {
        let mut state = lock(&self.state);
        let leads = !state.news.is_empty() && !self.is_cancelled();
        if leads {
            state.relay = Some(Arc::clone(relay));
        }
        leads
    }
}

/// The caller's side of a [`Call`]. Dropping it cancels the request.
pub(super) struct Receiving(Arc<Call>);

impl Receiving {
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self(call)
    }

    /// Polls for the head of the response.
    pub(super) fn poll_head(&self, context: &Context<'_>) -> Poll<Result<Head, Error>> {
        self.poll(context, |state| {
            if let Some(head) = state.news.head.take() {
                return Some(head);
            }
            state.news.ended.as_ref().map(|_| Err(Error::WorkerEnded))
        })
    }

    /// Polls for the next piece of the body; `None` at its end.
    pub(super) fn poll_piece(&self, context: &Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let mut worker = None;
        let outcome = self.poll(context, |state| {
            let Some(piece) = state.news.pieces.pop_front() else {
                return state.news.ended.take().map(|outcome| outcome.map(|()| None));
            };
            state.unread_size -= piece.len();
            if state.worker_waits_for_room && state.unread_size <= REMOTE_UNREAD_SIZE_MAX {
                state.worker_waits_for_room = false;
                worker.clone_from(&state.worker);
            }
            Some(Ok(Some(piece)))
        });
        wake(worker);
        outcome
    }

    fn poll<T>(&self, context: &Context<'_>, take: impl FnOnce(&mut State) -> Option<T>) -> Poll<T> {
        let mut state = lock(&self.0.state);
        let relay = state.relay.take();
        let taken = take(&mut state);
        if taken.is_none() {
            state.caller = Some(context.waker().clone());
        }
        drop(state);
        carry_on(relay);
        taken.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Release);
        let (news, relay, worker) = {
            let mut state = lock(&self.0.state);
            (mem::take(&mut state.news), state.relay.take(), state.worker.clone())
        };
        drop(news);
        carry_on(relay);
        wake(worker);
    }
}

/// The callers that the leader of their batch wakes.
pub(super) struct Relay(Mutex<Vec<Waker>>);

impl Relay {
    pub(super) fn new(callers: impl Iterator<Item = Waker>) -> Self {
        Self(Mutex::new(callers.collect()))
    }

    /// Moves `callers` into this relay. Returns false, and moves none, if the relay has already woken its callers.
    pub(super) fn join(&self, callers: &mut Vec<(Arc<Call>, Waker)>) -> bool {
        let mut wakers = lock(&self.0);
        let joins = !wakers.is_empty();
        if joins {
            wakers.extend(callers.drain(..).map(|(_, waker)| waker));
        }
        joins
    }

    /// Wakes the callers that have not been woken yet.
    pub(super) fn carry_on(&self) {
        let wakers = mem::take(&mut *lock(&self.0));
        for waker in wakers {
            wake(Some(waker));
        }
    }
}

fn carry_on(relay: Option<Arc<Relay>>) {
    if let Some(relay) = relay {
        relay.carry_on();
    }
}

/// Wakes `waker`, if there is one. The waker runs foreign code, so this catches a panic in it. The panic hook has then
/// already reported the panic.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
