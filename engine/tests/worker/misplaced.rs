//! What is used in the wrong place says so, instead of waiting for ever.

use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use ringtide::Client;
use ringtide::runtime::{self, Timer};
use ringtide::stream::{Listener, Stream};

use super::foreign::Intruder;
use super::worker;

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

/// How `main` panics on a second worker of this thread. The worker bears it, and so does the thread.
fn complaint(main: impl Future<Output = ()>) -> String {
    let mut second = worker();
    let waits = runtime::timeout(Duration::from_secs(5), main);
    let outcome = catch_unwind(AssertUnwindSafe(|| second.block_on(waits)));
    let message = match outcome {
        Ok(outcome) => panic!("no panic: {outcome:?}"),
        Err(panic) => *panic
            .downcast::<String>()
            .or_else(|panic| panic.downcast::<&str>().map(|text| Box::new((*text).to_owned())))
            .unwrap(),
    };
    assert_eq!(second.block_on(async { 7 }), 7);
    message
}

/// Polls through a waker that is not a task's.
async fn through<F: Future>(future: F) -> F::Output {
    let (mut future, intrusions) = (pin!(future), Arc::default());
    poll_fn(|context| {
        let waker = Intruder::waker(context.waker(), &intrusions);
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// What belongs to a worker, made on it, and a wait for it.
macro_rules! expect_complaints {
    ($made:expr, $item:ident => $wait:expr) => {
        for foreign in [false, true] {
            for ended in [false, true] {
                let mut first = Some(worker());
                let mut made = first.as_mut().unwrap().block_on($made);
                if ended {
                    // Its number must not become the other's while something of it is left.
                    first = None;
                }
                let $item = &mut made;
                let wait = async { _ = $wait.await };
                let text = if foreign { complaint(through(wait)) } else { complaint(wait) };
                assert!(text.contains("another ringtide worker") && text.contains("ClientHandle"), "{text}");
                drop(first);
            }
        }
    };
}

#[test]
fn what_belongs_to_another_worker_of_the_thread_says_so() {
    expect_complaints!(async { Timer::new() }, timer => timer.elapsed());
    let stream = async || {
        let (one, other) = UnixStream::pair().unwrap();
        (Stream::adopt(OwnedFd::from(one)).unwrap(), other)
    };
    expect_complaints!(stream(), stream => stream.0.receive());
    expect_complaints!(async { Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap() }, listener => listener.accept());
}

#[test]
fn a_wait_that_was_begun_on_another_worker_says_so() {
    let (one, other) = UnixStream::pair().unwrap();
    let mut first = worker();
    let mut wait = pin!(runtime::readable(one.as_fd()));
    first.block_on(poll_fn(|context| {
        assert!(wait.as_mut().poll(context).is_pending());
        Poll::Ready(())
    }));
    let text = complaint(async { drop(wait.await) });
    assert!(text.contains("another ringtide worker"), "{text}");
    drop(other);
}

#[test]
fn a_join_handle_on_another_worker_gives_its_result_or_says_that_there_will_be_none() {
    for foreign in [false, true] {
        let mut first = worker();
        let (task,) = first.block_on(async { (runtime::spawn(std::future::pending::<()>()),) });
        let wait = async { drop(task.await) };
        let text = if foreign { complaint(through(wait)) } else { complaint(wait) };
        assert!(text.contains("another ringtide worker"), "{text}");
    }
    let mut first = worker();
    let (ended, left) = first.block_on(async {
        let tasks = (runtime::spawn(async { 7 }), runtime::spawn(std::future::pending::<()>()));
        runtime::yield_now().await;
        tasks
    });
    drop(first);
    assert_eq!(worker().block_on(ended), Ok(7));
    assert_eq!(worker().block_on(left), Err(runtime::JoinError::Aborted));
}

#[test]
fn outside_of_a_worker_the_way_in_is_named() {
    let panic = catch_unwind(|| runtime::now_ns()).unwrap_err();
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap();
    assert!(text.contains("not inside") && text.contains("ClientHandle"), "{text}");
}

#[test]
fn a_worker_is_told_from_all_others() {
    let mut first = worker();
    let id = |worker: &mut runtime::Worker| worker.block_on(async { runtime::worker_id() });
    let first_id = id(&mut first);
    assert_eq!(first_id, id(&mut first));
    assert_ne!(first_id, id(&mut worker()));
    drop(first);
    assert_ne!(first_id, id(&mut worker()), "nor is it given again");
}
