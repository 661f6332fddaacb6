//! Blocking work: it runs beside the worker on a bounded number of threads, and cannot be stopped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use ringtide::runtime::{self, BLOCKING_THREADS_MAX, JoinError, spawn_blocking};

use super::worker;

const PATIENCE: Duration = Duration::from_secs(10);

/// Serializes these tests: the process shares the threads, and one test needs all of them.
fn all_threads() -> MutexGuard<'static, ()> {
    static THREADS: Mutex<()> = Mutex::new(());
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_worker_goes_on_while_work_blocks() {
    let _threads = all_threads();
    let (sender, receiver) = mpsc::channel();
    let answer = worker().block_on(async {
        let blocking = spawn_blocking(move || receiver.recv_timeout(PATIENCE));
        // The work can end only if this line is reached.
        runtime::sleep(Duration::from_millis(2)).await;
        assert!(!blocking.is_finished());
        sender.send(7).unwrap();
        blocking.await
    });
    assert_eq!(answer, Ok(Ok(7)));
}

#[test]
fn any_executor_can_wait_for_blocking_work() {
    let _threads = all_threads();
    assert_eq!(pollster::block_on(spawn_blocking(|| 7)), Ok(7));
}

#[test]
fn a_panic_ends_only_the_work_that_panicked() {
    let _threads = all_threads();
    let outcomes = worker().block_on(async {
        let bad = spawn_blocking(|| panic!("as {}", "planned"));
        (bad.await, spawn_blocking(|| 7).await)
    });
    assert_eq!(outcomes, (Err::<(), _>(JoinError::Panicked("as planned".to_owned())), Ok(7)));
}

#[test]
fn work_goes_on_after_its_handle_or_worker_is_dropped() {
    struct Result(mpsc::Sender<thread::ThreadId>);
    impl Drop for Result {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
            panic!("as planned");
        }
    }
    let _threads = all_threads();
    let (go, gone) = mpsc::channel::<()>();
    let (sender, dropped) = mpsc::channel();
    let begin = |gone: mpsc::Receiver<()>, sender: mpsc::Sender<_>| {
        let (begun, begins) = mpsc::channel();
        let handle = spawn_blocking(move || {
            begun.send(()).unwrap();
            let _ = gone.recv();
            Result(sender)
        });
        begins.recv_timeout(PATIENCE).unwrap();
        handle
    };
    // A handle that is aborted too late, then dropped.
    let handle = begin(gone, sender.clone());
    handle.abort();
    assert!(!handle.is_finished());
    drop(handle);
    // A task that waits for the work, and is dropped with its worker.
    let (go_too, gone) = mpsc::channel::<()>();
    let mut ending = worker();
    ending.block_on(async {
        let waited_for = begin(gone, sender);
        runtime::spawn(async { drop(waited_for.await) });
        runtime::yield_now().await;
    });
    drop(ending);
    assert!(dropped.try_recv().is_err());
    for go in [go, go_too] {
        drop(go);
        assert_ne!(
            dropped.recv_timeout(PATIENCE).unwrap(),
            thread::current().id(),
            "the result is dropped on its own thread"
        );
    }
    // A result that panics in its `Drop` does not end the thread either.
    assert_eq!(pollster::block_on(spawn_blocking(|| 7)), Ok(7));
}

#[test]
fn the_number_of_threads_is_bounded_and_waiting_work_can_be_aborted() {
    struct OnDrop(mpsc::Sender<()>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    const WAITING: usize = 4;
    let _threads = all_threads();
    let begun = Arc::new(AtomicUsize::new(0));
    let (sender, begins) = mpsc::channel();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let start = || {
        let (begun, sender, gate) = (Arc::clone(&begun), sender.clone(), Arc::clone(&gate));
        spawn_blocking(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            sender.send(()).unwrap();
            drop(gate.lock().unwrap());
        })
    };
    let handles: Vec<_> = (0..BLOCKING_THREADS_MAX + WAITING).map(|_| start()).collect();
    let (dropped, drops) = mpsc::channel();
    let on_drop = OnDrop(dropped);
    let given_up = spawn_blocking(move || {
        drop(on_drop);
        panic!("the work was aborted before it began");
    });
    for _ in 0..BLOCKING_THREADS_MAX {
        begins.recv_timeout(PATIENCE).unwrap();
    }
    given_up.abort();
    assert!(given_up.is_finished());
    drops.try_recv().expect("the work is dropped at once");
    assert_eq!(pollster::block_on(given_up), Err::<(), _>(JoinError::Aborted));
    // Only the passage of time can show that no more work begins.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(begun.load(Ordering::SeqCst), BLOCKING_THREADS_MAX);
    drop(closed);
    worker().block_on(async {
        for handle in handles {
            handle.await.unwrap();
        }
    });
    assert_eq!(begun.load(Ordering::SeqCst), BLOCKING_THREADS_MAX + WAITING);
}
