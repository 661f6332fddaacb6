//! What the generator cost, as in the result.

use serde::{Deserialize, Serialize};

use super::numbers::us;
use crate::metrics::GeneratorFacts;
use crate::units::rounded;

/// What the generator's workers cost over the measured part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time per completed request, in user space and in the kernel, with that of spinning; null if none was completed.
    pub cpu_us_per_request: Option<f64>,
    /// The part of it in user space.
    pub user_us_per_request: Option<f64>,
    /// CPU time as a share of what its threads could have had; 1 is all of it.
    pub cpu_utilisation: f64,
    /// The part of it that they spent spinning, so as to send in time and to see answers at once. The verdict does not
    /// count it as work.
    #[serde(default, alias = "spin_utilisation")]
    pub spin_share: f64,
    /// How late a worker woke up from short sleeps before the run, at the median, as the mean over the workers: roughly
    /// what sleeping adds to each answer that is not spun for. Null if nothing ran.
    #[serde(default)]
    pub wakeup_us: Option<f64>,
    /// Calls into the kernel per completed request; null if none was completed.
    pub syscalls_per_request: Option<f64>,
    /// (Peak of the heap − heap with all connections idle) / most requests in flight at once. Null if the heap is not
    /// counted.
    pub heap_bytes_per_request: Option<u64>,
    /// (Heap with all connections idle − heap before the first) / connections. Null if the heap is not counted.
    pub heap_bytes_per_connection: Option<u64>,
    /// The process's peak resident memory.
    pub rss_peak_bytes: u64,
}

impl Generator {
    pub(super) fn of(facts: &GeneratorFacts, completed: u64) -> Self {
        let per_request = |value: u64| (completed > 0).then(|| value as f64 / completed as f64);
        let syscalls = facts.workers.iter().map(|worker| worker.syscalls).sum();
        Self {
            cpu_us_per_request: per_request(facts.cpu_ns()).map(us),
            user_us_per_request: per_request(facts.user_ns()).map(us),
            cpu_utilisation: rounded(facts.utilisation()),
            spin_share: rounded(facts.spin_share()),
            wakeup_us: facts.wake_up_ns().map(|ns| us(ns as f64)),
            syscalls_per_request: per_request(syscalls).map(rounded),
            heap_bytes_per_request: facts.heap_bytes_per_request,
            heap_bytes_per_connection: facts.heap_bytes_per_connection,
            rss_peak_bytes: facts.rss_peak_bytes,
        }
    }
}
