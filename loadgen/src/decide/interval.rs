//! Differences with their intervals, from pairs or from two sets of repeats.
//!
//! Both work on logarithms, so a difference is relative and swapping the sides turns its sign. The interval is a
//! symmetric studentised bootstrap of the trimmed mean (R. R. Wilcox, "Introduction to Robust Estimation and
//! Hypothesis Testing", 4.4). With few values, resampling cannot produce what was not seen, and the bootstrap claims
//! too much; so the interval is never narrower than Student's.

use fastrand::Rng;

use super::trimmed::Trimmed;

/// How often the sample is drawn again.
const RESAMPLES: usize = 999;

/// The fewest pairs that make an interval,
pub const PAIRS_MIN: usize = 6;
/// and the fewest results on each side, if they are not paired.
pub const RESULTS_MIN: usize = 3;

/// How many standard errors lie between what is found half of the time and what is found 9 times out of 10.
const POWER_90: f64 = 1.2816;

/// The logarithm of a ratio, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogRatio {
    /// The estimate.
    pub estimate: f64,
    /// The interval reaches this far to both sides.
    pub reach: f64,
    /// The standard error of the estimate.
    pub error: f64,
}

impl LogRatio {
    /// Of paired values: `log_ratios` has ln(b/a) of each pair. `None` for fewer than [`PAIRS_MIN`].
    pub(super) fn of_pairs(log_ratios: &[f64], seed: u64) -> Option<Self> {
        if log_ratios.len() < PAIRS_MIN {
            return None;
        }
        let mut sample = Sample::new(log_ratios);
        let Trimmed { mean, error, left } = Trimmed::of(&mut sample.sorted);
        let mut rng = Rng::with_seed(seed);
        let critical = critical(left as f64 - 1.0, || {
            let drawn = Trimmed::of(sample.draw(&mut rng));
            (drawn.mean - mean, drawn.error)
        });
        Some(Self { estimate: mean, reach: critical * error, error })
    }

    /// Of two independent sets: `a` and `b` have the logarithms of their values. `None` if one has fewer than
    /// [`RESULTS_MIN`].
    pub(super) fn of_sets(a: &[f64], b: &[f64], seed: u64) -> Option<Self> {
        if a.len().min(b.len()) < RESULTS_MIN {
            return None;
        }
        let (mut sample_a, mut sample_b) = (Sample::new(a), Sample::new(b));
        let (of_a, of_b) = (Trimmed::of(&mut sample_a.sorted), Trimmed::of(&mut sample_b.sorted));
        let (mean, error) = (of_b.mean - of_a.mean, of_a.error.hypot(of_b.error));
        let mut rng = Rng::with_seed(seed);
        let critical = critical(degrees_of_freedom(of_a, of_b), || {
            let (of_a, of_b) = (Trimmed::of(sample_a.draw(&mut rng)), Trimmed::of(sample_b.draw(&mut rng)));
            (of_b.mean - of_a.mean - mean, of_a.error.hypot(of_b.error))
        });
        Some(Self { estimate: mean, reach: critical * error, error })
    }

    /// Whether the interval leaves out "no difference".
    pub(super) fn excludes_zero(&self) -> bool {
        self.estimate.abs() > self.reach
    }

    /// The difference that would be found 9 times out of 10.
    pub(super) fn detectable(&self) -> f64 {
        self.reach + POWER_90 * self.error
    }
}

/// A sample from which others are drawn.
struct Sample {
    sorted: Vec<f64>,
    /// How often each value was drawn.
    times: Vec<usize>,
    drawn: Vec<f64>,
}

impl Sample {
    fn new(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { times: vec![0; values.len()], drawn: Vec::with_capacity(values.len()), sorted }
    }

    /// As many values as there are, drawn with replacement. They come in order, which spares their sorting.
    fn draw(&mut self, rng: &mut Rng) -> &mut [f64] {
        for _ in 0..self.times.len() {
            let value = rng.usize(..self.times.len());
            self.times[value] += 1;
        }
        self.drawn.clear();
        for (value, times) in self.sorted.iter().zip(&mut self.times) {
            self.drawn.extend(std::iter::repeat_n(*value, std::mem::take(times)));
        }
        &mut self.drawn
    }
}

/// How many standard errors the interval reaches. `resample` draws a sample again and returns how far its estimate is
/// off, with its standard error.
fn critical(degrees_of_freedom: f64, mut resample: impl FnMut() -> (f64, f64)) -> f64 {
    let mut off: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let (off, error) = resample();
            // A sample of one value, many times over, tells nothing about its error.
            (error > 0.0).then(|| off.abs() / error)
        })
        .collect();
    let rank = (0.95 * off.len() as f64) as usize;
    let bootstrap = if off.is_empty() { 0.0 } else { *off.select_nth_unstable_by(rank, f64::total_cmp).1 };
    bootstrap.max(student(degrees_of_freedom))
}

/// Of the difference between two trimmed means (Welch's formula, as Yuen applies it).
fn degrees_of_freedom(a: Trimmed, b: Trimmed) -> f64 {
    let part = |side: Trimmed| side.error.powi(4) / (side.left as f64 - 1.0);
    let parts = part(a) + part(b);
    if parts > 0.0 { a.error.hypot(b.error).powi(4) / parts } else { (a.left + b.left) as f64 - 2.0 }
}

/// The 97.5 % quantile of Student's distribution; degrees of freedom are rounded down.
fn student(degrees_of_freedom: f64) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    let whole = (degrees_of_freedom as usize).max(1);
    // The first term of its expansion around the normal distribution.
    TABLE.get(whole - 1).copied().unwrap_or_else(|| 1.960 + 2.372 / whole as f64)
}
