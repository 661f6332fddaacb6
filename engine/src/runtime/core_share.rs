//! Whether the worker has its core to itself, from the time that its thread was ready to run and did not.

use std::fs;
use std::os::unix::fs::FileExt as _;

/// How often the worker looks, while it would like to spin. A look costs a microsecond.
const LOOK_INTERVAL_NS: u64 = 10_000_000;

/// A thread that waits this share of the time for its core shares it: 1 / 20.
const SHARED_PART: u64 = 20;

/// How long a worker then does not spin.
const PAUSE_NS: u64 = 1_000_000_000;

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
}

impl CoreShare {
    /// Returns whether others use the core. Looks from time to time, and remembers.
    #[inline]
    pub(super) fn is_shared(&mut self, now_ns: u64) -> bool {
        if now_ns < self.looked_at_ns + LOOK_INTERVAL_NS {
            return now_ns < self.shared_until_ns;
        }
        self.look(now_ns)
    }

    #[cold]
    fn look(&mut self, now_ns: u64) -> bool {
        let is_first = self.meter.is_none();
        let meter = self.meter.get_or_insert_with(RunQueueMeter::of_this_thread);
        // Where the system does not tell, the core counts as the worker's own.
        let waited_ns = meter.waited_ns().unwrap_or(0);
        let last_ns = if is_first { waited_ns } else { self.waited_ns };
        self.waited_ns = waited_ns;
        self.learn(now_ns, waited_ns.saturating_sub(last_ns));
        now_ns < self.shared_until_ns
    }

    /// The thread has waited for `waited_ns` since the last look.
    fn learn(&mut self, now_ns: u64, waited_ns: u64) {
        if waited_ns > (now_ns - self.looked_at_ns) / SHARED_PART {
            self.shared_until_ns = now_ns + PAUSE_NS;
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
        core.learn(6 * LOOK, LOOK / 25);
        assert_eq!(core.shared_until_ns, 0, "4 % is nothing");
        core.learn(7 * LOOK, LOOK / 10);
        assert_eq!(core.shared_until_ns, 7 * LOOK + PAUSE_NS);
        assert!(core.is_shared(7 * LOOK + 1));
    }

    #[test]
    fn the_share_is_that_of_the_time_since_the_last_look() {
        let mut core = CoreShare::default();
        core.learn(100 * LOOK, LOOK / 10);
        assert_eq!(core.shared_until_ns, 0, "a tenth of one interval in a hundred of them");
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
