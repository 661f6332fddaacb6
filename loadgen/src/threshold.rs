//! Thresholds such as `p99<10ms`: parsing them and checking a result against them.
//!
//! Latencies are those of `response`. Whether the figures can be trusted is for the verdict to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::estimate::{Curve, PERCENT_DECIMALS_MAX, Quantile, Reading};
use crate::units::{parse_rate, parse_time_ns, rounded};

/// A condition that a result must meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Threshold {
    expression: String,
    /// The name of the requests that it is for; empty for all.
    step: String,
    metric: Metric,
    comparison: Comparison,
    /// Nanoseconds, percent, a number of requests, or requests per second.
    bound: f64,
}

/// What a threshold limits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// A quantile of the response time.
    Quantile(Quantile),
    Mean,
    Min,
    Max,
    /// Failed requests as a share of all that were due.
    ErrorShare,
    /// Failed requests.
    Errors,
    /// Successful requests as a share of all that were due, except the excused.
    SuccessShare,
    RequestsPerSecond,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What thresholds are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Response times.
    pub response: &'a Curve,
    /// Requests that were due.
    pub scheduled: u64,
    /// Requests with a complete answer.
    pub completed: u64,
    /// Failed requests.
    pub failed: u64,
    /// Requests with a complete answer and a status below 400.
    pub succeeded: u64,
    /// Requests that were cut off and say nothing against the server ([`excused`](crate::metrics::Totals::excused)).
    pub excused: u64,
    /// Completed requests per second.
    pub requests_per_second: f64,
}

/// How a result did against one threshold, as in its JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The threshold as it was typed.
    pub expression: String,
    /// The measured value; null if nothing was measured, or for a latency if nothing was completed.
    pub observed: Option<f64>,
    /// `us`, `%`, `requests` or `req/s`.
    pub unit: String,
    /// Whether `observed` is a lower bound: the true figure is at least that.
    #[serde(default)]
    pub lower_bound: bool,
    /// Whether it holds. A threshold on latency fails if nothing was completed, any other if nothing was due, and one
    /// on a figure with only a lower bound unless the bound proves it.
    pub met: bool,
}

/// Why a threshold could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ThresholdError(String);

impl Threshold {
    /// Checks `observed` against this threshold.
    pub fn evaluate(&self, observed: Observed<'_>) -> Outcome {
        let latency = observed.response;
        let anything = match self.metric {
            Metric::Quantile(_) | Metric::Mean | Metric::Min | Metric::Max => observed.completed > 0,
            Metric::ErrorShare | Metric::Errors | Metric::RequestsPerSecond => observed.scheduled > 0,
            Metric::SuccessShare => observed.success().is_some(),
        };
        let exactly = |value| Reading { ns: value, is_lower_bound: false };
        let Reading { ns: value, is_lower_bound } = match self.metric {
            _ if !anything => Reading::default(),
            Metric::Quantile(quantile) => latency.quantile(quantile),
            Metric::Mean => latency.mean(),
            Metric::Min => latency.min(),
            Metric::Max => latency.max(),
            Metric::ErrorShare => exactly(percent(observed.failed, observed.scheduled)),
            Metric::SuccessShare => exactly(observed.success().unwrap_or(0.0) * 100.0),
            Metric::Errors => exactly(observed.failed as f64),
            Metric::RequestsPerSecond => exactly(observed.requests_per_second),
        };
        // 7 of 1000 are 0.7 %, despite rounding in the last bits.
        let equal = (value - self.bound).abs() <= 1e-12 * self.bound;
        let holds = match self.comparison {
            // It may be more.
            Comparison::Less | Comparison::LessOrEqual if is_lower_bound => false,
            Comparison::Less => value < self.bound && !equal,
            Comparison::LessOrEqual => value <= self.bound || equal,
            Comparison::Greater => value > self.bound && !equal,
            Comparison::GreaterOrEqual => value >= self.bound || equal,
        };
        let (shown, unit) = match self.metric {
            Metric::ErrorShare | Metric::SuccessShare => (value, "%"),
            Metric::Errors => (value, "requests"),
            Metric::RequestsPerSecond => (value, "req/s"),
            _ => (value / 1e3, "us"),
        };
        Outcome {
            expression: self.expression.clone(),
            observed: anything.then(|| rounded(shown)),
            unit: unit.to_owned(),
            lower_bound: is_lower_bound,
            met: anything && holds,
        }
    }

