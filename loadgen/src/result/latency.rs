//! Times as in the result: a few figures per distribution, in microseconds, rounded to the nanosecond.

use serde::{Deserialize, Serialize};

use super::numbers::us;
use crate::estimate::{Curve, Quantile, Reading};
use crate::metrics::Totals;

/// Times of whole requests, in microseconds. In `response` and `service`, requests that timed out (in `response` also
/// while they waited for their connection) or were cut off count as having taken longer than they waited
/// ([`estimate`](crate::estimate)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatenciesUs {
    /// From the scheduled send.
    pub response: SummaryUs,
    /// From the actual send.
    pub service: SummaryUs,
    /// From the scheduled send until a connection was free: the server's part. Covers the same requests as
    /// `response`.
    pub queue_wait: SummaryUs,
    /// From then until the actual send: the generator's own part. Covers all requests that were sent.
    pub schedule_lag: SummaryUs,
}

/// Times of parts of the work, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhasesUs {
    /// Resolving names.
    pub dns: SummaryUs,
    /// Making connections, before the start as well. Attempts that timed out or that the end cut off count as having
    /// taken longer than that.
    pub connect: SummaryUs,
    /// TLS handshakes, with the same connections as `connect`, if the URL is https://.
    pub tls: SummaryUs,
    /// From the send to the first byte.
    pub first_byte: SummaryUs,
    /// From there to the last.
    pub transfer: SummaryUs,
}

/// A distribution of times in microseconds. Its figures are null when nothing is known of them: when `count` is 0, and
/// those of whole requests also when no request was completed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SummaryUs {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min: Option<f64>,
    /// The arithmetic mean.
    pub mean: Option<f64>,
    /// The standard deviation.
    pub stdev: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// 75 %.
    pub p75: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 95 %.
    pub p95: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p99_9: Option<f64>,
    /// 99.99 %.
    pub p99_99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// The figures that are only lower bounds.
    #[serde(default)]
    pub lower_bounds: Vec<Figure>,
    /// How many of `count` were cut short and would have taken longer.
    #[serde(default)]
    pub censored: u64,
}

/// A figure of a [`SummaryUs`], by its name in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The shortest.
    Min,
    /// The arithmetic mean.
    Mean,
    /// The standard deviation.
    Stdev,
    /// The median.
    P50,
    /// 75 %.
    P75,
    /// 90 %.
    P90,
    /// 95 %.
    P95,
    /// 99 %.
    P99,
    /// 99.9 %.
    #[serde(rename = "p99_9")]
    P999,
    /// 99.99 %.
    #[serde(rename = "p99_99")]
    P9999,
    /// The longest.
    Max,
}

impl Figure {
    /// All figures, in their order.
    pub const ALL: [Self; 11] = [
        Self::Min,
        Self::Mean,
        Self::Stdev,
        Self::P50,
        Self::P75,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P999,
        Self::P9999,
        Self::Max,
    ];

    fn read(self, curve: &Curve) -> Reading {
        match self {
            Self::Min => curve.min(),
            Self::Mean => curve.mean(),
            Self::Stdev => curve.stdev(),
            Self::P50 => curve.quantile(const { Quantile::new(1, 2) }),
            Self::P75 => curve.quantile(const { Quantile::new(3, 4) }),
            Self::P90 => curve.quantile(const { Quantile::new(9, 10) }),
            Self::P95 => curve.quantile(const { Quantile::new(19, 20) }),
            Self::P99 => curve.quantile(const { Quantile::new(99, 100) }),
            Self::P999 => curve.quantile(const { Quantile::new(999, 1000) }),
            Self::P9999 => curve.quantile(const { Quantile::new(9999, 10_000) }),
            Self::Max => curve.max(),
        }
    }
}

impl SummaryUs {
    /// The figures of a distribution of nanoseconds.
    pub fn of(curve: &Curve) -> Self {
        if curve.count() == 0 {
            return Self::default();
        }
        let at = |figure: Figure| Some(us(figure.read(curve).ns));
        Self {
            min: at(Figure::Min),
            mean: at(Figure::Mean),
            stdev: at(Figure::Stdev),
            p50: at(Figure::P50),
            p75: at(Figure::P75),
            p90: at(Figure::P90),
            p95: at(Figure::P95),
            p99: at(Figure::P99),
            p99_9: at(Figure::P999),
            p99_99: at(Figure::P9999),
            max: at(Figure::Max),
            lower_bounds: Figure::ALL
                .into_iter()
                .filter(|figure| figure.read(curve).is_lower_bound)
                .collect(),
            ..Self::counts_of(curve)
        }
    }

    /// How many times a distribution has, without its figures.
    pub(crate) fn counts_of(curve: &Curve) -> Self {
        Self { count: curve.count(), censored: curve.censored(), ..Self::default() }
    }

    /// One of its figures; `None` if nothing is known of it.
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Min => self.min,
            Figure::Mean => self.mean,
            Figure::Stdev => self.stdev,
            Figure::P50 => self.p50,
            Figure::P75 => self.p75,
            Figure::P90 => self.p90,
            Figure::P95 => self.p95,
            Figure::P99 => self.p99,
            Figure::P999 => self.p99_9,
            Figure::P9999 => self.p99_99,
            Figure::Max => self.max,
        }
    }

    /// Whether a figure is only a lower bound.
    pub fn is_lower_bound(&self, figure: Figure) -> bool {
        self.lower_bounds.contains(&figure)
    }
}

impl LatenciesUs {
    /// The times of a run, whose curve of `response` has been computed already.
    pub(super) fn of(totals: &Totals, response: &Curve) -> Self {
        // Of requests that did not complete only the wait is known, which is no latency.
        let of = if totals.counters.completed > 0 { SummaryUs::of } else { SummaryUs::counts_of };
        Self {
            response: of(response),
            service: of(&totals.service()),
            queue_wait: of(&totals.queue_wait()),
            schedule_lag: of(&Curve::exact(&totals.latencies.schedule_lag)),
        }
    }
}

impl PhasesUs {
    pub(super) fn of(totals: &Totals) -> Self {
        let phases = &totals.phases;
        Self {
            dns: SummaryUs::of(&Curve::exact(&phases.dns)),
            connect: SummaryUs::of(&totals.connect()),
            tls: SummaryUs::of(&totals.tls()),
            first_byte: SummaryUs::of(&Curve::exact(&phases.first_byte)),
            transfer: SummaryUs::of(&Curve::exact(&phases.transfer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Censoring;
    use crate::metrics::histogram;

    #[test]
    fn lower_bounds_have_the_names_of_their_figures() {
        let (mut exact, mut censored) = (histogram(), histogram());
        exact.saturating_record_n(1_000_000, 990);
        censored.saturating_record_n(2_000_000_000, 10);
        let summary = SummaryUs::of(&Curve::new(&exact, &censored, Censoring::Independent));
        assert_eq!((summary.count, summary.censored), (1000, 10));
        let json = serde_json::to_value(&summary).expect("serialisable");
        assert_eq!(json["lower_bounds"], serde_json::json!(["mean", "stdev", "p99_9", "p99_99", "max"]));
        for figure in Figure::ALL {
            let name = serde_json::to_value(figure).expect("serialisable");
            let field = json[name.as_str().expect("a name")].as_f64();
            assert_eq!(field.map(f64::to_bits), summary.figure(figure).map(f64::to_bits), "{name}");
            assert_eq!(
                summary.is_lower_bound(figure),
                json["lower_bounds"].to_string().contains(&name.to_string())
            );
        }
    }
}
