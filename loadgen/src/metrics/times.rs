//! Histograms of times, in constant memory.

use hdrhistogram::Histogram;

use crate::estimate::{Censoring, Curve};

/// The longest time that a histogram can hold; longer ones count as this.
pub const TIME_MAX_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Significant digits of each time: precise to 0.1 %.
const TIME_DIGITS: u8 = 3;

/// An empty histogram of times. It never grows: its whole range is allocated at once, about 300 kB.
///
/// # Panics
/// Never: the bounds are valid.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_MAX_NS, TIME_DIGITS).expect("the bounds are valid")
}

/// Adds all of `from`. Costs nothing if that is empty.
pub(super) fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    if !from.is_empty() {
        to.add(from).expect("all histograms have the same bounds");
    }
}

/// Empties the histogram. Costs nothing if it is empty already.
pub(super) fn reset(histogram: &mut Histogram<u64>) {
    if !histogram.is_empty() {
        histogram.reset();
    }
}

/// Times in nanoseconds: exact ones, and apart from them those known only to be longer than the wait.
#[derive(Clone, Debug)]
pub struct Times {
    /// Exact times.
    pub exact: Histogram<u64>,
    /// Times cut short: how long each had lasted until then.
    pub censored: Histogram<u64>,
}

impl Times {
    /// None.
    pub fn new() -> Self {
        Self { exact: histogram(), censored: histogram() }
    }

    /// The distribution of all.
    pub fn curve(&self, censoring: Censoring) -> Curve {
        Curve::new(&self.exact, &self.censored, censoring)
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.exact, &other.exact);
        add(&mut self.censored, &other.censored);
    }

    /// Empties both.
    pub fn reset(&mut self) {
        reset(&mut self.exact);
        reset(&mut self.censored);
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}
