//! Tasks: results, panics, aborts.

use std::sync::mpsc;
use std::time::Duration;

use ringtide::runtime::{self, JoinError};

use super::worker;

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
fn an_aborted_task_is_dropped_and_reported() {
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
