//! The suite for the simulated driver, without faults and with the faults that a driver must hide.

use std::os::fd::OwnedFd;

use ringtide_driver::sim::{Faults, Sim, SimOptions};
use ringtide_driver::{Address, BufferPool};

use crate::pump::loopback;
use crate::subject::Subject;

mod no_faults {
    suite!(super::Simulated);
}

mod few_faults {
    suite!(super::Faulty<0>);
}

mod faults {
    suite!(super::Faulty<1>);
}

mod many_faults {
    suite!(super::Faulty<2>);
}

/// The simulated driver without faults.
struct Simulated;

impl Subject for Simulated {
    type Driver = Sim;
    const NAME: &'static str = "sim::no_faults";
    const REAL: bool = false;

    fn driver(pool: BufferPool) -> Sim {
        Sim::with_pool(SimOptions::default(), pool)
    }

    fn black_hole() -> (Sim, Address, Vec<OwnedFd>) {
        let faults = Faults { blackhole_connect: 1.0, ..Faults::default() };
        (Sim::new(SimOptions { faults, ..SimOptions::default() }), loopback(), Vec::new())
    }
}

/// The simulated driver with all faults that a driver must hide, and small socket buffers.
struct Faulty<const SEED: u64>;

impl<const SEED: u64> Subject for Faulty<SEED> {
    type Driver = Sim;
    const NAME: &'static str = ["sim::few_faults", "sim::faults", "sim::many_faults"][SEED as usize];
    const REAL: bool = false;
    const CUTS_SENDS: bool = true;

    fn driver(pool: BufferPool) -> Sim {
        // The seeds also differ in the probability of the faults.
        let faults = Faults::hidden([0.05, 0.2, 0.5][SEED as usize]);
        Sim::with_pool(SimOptions { seed: SEED, faults, socket_buffer_size: 16 * 1024 }, pool)
    }

    fn black_hole() -> (Sim, Address, Vec<OwnedFd>) {
        let faults = Faults { blackhole_connect: 1.0, ..Faults::hidden(0.3) };
        (Sim::new(SimOptions { seed: SEED, faults, ..SimOptions::default() }), loopback(), Vec::new())
    }
}
