//! How many requests the embedded server has received and answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those whose head arrived and was valid.
    pub received: u64,
    /// Those of them whose answer was sent completely; it may not have reached the client.
    pub answered: u64,
}

/// The counters of one worker; only that worker writes them. Aligned so that no two workers share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    received: AtomicU64,
    answered: AtomicU64,
}

impl Counters {
    /// The counts of all workers.
    pub(super) fn sum(counters: &[Arc<Self>]) -> Requests {
        let mut sum = Requests::default();
        for counters in counters {
            let Requests { received, answered } = counters.read();
            sum.received += received;
            sum.answered += answered;
        }
        sum
    }

    pub(super) fn count_received(&self) {
        increment(&self.received);
    }

    pub(super) fn count_answered(&self) {
        increment(&self.answered);
    }

    fn read(&self) -> Requests {
        // Read in this order, so that an answer never counts without its request.
        let answered = self.answered.load(Ordering::Acquire);
        Requests { received: self.received.load(Ordering::Acquire), answered }
    }
}

/// With one writer, this needs no read-modify-write instruction.
fn increment(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
}
