//! Whether the figures of a run describe the server or the generator.
//!
//! The verdict uses what the generator measured about itself. A slow server alone never makes a run invalid: response
//! times matter only to tell which part of them was the generator's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::estimate::{Curve, Quantile};
use crate::metrics::{GeneratorFacts, Totals};
use crate::units::{show_count, show_time_ns};

/// A run that measured for less than this is not judged: start-up and other processes take too large a part of it.
pub const MEASURED_MIN: Duration = Duration::from_millis(200);

/// A worker that uses this share of its core has no time left: in a closed loop it limits the requests per second, in
/// an open one it is about to fall behind.
pub const BUSY_SHARE_MAX: f64 = 0.95;

/// A worker that waits this share of the time for its core shares it, perhaps with the server: the others' work is in
/// every figure.
pub const RUN_QUEUE_SHARE_MAX: f64 = 0.10;

/// A generator whose wait for its core, per request, is this part of the mean response time sees the answers late.
/// This also catches an open loop that sleeps most of the time, which the share of the time does not.
pub const RUN_QUEUE_PART_OF_RESPONSE_MAX: f64 = 0.25;

/// With fewer requests, the wait for the core cannot be attributed to them, as workers also wake for other things.
pub const RUN_QUEUE_REQUESTS_MIN: u64 = 50;

/// If the generator's own lateness is this part of a percentile of the response time, the percentile does not
/// describe the server.
pub const LAG_PART_OF_RESPONSE_MAX: f64 = 0.5;

/// Lateness at the median that is always accepted: an idle core wakes up this late.
pub const LAG_P50_UNJUDGED_NS: f64 = 100_000.0;

/// Lateness at the 99th percentile that is always accepted.
pub const LAG_P99_UNJUDGED_NS: f64 = 250_000.0;

/// If one percent of the requests is sent later than this many intervals of the schedule (and than
/// [`LAG_BUNCHED_MIN_NS`]), the server saw bunches instead of the schedule, even if the lateness is small beside its
/// response times.
pub const LAG_INTERVALS_MAX: f64 = 10.0;

/// The least lateness that counts as bunching.
pub const LAG_BUNCHED_MIN_NS: f64 = 10e6;

const P50: Quantile = Quantile::new(1, 2);
const P99: Quantile = Quantile::new(99, 100);

/// Whether the figures are the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether they are, as far as the generator can tell; `None` (null in JSON) if the run was too short to judge.
    pub valid: Option<bool>,
    /// Why they are not, or why the run was not judged; empty if valid. Each is a sentence without a full stop.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Judges a run that measured for `elapsed` by its `totals` and by what the generator cost. `rate_mean` is the
    /// scheduled rate of an open loop, per second over all workers; `None` for a closed loop.
    pub fn judge(
        totals: &Totals,
        generator: &GeneratorFacts,
        rate_mean: Option<f64>,
        elapsed: Duration,
    ) -> Self {
        let nothing = totals.counters.scheduled() == 0;
        if elapsed < MEASURED_MIN {
            let reason = if nothing {
                "nothing was measured".to_owned()
            } else {
                format!(
                    "too short to judge: {} were measured, {} are needed",
                    show_time_ns(elapsed.as_nanos() as f64),
                    show_time_ns(MEASURED_MIN.as_nanos() as f64)
                )
            };
            return Self { valid: None, reasons: vec![reason] };
        }
        if nothing {
            return Self { valid: Some(false), reasons: vec!["nothing was measured".to_owned()] };
        }
        let mut reasons = Vec::new();
        let busiest = max(generator.workers.iter().map(crate::metrics::WorkerFacts::busy_share));
        if busiest >= BUSY_SHARE_MAX {
            let percent = (busiest * 100.0).min(100.0);
            reasons.push(if totals.open_loop {
                format!(
                    "the generator used {percent:.0} % of its core: it cannot keep this schedule reliably; \
                     give it more cores (-t) or a lower rate (-R)"
                )
            } else {
                format!(
                    "the generator used {percent:.0} % of its core: the requests/s are its own limit, not the \
                     server's; give it more cores (-t), or ask for a rate (-R)"
                )
            });
        }
        let crowded = max(generator.workers.iter().map(crate::metrics::WorkerFacts::run_queue_share));
        if crowded >= RUN_QUEUE_SHARE_MAX {
            reasons.push(format!(
                "the generator waited {:.0} % of the time for its core, which others used: keep the server and \
                 other work off it (--cpus)",
                crowded * 100.0
            ));
        } else if totals.open_loop {
            judge_waits(totals, generator, &mut reasons);
        }
        if totals.open_loop {
            judge_lag(totals, rate_mean, &mut reasons);
        }
        if totals.counters.descriptors_ran_out > 0 {
            reasons.push(format!(
                "the generator ran out of file descriptors {} times: raise the limit (ulimit -n)",
                show_count(totals.counters.descriptors_ran_out)
            ));
        }
        if totals.counters.ports_ran_out > 0 {
            reasons.push(format!(
                "the generator ran out of local ports {} times: widen net.ipv4.ip_local_port_range, keep connections \
                 open, or connect from several addresses (--bind)",
                show_count(totals.counters.ports_ran_out)
            ));
        }
        Self { valid: Some(reasons.is_empty()), reasons }
    }
}

