//! Who is woken when many callers of a handle have an answer at once: the first one, which wakes the others; and the others without it.

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

/// Callers that have been polled once, and whose requests fail as soon as their worker comes to them.
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

    /// Has the worker run until somebody has been woken; who that is.
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
fn the_first_caller_of_a_batch_wakes_the_others_when_it_comes() {
    let mut callers = Callers::new();
    let first = callers.first();
    let outcome = callers.requests[first].0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(Error::Request(_)))));
    assert_eq!(callers.wakes(), [1; 10]);
}

#[test]
fn the_first_caller_of_a_batch_wakes_the_others_when_it_goes() {
    let mut callers = Callers::new();
    let first = callers.first();
    let (request, _) = callers.requests.remove(first);
    drop(request);
    assert_eq!(callers.wakes(), [1; 9]);
}

#[test]
fn callers_are_woken_though_the_first_of_their_batch_neither_comes_nor_goes() {
    let mut callers = Callers::new();
    callers.first();
    callers.worker.block_on(runtime::sleep(Duration::from_millis(20)));
    assert_eq!(callers.wakes(), [1; 10]);
}

#[test]
fn callers_are_woken_when_the_worker_ends_before_the_first_of_their_batch_comes() {
    let mut callers = Callers::new();
    callers.first();
    callers.worker = Worker::new(&WorkerOptions::default()).unwrap();
    assert_eq!(callers.wakes(), [1; 10]);
}

/// A waker that panics.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics, as the test wants it");
    }
}

#[test]
fn a_waker_that_panics_is_the_trouble_of_its_owner_alone() {
    let mut callers = Callers::new();
    let broken = Waker::from(Arc::new(Broken));
    for (request, _) in &mut callers.requests[..5] {
        assert!(request.as_mut().poll(&mut Context::from_waker(&broken)).is_pending());
    }
    // Reporting a panic takes its time, which is not the others'.
    for _ in 0..1000 {
        callers.worker.block_on(runtime::sleep(Duration::from_millis(5)));
        if callers.wakes()[5..] == [1; 5] {
            break;
        }
    }
    assert_eq!(callers.wakes()[5..], [1; 5]);
    // The handle is as good as before.
    let mut request = Box::pin(callers.handle.get("ftp://127.0.0.1/"));
    assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    callers.worker.block_on(runtime::sleep(Duration::from_millis(1)));
    assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}
