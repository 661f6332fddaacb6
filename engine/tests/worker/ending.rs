//! The end of a worker: what it drops, and what it must not affect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ringtide::runtime;

use super::worker;

#[test]
fn tasks_are_dropped_with_their_worker() {
    let (sender, receiver) = mpsc::channel::<()>();
    let mut worker = worker();
    worker.block_on(async move {
        runtime::spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        runtime::yield_now().await;
    });
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(worker);
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Spawns a task on the worker that owns `value` and never ends.
fn leave(worker: &mut runtime::Worker, value: impl Sized + 'static) {
    worker.block_on(async {
        runtime::spawn(async move {
            let _value = value;
            std::future::pending::<()>().await;
        });
        runtime::yield_now().await;
    });
}

/// While a worker ends, one of its tasks wakes a task of another worker, which was created meanwhile on another thread.
#[test]
fn a_worker_that_ends_does_not_take_wakes_of_other_workers() {
    let place = Arc::<Mutex<Option<Waker>>>::default();
    let flag = Arc::new(AtomicBool::new(false));
    let (start, begun) = mpsc::channel();
    let (wait, waiting) = mpsc::channel();
    let other = thread::spawn({
        let (place, flag) = (Arc::clone(&place), Arc::clone(&flag));
        move || {
            begun.recv().unwrap();
            let mut worker = worker();
            worker.block_on(async move {
                let task = runtime::spawn(std::future::poll_fn(move |context| {
                    if flag.load(Ordering::SeqCst) {
                        return Poll::Ready(());
                    }
                    *place.lock().unwrap() = Some(context.waker().clone());
                    let _ = wait.send(());
                    Poll::Pending
                }));
                runtime::timeout(Duration::from_secs(5), task).await.is_some()
            })
        }
    });
    let mut ending = worker();
    leave(
        &mut ending,
        OnDrop(move || {
            start.send(()).unwrap();
            waiting.recv().unwrap();
            flag.store(true, Ordering::SeqCst);
            place.lock().unwrap().take().unwrap().wake();
        }),
    );
    drop(ending);
    assert!(other.join().unwrap(), "the wake was lost");
}

#[test]
fn panics_at_the_end_of_a_worker_do_not_stop_the_other_drops() {
    let (sender, receiver) = mpsc::channel();
    let mut ending = worker();
    for number in 0..4 {
        let sender = sender.clone();
        leave(
            &mut ending,
            OnDrop(move || {
                sender.send(number).unwrap();
                assert!(number % 2 == 0, "as planned");
            }),
        );
    }
    for number in 4..6 {
        let sender = sender.clone();
        let uncalled = OnDrop(move || {
            sender.send(number).unwrap();
            panic!("as planned");
        });
        // Both calls are still queued when the worker ends. They are dropped without being made.
        ending.handle().call(move || drop(uncalled)).unwrap();
    }
    drop(sender);
    drop(ending);
    let mut dropped: Vec<_> = receiver.try_iter().collect();
    dropped.sort_unstable();
    assert_eq!(dropped, [0, 1, 2, 3, 4, 5]);
    assert_eq!(worker().block_on(async { 7 }), 7, "the thread can have another worker");
}

#[test]
fn tasks_spawned_at_the_end_of_a_worker_are_dropped_too() {
    let (sender, receiver) = mpsc::channel();
    let mut ending = worker();
    leave(
        &mut ending,
        OnDrop(move || {
            let sender = sender.clone();
            let inner = OnDrop(move || sender.send(()).unwrap());
            runtime::spawn(async move {
                let _inner = inner;
                std::future::pending::<()>().await;
            });
        }),
    );
    drop(ending);
    assert_eq!(receiver.try_iter().count(), 1);
}

#[test]
fn a_panic_in_the_drop_of_an_aborted_task_is_contained() {
    worker().block_on(async {
        let bad = OnDrop(|| panic!("as planned"));
        let task = runtime::spawn(async move {
            let _bad = bad;
            std::future::pending::<()>().await;
        });
        runtime::yield_now().await;
        task.abort();
        assert_eq!(task.await, Err(runtime::JoinError::Aborted));
    });
}