fn judge_waits(totals: &Totals, generator: &GeneratorFacts, reasons: &mut Vec<String>) {
    let waited_ns: u64 = generator.workers.iter().map(|worker| worker.run_queue_wait_ns).sum();
    let requests = totals.counters.scheduled();
    // A worker wakes twice per request: to send it, and for its answer.
    let wakes = 2 * requests + generator.workers.iter().map(|worker| worker.other_wakes).sum::<u64>();
    let per_request_ns = 2.0 * waited_ns as f64 / wakes.max(1) as f64;
    let response_ns = totals.response().mean().ns;
    if requests >= RUN_QUEUE_REQUESTS_MIN && per_request_ns > RUN_QUEUE_PART_OF_RESPONSE_MAX * response_ns {
        reasons.push(format!(
            "the generator waited {} per request for its core, which others used, out of a mean response time of {}: \
             keep the server and other work off it (--cpus)",
            show_time_ns(per_request_ns),
            show_time_ns(response_ns)
        ));
    }
}

fn judge_lag(totals: &Totals, rate_mean: Option<f64>, reasons: &mut Vec<String>) {
    let (lag, response) = (Curve::exact(&totals.latencies.schedule_lag), totals.response());
    for (name, quantile, unjudged_ns) in
        [("p50", P50, LAG_P50_UNJUDGED_NS), ("p99", P99, LAG_P99_UNJUDGED_NS)]
    {
        let (lag_ns, response_ns) = (lag.quantile(quantile).ns, response.quantile(quantile).ns);
        if lag_ns > unjudged_ns && lag_ns > LAG_PART_OF_RESPONSE_MAX * response_ns {
            reasons.push(format!(
                "the generator sent requests late: at {name} its schedule lag is {}, more than half of the response \
                 time of {}; give it a lower rate (-R), more cores (-t), or cores of its own (--cpus)",
                show_time_ns(lag_ns),
                show_time_ns(response_ns)
            ));
            return;
        }
    }
    let lag_ns = lag.quantile(P99).ns;
    if let Some(rate) = rate_mean
        && lag_ns > LAG_BUNCHED_MIN_NS
        && lag_ns > LAG_INTERVALS_MAX * 1e9 / rate
    {
        reasons.push(format!(
            "the generator sent requests late: at p99 its schedule lag is {}, or {:.0} intervals of the schedule, so \
             the server got them in bunches; give it a lower rate (-R), more cores (-t), or cores of its own (--cpus)",
            show_time_ns(lag_ns),
            lag_ns * rate / 1e9
        ));
    }
}

