//! `Notify` and `Semaphore`: order, lost waiters, and a model that random sequences are compared with. Most tests poll by
//! hand, to reach every state of a waiter.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use ringtide::runtime::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use ringtide::runtime::{self, JoinSet};

use super::worker;

/// A waker that counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future with a waker of its own.
struct Polled<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

impl<F: Future> Polled<F> {
    fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// Creates a future and polls it, which must have to wait.
    fn waiting(future: F) -> Self {
        let mut polled = Self::new(future);
        assert!(polled.poll().is_pending(), "it has to wait");
        polled
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}

#[test]
fn notify_one_wakes_the_tasks_in_the_order_in_which_they_wait() {
    worker().block_on(async {
        let notify = Rc::new(Notify::new());
        let mut tasks = JoinSet::new();
        for number in 0..5 {
            let notify = Rc::clone(&notify);
            tasks.spawn(async move {
                notify.notified().await;
                number
            });
        }
        runtime::yield_now().await;
        for number in 0..5 {
            notify.notify_one();
            assert_eq!(tasks.join_next().await, Some(Ok(number)));
        }
    });
}

#[test]
fn notify_one_stores_one_notification() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    let mut first = Polled::new(notify.notified());
    assert!(first.poll().is_ready());
    assert!(first.poll().is_ready(), "it has returned, and returns again");
    let mut second = Polled::waiting(notify.notified());
    notify.notify_one();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert!(second.poll().is_ready());
    drop(Polled::waiting(notify.notified()));
}

#[test]
fn notify_waiters_reaches_all_futures_that_exist_and_stores_nothing() {
    let notify = Notify::new();
    let mut waiting = [Polled::waiting(notify.notified()), Polled::waiting(notify.notified())];
    let mut unpolled = Polled::new(notify.notified());
    notify.notify_waiters();
    let mut late = Polled::waiting(notify.notified());
    for notified in &mut waiting {
        assert_eq!(notified.wakes(), 1);
        assert!(notified.poll().is_ready());
    }
    assert!(unpolled.poll().is_ready());
    assert_eq!(late.wakes(), 0);
    assert!(late.poll().is_pending());
}

#[test]
fn a_future_that_all_were_notified_with_leaves_a_stored_notification_to_others() {
    let notify = Notify::new();
    let mut early = Polled::new(notify.notified());
    notify.notify_waiters();
    notify.notify_one();
    assert!(early.poll().is_ready());
    assert!(Polled::new(notify.notified()).poll().is_ready());
}

#[test]
fn a_dropped_future_passes_its_notification_on() {
    let notify = Notify::new();
    // Before the first poll, and while it waits, it has nothing to pass on.
    drop(notify.notified());
    let leaving = Polled::waiting(notify.notified());
    let mut next = Polled::waiting(notify.notified());
    drop(leaving);
    assert_eq!(next.wakes(), 0);
    assert!(next.poll().is_pending());

    // It was notified, and has not noticed.
    let third = Polled::waiting(notify.notified());
    notify.notify_one();
    assert_eq!((next.wakes(), third.wakes()), (1, 0));
    drop(next);
    assert_eq!(third.wakes(), 1);
    // Nobody waits any more, so the notification is stored.
    drop(third);
    assert!(Polled::new(notify.notified()).poll().is_ready());

    // Once it has noticed, it keeps it.
    let mut done = Polled::waiting(notify.notified());
    notify.notify_one();
    assert!(done.poll().is_ready());
    drop(done);
    let last = Polled::waiting(notify.notified());

    // What all got is not passed on.
    notify.notify_waiters();
    let other = Polled::waiting(notify.notified());
    drop(last);
    assert_eq!(other.wakes(), 0);
}

#[test]
fn a_notification_for_one_survives_a_later_one_for_all() {
    let notify = Notify::new();
    let notified = Polled::waiting(notify.notified());
    notify.notify_one();
    notify.notify_waiters();
    drop(notified);
    assert!(Polled::new(notify.notified()).poll().is_ready());
}

