//! Threads for work that blocks are not bound to the core of the pinned worker that started them.
//!
//! A test of its own, as the threads of a process are shared by all of its tests.

// Only Linux pins workers and tells where a thread may run.
#![cfg(target_os = "linux")]

use std::fs;

use ringtide::runtime::{Worker, WorkerOptions, spawn_blocking};

/// Where this thread may run.
fn cores() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    line.trim().to_owned()
}

#[test]
fn blocking_threads_leave_the_core_of_their_worker() {
    let before = cores();
    let core = before.split(['-', ',']).next().unwrap().parse().unwrap();
    let mut worker = Worker::new(&WorkerOptions { core: Some(core), ..WorkerOptions::default() }).unwrap();
    assert_eq!(cores(), core.to_string());
    assert_eq!(worker.block_on(spawn_blocking(cores)), Ok(before));
}
