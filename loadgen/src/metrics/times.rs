//! Where times are kept: histograms in constant memory.

use hdrhistogram::Histogram;

use crate::estimate::{Censoring, Curve};

/// The longest time that is told apart; longer ones count as this.
pub const TIME_MAX_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Significant digits of each time: within 0.1 %.
const TIME_DIGITS: u8 = 3;

/// An empty histogram of times. It never grows: its whole range is there from the start, about 300 kB.
///
/// # Panics
/// Never: the bounds are valid.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_MAX_NS, TIME_DIGITS).expect("the bounds are valid")
}

/// Adds all of `from`. An empty one costs nothing.
pub(super) fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    if !from.is_empty() {
        to.add(from).expect("all histograms have the same bounds");
    }
}

/// Empties it. One that is empty costs nothing.
pub(super) fn reset(histogram: &mut Histogram<u64>) {
    if !histogram.is_empty() {
        histogram.reset();
    }
}

/// Times in nanoseconds, those of which it is known only that they were longer apart from the others.
#[derive(Clone, Debug)]
pub struct Times {
    /// Those that are known.
    pub exact: Histogram<u64>,
    /// How long those were that were cut short, until then.
    pub censored: Histogram<u64>,
}

impl Times {
    /// None.
    pub fn new() -> Self {
        Self { exact: histogram(), censored: histogram() }
    }

    /// How they are distributed.
    pub fn curve(&self, censoring: Censoring) -> Curve {
        Curve::new(&self.exact, &self.censored, censoring)
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.exact, &other.exact);
        add(&mut self.censored, &other.censored);
    }

    pub(super) fn reset(&mut self) {
        reset(&mut self.exact);
        reset(&mut self.censored);
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}
