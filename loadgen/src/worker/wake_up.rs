//! What one wake-up costs on this machine: measured before the run, so that a reader knows what sleeping adds to a figure.

use ringtide::runtime::{self, Timer};

/// How often the worker sleeps. All together it takes some milliseconds.
const SLEEPS: usize = 21;

/// How long, in nanoseconds: as long as a fast answer takes. A core that has slept for longer may take longer to wake up.
const SLEEP_NS: u64 = 100_000;

/// Sleeps in the kernel through the worker's driver, as a worker that waits for an answer does, and returns by how much
/// the wake-up comes late: the median, in nanoseconds. No connection may be open yet.
pub(super) async fn cost_ns() -> u64 {
    let mut timer = Timer::new();
    let mut late_ns = [0; SLEEPS];
    for late_ns in &mut late_ns {
        let due_ns = runtime::now_ns() + SLEEP_NS;
        timer.set(due_ns);
        timer.elapsed().await;
        *late_ns = runtime::turn_time_ns().saturating_sub(due_ns);
    }
    late_ns.sort_unstable();
    late_ns[SLEEPS / 2]
}

#[cfg(test)]
mod tests {
    use ringtide::runtime::{Spin, Worker, WorkerOptions};

    use super::*;

    #[test]
    fn a_wake_up_costs_something_also_where_the_worker_may_spin() {
        for spin in [Spin::Off, Spin::Learnt, Spin::For(1_000_000)] {
            let mut worker =
                Worker::new(&WorkerOptions { spin, ..WorkerOptions::default() }).expect("there is a driver");
            let cost_ns = worker.block_on(cost_ns());
            // A timer that was spun for would be late by some tens of nanoseconds.
            assert!(cost_ns >= 500, "{spin:?}: {cost_ns} ns");
            assert_eq!(worker.statistics().spin_ns, 0, "{spin:?}");
        }
    }
}
