//! Blocking work when the system refuses to create a thread.
//!
//! A test program of its own, because threads of other tests would do the work.

// The test uses seccomp to refuse the thread.
#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread;

use ringtide::resolve;
use ringtide::runtime::{JoinError, spawn_blocking};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// Makes thread creation fail on this thread, like a limit on the number of threads (pthread_create(3), `EAGAIN`).
fn forbid_threads() {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let rules = [libc::SYS_clone, libc::SYS_clone3].map(|call| (call, Vec::new()));
    let refuse = SeccompAction::Errno(libc::EAGAIN as u32);
    let filter =
        SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, refuse, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).expect("this system has seccomp, and this test needs it");
}

#[test]
fn work_without_a_thread_is_dropped_with_an_error() {
    let refused = thread::spawn(|| {
        forbid_threads();
        let (sender, dropped) = mpsc::channel::<()>();
        let outcome = pollster::block_on(spawn_blocking(move || drop(sender)));
        assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        (outcome, pollster::block_on(resolve::lookup("localhost", 80)))
    });
    let (outcome, lookup) = refused.join().unwrap();
    assert_eq!(outcome, Err(JoinError::NoThread(ErrorKind::WouldBlock)));
    assert!(matches!(
        lookup,
        Err(ringtide::Error::Resolve { source, .. }) if source.kind() == ErrorKind::WouldBlock
    ));
    assert_eq!(pollster::block_on(spawn_blocking(|| 7)), Ok(7), "another thread may start one");
}
