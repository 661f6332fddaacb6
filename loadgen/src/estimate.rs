//! Statistics of times of which some were cut short: these are known only to be longer than the wait (right-censored
//! observations).
//!
//! Percentiles follow the product-limit estimator (E. L. Kaplan and P. Meier, "Nonparametric Estimation from
//! Incomplete Observations", 1958), and the mean is the area under its curve. Times cut short after the longest exact
//! one leave the rest of the curve open. There they count with the time waited, so every figure from there on is a
//! lower bound.
//!
//! Pure arithmetic over two histograms, whatever they measured.

use hdrhistogram::Histogram;

/// The most decimals that a percentile may have.
pub const PERCENT_DECIMALS_MAX: usize = 15;

/// Shares that differ by less than this part are equal: divisions have rounded them.
const SHARE_ROUNDING: f64 = 1e-12;

/// A quantile as an exact fraction between 0 and 1, exclusive. In binary floating point, 99.9 % of 1,000 is more than
/// 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile {
    part: u64,
    whole: u64,
}

impl Quantile {
    /// `part` of `whole`.
    ///
    /// # Panics
    /// When `part` is 0, or not less than `whole`.
    pub const fn new(part: u64, whole: u64) -> Self {
        assert!(0 < part && part < whole);
        Self { part, whole }
    }

    /// Parses a percentile in decimal digits, such as `99.9`. `None` if it is not such a number, has more than
    /// [`PERCENT_DECIMALS_MAX`] decimals, or is not between 0 and 100.
    pub fn of_percent(text: &str) -> Option<Self> {
        let (integer, decimals) = text.split_once('.').unwrap_or((text, ""));
        let decimals = decimals.trim_end_matches('0');
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if text == "." || !digits(integer) || !digits(decimals) || decimals.len() > PERCENT_DECIMALS_MAX {
            return None;
        }
        // Without leading zeros, so that it cannot overflow: an integer below 100 has two digits.
        let integer = integer.trim_start_matches('0');
        if integer.len() > 2 {
            return None;
        }
        let part: u64 = format!("0{integer}{decimals}").parse().ok()?;
        let whole = 100 * 10_u64.pow(decimals.len() as u32);
        (0 < part && part < whole).then_some(Self { part, whole })
    }

    /// Whether `left` of `of` is at most the share above this quantile.
    pub(crate) fn is_reached(self, left: u64, of: u64) -> bool {
        u128::from(left) * u128::from(self.whole) <= u128::from(self.whole - self.part) * u128::from(of)
    }

    /// The share above it.
    fn tail(self) -> f64 {
        (self.whole - self.part) as f64 / self.whole as f64
    }
}

/// Whether times were cut short independently of their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Censoring {
    /// They were: times cut short would have gone on like the others that lasted as long.
    Independent,
    /// They were not: long times were cut short because they were long. Each counts with the time waited, and every
    /// figure is a lower bound.
    Dependent,
}

/// One figure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Nanoseconds; 0 without any times.
    pub ns: f64,
    /// Whether the true figure may be larger.
    pub is_lower_bound: bool,
}

/// The distribution of times, as far as it is known.
#[derive(Clone, Debug)]
pub struct Curve {
    count: u64,
    censored: u64,
    steps: Vec<Step>,
    min: Reading,
    mean: Reading,
    stdev: Reading,
}

/// A time at which the curve falls, and the share left after it: `base * left / of`.
#[derive(Clone, Copy, Debug)]
struct Step {
    reading: Reading,
    /// The share that was left when the last time before this one was cut short; 1 before the first.
    base: f64,
    left: u64,
    of: u64,
}

impl Step {
    fn reaches(&self, quantile: Quantile) -> bool {
        if self.base.to_bits() == 1.0_f64.to_bits() {
            return quantile.is_reached(self.left, self.of);
        }
        self.base * self.left as f64 / self.of as f64 <= quantile.tail() * (1.0 + SHARE_ROUNDING)
    }
}

