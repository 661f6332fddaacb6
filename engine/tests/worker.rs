//! The worker from outside: tasks, timers, panics, wakes from other threads, foreign descriptors.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};
use std::{panic, thread};

use ringtide::runtime::{self, DriverChoice, JoinError, Spin, Timer, Worker, WorkerOptions};
use ringtide::stream::{Listener, Stream};
use ringtide::{Client, Connection, ConnectionOptions, PreparedRequest};
use ringtide_driver::Interest;

fn worker() -> Worker {
    Worker::new(&WorkerOptions::default()).expect("a worker can be made")
}

#[test]
fn tasks_run_and_their_results_come_back() {
    let sum = worker().block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                runtime::spawn(async move {
                    runtime::yield_now().await;
                    number
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 4950);
}

#[test]
fn a_panic_is_contained_and_reported() {
    worker().block_on(async {
        let bad = runtime::spawn(async { panic!("as {}", "planned") });
        let good = runtime::spawn(async {
            runtime::sleep(Duration::from_millis(2)).await;
            7
        });
        assert_eq!(bad.await, Err::<(), _>(JoinError::Panicked("as planned".to_owned())));
        assert_eq!(good.await, Ok(7));
    });
}

#[test]
fn an_aborted_task_is_dropped_and_says_so() {
    struct OnDrop(mpsc::Sender<()>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (dropped, seen) = mpsc::channel();
    worker().block_on(async move {
        let guard = OnDrop(dropped);
        let task = runtime::spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        runtime::yield_now().await;
        task.abort();
        assert!(seen.try_recv().is_ok());
        assert_eq!(task.await, Err(JoinError::Aborted));
    });
}

#[test]
fn tasks_go_with_their_worker() {
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

#[test]
fn timers_fire_in_order_and_never_early() {
    worker().block_on(async {
        let (sender, receiver) = mpsc::channel();
        let start_ns = runtime::now_ns();
        let tasks: Vec<_> = [7_u64, 1, 4]
            .map(|delay_ms| {
                let sender = sender.clone();
                runtime::spawn(async move {
                    runtime::sleep(Duration::from_millis(delay_ms)).await;
                    assert!(runtime::now_ns() >= start_ns + delay_ms * 1_000_000);
                    sender.send(delay_ms).unwrap();
                })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 4, 7]);
    });
}

#[test]
fn a_timer_can_be_moved_both_ways_and_unset() {
    worker().block_on(async {
        let mut timer = Timer::new();
        let start_ns = runtime::now_ns();
        timer.set(start_ns + 60_000_000_000);
        timer.set(start_ns + 3_000_000);
        timer.elapsed().await;
        timer.elapsed().await;
        timer.set(runtime::now_ns() + 1_000_000);
        timer.set(runtime::now_ns() + 5_000_000);
        let moved_ns = runtime::now_ns();
        timer.elapsed().await;
        assert!(runtime::now_ns() >= moved_ns + 4_900_000);
        timer.set(runtime::now_ns() + 1_000_000);
        timer.unset();
        assert!(runtime::timeout(Duration::from_millis(5), timer.elapsed()).await.is_none());
    });
}

#[test]
fn precise_timers_do_not_fire_early_while_spinning() {
    for spin in [Spin::For(2_000_000), Spin::Learnt, Spin::Off] {
        let mut worker = Worker::new(&WorkerOptions { spin, ..WorkerOptions::default() }).unwrap();
        worker.block_on(async {
            let mut timer = Timer::precise();
            for _ in 0..20 {
                let deadline_ns = runtime::now_ns() + 500_000;
                timer.set(deadline_ns);
                timer.elapsed().await;
                assert!(runtime::now_ns() >= deadline_ns, "{spin:?}");
            }
        });
    }
}

#[test]
fn other_threads_wake_and_call() {
    let mut worker = worker();
    let remote = worker.remote();
    let (sender, receiver) = mpsc::channel();
    let caller = std::thread::spawn(move || {
        for number in 0..1000 {
            let sender = sender.clone();
            remote
                .call(move || {
                    runtime::spawn(async move { sender.send(number).unwrap() });
                })
                .unwrap();
        }
        remote
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
    let remote = caller.join().unwrap();
    drop(worker);
    assert!(remote.call(|| ()).is_err(), "the worker is gone");
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
fn foreign_descriptors_can_be_waited_for() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    worker().block_on(async {
        runtime::ready(theirs.as_fd(), Interest::Writable).await.unwrap();
        let early = runtime::ready(theirs.as_fd(), Interest::Readable);
        assert!(runtime::timeout(Duration::from_millis(3), early).await.is_none());
        ours.write_all(b"!").unwrap();
        runtime::ready(theirs.as_fd(), Interest::Readable).await.unwrap();
    });
}

/// The driver's handle is free once it has reported, and may belong to another before the waiting task gets to see the report.
#[test]
fn a_wait_for_a_descriptor_keeps_its_outcome_when_its_handle_is_used_again() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    worker().block_on(async {
        let mut wait = std::pin::pin!(runtime::ready(theirs.as_fd(), Interest::Writable));
        assert!(poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_pending())).await);
        // The report comes during this wait, and nobody looks at it.
        runtime::sleep(Duration::from_millis(20)).await;
        let (one, other) = UnixStream::pair().unwrap();
        let _streams = [one, other].map(|socket| Stream::adopt(OwnedFd::from(socket)).unwrap());
        wait.await.unwrap();
    });
}

#[test]
fn a_panic_in_a_call_from_another_thread_is_contained() {
    let mut worker = worker();
    let remote = worker.remote();
    let (sender, receiver) = mpsc::channel();
    remote.call(|| panic!("as planned")).unwrap();
    remote.call(move || sender.send(()).unwrap()).unwrap();
    worker.block_on(async { runtime::sleep(Duration::from_millis(1)).await });
    assert!(receiver.try_recv().is_ok(), "the calls behind it are made");
}

/// Has a connection answered over `ours`, and leaves it to the peer, who holds `theirs`, to close.
async fn leave_to_peer(ours: UnixStream, mut theirs: &UnixStream) {
    theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
    let mut connection = Connection::new(stream, &ConnectionOptions::default());
    theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let request = http::Request::get("http://localhost/").body(bytes::Bytes::new()).unwrap();
    let request = PreparedRequest::new(&request).unwrap();
    connection.send(&request).await.unwrap().discard().await.unwrap();
    connection.close_after_peer();
}

#[test]
fn a_connection_left_to_its_peer_goes_with_the_worker() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut worker = worker();
    worker.block_on(leave_to_peer(ours, &theirs));
    drop(worker);
    theirs.read_to_end(&mut Vec::new()).expect("the end is seen when the worker has gone");
}

#[test]
fn a_connection_left_to_its_peer_is_closed_in_time_by_an_idle_worker() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let outcome = worker().block_on(async {
        leave_to_peer(ours, &theirs).await;
        let (sender, receiver) = mpsc::channel();
        let mut reader = Some((theirs, sender));
        poll_fn(|context| {
            if let Some((mut theirs, sender)) = reader.take() {
                let waker = context.waker().clone();
                std::thread::spawn(move || {
                    sender.send(theirs.read_to_end(&mut Vec::new())).unwrap();
                    waker.wake();
                });
            }
            // Nothing but this wake rouses the worker, and it comes when the end has been seen, or never was.
            receiver.try_recv().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    });
    outcome.expect("the end is seen although the worker has nothing else to do");
}

#[test]
fn a_panic_outside_of_block_on_names_the_caller() {
    let calls: [fn(); 7] = [
        || drop(runtime::spawn(async {})),
        || _ = runtime::now_ns(),
        || drop(runtime::statistics()),
        || drop(Timer::new()),
        || drop(Timer::precise()),
        || drop(Client::default()),
        || drop(Listener::bind(&"127.0.0.1:0".parse().unwrap(), false)),
    ];
    let (sender, receiver) = mpsc::channel();
    let this_thread = thread::current().id();
    let usual_hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // The other tests have their own panics.
        if thread::current().id() == this_thread {
            sender.send(panic.location().unwrap().file().to_owned()).unwrap();
        } else {
            usual_hook(panic);
        }
    }));
    let caught: Vec<_> = calls.into_iter().map(panic::catch_unwind).collect();
    drop(panic::take_hook());
    assert!(caught.iter().all(Result::is_err));
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [file!(); 7]);
}

