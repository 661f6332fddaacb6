//! A line of waiting tasks, in the order in which they came. What they wait for is not its matter.
//!
//! A waker may run foreign code when it is cloned, woken or dropped, and that code may use the line. So the line is
//! never borrowed at that time, and callers clone a waker before they look at their own state.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::mem;
use std::task::{Poll, Waker};

use super::super::waiter::wake_contained;

/// The line. A waiter leaves it when it is called or dismissed, or by itself.
#[derive(Debug)]
pub(super) struct Line {
    state: RefCell<State>,
    /// Without this, a line could go to another thread.
    local: PhantomData<*const ()>,
}

#[derive(Debug)]
struct State {
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Waiters that were called and do not know it yet.
    called: BTreeSet<u64>,
}

/// Why a waiter no longer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was called: what it waited for belongs to it.
    Called,
    /// All waiters were dismissed.
    Dismissed,
}

impl Line {
    pub(super) const fn new() -> Self {
        let state = State { next_ticket: 0, waiting: BTreeMap::new(), called: BTreeSet::new() };
        Self { state: RefCell::new(state), local: PhantomData }
    }

    /// Joins the line at its end. Returns the waiter's ticket, with which it must [`poll`](Self::poll) until it is
    /// ready, or [`leave`](Self::leave).
    pub(super) fn join(&self, waker: Waker) -> u64 {
        let mut state = self.state.borrow_mut();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.insert(ticket, waker);
        ticket
    }

    /// Returns ready if the waiter is no longer in the line. Otherwise sets its waker.
    pub(super) fn poll(&self, ticket: u64, waker: Waker) -> Poll<Outcome> {
        let mut state = self.state.borrow_mut();
        if let Some(place) = state.waiting.get_mut(&ticket) {
            let displaced = mem::replace(place, waker);
            drop(state);
            drop(displaced);
            return Poll::Pending;
        }
        let called = state.called.remove(&ticket);
        Poll::Ready(if called { Outcome::Called } else { Outcome::Dismissed })
    }

    /// Gives up waiting. Returns whether the waiter had been called. The caller must then pass on what it got.
    pub(super) fn leave(&self, ticket: u64) -> bool {
        let mut state = self.state.borrow_mut();
        let called = state.called.remove(&ticket);
        let waker = state.waiting.remove(&ticket);
        drop(state);
        drop(waker);
        called
    }

    /// Calls the waiter that has waited longest. Returns `false` if nobody waits.
    pub(super) fn call_next(&self) -> bool {
        let waker = {
            let mut state = self.state.borrow_mut();
            let Some((ticket, waker)) = state.waiting.pop_first() else { return false };
            state.called.insert(ticket);
            waker
        };
        wake_contained(waker);
        true
    }

    /// Dismisses all who wait now.
    pub(super) fn dismiss_all(&self) {
        let waiting = mem::take(&mut self.state.borrow_mut().waiting);
        waiting.into_values().for_each(wake_contained);
    }
}
