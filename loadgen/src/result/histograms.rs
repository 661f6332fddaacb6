//! All times of a result as histograms, so that results can be merged and drawn without loss.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::hdr::Encoder;
use crate::metrics::{Times, Totals};

/// All times, in nanoseconds, each as a histogram of HdrHistogram's format V2, deflated, in base64
/// ([`decode`](crate::hdr::decode)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histograms {
    /// As `latency_us.response`.
    pub response: TimesText,
    /// As `latency_us.service`.
    pub service: TimesText,
    /// As `latency_us.queue_wait`.
    pub queue_wait: TimesText,
    /// As `latency_us.schedule_lag`.
    pub schedule_lag: TimesText,
    /// As `phases_us.dns`.
    pub dns: TimesText,
    /// As `phases_us.connect`.
    pub connect: TimesText,
    /// As `phases_us.tls`.
    pub tls: TimesText,
    /// As `phases_us.first_byte`.
    pub first_byte: TimesText,
    /// As `phases_us.transfer`.
    pub transfer: TimesText,
    /// Response times by the class of the status, as `latency_by_status_us`.
    pub by_status: BTreeMap<String, TimesText>,
    /// How long the requests that the end cut off had waited since they were due; these waits are among the censored
    /// of `response` as well.
    pub cut_off: TimesText,
}

/// A distribution of times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesText {
    /// Those that ended; null if there are none.
    pub completed: Option<String>,
    /// Those that were cut short, with how long each had lasted; null if there are none.
    pub censored: Option<String>,
}

impl Histograms {
    pub(super) fn of(totals: &Totals) -> Self {
        let mut encoder = Encoder::new();
        let mut exact = |times: &Histogram<u64>| TimesText { completed: encoder.text(times), censored: None };
        let by_status = totals.response_times_by_status();
        let by_status =
            by_status.iter().map(|(class, times)| (class.name().to_owned(), exact(times))).collect();
        let latencies = &totals.latencies;
        let phases = &totals.phases;
        let schedule_lag = exact(&latencies.schedule_lag);
        let dns = exact(&phases.dns);
        let first_byte = exact(&phases.first_byte);
        let transfer = exact(&phases.transfer);
        let cut_off = TimesText { completed: None, censored: encoder.text(totals.cut_off()) };
        let mut times = |times: &Times| TimesText {
            completed: encoder.text(&times.exact),
            censored: encoder.text(&times.censored),
        };
        Self {
            response: times(&latencies.response),
            service: times(&latencies.service),
            queue_wait: times(&latencies.queue_wait),
            schedule_lag,
            dns,
            connect: times(&phases.connect),
            tls: times(&phases.tls),
            first_byte,
            transfer,
            by_status,
            cut_off,
        }
    }
}
