//! A kernel that is short of something for the moment: waiting fails now and then (a filter of this thread alone, seccomp(2)), and
//! the worker goes on.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use ringtide::runtime::{self, DriverChoice, Worker, WorkerOptions};
use ringtide::stream::Stream;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// A flag of `io_uring_enter(2)`: with a timeout.
const IORING_ENTER_EXT_ARG: u64 = 1 << 3;

/// Has waits with a deadline fail on this thread. Those without one, and looks that do not wait, go well.
fn refuse_waits_with_a_deadline(errno: i32) {
    let condition = |argument, operator, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).unwrap()
    };
    let timed_enter = condition(3, SeccompCmpOp::MaskedEq(IORING_ENTER_EXT_ARG), IORING_ENTER_EXT_ARG);
    // The timeout of epoll_wait(2), in milliseconds; -1 is none.
    let timed_look =
        || vec![condition(3, SeccompCmpOp::Gt, 0), condition(3, SeccompCmpOp::Le, i32::MAX as u64)];
    let rule = |conditions| vec![SeccompRule::new(conditions).unwrap()];
    let rules = [
        (libc::SYS_io_uring_enter, rule(vec![timed_enter])),
        (libc::SYS_epoll_pwait, rule(timed_look())),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_epoll_wait, rule(timed_look())),
    ];
    let architecture = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let refuse = SeccompAction::Errno(errno as u32);
    let rules = rules.into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).expect("this system has seccomp, and this test needs it");
}

/// Sleeps until that has taken more system calls than waiting does: some were refused.
async fn sleep_until_refused() {
    for _ in 0..100 {
        let before = runtime::statistics().syscalls;
        runtime::sleep(Duration::from_millis(5)).await;
        if runtime::statistics().syscalls > before + 10 {
            return;
        }
    }
    panic!("no wait was refused");
}

fn outlive(driver: DriverChoice, errno: i32) {
    let mut worker = Worker::new(&WorkerOptions { driver, ..WorkerOptions::default() }).unwrap();
    let on_io_uring = worker.statistics().driver == "io_uring";
    if !on_io_uring && matches!(errno, libc::EBUSY | libc::EBADR) {
        return;
    }
    refuse_waits_with_a_deadline(errno);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    worker.block_on(async {
        let mut stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
        let exchange = runtime::spawn(async move {
            stream.send("ping").await.unwrap();
            stream.receive().await.unwrap().unwrap().to_vec()
        });
        // What was started before is not lost,
        sleep_until_refused().await;
        let mut bytes = [0; 4];
        theirs.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"ping");
        // and what comes afterwards is found.
        theirs.write_all(b"pong").unwrap();
        assert_eq!(exchange.await.unwrap(), b"pong");
    });
}

#[test]
fn a_shortage_of_the_kernel_does_not_end_a_worker() {
    for driver in [DriverChoice::Auto, DriverChoice::Fallback] {
        for errno in [libc::ENOMEM, libc::EAGAIN, libc::EBUSY, libc::EBADR] {
            let ended = thread::spawn(move || outlive(driver, errno)).join();
            assert!(ended.is_ok(), "{driver} with errno {errno}");
        }
    }
}
