//! What comes out of a comparison: its fields are those of the JSON of `ab` and `compare`.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::interval::LogRatio;
use super::metric::Metric;
use super::trimmed::Trimmed;
use crate::result::RunResult;
use crate::units::rounded;

/// If one side fails more of its requests than the other by this share, that decides: failing can be fast.
const FAILURES_DIFFERENCE_MAX: f64 = 0.001;

/// And by this many standard errors, as a single failure among few requests can be chance.
const FAILURES_ERRORS: f64 = 3.0;

/// What B is, beside A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The interval lies on this side of zero, and the difference is one that counts.
    #[serde(rename = "faster")]
    Faster,
    /// Likewise.
    #[serde(rename = "slower")]
    Slower,
    /// None was shown. That is no proof that there is none: `power` tells what would have been found.
    #[serde(rename = "no difference")]
    NoDifference,
}

impl Verdict {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoDifference => "no difference",
        }
    }
}

/// How to decide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The metric that decides.
    pub metric: Metric,
    /// The smallest relative difference that counts.
    pub min_effect: f64,
    /// The seed of the bootstrap.
    pub seed: u64,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What B is.
    pub verdict: Verdict,
    /// The pairs that count; 0 for sets of results, which are not paired.
    pub pairs: usize,
    /// The pairs or results that do not count, as they are not valid.
    pub excluded: usize,
    /// Why; the first reasons.
    pub excluded_because: Vec<String>,
    /// The smallest relative difference that counts.
    pub min_effect: f64,
    /// The metric that decided.
    #[serde(serialize_with = "name")]
    pub metric: Metric,
    /// How sure it is; null without an interval.
    pub power: Option<Power>,
    /// Whether one side failed more, which decided instead.
    pub by_failures: bool,
    /// The metrics, by name.
    #[serde(serialize_with = "by_name")]
    pub metrics: Vec<(Metric, Difference)>,
    /// The share of the due requests that were answered with a status below 400.
    pub success: Success,
    /// The results that count on each side. With pairs, as many as there are pairs.
    pub results: Results,
    /// How long the pairs took in all; null for saved results.
    pub duration_s: Option<f64>,
    /// Whether the user stopped it early.
    pub interrupted: bool,
    /// The seed of the order of the pairs and of the bootstrap.
    pub seed: u64,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One metric of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its typical value of A.
    pub a: f64,
    /// And of B: that of A, changed by the difference.
    pub b: f64,
    /// (b − a) / a.
    pub difference: f64,
    /// Where the difference lies with 95 % confidence; null if there are too few pairs or results.
    pub interval95: Option<[f64; 2]>,
}

/// What the comparison was able to find.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Power {
    /// The relative difference that would have been found 9 times out of 10.
    pub detectable: f64,
    /// How many times the pairs or results would be needed to find `min_effect` as surely; null if it is 0.
    pub factor_for_min_effect: Option<f64>,
}

/// A share of both sides; null if nothing was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Success {
    /// Of A.
    pub a: Option<f64>,
    /// Of B.
    pub b: Option<f64>,
}

/// A number of both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Results {
    /// Of A.
    pub a: usize,
    /// Of B.
    pub b: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn name<S: Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(metric.name())
}

fn by_name<S: Serializer>(metrics: &[(Metric, Difference)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(metrics.len()))?;
    for (metric, difference) in metrics {
        map.serialize_entry(metric.name(), difference)?;
    }
    map.end()
}

impl Comparison {
    /// Compares pairs of results: A's, B's. Both of a pair must have been measured one after the other, in random
    /// order.
    pub fn of_pairs(pairs: &[(RunResult, RunResult)], rules: Rules) -> Self {
        let (a, b): (Vec<_>, Vec<_>) = pairs.iter().map(|(a, b)| (a, b)).unzip();
        let difference = |metric: Metric| {
            let values = pairs.iter().filter_map(|(a, b)| Some((metric.of(a)?, metric.of(b)?)));
            let (of_a, ratios): (Vec<f64>, Vec<f64>) = values.map(|(a, b)| (a.ln(), (b / a).ln())).unzip();
            let a = typical(&of_a)?;
            let (ratio, shift) = (LogRatio::of_pairs(&ratios, rules.seed), typical(&ratios)?);
            Some((Difference::new(a, a + shift, ratio), ratio))
        };
        Self { pairs: pairs.len(), ..Self::new(&a, &b, rules, difference) }
    }

