//! `JoinSet`: results in the order of the ends, panics, aborts, and the end of the set or its worker.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use ringtide::runtime::sync::Semaphore;
use ringtide::runtime::{self, JoinError, JoinSet};

use super::worker;

/// Adds a task that holds one of two permits for ever. The number of free ones shows whether it still exists.
fn spawn_holder(tasks: &mut JoinSet<u32>, semaphore: &Rc<Semaphore>) {
    let permit = Rc::clone(semaphore).try_acquire_owned().expect("there are enough");
    tasks.spawn(async move {
        let _permit = permit;
        pending().await
    });
}

#[test]
fn results_come_in_the_order_in_which_the_tasks_end() {
    worker().block_on(async {
        let mut tasks = JoinSet::new();
        assert!(tasks.is_empty());
        assert_eq!(tasks.join_next().await, None);
        for yields in [3, 1, 2] {
            tasks.spawn(async move {
                for _ in 0..yields {
                    runtime::yield_now().await;
                }
                yields
            });
        }
        let mut results = Vec::new();
        while let Some(result) = tasks.join_next().await {
            results.push(result.unwrap());
            assert_eq!(tasks.len(), 3 - results.len());
        }
        assert_eq!(results, [1, 2, 3]);
        // It can be used again.
        tasks.spawn(async { 4 });
        assert_eq!(tasks.join_next().await, Some(Ok(4)));
        assert!(tasks.is_empty());
    });
}

#[test]
fn a_task_that_panics_affects_no_other() {
    worker().block_on(async {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("on purpose") });
        tasks.spawn(async {
            runtime::yield_now().await;
            1
        });
        assert_eq!(tasks.join_next().await, Some(Err(JoinError::Panicked("on purpose".to_owned()))));
        assert_eq!(tasks.join_next().await, Some(Ok(1)));
        assert_eq!(tasks.join_next().await, None);
    });
}

#[test]
fn aborted_tasks_are_dropped_and_reported_and_ended_ones_keep_their_results() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("on purpose, when dropped");
        }
    }
    worker().block_on(async {
        let semaphore = Rc::new(Semaphore::new(2));
        let mut tasks = JoinSet::new();
        tasks.spawn(async { 7 });
        spawn_holder(&mut tasks, &semaphore);
        runtime::yield_now().await;
        // One was never polled.
        spawn_holder(&mut tasks, &semaphore);
        let panics = PanicsWhenDropped;
        tasks.spawn(async move {
            let _panics = panics;
            pending().await
        });
        assert_eq!(semaphore.available_permits(), 0);
        tasks.abort_all();
        assert_eq!(semaphore.available_permits(), 2);
        assert_eq!(tasks.len(), 4);
        tasks.abort_all();
        assert_eq!(tasks.join_next().await, Some(Ok(7)));
        for _ in 0..3 {
            assert_eq!(tasks.join_next().await, Some(Err(JoinError::Aborted)));
        }
        assert_eq!(tasks.join_next().await, None);
    });
}

#[test]
fn dropping_the_set_aborts_its_tasks() {
    worker().block_on(async {
        let semaphore = Rc::new(Semaphore::new(2));
        let mut tasks = JoinSet::new();
        spawn_holder(&mut tasks, &semaphore);
        runtime::yield_now().await;
        spawn_holder(&mut tasks, &semaphore);
        drop(tasks);
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn a_task_may_drop_the_set_that_it_is_in() {
    worker().block_on(async {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = Rc::clone(&semaphore).acquire_owned().await.unwrap();
        let set = Rc::new(std::cell::Cell::new(None));
        let mut tasks = JoinSet::new();
        let own = Rc::clone(&set);
        tasks.spawn(async move {
            let _permit = permit;
            drop(own.take());
            pending::<()>().await;
        });
        set.set(Some(tasks));
        assert!(semaphore.acquire().await.is_ok(), "the task was dropped at the end of its poll");
    });
}

#[test]
fn a_dropped_wait_loses_no_result() {
    worker().block_on(async {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            runtime::sleep(Duration::from_millis(2)).await;
            1
        });
        assert!(runtime::timeout(Duration::ZERO, tasks.join_next()).await.is_none());
        assert_eq!(tasks.len(), 1);
        runtime::sleep(Duration::from_millis(4)).await;
        assert_eq!(tasks.join_next().await, Some(Ok(1)));
    });
}

#[test]
fn a_set_outlives_its_worker() {
    let mut tasks = JoinSet::new();
    let mut first = worker();
    first.block_on(async {
        tasks.spawn(async { 1 });
        tasks.spawn(pending());
        runtime::yield_now().await;
    });
    drop(first);
    worker().block_on(async {
        assert_eq!(tasks.join_next().await, Some(Ok(1)));
        assert_eq!(tasks.join_next().await, Some(Err(JoinError::Aborted)));
        tasks.spawn(async { 2 });
        assert_eq!(tasks.join_next().await, Some(Ok(2)));
    });
}