    /// The name of the requests that it is for; `None` for all.
    pub fn step(&self) -> Option<&str> {
        (!self.step.is_empty()).then_some(&self.step)
    }

    /// Whether it limits a response time.
    pub fn is_on_latency(&self) -> bool {
        matches!(self.metric, Metric::Quantile(_) | Metric::Mean | Metric::Min | Metric::Max)
    }

    /// Whether it limits the share of successes.
    pub fn is_on_success(&self) -> bool {
        self.metric == Metric::SuccessShare
    }
}

impl Observed<'_> {
    /// The share of the due requests that were answered with a status below 400, from 0 to 1. Leaves out the excused;
    /// `None` if there are no others.
    pub fn success(&self) -> Option<f64> {
        let judged = self.scheduled.saturating_sub(self.excused);
        (judged > 0).then(|| self.succeeded as f64 / judged as f64)
    }
}

impl Outcome {
    /// Whether it fails only because a lower bound cannot prove it.
    pub fn is_undecided(&self) -> bool {
        let is_open = |threshold: Threshold| match threshold.comparison {
            // A figure above the limit is not below it, however large it is.
            Comparison::Less | Comparison::LessOrEqual => {
                self.observed.is_some_and(|observed| observed * 1e3 < threshold.bound)
            }
            Comparison::Greater | Comparison::GreaterOrEqual => true,
        };
        self.lower_bound && !self.met && self.expression.parse().is_ok_and(is_open)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

impl From<Threshold> for String {
    fn from(threshold: Threshold) -> Self {
        threshold.expression
    }
}

impl TryFrom<String> for Threshold {
    type Error = ThresholdError;

    fn try_from(text: String) -> Result<Self, ThresholdError> {
        text.parse()
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let Some(at) = text.find(['<', '>', '=', '!', '≤', '≥']) else {
            return Err(ThresholdError(format!(
                "`{text}` has no comparison; write for example 'p99<10ms' or 'success>99.9%', with the quotes, as a \
                 shell takes < and > for redirections"
            )));
        };
        let (name, rest) = text.split_at(at);
        let sign_end =
            rest.find(|c: char| !matches!(c, '<' | '>' | '=' | '!' | '≤' | '≥')).unwrap_or(rest.len());
        let (sign, bound) = rest.split_at(sign_end);
        let comparison = match sign {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => {
                return Err(ThresholdError(format!(
                    "`{sign}` in `{text}` is not a comparison; there are <, <=, > and >="
                )));
            }
        };
        let (name, bound) = (name.trim(), bound.trim());
        // The name of a request may have colons, a metric has none.
        let (step, name) = match name.rsplit_once(':') {
            Some((step, name)) => (step.trim(), name.trim()),
            None => ("", name),
        };
        let metric = parse_metric(name, text)?;
        let (metric, bound) = parse_bound(metric, bound)
            .map_err(|problem| ThresholdError(format!("in `{text}`: {problem}")))?;
        Ok(Self { expression: text.to_owned(), step: step.to_owned(), metric, comparison, bound })
    }
}

fn parse_metric(name: &str, text: &str) -> Result<Metric, ThresholdError> {
    Ok(match name {
        "mean" => Metric::Mean,
        "min" => Metric::Min,
        "max" => Metric::Max,
        "errors" => Metric::Errors,
        "success" => Metric::SuccessShare,
        "rps" | "requests_per_second" => Metric::RequestsPerSecond,
        _ => {
            let percentile = name
                .strip_prefix('p')
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
                .and_then(|digits| Some((Quantile::of_percent(digits), digits.parse::<f64>().ok()?)));
            match percentile {
                Some((Some(quantile), _)) => Metric::Quantile(quantile),
                Some((None, percent)) if 0.0 < percent && percent < 100.0 => {
                    return Err(ThresholdError(format!(
                        "`{name}` in `{text}` has more than {PERCENT_DECIMALS_MAX} decimals"
                    )));
                }
                Some(_) => {
                    return Err(ThresholdError(format!(
                        "`{name}` in `{text}` is not a percentile: they lie between p0 and p100; \
                         the ends are `min` and `max`"
                    )));
                }
                None => {
                    return Err(ThresholdError(format!(
                        "`{name}` in `{text}` is not a metric; there are pN (p50, p99.9), mean, min, max, \
                         errors, success and rps"
                    )));
                }
            }
        }
    })
}

fn parse_bound(metric: Metric, bound: &str) -> Result<(Metric, f64), String> {
    match metric {
        Metric::RequestsPerSecond => {
            parse_rate(bound).map(|rate| (metric, rate)).map_err(|error| error.to_string())
        }
        Metric::SuccessShare => parse_percent(bound).map(|percent| (metric, percent)),
        Metric::Errors | Metric::ErrorShare => match bound.strip_suffix('%') {
            Some(_) => parse_percent(bound).map(|percent| (Metric::ErrorShare, percent)),
            None => match crate::units::parse_count(bound) {
                Ok(count) => Ok((Metric::Errors, count as f64)),
                Err(error) => {
                    Err(format!("{error}; errors are a number of requests, or a share such as 0.1%"))
                }
            },
        },
        _ => {
            if bound.parse::<f64>().is_ok_and(|number| number != 0.0) {
                return Err(format!("`{bound}` has no unit; write for example {bound}ms"));
            }
            parse_time_ns(bound).map(|ns| (metric, ns as f64)).map_err(|error| error.to_string())
        }
    }
}

fn parse_percent(bound: &str) -> Result<f64, String> {
    let percent = bound.strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| format!("`{bound}` is not a share from 0% to 100%"))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::estimate::Censoring;

    fn histogram(values_ns: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 40, 3).expect("valid bounds");
        values_ns.into_iter().for_each(|value| histogram.saturating_record(value));
        histogram
    }

