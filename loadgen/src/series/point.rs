//! The points of a series, as in the JSON of a result.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::estimate::Quantile;
use crate::hdr::Encoder;
use crate::metrics::{TIME_MAX_NS, Times, histogram};
use crate::units::rounded;

/// Significant digits of the histogram in a point: 16 buckets per doubling, enough for a heat map.
const COMPACT_DIGITS: u8 = 1;

/// The quantiles of a point.
const P50: Quantile = Quantile::new(1, 2);
const P90: Quantile = Quantile::new(9, 10);
const P99: Quantile = Quantile::new(99, 100);

/// The course of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// How long each point is; the last may be shorter.
    pub interval_s: f64,
    /// The points, in order.
    pub points: Vec<Point>,
}

/// What happened in one second of a run. A request belongs to the second in which it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it began, in seconds since the start of the measured part.
    pub at_s: f64,
    /// How long it was.
    pub duration_s: f64,
    /// Requests with a complete answer.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that the end of the run cut off; only in the last point.
    pub censored: u64,
    /// Requests that ended, and of which the kernel had taken at least a byte.
    pub sent: u64,
    /// Completed requests per second, without those that were answered after the end (`--drain`).
    pub requests_per_second: f64,
    /// Completed requests by the class of their status.
    pub status: ByStatus,
    /// Failed requests by kind; kinds without any are left out.
    pub errors: BTreeMap<String, u64>,
    /// Bytes of answers that arrived.
    pub bytes_received: u64,
    /// Bytes of requests that the kernel took.
    pub bytes_sent: u64,
    /// Open connections at its end.
    pub connections: u64,
    /// Connections opened in it.
    pub connections_opened: u64,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// Requests that were due at its end and had no connection yet; only in an open loop.
    pub waiting: u64,
    /// Response times of the requests that ended in it.
    pub response_us: ResponseUs,
    /// The response times of completed requests in nanoseconds, as a histogram of one significant digit in
    /// HdrHistogram's format V2; empty without any.
    pub histogram: String,
    /// Of requests that timed out or were cut off: how long they had waited, in the same format.
    pub histogram_censored: String,
}

/// Completed requests by the class of their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByStatus {
    /// 1xx.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// 2xx.
    #[serde(rename = "2xx")]
    pub successful: u64,
    /// 3xx.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// 4xx.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// 5xx, and codes from 600.
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Response times of one second, in microseconds; null without any. Requests that timed out or were cut off count with
/// the time that they had waited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseUs {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// The figures that are only lower bounds, because requests that did not complete are among them or below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lower_bounds: Vec<String>,
}

impl From<[u64; 5]> for ByStatus {
    /// From counts in the order of [`StatusClass::ALL`](crate::metrics::StatusClass::ALL).
    fn from(counts: [u64; 5]) -> Self {
        let [informational, successful, redirection, client_error, server_error] = counts;
        Self { informational, successful, redirection, client_error, server_error }
    }
}

impl ByStatus {
    /// The counts with the names of their classes.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("1xx", self.informational),
            ("2xx", self.successful),
            ("3xx", self.redirection),
            ("4xx", self.client_error),
            ("5xx", self.server_error),
        ]
    }
}

impl Point {
    /// The points of several generators, joined: counts are added, and the figures are those of `response`.
    pub(crate) fn sum(points: &[&Self], at_s: f64, response: &Times, encoder: &mut Encoder) -> Self {
        let sum = |of: fn(&Self) -> u64| points.iter().map(|point| of(point)).sum();
        let mut errors = BTreeMap::new();
        for (kind, count) in points.iter().flat_map(|point| &point.errors) {
            *errors.entry(kind.clone()).or_default() += count;
        }
        let mut text = |times: &Histogram<u64>| {
            let mut few = compact();
            few.add(times).expect("it has the same range");
            encoder.text(&few).unwrap_or_default()
        };
        let (completed, censored) = (text(&response.exact), text(&response.censored));
        Self {
            at_s,
            duration_s: points.iter().map(|point| point.duration_s).fold(0.0, f64::max),
            completed: sum(|point| point.completed),
            failed: sum(|point| point.failed),
            censored: sum(|point| point.censored),
            sent: sum(|point| point.sent),
            requests_per_second: rounded(points.iter().map(|point| point.requests_per_second).sum()),
            status: ByStatus {
                informational: sum(|point| point.status.informational),
                successful: sum(|point| point.status.successful),
                redirection: sum(|point| point.status.redirection),
                client_error: sum(|point| point.status.client_error),
                server_error: sum(|point| point.status.server_error),
            },
            errors,
            bytes_received: sum(|point| point.bytes_received),
            bytes_sent: sum(|point| point.bytes_sent),
            connections: sum(|point| point.connections),
            connections_opened: sum(|point| point.connections_opened),
            in_flight: sum(|point| point.in_flight),
            waiting: sum(|point| point.waiting),
            response_us: ResponseUs::of(response, &mut histogram()),
            histogram: completed,
            histogram_censored: censored,
        }
    }
}

