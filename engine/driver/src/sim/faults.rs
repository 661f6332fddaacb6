//! The faults of the simulation, their probabilities, and the seeded random numbers that trigger them.

/// The longest delay that a fault causes.
pub(super) const DELAY_NS_MAX: u64 = 2_000_000;

/// The probability of each fault, from 0 (never, the default) to 1 (at every opportunity).
///
/// The first group are faults that a driver must hide. A caller only notices that things take longer, or that data
/// comes in different pieces. The others are failures of the network or the system, and the caller sees them like real
/// ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Hidden. The kernel takes only a part of a send, and the driver continues it. A skip-success send then reports
    /// `SendWaits`.
    pub short_send: f64,
    /// Hidden. A receive delivers fewer bytes than have arrived.
    pub cut_receive: f64,
    /// Hidden. A completion comes late, after completions of other sockets and operations.
    pub delayed_completion: f64,
    /// Hidden. The kernel finds no receive buffer for a while (`ENOBUFS`). This ends every receive that needs one, and
    /// the driver starts it again later.
    pub no_buffers: f64,
    /// Hidden. A multishot receive or accept ends without `IORING_CQE_F_MORE`, for no reason. The driver starts it
    /// again.
    pub lost_more: f64,
    /// Hidden. The completion queue overflows: the driver delivers nothing for some turns, while the network goes on.
    pub overflow: f64,
    /// Hidden. A cancel takes effect late. Data or the end of the stream may come first.
    pub cancel_race: f64,
    /// Hidden. A turn returns at once without a completion.
    pub spurious_wake: f64,
    /// Hidden. A connection has a high latency and a low bandwidth. This is decided when the connection is made.
    pub slow_link: f64,
    /// A connection fails with `ECONNRESET` at both ends, at a random time after it was made. Bytes in flight are lost.
    pub reset: f64,
    /// A connect is refused although there is a listener.
    pub refused_connect: f64,
    /// A connect never gets a response.
    pub blackhole_connect: f64,
    /// A connect or an accept finds no free descriptor (`EMFILE`).
    pub no_descriptors: f64,
}

impl Faults {
    /// Creates the faults that a driver must hide, each with `probability`. Code that works without faults must also
    /// work with these.
    pub fn hidden(probability: f64) -> Self {
        Self {
            short_send: probability,
            cut_receive: probability,
            delayed_completion: probability,
            no_buffers: probability,
            lost_more: probability,
            overflow: probability,
            cancel_race: probability,
            spurious_wake: probability,
            slow_link: probability,
            ..Self::default()
        }
    }
}

/// A random number generator with a seed: `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns true with the given probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        // A disabled fault draws no number. So disabling one fault does not change the numbers that the others draw.
        probability > 0.0 && ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// Returns a number from 1 to `max`, which is at least 1. The modulo bias does not matter here.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        1 + self.next() % max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published generator, so that a seed gives the same run on every machine and for good.
    #[test]
    fn chance_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let drawn = [(); 5].map(|()| random.next());
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn what_has_a_probability_happens_so_often() {
        let mut random = Random::new(1);
        for (probability, expected) in [(1.0, 10_000..=10_000), (0.25, 2_300..=2_700), (0.01, 60..=140)] {
            let count = (0..10_000).filter(|_| random.chance(probability)).count();
            assert!(expected.contains(&count), "{probability}: {count} of 10000");
        }
        // What is switched off leaves the others' draws in line.
        assert!(!random.chance(0.0));
        let mut other = Random::new(1);
        (0..30_000).for_each(|_| _ = other.next());
        assert_eq!(random.next(), other.next());
    }

    #[test]
    fn numbers_go_from_one_to_the_largest() {
        let mut random = Random::new(2);
        let mut seen = [0; 6];
        for _ in 0..1_000 {
            seen[random.up_to(4) as usize] += 1;
        }
        assert!(seen[1..=4].iter().all(|&count| count > 150) && seen[0] == 0 && seen[5] == 0, "{seen:?}");
        assert_eq!(random.up_to(1), 1);
    }

    #[test]
    fn hidden_faults_are_those_that_a_driver_hides() {
        let hidden = Faults {
            short_send: 0.5,
            cut_receive: 0.5,
            delayed_completion: 0.5,
            no_buffers: 0.5,
            lost_more: 0.5,
            overflow: 0.5,
            cancel_race: 0.5,
            spurious_wake: 0.5,
            slow_link: 0.5,
            reset: 0.0,
            refused_connect: 0.0,
            blackhole_connect: 0.0,
            no_descriptors: 0.0,
        };
        assert_eq!(Faults::hidden(0.5), hidden);
    }
}
