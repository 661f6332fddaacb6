//! Wakes and calls from other threads.

use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringtide::runtime;

use super::worker;

#[test]
fn other_threads_wake_and_call() {
    let mut worker = worker();
    let handle = worker.handle();
    let (sender, receiver) = mpsc::channel();
    let caller = std::thread::spawn(move || {
        for number in 0..1000 {
            let sender = sender.clone();
            handle
                .call(move || {
                    runtime::spawn(async move { sender.send(number).unwrap() });
                })
                .unwrap();
        }
        handle
    });
    let numbers = worker.block_on(async {
        let mut numbers = Vec::new();
        while numbers.len() < 1000 {
            numbers.extend(receiver.try_iter());
            runtime::sleep(Duration::from_micros(200)).await;
        }
        numbers
    });
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    let handle = caller.join().unwrap();
    drop(worker);
    assert!(handle.call(|| ()).is_err(), "the worker has ended");
}

#[test]
fn a_parked_worker_is_woken_by_a_waker_from_another_thread() {
    let started = Instant::now();
    let mut flag = None;
    worker().block_on(std::future::poll_fn(|context| {
        let (done, handle) = flag.get_or_insert_with(|| {
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let (waker, setter) = (context.waker().clone(), std::sync::Arc::clone(&done));
            let handle = std::thread::spawn(move || {
                setter.store(true, std::sync::atomic::Ordering::SeqCst);
                waker.wake();
            });
            (done, Some(handle))
        });
        if done.load(std::sync::atomic::Ordering::SeqCst) {
            handle.take().unwrap().join().unwrap();
            return Poll::Ready(());
        }
        std::task::Poll::Pending
    }));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_panic_in_a_call_from_another_thread_is_contained() {
    let mut worker = worker();
    let handle = worker.handle();
    let (sender, receiver) = mpsc::channel();
    handle.call(|| panic!("as planned")).unwrap();
    handle.call(move || sender.send(()).unwrap()).unwrap();
    worker.block_on(async { runtime::sleep(Duration::from_millis(1)).await });
    assert!(receiver.try_recv().is_ok(), "the later call is made");
}
