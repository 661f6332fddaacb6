//! Notes on what is easily overlooked among good figures; the text report and the JSON share them.

use super::between::Between;
use super::counts::{Errors, Requests};
use super::plan::{LoopName, PlanSummary};
use crate::plan::NAMES_MAX;
use crate::threshold::Threshold;
use crate::units::{show_count, show_time_ns};
use crate::verdict::STEAL_SHARE_MAX;

/// A silence at the end of a run gets a note if it is longer than this,
const SILENCE_MIN_S: f64 = 1.0;
/// and than this part of the run.
const SILENCE_PART: f64 = 0.1;

/// Requests not sent by the end get a note if they are more than this part of all.
const UNSENT_PART: f64 = 0.05;

/// Stolen time gets a note from this share on; from [`STEAL_SHARE_MAX`] on it is a reason of the verdict.
const STEAL_SHARE_MIN: f64 = 0.01;

/// The time between a response and the next request gets a note from this share of all time on.
const BETWEEN_SHARE_MIN: f64 = 0.1;

/// What the notes are about.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub plan: &'a PlanSummary,
    pub thresholds: &'a [Threshold],
    pub requests: &'a Requests,
    pub errors: &'a Errors,
    /// Whether the URL is `https://`.
    pub is_https: bool,
    /// Completed requests with the status 400.
    pub bad_requests: u64,
    /// Completed requests with a status below 400.
    pub succeeded: u64,
    pub ruled_out: u64,
    /// How many streams the server allows on a connection of HTTP/2, if it named a limit.
    pub streams_max_peer: Option<u32>,
    /// Connections that were closed because bytes followed a response.
    pub unexpected_bytes: u64,
    pub warmup_unanswered: u64,
    /// How many requests of the plan have no name, if there are several.
    pub unnamed: usize,
    pub duration_s: f64,
    pub last_answer_s: Option<f64>,
    pub backlog_grew: bool,
    /// The share of the generator's cores that the hypervisor gave to others, if it is known.
    pub steal_share: Option<f64>,
    /// Whether a figure of the response is only a lower bound.
    pub has_lower_bounds: bool,
    pub between: Option<Between>,
}

/// The notes: sentences without a full stop.
pub(super) fn notes(facts: &Facts<'_>) -> Vec<String> {
    let all = [
        nothing_completed,
        only_bad_requests,
        silence,
        rate_not_kept,
        streams_limited,
        names_left_out,
        lower_bounds,
        ruled_out,
        unexpected_bytes,
        failures_ungated,
        warmup_unanswered,
        stolen,
        between_requests,
    ];
    all.into_iter().filter_map(|note| note(facts)).collect()
}

fn nothing_completed(facts: &Facts<'_>) -> Option<String> {
    let Requests { scheduled, completed, .. } = *facts.requests;
    (scheduled > 0 && completed == 0)
        .then(|| "no request was completed: there is no latency to show".to_owned())
}

/// nginx, Apache and Go answer plain HTTP at a TLS port like this.
fn only_bad_requests(facts: &Facts<'_>) -> Option<String> {
    let completed = facts.requests.completed;
    (!facts.is_https && completed > 0 && facts.bad_requests == completed).then(|| {
        "every response was 400 (Bad Request): if the server speaks TLS at this port, write https:// instead of http://"
            .to_owned()
    })
}

fn silence(facts: &Facts<'_>) -> Option<String> {
    let silent_s = facts.duration_s - facts.last_answer_s.unwrap_or(facts.duration_s);
    // The interval between requests at the end; a ramp may end at a rate of 0.
    let interval_s = facts.plan.rate_end.map_or(0.0, |rate| 1.0 / rate);
    let is_long = silent_s > SILENCE_MIN_S.max(SILENCE_PART * facts.duration_s).max(2.0 * interval_s);
    is_long.then(|| format!("the server has not answered in the last {}", show_time_ns(silent_s * 1e9)))
}

