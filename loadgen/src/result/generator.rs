//! What the generator cost, as in the result.

use serde::{Deserialize, Serialize};

use super::numbers::{ratio, share, us};
use crate::metrics::{Counters, GeneratorFacts, QueueFacts, WorkerFacts};
use crate::units::rounded;

/// What the generator's workers cost over the measured part, and what it noticed of its own machine: all that the verdict
/// rests on, apart from the schedule lag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Each worker by itself.
    #[serde(default)]
    pub workers: Vec<WorkerSummary>,
    /// How often file descriptors ran out.
    #[serde(default)]
    pub descriptors_ran_out: u64,
    /// How often local ports ran out.
    #[serde(default)]
    pub ports_ran_out: u64,
    /// The share of the time of the workers' cores that the hypervisor gave to others (`steal` of proc_stat(5)). Null if the
    /// machine does not tell.
    #[serde(default)]
    pub steal_share: Option<f64>,
    /// By how much the wall clock was set forward during the run, or back if negative. No latency depends on it. Null if
    /// unknown.
    #[serde(default)]
    pub clock_step_us: Option<f64>,
    /// How long the machine was suspended. Null if the system does not tell.
    #[serde(default)]
    pub suspended_us: Option<f64>,
    /// The queues of its connections. Null if the kernel does not tell, as for Unix sockets.
    #[serde(default)]
    pub queues: Option<QueueSummary>,
}

/// One worker over the measured part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerSummary {
    /// The share of its core that it used for work, without spinning.
    pub busy_share: f64,
    /// The share that it spun.
    pub spin_share: f64,
    /// The share of the time in which it was ready to run and others had its core (`schedstat`).
    pub run_queue_share: f64,
}

/// What the kernel told at the end about the queues of connections that were still open, some hundreds of each worker at
/// most. The times count from when each was opened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueSummary {
    /// How many connections were asked about.
    pub connections: u64,
    /// Bytes that the kernel had taken and not sent.
    pub unsent_bytes: u64,
    /// Time in which a connection had something to send or to be acknowledged, on average.
    pub sending_us: f64,
    /// The share of that time in which the server's receive window was the limit: it did not read.
    pub peer_limited_share: f64,
    /// The share of that time in which the generator's own send buffer was the limit, while the server had room.
    pub buffer_limited_share: f64,
    /// Connections whose receive queue was nearly full: the generator did not read.
    pub receive_full: u64,
}

impl WorkerSummary {
    fn of(facts: &WorkerFacts) -> Self {
        Self {
            busy_share: rounded(facts.busy_share()),
            spin_share: rounded(ratio(facts.spin_ns as f64, facts.wall_ns as f64)),
            run_queue_share: rounded(facts.run_queue_share()),
        }
    }
}

impl QueueSummary {
    /// `None` if no connection told anything.
    fn of(facts: &QueueFacts) -> Option<Self> {
        let sending_ns = facts.sending_ns as f64;
        (facts.connections > 0).then(|| Self {
            connections: facts.connections,
            unsent_bytes: facts.unsent_size,
            sending_us: us(sending_ns / facts.connections as f64),
            peer_limited_share: share(ratio(facts.peer_limited_ns as f64, sending_ns)),
            buffer_limited_share: share(ratio(facts.buffer_limited_ns as f64, sending_ns)),
            receive_full: facts.receive_full,
        })
    }
}

impl Generator {
    pub(super) fn of(facts: &GeneratorFacts, counters: &Counters, completed: u64) -> Self {
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
            workers: facts.workers.iter().map(WorkerSummary::of).collect(),
            descriptors_ran_out: counters.descriptors_ran_out,
            ports_ran_out: counters.ports_ran_out,
            steal_share: facts.machine.steal_share.map(share),
            clock_step_us: facts.machine.clock_step_ns.map(|ns| us(ns as f64)),
            suspended_us: facts.machine.suspended_ns.map(|ns| us(ns as f64)),
            queues: QueueSummary::of(&facts.queues()),
        }
    }
}