    fn curve(values_ns: impl IntoIterator<Item = u64>) -> Curve {
        Curve::exact(&histogram(values_ns))
    }

    fn evaluate(expression: &str, response: &Curve) -> Outcome {
        let observed = Observed {
            response,
            scheduled: 1000,
            completed: 995,
            failed: 2,
            succeeded: 985,
            excused: 5,
            requests_per_second: 1500.0,
        };
        expression.parse::<Threshold>().expect(expression).evaluate(observed)
    }

    #[test]
    fn each_metric_is_held_against_its_own_figure() {
        // 1 ms to 1,000 ms.
        let response = curve((1..=1000).map(|ms| ms * 1_000_000));
        for (expression, met, unit) in [
            ("p50<501ms", true, "us"),
            ("p50<499ms", false, "us"),
            ("p99.9 <= 1.001s", true, "us"),
            ("p99.9<=998ms", false, "us"),
            ("max>=0.999s", true, "us"),
            ("max<999ms", false, "us"),
            ("min<0.99ms", false, "us"),
            ("min<1.1ms", true, "us"),
            ("mean>500ms", true, "us"),
            ("mean>502ms", false, "us"),
            ("errors<0.3%", true, "%"),
            ("errors<0.2%", false, "%"),
            ("errors<=0.2%", true, "%"),
            ("errors<3", true, "requests"),
            ("errors<2", false, "requests"),
            // 985 of 995.
            ("success>98.9%", true, "%"),
            ("success>99%", false, "%"),
            ("success<98.995%", true, "%"),
            ("rps>1000", true, "req/s"),
            ("requests_per_second>=2k", false, "req/s"),
        ] {
            let outcome = evaluate(expression, &response);
            assert_eq!((outcome.met, &*outcome.unit, &*outcome.expression), (met, unit, expression));
        }
        let observed = |expression| evaluate(expression, &response).observed.expect("it was measured");
        assert!((observed("errors<1%") - 0.2).abs() < 1e-9);
        assert!((observed("p50<1s") / 500_000.0 - 1.0).abs() < 0.002);
    }

    #[test]
    fn a_share_is_what_it_is_in_decimals() {
        let response = curve([1]);
        for scheduled in [100, 500, 1000, 2000, 10_000] {
            // Tenths of a percent.
            for tenths in 1..100 {
                if tenths * scheduled % 1000 != 0 {
                    continue;
                }
                let failed = tenths * scheduled / 1000;
                let observed = Observed {
                    response: &response,
                    scheduled,
                    completed: scheduled - failed,
                    failed,
                    succeeded: scheduled - failed,
                    excused: 0,
                    requests_per_second: 0.0,
                };
                let bound = format!("{}.{}", tenths / 10, tenths % 10);
                for (sign, met) in [("<", false), ("<=", true), (">", false), (">=", true)] {
                    let expression = format!("errors{sign}{bound}%");
                    let outcome = expression.parse::<Threshold>().expect("valid").evaluate(observed);
                    assert_eq!(outcome.met, met, "{failed} of {scheduled}: {expression}");
                }
            }
        }
    }

