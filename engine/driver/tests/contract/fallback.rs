//! The suite for the driver over epoll and kqueue.

use std::os::fd::OwnedFd;

use ringtide_driver::{Address, BufferPool};
use ringtide_fallback::Fallback;

use crate::subject::{Subject, full_listener};

suite!(Readiness);

struct Readiness;

impl Subject for Readiness {
    type Driver = Fallback;
    const NAME: &'static str = "fallback";
    const REAL: bool = true;

    fn driver(pool: BufferPool) -> Fallback {
        Fallback::with_pool(pool).expect("every system has a selector")
    }

    fn black_hole() -> (Fallback, Address, Vec<OwnedFd>) {
        let (address, kept) = full_listener();
        (Self::driver(BufferPool::new()), address, kept)
    }
}