#[test]
fn a_future_that_moves_to_another_task_wakes_only_that() {
    let notify = Notify::new();
    let mut moved = Polled::waiting(notify.notified());
    let former = std::mem::take(&mut moved.wakes);
    assert!(moved.poll().is_pending());
    notify.notify_one();
    assert_eq!((former.0.load(Ordering::Relaxed), moved.wakes()), (0, 1));
}

#[test]
fn tasks_get_permits_in_the_order_in_which_they_wait() {
    worker().block_on(async {
        let semaphore = Rc::new(Semaphore::new(2));
        let order = Rc::new(RefCell::new(Vec::new()));
        let inside = Rc::new(Cell::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..10 {
            let (semaphore, order, inside) = (Rc::clone(&semaphore), Rc::clone(&order), Rc::clone(&inside));
            tasks.spawn(async move {
                let _permit = semaphore.acquire().await.unwrap();
                order.borrow_mut().push(number);
                inside.set(inside.get() + 1);
                assert!(inside.get() <= 2);
                runtime::yield_now().await;
                inside.set(inside.get() - 1);
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
        assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn nobody_overtakes_a_task_that_was_given_a_permit() {
    let semaphore = Semaphore::new(1);
    let permit = semaphore.try_acquire().unwrap();
    let mut waiting = Polled::waiting(semaphore.acquire());
    drop(permit);
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(semaphore.available_permits(), 0);
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    drop(Polled::waiting(semaphore.acquire()));
    assert!(matches!(waiting.poll(), Poll::Ready(Ok(_))));
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_dropped_future_passes_its_permit_on() {
    let semaphore = Semaphore::new(1);
    // Before the first poll it has no place in the line.
    drop(semaphore.acquire());
    assert_eq!(semaphore.available_permits(), 1);

    // A task that leaves the line is not given the permit.
    let permit = semaphore.try_acquire().unwrap();
    let leaving = Polled::waiting(semaphore.acquire());
    let next = Polled::waiting(semaphore.acquire());
    let last = Polled::waiting(semaphore.acquire());
    drop(leaving);
    drop(permit);
    assert_eq!((next.wakes(), last.wakes()), (1, 0));

    // It was given the permit, and has not taken it.
    drop(next);
    assert_eq!(last.wakes(), 1);
    assert_eq!(semaphore.available_permits(), 0);
    drop(last);
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_closed_semaphore_refuses_those_who_wait_and_those_who_come() {
    let semaphore = Rc::new(Semaphore::new(1));
    let permit = semaphore.try_acquire().unwrap();
    let mut given = Polled::waiting(semaphore.acquire());
    drop(permit);
    let mut refused = Polled::waiting(Rc::clone(&semaphore).acquire_owned());
    semaphore.close();
    assert!(semaphore.is_closed());
    assert_eq!((given.wakes(), refused.wakes()), (1, 1));
    assert!(matches!(refused.poll(), Poll::Ready(Err(_))));
    assert!(matches!(Polled::new(semaphore.acquire()).poll(), Poll::Ready(Err(_))));
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
    assert_eq!(Rc::clone(&semaphore).try_acquire_owned().unwrap_err(), TryAcquireError::Closed);
    let Poll::Ready(Ok(permit)) = given.poll() else { panic!("it was given before") };
    drop(permit);
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
#[should_panic(expected = "at most usize::MAX permits")]
fn acquired_permits_count_towards_the_maximum() {
    let semaphore = Semaphore::new(usize::MAX);
    let _permit = semaphore.try_acquire().unwrap();
    semaphore.add_permits(1);
}

thread_local! {
    static USED: (Semaphore, Notify) = const { (Semaphore::new(1), Notify::new()) };
}

/// A waker that uses what its task waits for when it is woken and when it is dropped.
struct Reentrant(Arc<Wakes>);

impl Reentrant {
    fn enter(&self) {
        USED.with(|(semaphore, notify)| {
            drop(semaphore.try_acquire());
            drop(Polled::new(semaphore.acquire()).poll());
            let _ = Polled::new(notify.notified()).poll();
        });
        // Counted last: a panic above would be caught, and not counted.
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        self.enter();
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.enter();
    }
}

#[test]
fn a_waker_may_use_what_it_waits_for() {
    USED.with(|(semaphore, notify)| {
        let uses = Arc::<Wakes>::default();
        // Each poll displaces the waker of the one before.
        let poll_twice = |mut future: Pin<&mut dyn Future<Output = ()>>| {
            for _ in 0..2 {
                let waker = Waker::from(Arc::new(Reentrant(Arc::clone(&uses))));
                assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            uses.0.swap(0, Ordering::Relaxed)
        };
        let uses_now = || uses.0.swap(0, Ordering::Relaxed);
        let acquire = || Box::pin(async { drop(semaphore.acquire().await) });
        let wait = || Box::pin(async { notify.notified().await });

        let permit = semaphore.try_acquire().unwrap();
        let (mut leaves, mut given) = (acquire(), acquire());
        assert_eq!(poll_twice(leaves.as_mut()), 1);
        drop(leaves);
        assert_eq!(uses_now(), 1);
        assert_eq!(poll_twice(given.as_mut()), 1);
        drop(permit);
        assert_eq!(uses_now(), 2, "woken and dropped");
        drop(given);
        assert_eq!(semaphore.available_permits(), 1);

        let permit = semaphore.try_acquire().unwrap();
        let mut refused = acquire();
        poll_twice(refused.as_mut());
        semaphore.close();
        assert_eq!(uses_now(), 2);
        drop((permit, refused));

        let mut notified = wait();
        assert_eq!(poll_twice(notified.as_mut()), 1);
        notify.notify_one();
        assert_eq!(uses_now(), 2);
        drop(notified);
        assert!(Polled::new(notify.notified()).poll().is_ready(), "it was passed on");
        let (mut one, mut other) = (wait(), wait());
        assert_eq!((poll_twice(one.as_mut()), poll_twice(other.as_mut())), (1, 1));
        notify.notify_waiters();
        assert_eq!(uses_now(), 4);
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

#[test]
fn a_waker_that_panics_keeps_no_other_from_being_woken() {
    let notify = Notify::new();
    let mut first = Box::pin(notify.notified());
    assert!(first.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
    let second = Polled::waiting(notify.notified());
    notify.notify_waiters();
    assert_eq!(second.wakes(), 1);
}

/// One step of a random sequence. The numbers select among what exists.
#[derive(Clone, Debug)]
enum Step {
    Begin,
    Poll(usize),
    Cancel(usize),
    Release(usize),
    TryAcquire,
    Add(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Begin),
        12 => any::<usize>().prop_map(Step::Poll),
        3 => any::<usize>().prop_map(Step::Cancel),
        6 => any::<usize>().prop_map(Step::Release),
        2 => Just(Step::TryAcquire),
        1 => (0_usize..4).prop_map(Step::Add),
        // Most sequences never close it.
        1 => prop_oneof![40 => Just(Step::Begin), 1 => Just(Step::Close)],
    ]
}

/// What a semaphore should do.
#[derive(Default)]
struct Model {
    available: usize,
    total: usize,
    closed: bool,
    line: VecDeque<usize>,
    given: BTreeSet<usize>,
    refused: BTreeSet<usize>,
}

impl Model {
    fn release(&mut self, count: usize) {
        self.available += count;
        while self.available > 0
            && let Some(first) = self.line.pop_front()
        {
            self.available -= 1;
            self.given.insert(first);
        }
    }

    /// Returns what a poll of this waiter should return: whether it gets a permit.
    fn poll(&mut self, number: usize) -> Poll<bool> {
        if self.given.remove(&number) {
            return Poll::Ready(true);
        }
        if self.refused.remove(&number) || self.closed {
            return Poll::Ready(false);
        }
        if self.line.contains(&number) {
            return Poll::Pending;
        }
        if self.available > 0 {
            self.available -= 1;
            return Poll::Ready(true);
        }
        self.line.push_back(number);
        Poll::Pending
    }

    fn cancel(&mut self, number: usize) {
        self.line.retain(|other| *other != number);
        self.refused.remove(&number);
        if self.given.remove(&number) {
            self.release(1);
        }
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>>>>;

/// A semaphore, those who wait for it or have its permits, and the model.
struct World {
    semaphore: Rc<Semaphore>,
    model: Model,
    begun: usize,
    waiters: Vec<(usize, Polled<Acquiring>)>,
    permits: Vec<OwnedSemaphorePermit>,
}

impl World {
    fn new(permits: usize) -> Self {
        Self {
            semaphore: Rc::new(Semaphore::new(permits)),
            model: Model { available: permits, total: permits, ..Model::default() },
            begun: 0,
            waiters: Vec::new(),
            permits: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Begin => {
                let acquiring: Acquiring = Box::pin(Rc::clone(&self.semaphore).acquire_owned());
                self.waiters.push((self.begun, Polled::new(acquiring)));
                self.begun += 1;
            }
            Step::Poll(index) if !self.waiters.is_empty() => {
                let index = index % self.waiters.len();
                let (number, waiter) = &mut self.waiters[index];
                let polled = waiter.poll().map(Result::ok);
                let gets = match &polled {
                    Poll::Ready(permit) => Poll::Ready(permit.is_some()),
                    Poll::Pending => Poll::Pending,
                };
                assert_eq!(gets, self.model.poll(*number), "waiter {number}");
                if let Poll::Ready(permit) = polled {
                    self.permits.extend(permit);
                    self.waiters.remove(index);
                }
            }
            Step::Cancel(index) if !self.waiters.is_empty() => {
                let (number, waiter) = self.waiters.remove(index % self.waiters.len());
                drop(waiter);
                self.model.cancel(number);
            }
            Step::Release(index) if !self.permits.is_empty() => {
                drop(self.permits.remove(index % self.permits.len()));
                self.model.release(1);
            }
            Step::TryAcquire => {
                let gets = !self.model.closed && self.model.available > 0;
                let permit = Rc::clone(&self.semaphore).try_acquire_owned();
                assert_eq!(permit.is_ok(), gets);
                self.model.available -= usize::from(gets);
                self.permits.extend(permit);
            }
            Step::Add(count) => {
                self.semaphore.add_permits(count);
                self.model.total += count;
                self.model.release(count);
            }
            Step::Close => {
                self.semaphore.close();
                self.model.closed = true;
                self.model.refused.extend(self.model.line.drain(..));
            }
            Step::Poll(_) | Step::Cancel(_) | Step::Release(_) => {}
        }
        self.check();
    }

    fn check(&self) {
        let Model { available, total, given, refused, .. } = &self.model;
        assert_eq!(self.semaphore.available_permits(), *available);
        assert_eq!(available + given.len() + self.permits.len(), *total, "permits are lost or invented");
        for (number, waiter) in &self.waiters {
            let is_over = given.contains(number) || refused.contains(number);
            assert_eq!(waiter.wakes(), usize::from(is_over), "wakes of waiter {number}");
        }
    }
}

proptest! {
    // A failing input is printed in full, so no file of seeds is needed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_semaphore_does_what_the_model_does(
        permits in 0_usize..4,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(permits);
        for step in &steps {
            world.take(step);
        }
        while !world.waiters.is_empty() {
            world.take(&Step::Cancel(0));
        }
        while !world.permits.is_empty() {
            world.take(&Step::Release(0));
        }
        prop_assert_eq!(world.semaphore.available_permits(), world.model.total);
    }
}