    #[test]
    fn nothing_seen_meets_no_threshold() {
        let nothing = Observed {
            response: &curve([]),
            scheduled: 0,
            completed: 0,
            failed: 0,
            succeeded: 0,
            excused: 0,
            requests_per_second: 0.0,
        };
        for expression in ["errors<1%", "success>=0%", "errors<1", "rps>0", "rps<1", "p99<10ms"] {
            let outcome = expression.parse::<Threshold>().expect("valid").evaluate(nothing);
            assert_eq!((outcome.met, outcome.observed), (false, None), "{expression}");
        }
        // 4,011 were closed instead of answered, and four cut off.
        let cut_off = Curve::new(&histogram([]), &histogram([9_000; 4]), Censoring::Independent);
        let unanswered = Observed { response: &cut_off, scheduled: 4015, failed: 4011, ..nothing };
        for expression in ["p99<10ms", "p50>0ns", "min<1s", "mean<1s", "max<1s", "max>=0ns"] {
            let outcome = expression.parse::<Threshold>().expect("valid").evaluate(unanswered);
            assert!(!outcome.met && !outcome.lower_bound && outcome.observed.is_none(), "{outcome:?}");
        }
    }

    #[test]
    fn a_lower_bound_meets_only_what_it_proves() {
        // Half were answered in 10 ms; the others got no answer within 2 s.
        let ms = |value: u64| value * 1_000_000;
        let half = Curve::new(&histogram([ms(10); 500]), &histogram([ms(2000); 500]), Censoring::Independent);
        for (expression, met, lower_bound) in [
            ("p50<11ms", true, false),
            ("p50>1s", false, false),
            ("p99>1s", true, true),
            ("p99>=1.9s", true, true),
            ("p99>3s", false, true),
            ("p99<3s", false, true),
            ("p99<=1h", false, true),
            ("p99<1s", false, true),
            ("max<3s", false, true),
            ("mean>1s", true, true),
            ("mean<1h", false, true),
            ("min<11ms", true, false),
        ] {
            let outcome = evaluate(expression, &half);
            assert_eq!((outcome.met, outcome.lower_bound), (met, lower_bound), "{outcome:?}");
            // A wait of 2 s is not below 1 s.
            let is_undecided = lower_bound && !met && expression != "p99<1s";
            assert_eq!(outcome.is_undecided(), is_undecided, "{outcome:?}");
        }
        let observed = evaluate("p99<1s", &half).observed.expect("it was measured");
        assert!((observed / 2e6 - 1.0).abs() < 0.001);
    }

    /// Of 1,000, 3,000 or 10,000 requests, this many tenths of a percent take less than the limit, and the others
    /// more.
    #[test]
    fn a_percentile_is_that_of_its_rank() {
        for times in [1, 3, 10] {
            for tenths in 1..1000_u64 {
                let mut response = Histogram::new_with_bounds(1, 100_000, 2).expect("valid bounds");
                response.saturating_record_n(1_000, tenths * times);
                response.saturating_record_n(50_000, (1000 - tenths) * times);
                let response = Curve::exact(&response);
                let held = |tenths: u64, sign: char| {
                    let expression = format!("p{}.{}{sign}10us", tenths / 10, tenths % 10);
                    assert!(evaluate(&expression, &response).met, "{expression} of {}", 1000 * times);
                };
                held(tenths, '<');
                if tenths < 999 {
                    held(tenths + 1, '>');
                }
            }
        }
    }

    #[test]
    fn an_error_names_the_culprit_inside_the_expression() {
        for (text, says) in [
            ("p99", "no comparison"),
            ("", "no comparison"),
            ("p99=10ms", "`=` in `p99=10ms` is not a comparison"),
            ("p99=<10ms", "`=<` in"),
            ("p99≤10ms", "`≤` in"),
            ("q99<10ms", "`q99` in `q99<10ms` is not a metric"),
            ("<10ms", "`` in `<10ms` is not a metric"),
            ("p<10ms", "`p` in `p<10ms` is not a metric"),
            ("p100<10ms", "`max`"),
            ("p0<10ms", "not a percentile"),
            ("p99.1234567890123456<10ms", "more than 15 decimals"),
            ("p99<10", "`10` has no unit; write for example 10ms"),
            ("p99<10mx", "`mx` in `10mx` is not a unit"),
            ("p99<", "the value is empty"),
            ("errors<x", "`x` is not a count"),
            ("errors<0.1", "such as 0.1%"),
            ("errors<101%", "not a share"),
            ("success>10", "`10` is not a share"),
            ("rps>fast", "`fast` is not a rate"),
        ] {
            let error = text.parse::<Threshold>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