fn max(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ErrorKind, Recorder, Sample, Unfinished, WorkerFacts};

    const SECOND: u64 = 1_000_000_000;

    fn worker(busy: f64, waiting: f64) -> GeneratorFacts {
        let worker = WorkerFacts {
            wall_ns: SECOND,
            user_ns: (busy * 0.1e9) as u64,
            system_ns: (busy * 0.9e9) as u64,
            run_queue_wait_ns: (waiting * 1e9) as u64,
            ..WorkerFacts::default()
        };
        GeneratorFacts { workers: vec![WorkerFacts::default(), worker], ..GeneratorFacts::default() }
    }

    /// 1,000 requests, `late` of them sent `lag_ns` late, all served in `service_ns`.
    fn open_loop(late: usize, lag_ns: u64, service_ns: u64) -> Totals {
        let mut recorder = Recorder::new(true);
        for index in 0..1000 {
            let sent_ns = if index < late { lag_ns } else { 1_000 };
            recorder.completed(Sample {
                scheduled_ns: 0,
                ready_ns: 0,
                sent_ns,
                first_byte_ns: sent_ns + service_ns,
                done_ns: sent_ns + service_ns,
                status: 200,
            });
        }
        Totals::merge([&recorder])
    }

    /// One request, answered at once.
    fn closed_loop() -> Totals {
        let mut recorder = Recorder::new(false);
        recorder.completed(Sample {
            scheduled_ns: 0,
            ready_ns: 0,
            sent_ns: 0,
            first_byte_ns: 1,
            done_ns: 1,
            status: 200,
        });
        Totals::merge([&recorder])
    }

    fn reasons(totals: &Totals, generator: &GeneratorFacts, rate: Option<f64>) -> Vec<String> {
        let verdict = Verdict::judge(totals, generator, rate, Duration::from_secs(1));
        assert_eq!(verdict.valid, Some(verdict.reasons.is_empty()));
        verdict.reasons
    }

    #[test]
    fn a_closed_loop_with_a_full_core_measured_itself() {
        let totals = closed_loop();
        let full = reasons(&totals, &worker(0.96, 0.0), None);
        assert!(
            full.len() == 1 && full[0].contains("96 % of its core: the requests/s are its own limit"),
            "{full:?}"
        );
        assert!(reasons(&totals, &worker(0.94, 0.0), None).is_empty());
    }

    #[test]
    fn a_short_run_is_not_judged() {
        let (totals, full) = (closed_loop(), worker(0.99, 0.0));
        let judge = |ms| Verdict::judge(&totals, &full, None, Duration::from_millis(ms));
        let short = judge(199);
        assert_eq!(short.valid, None);
        assert_eq!(short.reasons, ["too short to judge: 199 ms were measured, 200 ms are needed"]);
        assert_eq!(judge(200).valid, Some(false));
        let nothing = Totals::merge([&Recorder::new(false)]);
        for (ms, valid) in [(0, None), (1000, Some(false))] {
            let verdict = Verdict::judge(&nothing, &full, None, Duration::from_millis(ms));
            assert_eq!(
                (verdict.valid, &verdict.reasons[..]),
                (valid, &["nothing was measured".to_owned()][..])
            );
        }
    }

    #[test]
    fn spinning_is_no_load() {
        let totals = open_loop(0, 0, 100_000);
        let mut spinning = worker(0.99, 0.0);
        assert_eq!(reasons(&totals, &spinning, Some(1000.0)).len(), 1);
        spinning.workers[1].spin_ns = SECOND / 2;
        assert!(reasons(&totals, &spinning, Some(1000.0)).is_empty());
    }

    #[test]
    fn a_core_shared_with_others_is_named() {
        let totals = closed_loop();
        let shared = reasons(&totals, &worker(0.5, 0.12), None);
        assert!(shared.len() == 1 && shared[0].contains("waited 12 % of the time"), "{shared:?}");
        assert!(reasons(&totals, &worker(0.5, 0.09), None).is_empty());
    }

    #[test]
    fn a_worker_that_sleeps_most_of_the_time_waits_for_its_core_all_the_same() {
        // 1,000 requests of 100 µs each: 10 % of a second, of which it waited 2 or 3 %.
        let totals = open_loop(0, 0, 100_000);
        assert!(reasons(&totals, &worker(0.05, 0.02), Some(1000.0)).is_empty());
        let waits = reasons(&totals, &worker(0.05, 0.03), Some(1000.0));
        assert!(waits.len() == 1 && waits[0].contains("30.0 µs per request"), "{waits:?}");
    }

    #[test]
    fn lateness_counts_by_its_part_of_the_response() {
        let idle = worker(0.1, 0.0);
        // As late as an idle core wakes: valid, however fast the server is.
        assert!(reasons(&open_loop(1000, 90_000, 20_000), &idle, Some(1000.0)).is_empty());
        // Half of them 400 µs late, of 500 µs: the generator's figure.
        let late = reasons(&open_loop(600, 400_000, 100_000), &idle, Some(1000.0));
        assert!(
            late.len() == 1
                && late[0].contains(
                    "at p50 its schedule lag is 400 µs, more than half of the response time of 500 µs;"
                ),
            "{late:?}"
        );
        // Only the tail is late.
        let tail = reasons(&open_loop(20, 2_000_000, 100_000), &idle, Some(1000.0));
        assert!(
            tail.len() == 1
                && tail[0].contains(
                    "at p99 its schedule lag is 2.00 ms, more than half of the response time of 2.10 ms;"
                ),
            "{tail:?}"
        );
        // The same lateness is negligible beside a response time of a second.
        assert!(reasons(&open_loop(20, 2_000_000, SECOND), &idle, Some(1000.0)).is_empty());
    }

    #[test]
    fn bunches_are_no_schedule_even_before_a_slow_server() {
        let idle = worker(0.1, 0.0);
        let bunched = reasons(&open_loop(20, 50_000_000, 2 * SECOND), &idle, Some(1000.0));
        assert!(
            bunched.len() == 1 && bunched[0].contains("50.0 ms, or 50 intervals of the schedule"),
            "{bunched:?}"
        );
        assert!(reasons(&open_loop(20, 50_000_000, 2 * SECOND), &idle, Some(10.0)).is_empty());
    }

    #[test]
    fn a_slow_or_dead_server_alone_is_valid() {
        let mut recorder = Recorder::new(true);
        for scheduled_ns in 0..100 {
            recorder.censored(Unfinished {
                scheduled_ns,
                ready_ns: None,
                sent_ns: None,
                ended_ns: 100 * SECOND,
            });
            let sent_ns = Some(scheduled_ns);
            let unfinished =
                Unfinished { scheduled_ns, ready_ns: sent_ns, sent_ns, ended_ns: 30 * SECOND + scheduled_ns };
            recorder.failed(unfinished, ErrorKind::Timeout);
        }
        assert!(reasons(&Totals::merge([&recorder]), &worker(0.01, 0.0), Some(1000.0)).is_empty());
    }

    #[test]
    fn exhausted_descriptors_and_ports_are_the_generators() {
        let mut recorder = Recorder::new(false);
        let unfinished = Unfinished { scheduled_ns: 0, ready_ns: None, sent_ns: None, ended_ns: 1 };
        recorder.failed(unfinished, ErrorKind::Connect);
        recorder.descriptors_ran_out();
        recorder.ports_ran_out();
        let both = reasons(&Totals::merge([&recorder]), &worker(0.1, 0.0), None);
        assert_eq!(both.len(), 2);
        assert!(both[0].contains("file descriptors") && both[1].contains("local ports"), "{both:?}");
    }
}
