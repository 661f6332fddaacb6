//! Whether spinning for the next piece of a large transfer is worth it: learnt from how long it took.

use crate::limits::{BULK_SPIN_MEAN_NS_MAX, BULK_SPIN_NS, BULK_SPIN_RETRY_PIECES, PARK_SPIN_NS};

/// The inverse weight of one piece in the mean.
const MEAN_WEIGHT: u64 = 16;

#[derive(Debug, Default)]
pub(super) struct BulkSpin {
    /// Time spent spinning since the last piece.
    spun_ns: u64,
    /// Mean of that time, over the last pieces.
    mean_ns: u64,
    /// Pieces to come before spinning is tried again. 0 while the worker spins.
    pause: u32,
}

impl BulkSpin {
    /// Counts time that the worker has spent spinning.
    #[inline]
    pub(super) fn spun(&mut self, duration_ns: u64) {
        self.spun_ns += duration_ns;
    }

    /// Call this when a piece has arrived. Returns how long to spin for the next.
    pub(super) fn next_piece(&mut self) -> u64 {
        let spun_ns = std::mem::take(&mut self.spun_ns);
        if self.pause > 0 {
            self.pause -= 1;
            return if self.pause == 0 { BULK_SPIN_NS } else { PARK_SPIN_NS };
        }
        self.mean_ns = (self.mean_ns * (MEAN_WEIGHT - 1) + spun_ns) / MEAN_WEIGHT;
        if self.mean_ns <= BULK_SPIN_MEAN_NS_MAX {
            return BULK_SPIN_NS;
        }
        self.mean_ns = 0;
        self.pause = BULK_SPIN_RETRY_PIECES;
        PARK_SPIN_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_spins_as_long_as_pieces_come_soon() {
        let mut bulk = BulkSpin::default();
        for _ in 0..10_000 {
            bulk.spun(BULK_SPIN_MEAN_NS_MAX / 2);
            assert_eq!(bulk.next_piece(), BULK_SPIN_NS);
        }
        // One that is late is no reason to stop.
        bulk.spun(BULK_SPIN_MEAN_NS_MAX * 2);
        assert_eq!(bulk.next_piece(), BULK_SPIN_NS);
    }

    #[test]
    fn a_worker_stops_spinning_for_slow_pieces_and_tries_again_later() {
        let mut bulk = BulkSpin::default();
        let spins_after = |bulk: &mut BulkSpin| {
            bulk.spun(2 * BULK_SPIN_MEAN_NS_MAX);
            bulk.next_piece() == BULK_SPIN_NS
        };
        let until_stop = (0..100).take_while(|_| spins_after(&mut bulk)).count();
        assert!((4..64).contains(&until_stop), "{until_stop}");
        let until_retry = (1..=2 * BULK_SPIN_RETRY_PIECES).find(|_| spins_after(&mut bulk));
        assert_eq!(until_retry, Some(BULK_SPIN_RETRY_PIECES));
    }
}