fn rate_not_kept(facts: &Facts<'_>) -> Option<String> {
    let Requests { scheduled, sent, .. } = *facts.requests;
    // Those that could not connect count as errors.
    let unsent = scheduled.saturating_sub(sent + facts.errors.connect + facts.errors.tls);
    let many = facts.plan.mode == LoopName::Open && unsent as f64 > UNSENT_PART * scheduled as f64;
    many.then(|| {
        let why = match facts.errors.connect + facts.errors.tls {
            0 => "either the server is too slow for this rate, or it needs more connections \
                  (-c, --max-connections)"
                .to_owned(),
            failed if facts.errors.tls > 0 => {
                format!("for {} others a connect or TLS failed", show_count(failed))
            }
            failed => format!("for {} others a connect failed", show_count(failed)),
        };
        format!(
            "the rate was not kept up with: {} of {} requests never found a free connection; {why}",
            show_count(unsent),
            show_count(scheduled)
        )
    })
}

fn streams_limited(facts: &Facts<'_>) -> Option<String> {
    let (allowed, wanted) = (facts.streams_max_peer?, facts.plan.parallel);
    ((allowed as usize) < wanted).then(|| {
        format!(
            "the server allows {} streams at once on a connection, fewer than -p {wanted}; more connections (-c) would \
             have as many in flight as asked for",
            show_count(allowed.into())
        )
    })
}

fn names_left_out(facts: &Facts<'_>) -> Option<String> {
    (facts.unnamed > 0).then(|| {
        format!(
            "the results of the {} URLs are not kept one by one: that is done for up to {NAMES_MAX}",
            show_count(facts.unnamed as u64)
        )
    })
}

fn lower_bounds(facts: &Facts<'_>) -> Option<String> {
    let Requests { completed, censored, .. } = *facts.requests;
    if completed == 0 {
        return None;
    }
    if facts.backlog_grew {
        return Some(format!(
            "the backlog grew: the {} requests unanswered at the end count with the time that they \
             waited, so every figure of response and queue wait is a lower bound (≥)",
            show_count(censored)
        ));
    }
    facts.has_lower_bounds.then(|| {
        "some requests timed out or were cut off by the end after they had waited longer than any response took: \
         figures with ≥ are lower bounds"
            .to_owned()
    })
}

fn ruled_out(facts: &Facts<'_>) -> Option<String> {
    (facts.ruled_out > 0).then(|| {
        format!(
            "{} of the {} failed requests were pipelined behind a response with which the server ended the connection \
             (Connection: close), so it never processed them; -p 1, or a higher limit of requests per connection at \
             the server, avoids that",
            show_count(facts.ruled_out),
            show_count(facts.requests.failed)
        )
    })
}

fn unexpected_bytes(facts: &Facts<'_>) -> Option<String> {
    (facts.unexpected_bytes > 0).then(|| {
        format!(
            "connections closed because the server sent bytes that no request had asked for: {}",
            show_count(facts.unexpected_bytes)
        )
    })
}

fn stolen(facts: &Facts<'_>) -> Option<String> {
    let share = facts.steal_share.filter(|share| (STEAL_SHARE_MIN..STEAL_SHARE_MAX).contains(share))?;
    Some(format!(
        "the hypervisor gave {:.1} % of the time of the generator's cores to others: the slowest responses may be its doing",
        share * 100.0
    ))
}

fn between_requests(facts: &Facts<'_>) -> Option<String> {
    let Between { share, mean_ns } = facts.between.filter(|between| between.share >= BETWEEN_SHARE_MIN)?;
    Some(format!(
        "from a response to the next request, the generator took {} on average ({:.0} % of the time of a connection or \
         stream): no latency of a closed loop contains that",
        show_time_ns(mean_ns),
        share * 100.0
    ))
}

fn failures_ungated(facts: &Facts<'_>) -> Option<String> {
    let Requests { scheduled, completed, failed, .. } = *facts.requests;
    let is_gated = facts.thresholds.iter().any(Threshold::is_on_latency)
        && !facts.thresholds.iter().any(Threshold::is_on_success);
    let refused = completed - facts.succeeded;
    (is_gated && failed + refused > 0).then(|| {
        format!(
            "of {} requests, {} failed and {} had a status of 400 or more; a threshold on latency can hold all the \
             same, so add one on success, such as --threshold 'success>99.9%'",
            show_count(scheduled),
            show_count(failed),
            show_count(refused)
        )
    })
}

fn warmup_unanswered(facts: &Facts<'_>) -> Option<String> {
    (facts.warmup_unanswered > 0).then(|| {
        format!(
            "requests of the warm-up that had no response in the measured part either: {}; no figure contains them",
            show_count(facts.warmup_unanswered)
        )
    })
}
