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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
}

impl GeneratorFacts {
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
