//! One request between two threads: what the worker has for the caller, what the caller wants of the worker, and who is to be
//! woken for it.
//!
//! A wake of a caller is expensive: for most executors it is a system call, and where the caller shares a core with the worker the
//! system may run it at once, for one response, and switch back. So callers are woken in batches: the worker wakes one of them, the
//! leader, and that one's next poll wakes the others, from within its own executor, where a wake costs next to nothing. What
//! the others see does not depend on the leader: a [`Relay`] that it has not carried on soon is carried on by the worker.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;

use crate::error::Error;

/// Bytes of a body that wait on the way to another thread. Beyond that the worker reads no further, and so holds the peer back.
pub const REMOTE_UNREAD_SIZE_MAX: usize = 256 * 1024;

/// The head of a response, with the size of its body if that is known.
pub(super) type Head = Response<Option<u64>>;

/// One request. The caller holds it in a [`Receiving`], the worker in its task.
#[derive(Default)]
pub(super) struct Call {
    state: Mutex<State>,
    /// The caller has gone. Beside the state, as the worker asks at every poll.
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    news: News,
    unread_size: usize,
    /// Of the caller, who waits for news.
    caller: Option<Waker>,
    /// Whom the caller is to wake when it comes for its news.
    relay: Option<Arc<Relay>>,
    /// Of the worker's task, always the same.
    worker: Option<Waker>,
    worker_waits_for_room: bool,
}

/// What the worker has for the caller, in this order.
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
    /// Whether the caller has gone. Once the worker's task is [known](Self::set_worker), it is woken for that.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Makes the worker's task known.
    pub(super) fn set_worker(&self, context: &Context<'_>) {
        lock(&self.state).worker = Some(context.waker().clone());
    }

    /// Ready when there is room for a further piece.
    pub(super) fn poll_room(&self) -> Poll<()> {
        let mut state = lock(&self.state);
        state.worker_waits_for_room = state.unread_size > REMOTE_UNREAD_SIZE_MAX;
        if state.worker_waits_for_room { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Adds to what the caller is to know, and gives its waker if it waits.
    #[must_use = "the caller is to be woken"]
    pub(super) fn tell(&self, mut news: News) -> Option<Waker> {
        let mut state = lock(&self.state);
        state.unread_size += news.pieces.iter().map(Bytes::len).sum::<usize>();
        if state.news.is_empty() {
            state.news = news;
        } else {
            let known = &mut state.news;
            known.head = known.head.take().or(news.head);
            known.pieces.append(&mut news.pieces);
            // What was said first counts.
            known.ended = known.ended.take().or(news.ended);
        }
        if let News { ended: Some(_), .. } | News { head: Some(Err(_)), .. } = state.news {
            // Nobody is there to be woken any more.
            state.worker = None;
        }
        state.caller.take()
    }

    /// Has the caller wake the others in `relay` when it comes for its news; false if it has come already.
    pub(super) fn lead(&self, relay: &Arc<Relay>) -> bool {
        let mut state = lock(&self.state);
        let leads = !state.news.is_empty() && !self.is_cancelled();
        if leads {
            state.relay = Some(Arc::clone(relay));
        }
        leads
    }
}

/// The caller's hold on a call. Dropping it cancels the request.
pub(super) struct Receiving(Arc<Call>);

impl Receiving {
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self(call)
    }

    /// The head of the response.
    pub(super) fn poll_head(&self, context: &Context<'_>) -> Poll<Result<Head, Error>> {
        self.poll(context, |state| {
            if let Some(head) = state.news.head.take() {
                return Some(head);
            }
            state.news.ended.as_ref().map(|_| Err(Error::WorkerEnded))
        })
    }

    /// The next piece of the body; `None` at its end.
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

/// Callers that the first of their batch is to wake.
pub(super) struct Relay(Mutex<Vec<Waker>>);

impl Relay {
    pub(super) fn new(callers: impl Iterator<Item = Waker>) -> Self {
        Self(Mutex::new(callers.collect()))
    }

    /// Adds callers to those who are to be woken; false if that has been done already.
    pub(super) fn join(&self, callers: &mut Vec<(Arc<Call>, Waker)>) -> bool {
        let mut wakers = lock(&self.0);
        let joins = !wakers.is_empty();
        if joins {
            wakers.extend(callers.drain(..).map(|(_, waker)| waker));
        }
        joins
    }

    /// Wakes those that have not been woken yet.
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

/// Wakes whoever there is. Its code is not ours: a panic in it, which the hook reports, stays its own.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
