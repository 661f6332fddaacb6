//! The random choices of the workers, which all follow from the seed of the plan.

use fastrand::Rng;

/// The seed of a worker's own choices.
pub(super) fn seed_of(seed: u64, worker: usize) -> u64 {
    // Not the seeds of the schedules, which are made in the same way from the plan's seed.
    let mut seeds = Rng::with_seed(!seed);
    (0..=worker).fold(0, |_, _| seeds.u64(..))
}
