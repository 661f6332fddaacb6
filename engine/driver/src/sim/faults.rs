//! What may go wrong in the simulation, how often, and the seeded chance that decides it.

/// How long a fault delays something at most.
pub(super) const DELAY_NS_MAX: u64 = 2_000_000;

/// How often each fault happens: a probability from 0 (never, the default) to 1 (at every opportunity).
///
/// Those that a driver owes to hide come first: a caller notices at most that things take longer or come in other
/// pieces. The others are failures of the world, and a caller sees them as it would see the real ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Hidden. The kernel takes only a part of a send; the driver continues it. A skip-success send is told to wait then.
    pub short_send: f64,
    /// Hidden. A receive gives fewer bytes than have arrived.
    pub cut_receive: f64,
    /// Hidden. A completion comes late, and so after those of other sockets and other operations.
    pub delayed_completion: f64,
    /// Hidden. The kernel finds no receive buffer for a while (`ENOBUFS`), which ends every receive that wants one; the
    /// driver starts them again.
    pub no_buffers: f64,
    /// Hidden. A multishot receive or accept ends without `IORING_CQE_F_MORE` and without a reason; the driver starts it
    /// again.
    pub lost_more: f64,
    /// Hidden. The completion queue overflows: nothing is handed out for some turns, while the network goes on.
    pub overflow: f64,
    /// Hidden. A cancel takes effect late: data or the end of the stream may come first.
    pub cancel_race: f64,
    /// Hidden. A turn returns at once with nothing.
    pub spurious_wake: f64,
    /// Hidden. A connection has latency and little bandwidth, decided when it is made.
    pub slow_link: f64,
    /// A connection fails with `ECONNRESET` at both ends at a random time after it was made; bytes under way are lost.
    pub reset: f64,
    /// A connect is refused although somebody listens.
    pub refused_connect: f64,
    /// A connect is never answered.
    pub blackhole_connect: f64,
    /// A connect or an accept finds no free descriptor (`EMFILE`).
    pub no_descriptors: f64,
}

impl Faults {
    /// Only the faults that a driver hides, each with `probability`: what worked before has to work with these.
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

/// Chance that follows from a seed: `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
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

    /// Whether something of this probability happens now.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        // A fault that is switched off draws nothing, so that switching it off leaves the others' draws in line.
        probability > 0.0 && ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A number from 1 to `max`, which is at least 1. The bias of the remainder does not matter here.
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
