//! Using something in the wrong place panics with an explanation, instead of waiting for ever.

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
        // Other tests panic on their own threads. Leave those panics to the usual hook.
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

/// Runs `main` on a second worker of this thread and returns the message of its panic. The worker and the thread remain
/// usable.
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

/// Polls `future` with a waker that does not belong to a task.
async fn through<F: Future>(future: F) -> F::Output {
    let (mut future, intrusions) = (pin!(future), Arc::default());
    poll_fn(|context| {
        let waker = Intruder::waker(context.waker(), &intrusions);
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// Creates something on one worker, waits for it on another, and checks the panic message.
macro_rules! expect_complaints {
    ($made:expr, $item:ident => $wait:expr) => {
        for foreign in [false, true] {
            for ended in [false, true] {
                let mut first = Some(worker());
                let mut made = first.as_mut().unwrap().block_on($made);
                if ended {
                    // The first worker's number must not be reused while something of that worker still exists.
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
fn waiting_for_something_of_another_worker_panics() {
    expect_complaints!(async { Timer::new() }, timer => timer.elapsed());
    let stream = async || {
        let (one, other) = UnixStream::pair().unwrap();
        (Stream::adopt(OwnedFd::from(one)).unwrap(), other)
    };
    expect_complaints!(stream(), stream => stream.0.receive());
    expect_complaints!(async { Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap() }, listener => listener.accept());
}

#[test]
fn continuing_a_wait_on_another_worker_panics() {
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
fn a_join_handle_on_another_worker_returns_a_result_or_panics() {
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
fn a_panic_outside_of_a_worker_names_the_client_handle() {
    let panic = catch_unwind(|| runtime::now_ns()).unwrap_err();
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap();
    assert!(text.contains("not inside") && text.contains("ClientHandle"), "{text}");
}

#[test]
fn worker_ids_are_unique() {
    let mut first = worker();
    let id = |worker: &mut runtime::Worker| worker.block_on(async { runtime::worker_id() });
    let first_id = id(&mut first);
    assert_eq!(first_id, id(&mut first));
    assert_ne!(first_id, id(&mut worker()));
    drop(first);
    assert_ne!(first_id, id(&mut worker()), "an id is never reused");
}
