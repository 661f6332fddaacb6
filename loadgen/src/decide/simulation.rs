//! Simulated campaigns: how often a comparison sees a difference that is not there, and how often it misses one that
//! is.
//!
//! The machine is as in a shared build: another process works in bursts and takes almost half of the capacity while
//! it does, so its noise is correlated over many slices; the capacity drifts; and each slice has noise of its own.

use fastrand::Rng;

use super::interval::{LogRatio, PAIRS_MIN, RESULTS_MIN};

/// The length of a slice.
const SLICE_S: f64 = 0.25;
/// The pairs of a campaign of 20 s.
const PAIRS: usize = 40;
/// The length of a saved result, and the time between two of them.
const RESULT_S: f64 = 10.0;
const PAUSE_S: f64 = 600.0;

/// What disturbs a measurement.
#[derive(Clone, Copy)]
struct Noise {
    /// How long a burst and the time between two of them are on average, exponentially distributed.
    burst_s: f64,
    pause_s: f64,
    /// The share of the capacity that a burst takes.
    taken: f64,
}

const QUIET: Noise = Noise { burst_s: 1.0, pause_s: 1e9, taken: 0.0 };
const BURSTS: Noise = Noise { burst_s: 0.7, pause_s: 1.5, taken: 0.45 };
const LONG_BURSTS: Noise = Noise { burst_s: 3.0, pause_s: 4.0, taken: 0.45 };
const RARE_BURSTS: Noise = Noise { burst_s: 0.3, pause_s: 4.0, taken: 0.6 };

/// The noise of each slice, and the drift, which forgets itself within 2 s.
const SLICE_DEVIATION: f64 = 0.03;
const DRIFT_DEVIATION: f64 = 0.03;
const DRIFT_MEMORY_S: f64 = 2.0;

/// The machine during a campaign.
struct Machine {
    rng: Rng,
    noise: Noise,
    in_burst: bool,
    /// Until the burst or the pause ends.
    left_s: f64,
    drift: f64,
}

impl Machine {
    fn new(noise: Noise, seed: u64) -> Self {
        let mut machine = Self { rng: Rng::with_seed(seed), noise, in_burst: false, left_s: 0.0, drift: 0.0 };
        machine.drift = DRIFT_DEVIATION * machine.normal();
        machine.left_s = machine.exponential(noise.pause_s);
        machine
    }

    /// The logarithm of the rate that a server reaches in a slice, beside an undisturbed one.
    fn slice(&mut self, length_s: f64) -> f64 {
        let (mut left_s, mut busy_s) = (length_s, 0.0);
        while left_s > 0.0 {
            let step_s = self.left_s.min(left_s);
            busy_s += if self.in_burst { step_s } else { 0.0 };
            left_s -= step_s;
            self.left_s -= step_s;
            if self.left_s <= 0.0 {
                self.in_burst = !self.in_burst;
                let mean_s = if self.in_burst { self.noise.burst_s } else { self.noise.pause_s };
                self.left_s = self.exponential(mean_s);
            }
        }
        let kept = (-length_s / DRIFT_MEMORY_S).exp();
        self.drift = kept * self.drift + (1.0 - kept * kept).sqrt() * DRIFT_DEVIATION * self.normal();
        (1.0 - self.noise.taken * busy_s / length_s).ln() + self.drift + SLICE_DEVIATION * self.normal()
    }

    /// The log ratios of so many pairs, if B is slower than A by the share `slowdown`.
    fn pairs(&mut self, count: usize, slowdown: f64) -> Vec<f64> {
        let pair = |_| {
            let b_is_first = self.rng.bool();
            let (first, second) = (self.slice(SLICE_S), self.slice(SLICE_S));
            let (a, b) = if b_is_first { (second, first) } else { (first, second) };
            b - a + (1.0 - slowdown).ln()
        };
        (0..count).map(pair).collect()
    }

