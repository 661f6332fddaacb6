//! The suite for the `io_uring` driver.
//!
//! If io_uring is not available, the tests fail, so that skipped tests do not look like a success. Set
//! `RINGTIDE_WITHOUT_IO_URING=1` to skip them on purpose.

use std::os::fd::OwnedFd;
use std::sync::Once;

use ringtide_driver::io_uring::{IoUring, probe};
use ringtide_driver::{Address, BufferPool};

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