/// The times in one bucket of a histogram.
struct Group {
    /// The longest time of the bucket.
    highest_ns: u64,
    is_censored: bool,
    count: u64,
}

impl Curve {
    /// The curve of times in nanoseconds; those in `censored` were cut short. Exact times go before equal ones that
    /// were cut short.
    ///
    /// Both histograms must have the same bounds, and values are as precise as their buckets: the upper end of a
    /// bucket, for the shortest time the lower end, and for sums the middle.
    pub fn new(exact: &Histogram<u64>, censored: &Histogram<u64>, censoring: Censoring) -> Self {
        Self::of(exact, Some(censored), censoring)
    }

    /// The curve of exact times only.
    pub fn exact(times: &Histogram<u64>) -> Self {
        Self::of(times, None, Censoring::Independent)
    }

    fn of(exact: &Histogram<u64>, censored: Option<&Histogram<u64>>, censoring: Censoring) -> Self {
        let cut_short = censored.into_iter().flat_map(|times| groups(times, true));
        let mut groups: Vec<Group> = groups(exact, false).chain(cut_short).collect();
        groups.sort_unstable_by_key(|group| (group.highest_ns, group.is_censored));
        // From here on, times cut short count with the time waited.
        let open_from = match censoring {
            Censoring::Independent => {
                groups.iter().rposition(|group| !group.is_censored).map_or(0, |at| at + 1)
            }
            Censoring::Dependent => 0,
        };
        let censored = censored.map_or(0, Histogram::len);
        let count = exact.len() + censored;
        let all_bounds = censoring == Censoring::Dependent && censored > 0;
        let mut steps: Vec<Step> = Vec::new();
        let mut moments = Moments::default();
        let mut min = None;
        let (mut base, mut left, mut of) = (1.0, count, count);
        for (index, group) in groups.iter().enumerate() {
            if group.is_censored && index < open_from {
                if left < of {
                    base *= left as f64 / of as f64;
                }
                left -= group.count;
                of = left;
                continue;
            }
            let summed_ns = exact.median_equivalent(group.highest_ns);
            moments.add(summed_ns as f64, base * group.count as f64 / of as f64);
            left -= group.count;
            let is_lower_bound = all_bounds || group.is_censored;
            let reading = |ns: u64| Reading { ns: ns as f64, is_lower_bound };
            min.get_or_insert(reading(exact.lowest_equivalent(group.highest_ns)));
            steps.push(Step { reading: reading(group.highest_ns), base, left, of });
        }
        let is_open = all_bounds || groups[open_from..].iter().any(|group| group.is_censored);
        Self {
            count,
            censored,
            min: min.unwrap_or_default(),
            mean: Reading { ns: moments.mean(), is_lower_bound: is_open },
            stdev: Reading { ns: moments.deviation(), is_lower_bound: is_open },
            steps,
        }
    }

    /// How many times there are, those cut short included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them were cut short.
    pub fn censored(&self) -> u64 {
        self.censored
    }

    /// The time that this share of them does not exceed: the first after which no more than the rest is left.
    pub fn quantile(&self, quantile: Quantile) -> Reading {
        let at = self.steps.partition_point(|step| !step.reaches(quantile));
        // After the last step nothing is left, so only an empty curve has no such step.
        self.steps.get(at).map_or(Reading::default(), |step| step.reading)
    }

    /// The shortest.
    pub fn min(&self) -> Reading {
        self.min
    }

    /// The longest.
    pub fn max(&self) -> Reading {
        self.steps.last().map_or(Reading::default(), |step| step.reading)
    }

    /// The arithmetic mean: the area under the curve.
    pub fn mean(&self) -> Reading {
        self.mean
    }

    /// The standard deviation. Where the curve is open it is unknown, and is marked as a lower bound like the others.
    pub fn stdev(&self) -> Reading {
        self.stdev
    }
}

