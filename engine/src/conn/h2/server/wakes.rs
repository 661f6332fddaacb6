//! Wakers to wake when the state of a connection is no longer borrowed.

use std::task::{Context, Waker};

/// Wakers to wake when the state is no longer borrowed: they may run foreign code.
#[derive(Default)]
pub(in crate::conn::h2) struct Wakes {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakes {
    #[inline]
    pub(in crate::conn::h2) fn add(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            match &self.first {
                None => self.first = Some(waker),
                Some(_) => self.others.push(waker),
            }
        }
    }

    #[inline]
    pub(in crate::conn::h2) fn wake(self) {
        if self.first.is_some() {
            self.wake_all();
        }
    }

    #[inline(never)]
    fn wake_all(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}

pub(super) fn wait_at(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}
