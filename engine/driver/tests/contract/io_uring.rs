//! The suite for the `io_uring` driver.
//!
//! If io_uring is not available, the tests fail, so that skipped tests do not look like a success. Set
//! `RINGTIDE_WITHOUT_IO_URING=1` to skip them on purpose.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Once;

use ringtide_driver::io_uring::{IoUring, Unusable, probe};
use ringtide_driver::{Address, BufferPool, Driver, ReceiveEnd};
use rlimit::Resource;

use crate::pump::{Pump, loopback, owned};
use crate::subject::{Subject, full_listener};

suite!(Completions);

struct Completions;

impl Subject for Completions {
    type Driver = IoUring;
    const NAME: &'static str = "io_uring";
    const REAL: bool = true;

    fn usable() -> bool {
        static SAID: Once = Once::new();
        let Err(reason) = probe() else { return true };
        let known = std::env::var_os("RINGTIDE_WITHOUT_IO_URING").is_some_and(|value| value == "1");
        assert!(
            known,
            "io_uring cannot be used here: {reason}. RINGTIDE_WITHOUT_IO_URING=1 leaves its tests out."
        );
        SAID.call_once(|| {
            crate::not_checked(&format!("the contract on io_uring (RINGTIDE_WITHOUT_IO_URING=1): {reason}"));
        });
        false
    }

    fn driver(pool: BufferPool) -> IoUring {
        IoUring::with_pool(pool).expect("the probe said that it can be used")
    }

    fn black_hole() -> (IoUring, Address, Vec<OwnedFd>) {
        let (address, kept) = full_listener();
        (Self::driver(BufferPool::new()), address, kept)
    }
}

/// The lowest rung of the ladder of setup flags, which is otherwise never used where a better one works.
mod plainest {
    use super::{Address, BufferPool, Completions, IoUring, OwnedFd, Subject, full_listener};

    suite!(PlainCompletions);

    struct PlainCompletions;

    impl Subject for PlainCompletions {
        type Driver = IoUring;
        const NAME: &'static str = "io_uring::plainest";
        const REAL: bool = true;

        fn usable() -> bool {
            Completions::usable()
        }

        fn driver(pool: BufferPool) -> IoUring {
            IoUring::with_plainest_ring(pool).expect("the probe said that it can be used")
        }

        fn black_hole() -> (IoUring, Address, Vec<OwnedFd>) {
            let (address, kept) = full_listener();
            (Self::driver(BufferPool::new()), address, kept)
        }
    }
}

/// So few entries that submissions do not fit and completions overflow, which ends multishots.
mod small {
    use super::{Address, BufferPool, Completions, IoUring, OwnedFd, Subject, full_listener};

    suite!(FewCompletions);

    struct FewCompletions;

    impl Subject for FewCompletions {
        type Driver = IoUring;
        const NAME: &'static str = "io_uring::small";
        const REAL: bool = true;

        fn usable() -> bool {
            Completions::usable()
        }

        fn driver(pool: BufferPool) -> IoUring {
            IoUring::with_entries(pool, 8).expect("the probe said that it can be used")
        }

        fn black_hole() -> (IoUring, Address, Vec<OwnedFd>) {
            let (address, kept) = full_listener();
            (Self::driver(BufferPool::new()), address, kept)
        }
    }
}

/// Dropping waits only for what the kernel has to confirm, and the kernel confirms it at once.
#[test]
fn dropping_the_driver_does_not_wait_for_what_has_ended() {
    if !Completions::usable() {
        return;
    }
    let mut pump = Completions::pump();
    let (listener, address) = pump.server();
    let (client, _server) = pump.pair_at(listener, &address);
    pump.receive(client);
    pump.turn(Some(0));
    let started = std::time::Instant::now();
    drop(pump);
    let passed = started.elapsed();
    assert!(passed < std::time::Duration::from_millis(800), "it took {passed:?}");
}

/// Reports call them the driver's costs, and its speed comes from their being few.
#[test]
fn system_calls_are_counted() {
    if !Completions::usable() {
        return;
    }
    let mut pump = Completions::pump();
    let listener = pump.listen(&loopback());
    let address = pump.driver.local_address(listener).expect("a listener has an address");
    let count = |pump: &Pump<IoUring>, before: &mut u64| {
        let calls = pump.driver.syscalls();
        calls - std::mem::replace(before, calls)
    };
    let mut calls = pump.driver.syscalls();
    let client = pump.connect(&address);
    assert_eq!(count(&pump, &mut calls), 2, "a socket is made and set up; the connect itself is queued");
    pump.accept(listener);
    pump.receive(client);
    assert_eq!(count(&pump, &mut calls), 0, "these are queued");
    pump.connected(client).expect("a listener is there");
    let server = pump.accepted(listener);
    assert!((1..10).contains(&count(&pump, &mut calls)), "one for each turn");
    pump.turn(Some(0));
    calls = pump.driver.syscalls();
    pump.turn(Some(0));
    assert_eq!(count(&pump, &mut calls), 0, "there is nothing to submit and no reason to wait");
    pump.send_skip_success(server, b"request");
    pump.turn(Some(0));
    assert_eq!(count(&pump, &mut calls), 1, "one for all that was started");
    pump.received(client, 7);
    calls = pump.driver.syscalls();
    assert!(!pump.driver.is_at_end(client));
    assert_eq!(count(&pump, &mut calls), 1, "a look at the socket");
    pump.driver.shutdown(server).expect("connected");
    assert_eq!(count(&pump, &mut calls), 1, "a shutdown");
    pump.close(server);
    assert_eq!(count(&pump, &mut calls), 1, "the close of an idle socket");
    assert!(matches!(pump.piece(client), Err(ReceiveEnd::Eof)));
    pump.receive(client);
    calls = pump.driver.syscalls();
    pump.close(client);
    assert_eq!(
        count(&pump, &mut calls),
        2,
        "a look for unread bytes, and a shutdown; the close itself is queued"
    );
    pump.closed(server);
    pump.closed(client);
    pump.expect_nothing();
    for _ in 0..5 {
        pump.driver.notifier().notify();
        calls = pump.driver.syscalls();
        let deadline_ns = pump.driver.now_ns() + 10_000_000_000;
        pump.turn(Some(deadline_ns));
        assert_eq!(
            count(&pump, &mut calls),
            2,
            "the wait, and the notifier is read; however often that was before"
        );
    }
    pump.finish(&[listener]);
}

