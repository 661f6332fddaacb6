//! Which callers of a handle are woken when many responses arrive at once: the leader, which wakes the others; and the
//! others even if it does not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ringtide::client::{ClientHandle, RemoteRequest};
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::{Client, Error};

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Callers that have been polled once. Their requests fail as soon as the worker handles them.
struct Callers {
    worker: Worker,
    handle: ClientHandle,
    requests: Vec<(Pin<Box<RemoteRequest>>, Arc<Count>)>,
}

impl Callers {
    fn new() -> Self {
        let mut worker = Worker::new(&WorkerOptions::default()).unwrap();
        let handle = worker.block_on(async { Client::default().handle() });
        let requests = (0..10).map(|_| {
            let (mut request, count) = (Box::pin(handle.get("ftp://127.0.0.1/")), Arc::<Count>::default());
            let waker = Waker::from(Arc::clone(&count));
            assert!(request.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            (request, count)
        });
        let requests = requests.collect();
        Self { worker, handle, requests }
    }

    fn wakes(&self) -> Vec<usize> {
        self.requests.iter().map(|(_, count)| count.0.load(Ordering::SeqCst)).collect()
    }

    /// Runs the worker until a caller has been woken. Returns the index of that caller.
    fn first(&mut self) -> usize {
        let counts: Vec<_> = self.requests.iter().map(|(_, count)| Arc::clone(count)).collect();
        self.worker.block_on(async move {
            loop {
                let woken = counts.iter().position(|count| count.0.load(Ordering::SeqCst) > 0);
                if let Some(first) = woken {
                    return first;
                }
                runtime::yield_now().await;
            }
        })
    }
}

#[test]
fn the_leader_wakes_the_others_when_it_polls() {
    let mut callers = Callers::new();
    let first = callers.first();
    let outcome = callers.requests[first].0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(Error::Request(_)))));
    assert_eq!(callers.wakes(), [1; 10]);
}

#[test]
fn the_leader_wakes_the_others_when_it_is_dropped() {
    let mut callers = Callers::new();
    let first = callers.first();
    let (request, _) = callers.requests.remove(first);
    drop(request);
    assert_eq!(callers.wakes(), [1; 9]);
}

#[test]
fn callers_are_woken_even_if_the_leader_does_nothing() {
    let mut callers = Callers::new();
    callers.first();
    callers.worker.block_on(runtime::sleep(Duration::from_millis(20)));
    assert_eq!(callers.wakes(), [1; 10]);
}

#[test]
fn callers_are_woken_when_the_worker_ends_before_the_leader_polls() {
    let mut callers = Callers::new();
    callers.first();
    callers.worker = Worker::new(&WorkerOptions::default()).unwrap();
    assert_eq!(callers.wakes(), [1; 10]);
}

/// A waker that panics.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics on purpose");
    }
}

#[test]
fn a_waker_that_panics_does_not_affect_other_callers() {
    let mut callers = Callers::new();
    let broken = Waker::from(Arc::new(Broken));
    for (request, _) in &mut callers.requests[..5] {
        assert!(request.as_mut().poll(&mut Context::from_waker(&broken)).is_pending());
    }
    // Reporting the panics takes time, so wait for the other callers to be woken.
    for _ in 0..1000 {
        callers.worker.block_on(runtime::sleep(Duration::from_millis(5)));
        if callers.wakes()[5..] == [1; 5] {
            break;
        }
    }
    assert_eq!(callers.wakes()[5..], [1; 5]);
    // The handle still works.
    let mut request = Box::pin(callers.handle.get("ftp://127.0.0.1/"));
    assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    callers.worker.block_on(runtime::sleep(Duration::from_millis(1)));
    assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}