fn groups(times: &Histogram<u64>, is_censored: bool) -> impl Iterator<Item = Group> {
    times.iter_recorded().map(move |place| Group {
        highest_ns: place.value_iterated_to(),
        is_censored,
        count: place.count_at_value(),
    })
}

/// The mean and the variance of weighted values, in one pass (D. H. D. West, 1979).
#[derive(Default)]
struct Moments {
    weight: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64, weight: f64) {
        self.weight += weight;
        let difference = value - self.mean;
        self.mean += difference * weight / self.weight;
        self.squares += weight * difference * (value - self.mean);
    }

    fn mean(&self) -> f64 {
        self.mean
    }

    fn deviation(&self) -> f64 {
        if self.weight > 0.0 { (self.squares / self.weight).max(0.0).sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// With a bucket for each value below 2,048.
    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 24, 3).expect("valid bounds");
        values.into_iter().for_each(|value| histogram.saturating_record(value));
        histogram
    }

    fn curve(exact: &[u64], censored: &[u64], censoring: Censoring) -> Curve {
        Curve::new(&histogram(exact.iter().copied()), &histogram(censored.iter().copied()), censoring)
    }

    fn independent(exact: &[u64], censored: &[u64]) -> Curve {
        curve(exact, censored, Censoring::Independent)
    }

    fn is(reading: Reading, ns: f64, is_lower_bound: bool) -> bool {
        (reading.ns - ns).abs() <= 1e-9 * ns.max(1.0) && reading.is_lower_bound == is_lower_bound
    }

    const P50: Quantile = Quantile::new(1, 2);
    const P99: Quantile = Quantile::new(99, 100);

    /// A fraction, reduced.
    #[derive(Clone, Copy)]
    struct Fraction(u128, u128);

    impl Fraction {
        fn times(self, by: u128, of: u128) -> Self {
            let (mut a, mut b) = (self.0 * by, self.1 * of);
            let (top, bottom) = (a, b);
            while b != 0 {
                (a, b) = (b, a % b);
            }
            Self(top / a.max(1), bottom / a.max(1))
        }

        fn value(self) -> f64 {
            self.0 as f64 / self.1 as f64
        }
    }

    /// The estimator by its definition, over raw values and in integers: at each exact time, the share left falls by
    /// one part of those still there.
    struct Naive {
        /// A time, the share left after it, and whether it is a bound.
        falls: Vec<(u64, Fraction, bool)>,
        mean: f64,
    }

    impl Naive {
        fn new(exact: &[u64], censored: &[u64], censoring: Censoring) -> Self {
            let mut all: Vec<(u64, bool)> = exact.iter().map(|value| (*value, false)).collect();
            all.extend(censored.iter().map(|value| (*value, true)));
            all.sort_unstable();
            let last = exact.iter().max().copied();
            let (mut left, mut there, mut mean) = (Fraction(1, 1), all.len() as u128, 0.0);
            let mut falls = Vec::new();
            for (value, is_censored) in all {
                let is_open = censoring == Censoring::Dependent || last.is_none_or(|last| value >= last);
                if !is_censored || is_open {
                    let after = left.times(there - 1, there);
                    mean += (left.value() - after.value()) * value as f64;
                    left = after;
                    let is_bound = is_censored || (censoring == Censoring::Dependent && !censored.is_empty());
                    falls.push((value, left, is_bound));
                }
                there -= 1;
            }
            Self { falls, mean }
        }

        fn quantile(&self, Quantile { part, whole }: Quantile) -> (u64, bool) {
            let reached = |left: Fraction| left.0 * u128::from(whole) <= u128::from(whole - part) * left.1;
            let fall = self.falls.iter().find(|(_, left, _)| reached(*left)).expect("the last leaves none");
            (fall.0, fall.2)
        }
    }

    proptest! {
        #[test]
        fn it_is_the_naive_estimator(
            exact in proptest::collection::vec(0_u64..30, 0..11), censored in proptest::collection::vec(0_u64..40, 0..9),
            dependent: bool, part in 1_u64..200,
        ) {
            prop_assume!(exact.len() + censored.len() > 0);
            let censoring = if dependent { Censoring::Dependent } else { Censoring::Independent };
            let (curve, naive) = (curve(&exact, &censored, censoring), Naive::new(&exact, &censored, censoring));
            prop_assert_eq!(curve.count(), (exact.len() + censored.len()) as u64);
            prop_assert_eq!(curve.censored(), censored.len() as u64);
            let quantile = Quantile::new(part, 200);
            let (value, is_bound) = naive.quantile(quantile);
            let seen = curve.quantile(quantile);
            prop_assert!(is(seen, value as f64, is_bound), "{:?} is not {} {}", seen, value, is_bound);
            let is_open = naive.falls.iter().any(|fall| fall.2);
            prop_assert!(is(curve.mean(), naive.mean, is_open), "{:?} is not {}", curve.mean(), naive.mean);
            let (first, last) = (naive.falls[0], naive.falls[naive.falls.len() - 1]);
            prop_assert!(is(curve.min(), first.0 as f64, first.2), "{:?}", curve.min());
            prop_assert!(is(curve.max(), last.0 as f64, last.2), "{:?}", curve.max());
        }

        #[test]
        fn without_censoring_it_is_the_histogram(values in proptest::collection::vec(0_u64..1 << 22, 1..200)) {
            let times = histogram(values);
            let curve = Curve::exact(&times);
            for (part, whole) in [(1, 2), (3, 4), (9, 10), (99, 100), (9999, 10_000)] {
                let seen = curve.quantile(Quantile::new(part, whole));
                let rank = (times.len() * part).div_ceil(whole);
                let mut so_far = 0;
                let place = times.iter_recorded().find(|place| {
                    so_far += place.count_at_value();
                    so_far >= rank
                });
                prop_assert!(is(seen, place.expect("it is there").value_iterated_to() as f64, false));
            }
            prop_assert!((curve.mean().ns / times.mean().max(1.0) - times.mean() / times.mean().max(1.0)).abs() < 1e-9);
            prop_assert!((curve.stdev().ns - times.stdev()).abs() <= 1e-6 * times.mean().max(1.0));
            prop_assert!(is(curve.min(), times.min() as f64, false) && is(curve.max(), times.max() as f64, false));
        }

        #[test]
        fn figures_do_not_fall_and_a_bound_is_followed_by_bounds(
            exact in proptest::collection::vec(0_u64..1 << 22, 0..50),
            censored in proptest::collection::vec(0_u64..1 << 22, 0..50),
            dependent: bool,
        ) {
            prop_assume!(exact.len() + censored.len() > 0);
            let censoring = if dependent { Censoring::Dependent } else { Censoring::Independent };
            let curve = curve(&exact, &censored, censoring);
            let mut readings: Vec<Reading> = (1..1000).map(|part| curve.quantile(Quantile::new(part, 1000))).collect();
            readings.push(curve.max());
            for pair in readings.windows(2) {
                prop_assert!(pair[0].ns <= pair[1].ns && pair[0].is_lower_bound <= pair[1].is_lower_bound, "{:?}", pair);
            }
            prop_assert!(curve.min().ns <= curve.mean().ns * (1.0 + 1e-3) && curve.mean().ns <= curve.max().ns);
        }
    }

    #[test]
    fn what_was_cut_short_early_does_not_bend_what_the_others_took() {
        // Two answers of 801 each on four connections, and all four cut off at 397.
        let curve = independent(&[801; 8], &[397; 4]);
        assert!(is(curve.min(), 801.0, false) && is(curve.max(), 801.0, false), "{curve:?}");
        assert!(is(curve.mean(), 801.0, false) && is(curve.stdev(), 0.0, false), "{curve:?}");
        assert!(is(curve.quantile(P50), 801.0, false), "{curve:?}");
    }

    #[test]
    fn what_lasts_longer_than_all_that_ended_is_a_lower_bound() {
        // Half of them hang: the others were answered, and nobody knows when these would be.
        let curve = independent(&[10; 50], &[1000; 50]);
        assert!(is(curve.quantile(P50), 10.0, false), "{curve:?}");
        assert!(is(curve.quantile(Quantile::new(501, 1000)), 1000.0, true), "{curve:?}");
        assert!(is(curve.mean(), 505.0, true) && is(curve.max(), 1000.0, true), "{curve:?}");
        // One that has hung for long says nothing about others that have waited for a moment.
        let curve = independent(&[], &[[10; 99].as_slice(), &[2000]].concat());
        assert!(is(curve.quantile(P50), 10.0, true) && is(curve.max(), 2000.0, true), "{curve:?}");
    }

    #[test]
    fn what_ends_goes_before_what_is_cut_short_at_the_same_time() {
        assert!(is(independent(&[5], &[5]).quantile(P50), 5.0, false));
        assert!(is(independent(&[5], &[5]).max(), 5.0, true));
        // If it counted as cut short before, only one would be left to end, and p50 would be 7.
        assert!(is(independent(&[5, 7], &[5, 5]).quantile(Quantile::new(1, 4)), 5.0, false));
    }

    /// Requests that queue behind each other are cut off because they would take long. At twice the capacity for
    /// 2,000, one due at `t` is answered `t` later, half of them before the end.
    #[test]
    fn where_censoring_depends_on_the_time_all_is_a_lower_bound() {
        let exact: Vec<u64> = (0..1000).collect();
        let censored: Vec<u64> = (0..1000).map(|due| 1000 - due).collect();
        let estimated = independent(&exact, &censored).quantile(P50);
        assert!(is(estimated, 750.0, false), "the truth is 1000: {estimated:?}");
        let curve = curve(&exact, &censored, Censoring::Dependent);
        assert!(is(curve.quantile(P50), 500.0, true) && is(curve.min(), 0.0, true), "{curve:?}");
        assert!(is(curve.quantile(P99), 990.0, true) && curve.mean().is_lower_bound, "{curve:?}");
    }

    #[test]
    fn nothing_is_zero() {
        let nothing = independent(&[], &[]);
        for reading in [nothing.min(), nothing.mean(), nothing.stdev(), nothing.max(), nothing.quantile(P50)]
        {
            assert!(is(reading, 0.0, false), "{reading:?}");
        }
    }

    #[test]
    fn a_percentile_is_its_rank_in_decimals() {
        for times in 1..=3 {
            let mut histogram = histogram([]);
            (1..=1000).for_each(|value| histogram.saturating_record_n(value, times));
            let curve = Curve::exact(&histogram);
            for tenths in 1..1000 {
                let percent = format!("{}.{}", tenths / 10, tenths % 10);
                let quantile = Quantile::of_percent(&percent).expect("valid");
                assert!(
                    is(curve.quantile(quantile), f64::from(tenths), false),
                    "p{percent} of {}",
                    times * 1000
                );
            }
        }
    }

    #[test]
    fn percentiles_are_read_digit_by_digit() {
        for (text, part, whole) in [
            ("50", 50, 100),
            ("99.9", 999, 1000),
            ("99.90", 999, 1000),
            ("099", 99, 100),
            (".5", 5, 1000),
            ("5.", 5, 100),
            ("99.999999999999999", 99_999_999_999_999_999, 100_000_000_000_000_000),
        ] {
            assert_eq!(Quantile::of_percent(text), Some(Quantile { part, whole }), "{text}");
        }
        for text in ["", ".", "0", "0.0", "100", "1000", "-1", "1e1", "1.2.3", "9 9", "99.9999999999999999"] {
            assert_eq!(Quantile::of_percent(text), None, "{text}");
        }
    }
}
