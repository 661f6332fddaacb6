//! A driver that fails under its worker. A filter for this thread alone makes its system calls fail (seccomp(2)).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use ringtide::runtime::{DriverChoice, Worker, WorkerOptions};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// The system calls in which the drivers wait.
const CALLS: &[i64] = &[
    libc::SYS_io_uring_enter,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// Makes these calls fail on this thread with a permanent error.
fn forbid_waiting() {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let rules = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EIO as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).expect("seccomp is available, which this test needs");
}

#[test]
fn a_driver_that_fails_ends_its_worker_with_the_error() {
    for driver in [DriverChoice::Auto, DriverChoice::Fallback] {
        let text = thread::spawn(move || {
            let mut worker = Worker::new(&WorkerOptions { driver, ..WorkerOptions::default() }).unwrap();
            forbid_waiting();
            let wait = AssertUnwindSafe(|| worker.block_on(std::future::pending::<()>()));
            let panic = catch_unwind(wait).unwrap_err();
            // Dropping the worker does not panic again, although its driver still fails.
            drop(worker);
            *panic.downcast::<String>().unwrap()
        });
        let text = text.join().unwrap();
        assert!(
            text.contains("driver of a ringtide worker has failed") && text.contains("os error 5"),
            "{text}"
        );
    }
}
