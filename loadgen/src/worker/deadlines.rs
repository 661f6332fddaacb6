//! The time limits of a worker's connections, which one timer watches together.
//!
//! All requests have the same limit, so the newest deadline is the last: to set one costs a store, and the timer fires about
//! once in that time. A timer of its own would take each connection a hundred bytes.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use ringtide::runtime::{self, Timer};
use ringtide_driver::slots::reserve_sparingly;

use super::source::ConnectionNumber;

/// What a connection without a deadline has,
const NEVER: u64 = u64::MAX;
/// and one that was woken because its deadline has passed.
const PASSED: u64 = 0;

pub(super) struct Deadlines {
    /// By the number of the connection.
    of_each: RefCell<Vec<u64>>,
    /// When to look at them: not after the first of them.
    next_ns: Cell<u64>,
    watcher: Cell<Option<Waker>>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { of_each: RefCell::default(), next_ns: Cell::new(NEVER), watcher: Cell::default() }
    }
}

impl Deadlines {
    /// Adds the connection with the next number.
    pub(super) fn add_connection(&self) {
        let mut of_each = self.of_each.borrow_mut();
        let length = of_each.len() + 1;
        reserve_sparingly(&mut of_each, length);
        of_each.push(NEVER);
    }

    /// Sets the deadline of a connection.
    #[inline]
    pub(super) fn set(&self, connection: ConnectionNumber, deadline_ns: u64) {
        self.of_each.borrow_mut()[connection] = deadline_ns;
        if deadline_ns < self.next_ns.get() {
            self.look_at(deadline_ns);
        }
    }

    /// The connection has no deadline any more.
    pub(super) fn unset(&self, connection: ConnectionNumber) {
        self.of_each.borrow_mut()[connection] = NEVER;
    }

    /// Whether the connection's deadline is not after `now_ns`.
    #[inline]
    pub(super) fn has_passed(&self, connection: ConnectionNumber, now_ns: u64) -> bool {
        self.of_each.borrow()[connection] <= now_ns
    }

    /// Calls `wake` once for each connection whose deadline has passed, and has the polling task woken when the next has.
    pub(super) fn watch(
        &self,
        timer: &mut Timer,
        context: &mut Context<'_>,
        wake: impl FnMut(ConnectionNumber),
    ) {
        let now_ns = runtime::turn_time_ns();
        if self.next_ns.get() <= now_ns {
            self.wake_passed(now_ns, wake);
        }
        self.watcher.set(Some(context.waker().clone()));
        timer.set(self.next_ns.get());
        // It was just set, so it fires in the next turn at the earliest.
        let _ = timer.poll_elapsed(context);
    }

    fn wake_passed(&self, now_ns: u64, mut wake: impl FnMut(ConnectionNumber)) {
        let mut next_ns = NEVER;
        for (connection, deadline_ns) in self.of_each.borrow_mut().iter_mut().enumerate() {
            if *deadline_ns > now_ns {
                next_ns = next_ns.min(*deadline_ns);
            } else if *deadline_ns != PASSED {
                *deadline_ns = PASSED;
                wake(connection);
            }
        }
        self.next_ns.set(next_ns);
    }

    #[cold]
    fn look_at(&self, next_ns: u64) {
        self.next_ns.set(next_ns);
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Poll;

    use ringtide::runtime::{Worker, WorkerOptions};

    use super::*;

    fn passed(deadlines: &Deadlines, now_ns: u64) -> Vec<ConnectionNumber> {
        let mut passed = Vec::new();
        deadlines.wake_passed(now_ns, |connection| passed.push(connection));
        passed
    }

    #[test]
    fn each_connection_is_woken_once_when_its_deadline_has_passed() {
        let deadlines = Deadlines::default();
        for _ in 0..4 {
            deadlines.add_connection();
        }
        for (connection, deadline_ns) in [(0, 300), (1, 100), (2, 100)] {
            deadlines.set(connection, deadline_ns);
        }
        assert_eq!(deadlines.next_ns.get(), 100);
        // It was answered, and has sent again.
        deadlines.set(2, 400);
        assert!(passed(&deadlines, 99).is_empty());
        assert_eq!(passed(&deadlines, 100), [1]);
        assert!(deadlines.has_passed(1, 100) && !deadlines.has_passed(2, 399));
        assert_eq!(deadlines.next_ns.get(), 300);
        assert_eq!(passed(&deadlines, 500), [0, 2], "not the first again");
        assert_eq!(deadlines.next_ns.get(), NEVER);
        assert!(!deadlines.has_passed(3, u64::MAX - 1), "it has none");
        deadlines.set(1, 600);
        assert!(!deadlines.has_passed(1, 599));
        deadlines.unset(1);
        assert!(passed(&deadlines, 700).is_empty());
    }

    /// Also if the first one is set while nobody expects any, and one before those that are expected.
    #[test]
    fn the_watcher_is_woken_when_the_next_one_has_passed() {
        const FAR_NS: u64 = 60_000_000_000;
        let deadlines = Rc::new(Deadlines::default());
        deadlines.add_connection();
        deadlines.add_connection();
        Worker::new(&WorkerOptions::default()).expect("a worker").block_on(async {
            let woken = Rc::new(RefCell::new(Vec::new()));
            let (watched, seen) = (Rc::clone(&deadlines), Rc::clone(&woken));
            let mut timer = Timer::new();
            runtime::spawn_detached(poll_fn(move |context| {
                watched.watch(&mut timer, context, |connection| seen.borrow_mut().push(connection));
                Poll::Pending
            }));
            runtime::yield_now().await;
            deadlines.set(0, runtime::now_ns() + FAR_NS);
            runtime::yield_now().await;
            deadlines.set(1, runtime::now_ns() + 1_000_000);
            while woken.borrow().is_empty() {
                runtime::sleep(std::time::Duration::from_millis(1)).await;
            }
            assert_eq!(*woken.borrow(), [1]);
        });
    }
}
