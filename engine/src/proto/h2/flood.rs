//! Limits on how often a peer may do what costs this side more than the peer. The time is passed in.

use super::error::Flood;
use super::limits::{
    IDLE_FRAMES_BURST, IDLE_FRAMES_PER_SECOND, IDLE_FRAMES_PER_USEFUL, RESETS_BURST, RESETS_PER_SECOND,
};

const NS_PER_S: u64 = 1_000_000_000;

/// What a peer may still do.
#[derive(Debug)]
pub(super) struct Calm {
    now_ns: u64,
    resets: Bucket<RESETS_BURST, RESETS_PER_SECOND>,
    idle_frames: Bucket<IDLE_FRAMES_BURST, IDLE_FRAMES_PER_SECOND>,
}

impl Calm {
    pub(super) fn new() -> Self {
        Self { now_ns: 0, resets: Bucket::new(), idle_frames: Bucket::new() }
    }

    #[inline]
    pub(super) fn set_time_ns(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Counts a stream that the peer has reset, or has made this side reset.
    pub(super) fn reset(&mut self) -> Result<(), Flood> {
        self.resets.take(self.now_ns).then_some(()).ok_or(Flood::Resets)
    }

    /// Counts a frame that brings nothing.
    pub(super) fn idle_frame(&mut self) -> Result<(), Flood> {
        self.idle_frames.take(self.now_ns).then_some(()).ok_or(Flood::IdleFrames)
    }

    /// Counts a frame that brings something, or is sent to bring something.
    #[inline]
    pub(super) fn useful_frame(&mut self) {
        self.idle_frames.left = (self.idle_frames.left + IDLE_FRAMES_PER_USEFUL).min(IDLE_FRAMES_BURST);
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket<const BURST: u32, const PER_SECOND: u32> {
    left: u32,
    /// Up to when it was refilled; `None` before its first use.
    filled_ns: Option<u64>,
}

impl<const BURST: u32, const PER_SECOND: u32> Bucket<BURST, PER_SECOND> {
    fn new() -> Self {
        Self { left: BURST, filled_ns: None }
    }

    fn take(&mut self, now_ns: u64) -> bool {
        if self.left == 0 {
            let since_ns = *self.filled_ns.get_or_insert(now_ns);
            let step_ns = NS_PER_S / u64::from(PER_SECOND);
            let count = now_ns.saturating_sub(since_ns) / step_ns;
            self.left = count.min(u64::from(BURST)) as u32;
            self.filled_ns = Some(since_ns + count * step_ns);
        }
        self.filled_ns.get_or_insert(now_ns);
        let has_left = self.left > 0;
        self.left -= u32::from(has_left);
        has_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_rate() {
        let mut calm = Calm::new();
        calm.set_time_ns(5 * NS_PER_S);
        assert_eq!((0..2 * RESETS_BURST).filter(|_| calm.reset().is_ok()).count(), RESETS_BURST as usize);
        calm.set_time_ns(6 * NS_PER_S);
        let later = (0..2 * RESETS_BURST).filter(|_| calm.reset().is_ok()).count();
        assert_eq!(later, RESETS_PER_SECOND as usize);
    }

    #[test]
    fn useful_frames_allow_idle_ones() {
        let mut calm = Calm::new();
        for _ in 0..5 * IDLE_FRAMES_BURST {
            calm.useful_frame();
            for _ in 0..IDLE_FRAMES_PER_USEFUL {
                calm.idle_frame().unwrap();
            }
        }
        let left = (0..2 * IDLE_FRAMES_BURST).filter(|_| calm.idle_frame().is_ok()).count();
        assert_eq!(left, (IDLE_FRAMES_BURST - IDLE_FRAMES_PER_USEFUL) as usize);
        assert_eq!(calm.idle_frame(), Err(Flood::IdleFrames));
    }
}
