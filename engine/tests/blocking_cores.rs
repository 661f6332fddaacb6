//! The threads for blocking work are not pinned to the core of the worker that started them.
//!
//! A test program of its own, because all tests of a process share these threads.

// Only Linux pins workers and reports where a thread may run.
#![cfg(target_os = "linux")]

use std::fs;

use ringtide::runtime::{Worker, WorkerOptions, spawn_blocking};

/// Returns the cores that this thread may run on.
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
