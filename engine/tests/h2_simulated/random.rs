//! Random numbers that a seed determines, and the bytes of bodies.

use std::sync::OnceLock;

use bytes::Bytes;

/// `SplitMix64`.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The largest body.
pub(crate) const BODY_SIZE_MAX: usize = 250_000;

/// Returns a body that hardly any other key has: a part of one large random text.
pub(crate) fn body(key: u64, size: usize) -> Bytes {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    let text: &'static [u8] = TEXT.get_or_init(|| {
        let mut random = Random::new(1);
        (0..2 * BODY_SIZE_MAX / 8).flat_map(|_| random.next().to_ne_bytes()).collect()
    });
    let start = Random::new(key).below(BODY_SIZE_MAX as u64) as usize;
    Bytes::from_static(&text[start..start + size])
}