/// A shortage that has passed is not remembered.
#[test]
fn the_probe_says_that_io_uring_cannot_be_used() {
    // Not asked in the child, where the answer would be kept.
    if !crate::process::is_child() && !Completions::usable() {
        return;
    }
    crate::process::alone::<Completions>("the_probe_says_that_io_uring_cannot_be_used", || {
        let (soft, hard) = Resource::NOFILE.get().expect("the limit can be read");
        Resource::NOFILE.set(0, hard).expect("it can be lowered");
        let short = probe().expect_err("no descriptor is free");
        assert_eq!(short, Unusable::Failed { step: "io_uring_setup", errno: libc::EMFILE });
        assert!(IoUring::new().is_err());
        Resource::NOFILE.set(soft, hard).expect("it can be raised again");
        probe().expect("there are descriptors");
        drop(IoUring::new().expect("there are descriptors"));
        // The answer is kept now; a driver may be short of one none the less, be it of the last that it needs.
        let mut last = false;
        for limit in 1..64 {
            Resource::NOFILE.set(limit, hard).expect("it can be lowered");
            match IoUring::new() {
                Ok(_) => break,
                Err(Unusable::Failed { step, errno: libc::EMFILE }) => last |= step == "eventfd",
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(last, "what comes last was never refused");
    });
}

/// The kernel ends the poll of the notifier when there is no room for what it has to tell.
#[test]
fn a_notifier_works_after_an_overflow() {
    if !Completions::usable() {
        return;
    }
    let mut pump = Pump::new(IoUring::with_entries(BufferPool::new(), 8).expect("the probe said so"));
    // More sends than there is room for completions, which are 32.
    let (sockets, _peers): (Vec<_>, Vec<_>) = (0..50)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
            let socket = pump.driver.adopt(ours.into()).expect("a connected socket");
            pump.own(socket);
            (socket, theirs)
        })
        .collect();
    pump.expect_nothing();
    let notifier = pump.driver.notifier();
    for _ in 0..3 {
        for &socket in &sockets {
            pump.send(socket, owned(b"x"));
        }
        notifier.notify();
        for &socket in &sockets {
            pump.sent(socket).0.expect("there is room");
        }
        pump.expect_nothing();
        notifier.notify();
        let deadline_ns = pump.driver.now_ns() + 10_000_000_000;
        pump.turn(Some(deadline_ns));
        assert!(pump.driver.now_ns() < deadline_ns, "the wake was lost");
    }
    pump.finish(&sockets);
}

#[test]
fn the_system_calls_that_a_full_queue_costs_are_counted() {
    if !Completions::usable() {
        return;
    }
    let mut pump = Pump::new(IoUring::with_entries(BufferPool::new(), 8).expect("the probe said so"));
    let (sockets, _peers): (Vec<_>, Vec<_>) = (0..20)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
            let socket = pump.driver.adopt(ours.into()).expect("a connected socket");
            pump.own(socket);
            (socket, theirs)
        })
        .unzip();
    pump.expect_nothing();
    let before = pump.driver.syscalls();
    for &socket in &sockets {
        pump.send(socket, owned(b"x"));
    }
    assert_eq!(pump.driver.syscalls() - before, 2, "one for each eight that have to go");
    for &socket in &sockets {
        pump.sent(socket).0.expect("there is room");
    }
    pump.finish(&sockets);
}

/// That it has to wait is told behind all the others.
#[test]
fn nothing_overtakes_a_skip_success_send_that_waits_behind_an_overflow() {
    static REQUEST: [u8; 2_000] = [b'q'; 2_000];
    if !Completions::usable() {
        return;
    }
    let mut pump = Pump::new(IoUring::with_entries(BufferPool::new(), 8).expect("the probe said so"));
    let (sender, _peer, _) = crate::sending::full_connection();
    let waiting = pump.driver.adopt(sender.into()).expect("a connected socket");
    pump.own(waiting);
    let (sockets, _peers): (Vec<_>, Vec<_>) = (0..50)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
            let socket = pump.driver.adopt(ours.into()).expect("a connected socket");
            pump.own(socket);
            (socket, theirs)
        })
        .unzip();
    for &socket in &sockets {
        pump.send(socket, owned(b"x"));
    }
    pump.send_skip_success(waiting, &REQUEST);
    let error = pump.driver.send(waiting, owned(b"next")).expect_err("there was no room");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    pump.send_waits(waiting);
    for &socket in &sockets {
        pump.sent(socket).0.expect("there is room");
    }
    pump.close(waiting);
    pump.closed(waiting);
    pump.finish(&sockets);
}