    fn normal(&mut self) -> f64 {
        // Box and Muller.
        (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * self.rng.f64()).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.f64()).ln()
    }
}

/// In how many of `campaigns` a difference is seen.
fn seen(campaigns: u64, difference: impl Fn(u64) -> Option<LogRatio>) -> u64 {
    let is_seen = |seed: &u64| difference(*seed).is_some_and(|difference| difference.excludes_zero());
    (0..campaigns).filter(is_seen).count() as u64
}

fn seen_in_pairs(campaigns: u64, noise: Noise, pairs: usize, slowdown: f64) -> u64 {
    seen(campaigns, |seed| LogRatio::of_pairs(&Machine::new(noise, seed).pairs(pairs, slowdown), seed))
}

#[test]
fn a_server_beside_itself_is_rarely_told_apart() {
    // Of 200 tests at 5 %, more than 18 are false in one of a hundred series; of 100, more than 11.
    for pairs in [PAIRS_MIN, 8, 12, PAIRS] {
        let alarms = seen_in_pairs(200, BURSTS, pairs, 0.0);
        assert!(alarms <= 18, "{alarms} of 200 with {pairs} pairs");
    }
    for (name, noise) in [("quiet", QUIET), ("long", LONG_BURSTS), ("rare", RARE_BURSTS)] {
        let alarms = seen_in_pairs(100, noise, PAIRS, 0.0);
        assert!(alarms <= 11, "{alarms} of 100, {name}");
    }
}

#[test]
fn a_slowdown_of_5_percent_is_found_beside_bursts() {
    let found = seen_in_pairs(200, BURSTS, PAIRS, 0.05);
    assert!(found >= 180, "{found} of 200");
    for (name, noise) in [("quiet", QUIET), ("long", LONG_BURSTS), ("rare", RARE_BURSTS)] {
        let found = seen_in_pairs(50, noise, PAIRS, 0.05);
        assert!(found >= 45, "{found} of 50, {name}");
    }
}

/// The estimator was chosen for this.
#[test]
fn the_mean_would_miss_it() {
    let by_the_mean = |seed| {
        let ratios = Machine::new(BURSTS, seed).pairs(PAIRS, 0.05);
        let count = ratios.len() as f64;
        let mean = ratios.iter().sum::<f64>() / count;
        let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (variance / count).sqrt();
        Some(LogRatio { estimate: mean, reach: 2.02 * error, error })
    };
    let found = seen(200, by_the_mean);
    assert!(found < 110, "the mean finds {found} of 200, so nothing need be trimmed");
}

#[test]
fn what_it_says_it_would_find_is_found_about_that_often() {
    // A difference that a typical campaign says it would find 9 times out of 10.
    let mut detectable: Vec<f64> = (0..20)
        .filter_map(|seed| LogRatio::of_pairs(&Machine::new(BURSTS, 1_000 + seed).pairs(PAIRS, 0.0), seed))
        .map(|difference| difference.detectable())
        .collect();
    detectable.sort_unstable_by(f64::total_cmp);
    let slowdown = 1.0 - (-detectable[10]).exp();
    let found = seen_in_pairs(100, BURSTS, PAIRS, slowdown);
    assert!((78..=99).contains(&found), "{found} of 100 at {slowdown}");
}

#[test]
fn sets_of_few_results_are_rarely_told_apart() {
    for count in [RESULTS_MIN, 4, 6] {
        for noise in [QUIET, BURSTS] {
            let alarms = seen(400, |seed| {
                let mut machine = Machine::new(noise, seed);
                let mut result = |_| {
                    machine.slice(PAUSE_S);
                    machine.slice(RESULT_S)
                };
                let mut set = || -> Vec<f64> { (0..count).map(&mut result).collect() };
                LogRatio::of_sets(&set(), &set(), seed)
            });
            assert!(alarms <= 31, "{alarms} of 400 with {count} results");
        }
    }
}