impl ResponseUs {
    /// The figures of `times`, without allocating if none are cut short. `all` is to be empty, and is empty afterwards.
    pub(crate) fn of(times: &Times, all: &mut Histogram<u64>) -> Self {
        let Times { exact, censored } = times;
        let merged = if censored.is_empty() {
            exact
        } else {
            for part in [exact, censored] {
                all.add(part).expect("the bounds are the same");
            }
            &*all
        };
        let open_from_ns = if censored.is_empty() { u64::MAX } else { censored.min() };
        let mut figures = Self { count: merged.len(), ..Self::default() };
        if merged.is_empty() {
            return figures;
        }
        let mut lower_bounds = Vec::new();
        let mut us = |name: &str, ns: u64| {
            if ns >= open_from_ns {
                lower_bounds.push(name.to_owned());
            }
            Some(rounded(ns as f64 / 1e3))
        };
        let [p50, p90, p99] = quantiles_ns(merged, [P50, P90, P99]);
        figures.p50 = us("p50", p50);
        figures.p90 = us("p90", p90);
        figures.p99 = us("p99", p99);
        figures.max = us("max", merged.max());
        figures.lower_bounds = lower_bounds;
        if !all.is_empty() {
            all.reset();
        }
        figures
    }
}

/// The quantiles of a histogram that is not empty, as [`Curve`](crate::estimate::Curve) reads them. `quantiles` are in
/// rising order.
fn quantiles_ns(times: &Histogram<u64>, quantiles: [Quantile; 3]) -> [u64; 3] {
    let (mut found, mut next, mut left) = ([times.max(); 3], 0, times.len());
    for place in times.iter_recorded() {
        left -= place.count_at_value();
        while next < 3 && quantiles[next].is_reached(left, times.len()) {
            found[next] = place.value_iterated_to();
            next += 1;
        }
    }
    found
}

/// An empty histogram as those in points.
pub(crate) fn compact() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_MAX_NS, COMPACT_DIGITS).expect("the bounds are valid")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::estimate::{Censoring, Curve};
    use crate::testing::few_cases;

    proptest! {
        #![proptest_config(few_cases(32))]

        #[test]
        fn without_timeouts_the_figures_are_those_of_the_whole_result(
            values in proptest::collection::vec(1_u64..10_000_000_000, 1..300),
        ) {
            let mut times = Times::new();
            for value in &values {
                times.exact.saturating_record(*value);
            }
            let figures = ResponseUs::of(&times, &mut histogram());
            let curve = times.curve(Censoring::Independent);
            let us = |ns: f64| Some(rounded(ns / 1e3));
            prop_assert_eq!(figures.count, values.len() as u64);
            prop_assert_eq!(figures.p50, us(curve.quantile(P50).ns));
            prop_assert_eq!(figures.p90, us(curve.quantile(P90).ns));
            prop_assert_eq!(figures.p99, us(curve.quantile(P99).ns));
            prop_assert_eq!(figures.max, us(Curve::exact(&times.exact).max().ns));
            prop_assert!(figures.lower_bounds.is_empty());
        }
    }

    #[test]
    fn what_timed_out_makes_lower_bounds_from_there_on() {
        let mut times = Times::new();
        times.exact.saturating_record_n(1_000, 95);
        times.exact.saturating_record(9_000_000);
        times.censored.saturating_record_n(5_000_000, 4);
        let mut scratch = histogram();
        let figures = ResponseUs::of(&times, &mut scratch);
        assert!(scratch.is_empty());
        assert_eq!((figures.count, figures.p50), (100, Some(1.0)));
        assert_eq!(figures.lower_bounds, ["p99", "max"]);
        times.exact.reset();
        times.censored.reset();
        assert_eq!(ResponseUs::of(&times, &mut scratch), ResponseUs::default());
    }
}
