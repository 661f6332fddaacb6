//! Whether the worker has its core to itself, from the time that its thread was ready to run and did not.

use std::fs;
use std::os::unix::fs::FileExt as _;

/// How often the worker looks, while it would like to spin. A look costs a microsecond.
const LOOK_INTERVAL_NS: u64 = 20_000_000;

/// A thread that waits this share of the time for its core shares it: 1 / 8. What only passes by takes less.
const SHARED_PART: u64 = 8;

/// How long a worker then does not spin, at first: twice as long each time that the core is still shared,
const PAUSE_NS_MIN: u64 = 100_000_000;

/// up to this.
const PAUSE_NS_MAX: u64 = 1_600_000_000;

/// Reads how long one thread has waited for a core: that which created it.
///
/// Its file stays open, so a reading costs one system call.
#[derive(Debug)]
pub struct RunQueueMeter {
    schedstat: Option<fs::File>,
}

impl RunQueueMeter {
    /// Creates a meter for the calling thread. Read from another thread, it would mix the figures of both.
    pub fn of_this_thread() -> Self {
        Self { schedstat: fs::File::open("/proc/thread-self/schedstat").ok() }
    }

    /// Returns for how many nanoseconds the thread has been ready to run, waiting for a core, since its start. `None`
    /// where the system does not tell.
    pub fn waited_ns(&self) -> Option<u64> {
        let file = self.schedstat.as_ref()?;
        let mut bytes = [0; 96];
        let size = file.read_at(&mut bytes, 0).ok()?;
        // The second number (Documentation/scheduler/sched-stats.rst).
        std::str::from_utf8(&bytes[..size]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// Notices when others use the worker's core.
#[derive(Debug, Default)]
pub(super) struct CoreShare {
    /// Made at the first look, so a worker that never spins has no file open.
    meter: Option<RunQueueMeter>,
    looked_at_ns: u64,
    waited_ns: u64,
    shared_until_ns: u64,
    /// The last pause, or 0 if the core was not shared at the last look.
    pause_ns: u64,
}

impl CoreShare {
    /// Returns whether others use the core. Looks from time to time, and remembers.
    #[inline]
    pub(super) fn is_shared(&mut self, now_ns: u64) -> bool {
        if now_ns < self.shared_until_ns {
            // Who sleeps does not wait for the core as who spins does, so looking now would tell nothing.
            self.looked_at_ns = 0;
            return true;
        }
        if now_ns < self.looked_at_ns + LOOK_INTERVAL_NS {
            return false;
        }
        self.look(now_ns)
    }

    #[cold]
    fn look(&mut self, now_ns: u64) -> bool {
        let begins = self.looked_at_ns == 0;
        let meter = self.meter.get_or_insert_with(RunQueueMeter::of_this_thread);
        // Where the system does not tell, the core counts as the worker's own.
        let waited_ns = meter.waited_ns().unwrap_or(0);
        let last_ns = if begins { waited_ns } else { self.waited_ns };
        self.waited_ns = waited_ns;
        self.learn(now_ns, waited_ns.saturating_sub(last_ns));
        now_ns < self.shared_until_ns
    }

    /// The thread has waited for `waited_ns` since the last look.
    fn learn(&mut self, now_ns: u64, waited_ns: u64) {
        if waited_ns > (now_ns - self.looked_at_ns) / SHARED_PART {
            self.pause_ns = (2 * self.pause_ns).clamp(PAUSE_NS_MIN, PAUSE_NS_MAX);
            self.shared_until_ns = now_ns + self.pause_ns;
        } else if self.looked_at_ns > 0 {
            self.pause_ns = 0;
        }
        self.looked_at_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: u64 = LOOK_INTERVAL_NS;

    #[test]
    fn a_thread_that_waits_for_its_core_shares_it_for_a_while() {
        let mut core = CoreShare { looked_at_ns: 5 * LOOK, ..CoreShare::default() };
        core.learn(6 * LOOK, LOOK / 10);
        assert_eq!(core.shared_until_ns, 0, "a tenth is nothing");
        core.learn(7 * LOOK, LOOK / 2);
        assert_eq!(core.shared_until_ns, 7 * LOOK + PAUSE_NS_MIN);
        assert!(core.is_shared(7 * LOOK + 1));
        assert!(!core.is_shared(7 * LOOK + PAUSE_NS_MIN), "it looks again");
    }

    #[test]
    fn the_pauses_grow_while_the_core_stays_shared() {
        let mut core = CoreShare { looked_at_ns: LOOK, ..CoreShare::default() };
        let mut now_ns = LOOK;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            now_ns += LOOK;
            core.learn(now_ns, LOOK / 2);
            pauses.push((core.shared_until_ns - now_ns) / PAUSE_NS_MIN);
            // The first look after a pause only begins to measure.
            now_ns = core.shared_until_ns;
            core.looked_at_ns = 0;
            core.learn(now_ns, 0);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16]);
        core.learn(now_ns + LOOK, 0);
        core.learn(now_ns + 2 * LOOK, LOOK / 2);
        assert_eq!(core.shared_until_ns, now_ns + 2 * LOOK + PAUSE_NS_MIN);
    }

    #[test]
    fn the_share_is_that_of_the_time_since_the_last_look() {
        let mut core = CoreShare::default();
        core.learn(100 * LOOK, LOOK / 2);
        assert_eq!(core.shared_until_ns, 0, "half of one interval in a hundred of them");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_and_the_wait_only_grows() {
        let meter = RunQueueMeter::of_this_thread();
        let before_ns = meter.waited_ns().expect("Linux tells");
        std::thread::yield_now();
        assert!(meter.waited_ns().expect("Linux tells") >= before_ns);
    }
}
