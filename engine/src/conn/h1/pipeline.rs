//! What a client's connection needs only if requests may start before the responses to earlier ones have ended.

use super::fence::Fence;
use crate::limits::PIPELINED_MAX;

const _: () = assert!(PIPELINED_MAX <= u16::MAX as usize);

/// The state of a pipelining connection.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub(super) fence: Fence,
    /// Slots that requests have had and none in flight has. Those in flight have the others up to the most in flight so
    /// far.
    free_slots: Vec<u16>,
}

impl Pipeline {
    /// Returns a slot for a request that starts while `in_flight` others are in flight.
    #[inline]
    pub(super) fn take_slot(&mut self, in_flight: usize) -> u16 {
        self.free_slots.pop().unwrap_or(in_flight as u16)
    }

    /// Call this when the response to the oldest request has ended. `in_flight` others are still in flight.
    #[inline]
    pub(super) fn answered(&mut self, slot: u16, in_flight: usize) {
        self.fence.answered();
        if in_flight == 0 {
            // The next ones begin with the first again.
            self.free_slots.clear();
        } else {
            self.free_slots.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn slots_are_unique_and_fewer_than_the_most_in_flight() {
        // Each bit is a start or an end.
        for steps in 0_u32..1 << 14 {
            let (mut pipeline, mut in_flight, mut most) = (Pipeline::default(), VecDeque::new(), 0);
            for step in 0..14 {
                if steps & 1 << step != 0 {
                    let slot = pipeline.take_slot(in_flight.len());
                    assert!(!in_flight.contains(&slot), "{slot} {in_flight:?} {steps:b}");
                    in_flight.push_back(slot);
                    most = most.max(in_flight.len());
                    assert!(usize::from(slot) < most, "{slot} of {most} {steps:b}");
                } else if let Some(slot) = in_flight.pop_front() {
                    pipeline.answered(slot, in_flight.len());
                }
            }
        }
    }
}
