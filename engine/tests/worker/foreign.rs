//! Wakers that do not belong to a task. They may run any code when they are woken or dropped, and that code may use the
//! worker.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringtide::runtime::{self, JoinSet, Timer};
use ringtide::stream::{Listener, Stream};
use ringtide::{Connection, ConnectionOptions, PreparedRequest};

use super::worker;

/// Counts the intruders that were woken and dropped. Each of them found nothing borrowed.
#[derive(Default)]
pub(super) struct Intrusions {
    woken: AtomicUsize,
    dropped: AtomicUsize,
}

/// A waker that uses every part of the worker when it is woken and when it is dropped. It wakes the task's waker behind
/// it.
pub(super) struct Intruder {
    behind: Waker,
    intrusions: Arc<Intrusions>,
}

impl Intruder {
    pub(super) fn waker(behind: &Waker, intrusions: &Arc<Intrusions>) -> Waker {
        Waker::from(Arc::new(Self { behind: behind.clone(), intrusions: Arc::clone(intrusions) }))
    }
}

impl Wake for Intruder {
    fn wake(self: Arc<Self>) {
        intrude();
        self.intrusions.woken.fetch_add(1, Ordering::Relaxed);
        self.behind.wake_by_ref();
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        intrude();
        self.intrusions.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Uses everything that a worker offers.
fn intrude() {
    let mut timer = Timer::new();
    timer.set(runtime::now_ns() + 1_000_000);
    let (one, _) = UnixStream::pair().unwrap();
    let _stream = Stream::adopt(OwnedFd::from(one)).unwrap();
    let task = runtime::spawn(std::future::pending::<()>());
    task.abort();
    assert!(task.is_finished());
}

/// Polls `future` only with intruders: twice each time, so that the second displaces the first.
async fn through<F: Future>(intrusions: &Arc<Intrusions>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        for _ in 0..2 {
            let waker = Intruder::waker(context.waker(), intrusions);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

/// Runs `waits`, which polls through intruders. Checks that the intruders were woken.
fn expect_wakes<T>(waits: impl AsyncFnOnce(&Arc<Intrusions>) -> T) -> T {
    let intrusions = Arc::default();
    let output = worker()
        .block_on(runtime::timeout(Duration::from_secs(10), waits(&intrusions)))
        .expect("it is woken");
    let (woken, dropped) =
        (intrusions.woken.load(Ordering::Relaxed), intrusions.dropped.load(Ordering::Relaxed));
    // A displaced waker is dropped without being woken, and every waker is dropped in the end.
    assert!(woken > 0 && dropped > woken, "woken {woken}, dropped {dropped}");
    output
}

/// Polls `future` once with an intruder. Checks that the intruder is dropped together with the future.
async fn expect_drop<F: Future>(intrusions: &Arc<Intrusions>, future: F) {
    let before = intrusions.dropped.load(Ordering::Relaxed);
    {
        let mut future = pin!(future);
        poll_fn(|context| {
            let waker = Intruder::waker(context.waker(), intrusions);
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(intrusions.dropped.load(Ordering::Relaxed), before, "it waits");
    }
    // The kernel may have to confirm the cancellation first.
    for _ in 0..10 {
        runtime::yield_now().await;
    }
    assert_eq!(intrusions.dropped.load(Ordering::Relaxed), before + 1);
}

#[test]
fn the_end_of_a_task_in_a_set_wakes_any_waker() {
    expect_wakes(async |intrusions| {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            runtime::yield_now().await;
            1
        });
        assert_eq!(through(intrusions, tasks.join_next()).await, Some(Ok(1)));
    });
}

#[test]
fn a_timer_wakes_any_waker() {
    expect_wakes(async |intrusions| through(intrusions, runtime::sleep(Duration::from_millis(2))).await);
}

#[test]
fn a_task_wakes_any_waker() {
    let outcome = expect_wakes(async |intrusions| {
        let task = runtime::spawn(async {
            runtime::sleep(Duration::from_millis(2)).await;
            7
        });
        through(intrusions, task).await
    });
    assert_eq!(outcome, Ok(7));
}

#[test]
fn a_connect_and_an_accept_wake_any_waker() {
    expect_wakes(async |intrusions| {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let accepting = runtime::spawn({
            let intrusions = Arc::clone(intrusions);
            async move { through(&intrusions, listener.accept()).await.unwrap() }
        });
        runtime::yield_now().await;
        through(intrusions, Stream::connect(&address)).await.unwrap();
        accepting.await.unwrap();
    });
}

#[test]
fn a_receive_wakes_any_waker() {
    let lease = expect_wakes(async |intrusions| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
        let peer = runtime::spawn(async move {
            runtime::sleep(Duration::from_millis(2)).await;
            theirs.write_all(b"hello").unwrap();
        });
        let lease = through(intrusions, stream.receive()).await.unwrap().unwrap();
        peer.await.unwrap();
        lease.to_vec()
    });
    assert_eq!(lease, b"hello");
}

/// Memory whose owner intrudes when it is dropped. That happens after all of it was sent.
struct Owner(Vec<u8>, Arc<Intrusions>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        intrude();
        self.1.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_send_wakes_any_waker_and_drops_any_owner_of_what_it_sent() {
    const SIZE: usize = 8 * 1024 * 1024;
    expect_wakes(async |intrusions| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
        let reader = thread::spawn(move || theirs.read_to_end(&mut Vec::new()).unwrap());
        let owners = Arc::<Intrusions>::default();
        let bytes = Bytes::from_owner(Owner(vec![7; SIZE], Arc::clone(&owners)));
        through(intrusions, stream.send(bytes)).await.unwrap();
        assert_eq!(owners.dropped.load(Ordering::Relaxed), 1);
        drop(stream);
        // The next turns close it.
        runtime::sleep(Duration::from_millis(20)).await;
        assert_eq!(reader.join().unwrap(), SIZE);
    });
}

#[test]
fn a_descriptor_wakes_any_waker() {
    expect_wakes(async |intrusions| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let writer = runtime::spawn(async move {
            runtime::sleep(Duration::from_millis(2)).await;
            ours.write_all(b"!").unwrap();
            ours
        });
        through(intrusions, runtime::readable(theirs.as_fd())).await.unwrap();
        writer.await.unwrap();
    });
}

#[test]
fn a_waker_may_use_the_worker_when_its_wait_is_dropped() {
    let intrusions = Arc::default();
    worker().block_on(async {
        expect_drop(&intrusions, runtime::sleep(Duration::from_mins(1))).await;
        let (one, other) = UnixStream::pair().unwrap();
        expect_drop(&intrusions, runtime::readable(other.as_fd())).await;
        let mut stream = Stream::adopt(OwnedFd::from(one)).unwrap();
        expect_drop(&intrusions, async move { stream.receive().await.map(drop) }).await;
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        expect_drop(&intrusions, async move { listener.accept().await.map(drop) }).await;
    });
}

#[test]
fn a_waker_may_use_the_worker_when_a_connection_is_left_to_its_peer() {
    let intrusions = Arc::<Intrusions>::default();
    worker().block_on(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
        let mut connection = Connection::new(stream, &ConnectionOptions::default());
        let request = http::Request::get("http://localhost/").body(Bytes::new()).unwrap();
        connection.start(&PreparedRequest::new(&request).unwrap()).unwrap();
        poll_fn(|context| {
            let waker = Intruder::waker(context.waker(), &intrusions);
            assert!(connection.poll_completion(&mut Context::from_waker(&waker)).is_pending());
            Poll::Ready(())
        })
        .await;
        connection.close_after_peer();
        assert_eq!(intrusions.dropped.load(Ordering::Relaxed), 1);
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        runtime::sleep(Duration::from_millis(2)).await;
    });
}

#[test]
fn a_panic_in_a_waker_does_not_stop_the_other_wakes() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("as planned");
        }
    }
    worker().block_on(async {
        let deadline_ns = runtime::now_ns() + 2_000_000;
        let mut timers: Vec<_> = (0..3).map(|_| Timer::new()).collect();
        for timer in &mut timers {
            timer.set(deadline_ns);
        }
        for bad in [0, 2] {
            let waker = Waker::from(Arc::new(Bad));
            assert!(timers[bad].poll_elapsed(&mut Context::from_waker(&waker)).is_pending());
        }
        timers[1].elapsed().await;
        timers[2].elapsed().await;
    });
}
