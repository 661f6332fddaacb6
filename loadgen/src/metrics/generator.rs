//! What the generator itself cost: measured by the run, judged by `verdict`, shown by `result`.

/// What one worker cost over the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// The length of the measured part.
    pub wall_ns: u64,
    /// CPU time in user space.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// The part of the CPU time spent spinning, before scheduled sends and for answers, and so available for work.
    pub spin_ns: u64,
    /// Time spent ready to run, waiting for the core.
    pub run_queue_wait_ns: u64,
    /// How often it woke for something other than its requests.
    pub other_wakes: u64,
    /// Calls into the kernel.
    pub syscalls: u64,
    /// By how much it woke up late from short sleeps before the run, at the median.
    pub wake_up_ns: u64,
    /// What the kernel told about the queues of its connections at the end.
    pub queues: QueueFacts,
}

/// What the kernel told about the queues of connections at the end of a run. All times are sums over the connections, since
/// each was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// Connections that were asked about. If there are none, nothing else here means anything.
    pub connections: u64,
    /// Bytes that the kernel had taken and not sent yet.
    pub unsent_size: u64,
    /// Time in which there was something to send or to be acknowledged.
    pub sending_ns: u64,
    /// The part of it in which the peer's receive window was the limit.
    pub peer_limited_ns: u64,
    /// The part of it in which our own send buffer was the limit, while the peer had room.
    pub buffer_limited_ns: u64,
    /// Connections whose receive queues had little room left.
    pub receive_full: u64,
}

impl QueueFacts {
    /// Adds those of other connections.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.unsent_size += other.unsent_size;
        self.sending_ns += other.sending_ns;
        self.peer_limited_ns += other.peer_limited_ns;
        self.buffer_limited_ns += other.buffer_limited_ns;
        self.receive_full += other.receive_full;
    }
}

/// What happened to the machine that the generator ran on. `None` is what the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachineFacts {
    /// The share of the time of the workers' cores that the hypervisor gave to others.
    pub steal_share: Option<f64>,
    /// What of it is certain: it is counted in ticks, and one of them may have begun before.
    pub steal_share_least: Option<f64>,
    /// By how much the wall clock was set forward, or back if negative.
    pub clock_step_ns: Option<i64>,
    /// How long the machine was suspended.
    pub suspended_ns: Option<u64>,
}

impl WorkerFacts {
    /// The share of the core used for work, without spinning. Between 0 and 1, apart from rounding.
    pub fn busy_share(&self) -> f64 {
        share((self.user_ns + self.system_ns).saturating_sub(self.spin_ns), self.wall_ns)
    }

    /// The share of the time in which it was ready to run while another thread had the core.
    pub fn run_queue_share(&self) -> f64 {
        share(self.run_queue_wait_ns, self.wall_ns)
    }
}

/// What the generator cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeneratorFacts {
    /// Its workers.
    pub workers: Vec<WorkerFacts>,
    /// (Peak of the heap during the run − heap with all connections idle) / requests in flight at most. `None` where
    /// nothing counts the heap.
    pub heap_bytes_per_request: Option<u64>,
    /// (Heap with all connections open and idle − before the first) / connections. `None` where nothing counts the heap.
    pub heap_bytes_per_connection: Option<u64>,
    /// The process's peak resident memory.
    pub rss_peak_bytes: u64,
    /// What happened to its machine.
    pub machine: MachineFacts,
}

impl GeneratorFacts {
    /// The queues of all its connections.
    pub fn queues(&self) -> QueueFacts {
        let mut all = QueueFacts::default();
        self.workers.iter().for_each(|worker| all.add(&worker.queues));
        all
    }

    /// CPU time of all workers, in user space.
    pub fn user_ns(&self) -> u64 {
        self.workers.iter().map(|worker| worker.user_ns).sum()
    }

    /// CPU time of all workers.
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns() + self.workers.iter().map(|worker| worker.system_ns).sum::<u64>()
    }

    /// CPU time of all workers, with spinning, as a share of what they could have had.
    pub fn utilisation(&self) -> f64 {
        share(self.cpu_ns(), self.wall_ns())
    }

    /// The part of [`utilisation`](Self::utilisation) that was spinning.
    pub fn spin_share(&self) -> f64 {
        share(self.workers.iter().map(|worker| worker.spin_ns).sum(), self.wall_ns())
    }

    /// What one wake-up costs: the mean over the workers.
    pub fn wake_up_ns(&self) -> Option<u64> {
        let count = self.workers.len() as u64;
        (count > 0).then(|| self.workers.iter().map(|worker| worker.wake_up_ns).sum::<u64>() / count)
    }

    fn wall_ns(&self) -> u64 {
        self.workers.iter().map(|worker| worker.wall_ns).sum()
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_is_not_work() {
        let worker =
            WorkerFacts { wall_ns: 100, user_ns: 60, system_ns: 20, spin_ns: 50, ..WorkerFacts::default() };
        assert!((worker.busy_share() - 0.3).abs() < 1e-12);
        let facts = GeneratorFacts { workers: vec![worker, worker], ..GeneratorFacts::default() };
        assert!((facts.utilisation() - 0.8).abs() < 1e-12);
        assert!((facts.spin_share() - 0.5).abs() < 1e-12);
        assert!(WorkerFacts::default().busy_share().abs() < 1e-12);
    }
}