    /// Compares two sets of results, which were measured independently of each other.
    pub fn of_sets(a: &[RunResult], b: &[RunResult], rules: Rules) -> Self {
        let logarithms = |metric: Metric, results: &[RunResult]| -> Vec<f64> {
            results.iter().filter_map(|result| metric.of(result)).map(f64::ln).collect()
        };
        let difference = |metric: Metric| {
            let (of_a, of_b) = (logarithms(metric, a), logarithms(metric, b));
            let ratio = LogRatio::of_sets(&of_a, &of_b, rules.seed);
            Some((Difference::new(typical(&of_a)?, typical(&of_b)?, ratio), ratio))
        };
        Self::new(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>(), rules, difference)
    }

    fn new(
        a: &[&RunResult],
        b: &[&RunResult],
        rules: Rules,
        difference: impl Fn(Metric) -> Option<(Difference, Option<LogRatio>)>,
    ) -> Self {
        let mut deciding = None;
        let mut metrics = Vec::new();
        for metric in Metric::ALL {
            let Some((difference, ratio)) = difference(metric) else { continue };
            metrics.push((metric, difference));
            if metric == rules.metric {
                deciding = ratio;
            }
        }
        let mut notes = Vec::new();
        let (of_a, of_b) = (Answers::of(a), Answers::of(b));
        let by_failures = of_a.fails_more_or_less(of_b, &mut notes);
        let verdict = by_failures.unwrap_or_else(|| match deciding {
            Some(ratio) if ratio.excludes_zero() && ratio.counts(rules.min_effect) => {
                if (ratio.estimate > 0.0) == rules.metric.is_higher_better() {
                    Verdict::Faster
                } else {
                    Verdict::Slower
                }
            }
            _ => Verdict::NoDifference,
        });
        if !metrics.iter().any(|(metric, _)| *metric == rules.metric) && !a.is_empty() && !b.is_empty() {
            notes.push(format!(
                "{} was not measured: it takes {} requests in each of the results",
                rules.metric.label(),
                rules.metric.requests_min()
            ));
        }
        Self {
            verdict,
            pairs: 0,
            excluded: 0,
            excluded_because: Vec::new(),
            min_effect: rules.min_effect,
            metric: rules.metric,
            by_failures: by_failures.is_some(),
            power: deciding.map(|ratio| Power::of(ratio, rules.min_effect)),
            metrics,
            success: Success { a: of_a.share(), b: of_b.share() },
            results: Results { a: a.len(), b: b.len() },
            duration_s: None,
            interrupted: false,
            seed: rules.seed,
            notes,
        }
    }

    /// The metric that decides; `None` if it was not measured.
    pub fn deciding(&self) -> Option<&Difference> {
        self.metrics.iter().find(|(metric, _)| *metric == self.metric).map(|(_, difference)| difference)
    }

    /// Whether the difference was shown to be smaller than one that counts.
    pub fn is_equivalent(&self) -> bool {
        let interval = self.deciding().and_then(|difference| difference.interval95);
        interval.is_some_and(|[low, high]| -self.min_effect < low && high < self.min_effect)
    }
}

/// The trimmed mean of any number of values but none.
fn typical(values: &[f64]) -> Option<f64> {
    match values {
        [] => None,
        [value] => Some(*value),
        _ => Some(Trimmed::of(&mut values.to_vec()).mean),
    }
}

impl LogRatio {
    fn counts(&self, min_effect: f64) -> bool {
        relative(self.estimate).abs() >= min_effect
    }
}

/// What a logarithm of a ratio is as a relative difference.
fn relative(logarithm: f64) -> f64 {
    logarithm.exp_m1()
}

