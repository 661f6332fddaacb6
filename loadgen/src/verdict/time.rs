//! Whether the generator's workers had the time that they needed: their own CPU time, waits for their cores, and lateness.

use crate::estimate::{Curve, Quantile};
use crate::metrics::{GeneratorFacts, Totals, WorkerFacts};
use crate::units::show_time_ns;

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

pub(super) fn judge_busy(totals: &Totals, generator: &GeneratorFacts, reasons: &mut Vec<String>) {
    let Some((who, busiest)) = worst(generator, WorkerFacts::busy_share) else { return };
    if busiest < BUSY_SHARE_MAX {
        return;
    }
    let percent = (busiest * 100.0).min(100.0);
    reasons.push(if totals.open_loop {
        format!(
            "{who} used {percent:.0} % of its core: it cannot keep this schedule reliably; \
             give it more cores (-t) or a lower rate (-R)"
        )
    } else {
        format!(
            "{who} used {percent:.0} % of its core: the requests/s are its own limit, not the \
             server's; give it more cores (-t), or ask for a rate (-R)"
        )
    });
}

pub(super) fn judge_run_queue(totals: &Totals, generator: &GeneratorFacts, reasons: &mut Vec<String>) {
    let Some((who, crowded)) = worst(generator, WorkerFacts::run_queue_share) else { return };
    if crowded >= RUN_QUEUE_SHARE_MAX {
        reasons.push(format!(
            "{who} waited {:.0} % of the time for its core, which others used: keep the server and \
             other work off it (--cpus), and use no more threads than cores (-t)",
            crowded * 100.0
        ));
    } else if totals.open_loop {
        judge_waits(totals, generator, reasons);
    }
}

/// The worker with the highest share, by its name.
fn worst(generator: &GeneratorFacts, share: fn(&WorkerFacts) -> f64) -> Option<(String, f64)> {
    let shares = generator.workers.iter().map(share).enumerate();
    let (index, worst) = shares.reduce(|one, other| if other.1 > one.1 { other } else { one })?;
    let who = match generator.workers.len() {
        1 => "the generator".to_owned(),
        count => format!("worker {} of the generator's {count}", index + 1),
    };
    Some((who, worst))
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

pub(super) fn judge_lag(totals: &Totals, rate_mean: Option<f64>, reasons: &mut Vec<String>) {
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
