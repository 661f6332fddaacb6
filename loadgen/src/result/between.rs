//! The time between a response and the next request of a closed loop, which no latency contains.
//!
//! By Little's law, requests in flight = rate × response time. What the requests of a run do not fill of the time of its
//! connections and streams has passed before they were sent.

use hdrhistogram::Histogram;

use crate::metrics::Totals;
use crate::plan::{Mode, Plan};

use super::ended::EndedBy;

/// Fewer requests for each place in flight tell little: those at the begin and the end are cut off.
const REQUESTS_PER_PLACE_MIN: f64 = 10.0;

/// More failures leave the time in flight unknown: most of them are in no histogram.
const FAILED_SHARE_MAX: f64 = 0.01;

/// The mean over all requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Between {
    /// The part of the time in which a connection, or a stream of it, waited for its next request.
    pub share: f64,
    pub mean_ns: f64,
}

impl Between {
    /// `None` if it is unknown, or wanted: in an open loop, and by users who think.
    pub(super) fn of(
        plan: &Plan,
        totals: &Totals,
        connections: u64,
        ended_by: EndedBy,
        duration_s: f64,
    ) -> Option<Self> {
        if plan.mode != Mode::Closed || plan.scenario.is_some() || ended_by != EndedBy::Duration {
            return None;
        }
        let streams = totals.http2.streams_max_peer.map_or(usize::MAX, |max| max as usize);
        let places = connections as f64 * plan.parallel.min(streams) as f64;
        let counters = &totals.counters;
        let completed = (counters.completed - totals.after_end.completed) as f64;
        let is_known = completed >= REQUESTS_PER_PLACE_MIN * places
            && counters.failed as f64 <= FAILED_SHARE_MAX * completed;
        if !is_known || places == 0.0 {
            return None;
        }
        let sum = |times: &Histogram<u64>| times.mean() * times.len() as f64;
        let response = &totals.latencies.response;
        let in_flight_ns = sum(&response.exact) + sum(&response.censored);
        let idle_ns = places * duration_s * 1e9 - in_flight_ns;
        Some(Self { share: idle_ns / (places * duration_s * 1e9), mean_ns: idle_ns / completed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ErrorKind, Recorder, Sample, Unfinished};
    use crate::plan::OpenLoop;

    /// 2 connections for a second, on each of which a response of 1 ms comes after each 4 ms.
    fn recorder() -> Recorder {
        let mut recorder = Recorder::new(false);
        for index in 0..500_u64 {
            let sent_ns = index / 2 * 4_000_000 + 3_000_000;
            let done_ns = sent_ns + 1_000_000;
            let sample = Sample {
                scheduled_ns: sent_ns,
                ready_ns: sent_ns,
                sent_ns,
                first_byte_ns: done_ns,
                done_ns,
                status: 200,
            };
            recorder.completed(sample);
        }
        recorder
    }

    fn of(plan: &Plan, recorder: &Recorder, ended_by: EndedBy) -> Option<Between> {
        Between::of(plan, &Totals::merge([recorder]), 2, ended_by, 1.0)
    }

    #[test]
    fn what_requests_do_not_fill_is_between_them() {
        let mut plan = Plan::for_url("http://h/").expect("valid");
        let between = of(&plan, &recorder(), EndedBy::Duration).expect("it is known");
        assert!((between.share - 0.75).abs() < 0.01, "{between:?}");
        assert!((between.mean_ns - 3e6).abs() < 3e4, "{between:?}");
        // A server that allows one stream makes no more places of -p 10.
        plan.parallel = 10;
        let mut recorder = recorder();
        recorder.allows_streams(1);
        let limited = of(&plan, &recorder, EndedBy::Duration).expect("it is known");
        assert_eq!(limited, between);
        // What was cut off at the end was in flight.
        plan.parallel = 1;
        let waited = |ended_ns| Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(0), ended_ns };
        recorder.censored(waited(1_000_000_000));
        let half = of(&plan, &recorder, EndedBy::Duration).expect("it is known");
        assert!((half.share - 0.25).abs() < 0.01, "{half:?}");
    }

    #[test]
    fn it_is_unknown_where_other_reasons_leave_places_free() {
        let plan = Plan::for_url("http://h/").expect("valid");
        assert_eq!(of(&plan, &recorder(), EndedBy::Requests), None);
        let open = Plan { mode: Mode::Open(OpenLoop::steady(500.0, 2)), ..plan.clone() };
        assert_eq!(
            Between::of(&open, &Totals::merge([&Recorder::new(true)]), 2, EndedBy::Duration, 1.0),
            None
        );
        let mut failing = recorder();
        for _ in 0..6 {
            let request = Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(0), ended_ns: 1 };
            failing.failed(request, ErrorKind::Reset);
        }
        assert_eq!(of(&plan, &failing, EndedBy::Duration), None);
        assert_eq!(Between::of(&plan, &Totals::merge([&recorder()]), 51, EndedBy::Duration, 1.0), None);
    }
}
