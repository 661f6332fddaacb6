//! The figures of a run that are compared.

use std::fmt;
use std::str::FromStr;

use crate::result::{Figure, RunResult};

/// A figure that is compared. Times are those of `response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Completed requests per second.
    RequestsPerSecond,
    /// The mean, a percentile, or the longest.
    Response(Figure),
}

/// What a percentile needs at least, so that it is not just the longest time.
const REQUESTS_MIN: [(Figure, u64); 5] = [
    (Figure::P90, 10),
    (Figure::P95, 20),
    (Figure::P99, 100),
    (Figure::P999, 1_000),
    (Figure::P9999, 10_000),
];

impl Metric {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 9] = [
        Self::RequestsPerSecond,
        Self::Response(Figure::Mean),
        Self::Response(Figure::P50),
        Self::Response(Figure::P75),
        Self::Response(Figure::P90),
        Self::Response(Figure::P95),
        Self::Response(Figure::P99),
        Self::Response(Figure::P999),
        Self::Response(Figure::P9999),
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests_per_second",
            Self::Response(Figure::Min) => "min",
            Self::Response(Figure::Mean) => "mean",
            Self::Response(Figure::Stdev) => "stdev",
            Self::Response(Figure::P50) => "p50",
            Self::Response(Figure::P75) => "p75",
            Self::Response(Figure::P90) => "p90",
            Self::Response(Figure::P95) => "p95",
            Self::Response(Figure::P99) => "p99",
            Self::Response(Figure::P999) => "p99_9",
            Self::Response(Figure::P9999) => "p99_99",
            Self::Response(Figure::Max) => "max",
        }
    }

    /// Its name for people.
    pub fn label(self) -> String {
        match self {
            Self::RequestsPerSecond => "requests/s".to_owned(),
            Self::Response(_) => self.name().replace('_', "."),
        }
    }

    /// Whether more is better.
    pub fn is_higher_better(self) -> bool {
        self == Self::RequestsPerSecond
    }

    /// How many requests a run must have for this figure to mean anything.
    pub fn requests_min(self) -> u64 {
        let known = REQUESTS_MIN.iter().find(|(figure, _)| self == Self::Response(*figure));
        known.map_or(1, |(_, count)| *count)
    }

    /// Its value in a result; `None` if the result has too few requests for it.
    pub(super) fn of(self, result: &RunResult) -> Option<f64> {
        let Self::Response(figure) = self else {
            // A server that answers nothing is slow beyond measure, but a ratio needs a number.
            let completed = (result.requests.completed as f64).max(0.5);
            return (result.duration_s > 0.0).then(|| completed / result.duration_s);
        };
        let response = &result.latency_us.response;
        let value = (response.count >= self.requests_min()).then(|| response.figure(figure)).flatten();
        // Results are rounded to the nanosecond.
        value.map(|us| us.max(0.001))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    /// Takes the names of JSON, and those that thresholds have (`rps`, `p99.9`).
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.replace('.', "_");
        let name = if name == "rps" { "requests_per_second" } else { &name };
        Self::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| {
            let names: Vec<String> = Self::ALL[1..].iter().map(|metric| metric.label()).collect();
            format!("`{text}` cannot be compared; there are requests_per_second, {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_from_each_of_its_names() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse(), Ok(metric));
        }
        assert_eq!("p99.9".parse(), Ok(Metric::Response(Figure::P999)));
        assert_eq!("rps".parse(), Ok(Metric::RequestsPerSecond));
        let error = "p98".parse::<Metric>().expect_err("it is in no result");
        assert!(error.contains("`p98` cannot be compared") && error.contains("p99.9"), "{error}");
    }

    #[test]
    fn a_percentile_of_too_few_requests_is_none() {
        let mut result = crate::result::tests::example();
        assert!(Metric::Response(Figure::P999).of(&result).is_some());
        assert_eq!(Metric::Response(Figure::P9999).of(&result), None);
        assert_eq!(Metric::RequestsPerSecond.of(&result), Some(1000.0));
        result.requests.completed = 0;
        assert_eq!(Metric::RequestsPerSecond.of(&result), Some(0.5));
    }
}