/// The peer has reset the connection before the request is started: the kernel takes none of it. Of one that it took, it tells when.
#[test]
fn a_request_that_was_refused_has_no_time_of_sending() {
    for driver in [DriverChoice::Auto, DriverChoice::Fallback] {
        for pipelining in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().into();
            let request = http::Request::get("http://h/").body(bytes::Bytes::new()).unwrap();
            let request = PreparedRequest::new(&request).unwrap().leak();
            let mut worker = Worker::new(&WorkerOptions { driver, ..WorkerOptions::default() }).unwrap();
            worker.block_on(async {
                let options = ConnectionOptions::default().pipelining(pipelining);
                let mut connection = Connection::new(Stream::connect(&address).await.unwrap(), &options);
                let (peer, _) = listener.accept().unwrap();
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
                connection.start(&request).unwrap();
                connection.response().await.unwrap_err();
                assert_eq!(connection.in_flight_sent_ns().collect::<Vec<_>>(), [None], "{driver}");

                let mut connection = Connection::new(Stream::connect(&address).await.unwrap(), &options);
                let (mut peer, _) = listener.accept().unwrap();
                let before_ns = runtime::now_ns();
                connection.start(&request).unwrap();
                let mut bytes = vec![0; request.bytes().len()];
                // Has it sent, and then ends.
                poll_fn(|context| {
                    assert!(connection.poll_exchange(context).is_pending());
                    Poll::Ready(())
                })
                .await;
                runtime::yield_now().await;
                peer.read_exact(&mut bytes).unwrap();
                drop(peer);
                connection.response().await.unwrap_err();
                let sent_ns: Vec<_> = connection.in_flight_sent_ns().collect();
                assert!(
                    sent_ns.len() == 1 && sent_ns[0].is_some_and(|sent_ns| sent_ns >= before_ns),
                    "{sent_ns:?}"
                );
            });
        }
    }
}