/// With enough decimals for any difference that matters.
fn share(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Difference {
    fn new(log_a: f64, log_b: f64, ratio: Option<LogRatio>) -> Self {
        Self {
            a: rounded(log_a.exp()),
            b: rounded(log_b.exp()),
            difference: share(relative(log_b - log_a)),
            interval95: ratio.map(|LogRatio { estimate, reach, .. }| {
                [share(relative(estimate - reach)), share(relative(estimate + reach))]
            }),
        }
    }
}

impl Power {
    fn of(ratio: LogRatio, min_effect: f64) -> Self {
        let detectable = ratio.detectable();
        let factor = (min_effect > 0.0).then(|| (detectable / min_effect.ln_1p()).powi(2));
        Self { detectable: share(relative(detectable)), factor_for_min_effect: factor.map(rounded) }
    }
}

/// How many requests were due, and how many of them were answered well.
#[derive(Clone, Copy)]
struct Answers {
    due: f64,
    good: f64,
}

impl Answers {
    fn of(results: &[&RunResult]) -> Self {
        let (mut due, mut good) = (0.0, 0.0);
        for result in results {
            if let Some(success) = result.success {
                due += result.requests.scheduled as f64;
                good += result.requests.scheduled as f64 * success;
            }
        }
        Self { due, good }
    }

    fn share(self) -> Option<f64> {
        (self.due > 0.0).then(|| (self.good / self.due * 1e9).round() / 1e9)
    }

    /// The verdict if the shares of A (this) and B differ too much to compare figures.
    fn fails_more_or_less(self, b: Self, notes: &mut Vec<String>) -> Option<Verdict> {
        if self.due <= 0.0 || b.due <= 0.0 {
            return None;
        }
        let (share_a, share_b) = (self.good / self.due, b.good / b.due);
        let pooled = (self.good + b.good) / (self.due + b.due);
        let error = (pooled * (1.0 - pooled) * (1.0 / self.due + 1.0 / b.due)).sqrt();
        let difference = share_b - share_a;
        let (verdict, worse) = if difference > 0.0 { (Verdict::Faster, "A") } else { (Verdict::Slower, "B") };
        if difference.abs() > FAILURES_DIFFERENCE_MAX.max(FAILURES_ERRORS * error) {
            notes.push(format!(
                "{worse} failed more: {share_a:.4} of A's requests and {share_b:.4} of B's were answered with a \
                 status below 400. This decides, whatever the figures: failing can be fast"
            ));
            return Some(verdict);
        }
        if share_a.min(share_b) < 1.0 - FAILURES_DIFFERENCE_MAX {
            notes.push(format!(
                "both sides fail: {share_a:.4} of A's requests and {share_b:.4} of B's were answered with a status \
                 below 400, and the figures include those that were not"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Figure;
    use crate::result::tests::example;

    const RULES: Rules = Rules { metric: Metric::RequestsPerSecond, min_effect: 0.01, seed: 1 };

    /// A result with this many requests in a second, all answered.
    fn result(completed: u64) -> RunResult {
        let mut result = example();
        (result.requests.completed, result.requests.scheduled) = (completed, completed);
        result.success = Some(1.0);
        result
    }

    fn pairs(count: u64, b: impl Fn(u64) -> u64) -> Vec<(RunResult, RunResult)> {
        // Both drift together, and by far more than they differ.
        (0..count).map(|pair| 1000 + 50 * pair + pair % 3).map(|a| (result(a), result(b(a)))).collect()
    }

    #[test]
    fn pairs_that_drift_together_show_their_difference() {
        let compared = Comparison::of_pairs(&pairs(20, |a| a * 95 / 100), RULES);
        assert_eq!((compared.verdict, compared.pairs, compared.excluded), (Verdict::Slower, 20, 0));
        let rate = compared.deciding().expect("measured");
        assert!((rate.difference + 0.05).abs() < 0.002, "{rate:?}");
        assert!((rate.b / rate.a - 1.0 - rate.difference).abs() < 1e-4, "{rate:?}");
        let [low, high] = rate.interval95.expect("there are enough pairs");
        assert!(low < -0.049 && -0.051 < high && high < 0.0, "{rate:?}");
        let power = compared.power.expect("there are enough pairs");
        assert!(power.detectable < 0.01 && power.factor_for_min_effect.is_some_and(|factor| factor < 1.0));
        assert_eq!(Comparison::of_pairs(&pairs(20, |a| a * 95 / 100), RULES), compared, "the seed decides");
        assert_eq!(Comparison::of_pairs(&pairs(20, |a| a * 105 / 100), RULES).verdict, Verdict::Faster);
    }

    #[test]
    fn what_is_less_than_the_least_effect_does_not_count() {
        let compared = Comparison::of_pairs(&pairs(20, |a| a - 5), RULES);
        let [_, high] = compared.deciding().and_then(|rate| rate.interval95).expect("there are enough pairs");
        assert!(high < 0.0, "it was shown");
        assert_eq!(compared.verdict, Verdict::NoDifference);
        assert!(compared.is_equivalent());
        let sharper = Rules { min_effect: 0.0, ..RULES };
        assert_eq!(Comparison::of_pairs(&pairs(20, |a| a - 5), sharper).verdict, Verdict::Slower);
    }

    #[test]
    fn more_time_is_worse_and_more_requests_are_better() {
        let p99 = Rules { metric: Metric::Response(Figure::P99), ..RULES };
        let slowed = |(a, mut b): (RunResult, RunResult)| {
            b.latency_us.response.p99 = a.latency_us.response.p99.map(|us| us * 1.2);
            (a, b)
        };
        let pairs: Vec<_> = pairs(10, |a| a).into_iter().map(slowed).collect();
        assert_eq!(Comparison::of_pairs(&pairs, p99).verdict, Verdict::Slower);
        assert_eq!(Comparison::of_pairs(&pairs, RULES).verdict, Verdict::NoDifference);
    }

    #[test]
    fn few_pairs_and_single_results_have_differences_without_an_interval() {
        let few = Comparison::of_pairs(&pairs(5, |a| a / 2), RULES);
        assert_eq!((few.verdict, few.power), (Verdict::NoDifference, None));
        assert!(few.deciding().is_some_and(|rate| rate.interval95.is_none() && rate.difference < -0.49));
        let single = Comparison::of_sets(&[result(1000)], &[result(500)], RULES);
        assert_eq!((single.verdict, single.pairs), (Verdict::NoDifference, 0));
        assert!(single.deciding().is_some_and(|rate| rate.interval95.is_none() && rate.difference < -0.49));
        assert!(!single.is_equivalent());
        let nothing = Comparison::of_pairs(&[], RULES);
        assert!(nothing.metrics.is_empty() && nothing.success == Success::default());
    }

    #[test]
    fn sets_of_repeats_have_an_interval() {
        let set = |rates: [u64; 4]| rates.map(result);
        let base = set([1000, 1010, 990, 1005]);
        let slower = Comparison::of_sets(&base, &set([900, 905, 895, 910]), RULES);
        assert_eq!((slower.verdict, slower.results), (Verdict::Slower, Results { a: 4, b: 4 }));
        let same = Comparison::of_sets(&base, &set([1002, 995, 1008, 991]), RULES);
        assert_eq!(same.verdict, Verdict::NoDifference);
    }

    #[test]
    fn who_fails_more_is_slower_however_fast() {
        let mut failing = pairs(10, |a| a * 2);
        for (_, b) in &mut failing {
            b.success = Some(0.5);
        }
        let compared = Comparison::of_pairs(&failing, RULES);
        assert_eq!((compared.verdict, compared.by_failures), (Verdict::Slower, true));
        assert!(compared.notes[0].starts_with("B failed more: 1.0000 of A's"), "{:?}", compared.notes);
        assert_eq!(compared.success, Success { a: Some(1.0), b: Some(0.5) });
        for (a, _) in &mut failing {
            a.success = Some(0.5);
        }
        let both = Comparison::of_pairs(&failing, RULES);
        assert_eq!(both.verdict, Verdict::Faster);
        assert!(both.notes[0].starts_with("both sides fail"), "{:?}", both.notes);
        // One failure in a handful of requests is chance.
        let one = |success| {
            let mut result = result(20);
            result.success = Some(success);
            result
        };
        let chance = Comparison::of_sets(&[one(1.0)], &[one(0.95)], RULES);
        assert_eq!(chance.verdict, Verdict::NoDifference);
    }

    #[test]
    fn the_json_has_the_names_of_the_contract() {
        let compared = Comparison::of_pairs(&pairs(8, |a| a * 95 / 100), RULES);
        let json = serde_json::to_value(&compared).expect("serialisable");
        assert_eq!(json["verdict"], "slower");
        assert_eq!((&json["pairs"], &json["min_effect"]), (&8.into(), &0.01.into()));
        let rate = &json["metrics"]["requests_per_second"];
        assert!(rate["a"].as_f64() > rate["b"].as_f64() && rate["difference"].as_f64() < Some(0.0), "{json}");
        assert_eq!(rate["interval95"].as_array().map(Vec::len), Some(2), "{json}");
        assert!(json["metrics"]["p99"]["interval95"].is_array(), "{json}");
        assert_eq!(json["metric"], "requests_per_second");
    }

    #[test]
    fn a_metric_without_enough_requests_is_said_to_be_missing() {
        let rules = Rules { metric: Metric::Response(Figure::P9999), ..RULES };
        let compared = Comparison::of_pairs(&pairs(8, |a| a / 2), rules);
        assert_eq!(compared.verdict, Verdict::NoDifference);
        assert_eq!(
            compared.notes,
            ["p99.99 was not measured: it takes 10000 requests in each of the results"]
        );
    }
}
