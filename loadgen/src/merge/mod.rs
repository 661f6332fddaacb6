//! Results of several generators that ran at the same time, merged into one as if there had been one generator:
//! histograms and counts are added, and every figure is made anew from the sums.
//!
//! Rates are those of the common window, in which all were running. Counts and times are those of the whole runs.

mod costs;
mod part;
mod plans;
mod times;
mod window;

use std::collections::BTreeMap;

pub use self::part::{MergeError, Part};
use self::times::MergedTimes;
use self::window::Window;
use crate::estimate::{Censoring, Curve};
use crate::result::numbers::{microseconds, ratio, share};
use crate::result::{
    DrainSummary, EndedBy, Errors, Http2Summary, LatenciesUs, PhasesUs, Requests, RunResult, SCHEMA, Step,
    Steps, SummaryUs, TlsSummary,
};
use crate::threshold::{Observed, Outcome, Threshold};
use crate::units::rounded;
use crate::verdict::Verdict;

/// Merges results of generators that ran at the same time.
///
/// # Errors
/// When there are fewer than two, they are of different tests, did not run at the same time, or have no histograms.
pub fn merge(parts: &[Part]) -> Result<RunResult, MergeError> {
    let [first, others @ ..] = parts else { return Err(MergeError::TooFew) };
    if others.is_empty() {
        return Err(MergeError::TooFew);
    }
    for part in parts {
        if part.result.schema != SCHEMA {
            let problem = format!("it is {}, and this version reads {SCHEMA}", part.result.schema);
            return Err(MergeError::Field { file: part.file.clone(), field: "schema".to_owned(), problem });
        }
    }
    let (plan, mut notes) = plans::merged(parts)?;
    let window = Window::of(parts)?;
    let times = MergedTimes::of(parts.iter().map(|part| (part.file.as_str(), "", &part.result.histograms)))?;
    let results = || parts.iter().map(|part| &part.result);
    let requests = requests(results().map(|result| &result.requests));
    let status = sums(results().map(|result| &result.status));
    let succeeded = status.iter().filter(|(code, _)| code.parse().is_ok_and(|code: u16| code < 400));
    let whole = Whole {
        requests,
        succeeded: succeeded.map(|(_, count)| count).sum(),
        errors: errors(results().map(|result| &result.errors)),
        // All figures of a part are lower bounds, even the shortest, if its backlog grew.
        censoring: censoring(results().map(|result| &result.latency_us)),
        times: &times,
        requests_per_second: window.requests_per_second(),
    };
    let response = whole.response();
    let steps = steps(parts)?;
    let thresholds = whole.thresholds(parts, &response, steps.as_deref(), &window);
    notes.extend(window.notes());
    for note in results().flat_map(|result| &result.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    Ok(RunResult {
        schema: SCHEMA,
        tool: first.result.tool.clone(),
        environment: costs::environment(parts),
        requests,
        requests_per_second: rounded(window.requests_per_second()),
        bytes_received_per_second: rounded(window.bytes_received_per_second()),
        bytes_received: results().map(|result| result.bytes_received).sum(),
        bytes_sent: results().map(|result| result.bytes_sent).sum(),
        duration_s: microseconds(window.duration_s()),
        started_unix_s: window.from_s,
        ended_unix_s: window.to_s,
        last_answer_s: last_answer_s(parts, window.from_s),
        connections_opened: results().map(|result| result.connections_opened).sum(),
        connections_opened_before_start: results().map(|result| result.connections_opened_before_start).sum(),
        connections_open_max: results().map(|result| result.connections_open_max).sum(),
        interrupted: results().any(|result| result.interrupted),
        ended_by: ended_by(parts),
        latency_us: whole.latencies(&response),
        phases_us: whole.phases(),
        steps: steps.map(|steps| Steps(steps.into_iter().map(|(name, step)| (name, step.step)).collect())),
        tls: tls(parts),
        status,
        errors: whole.errors,
        error_examples: first_of_each(results().map(|result| &result.error_examples)),
        generator: costs::generator(parts),
        verdict: verdict(parts),
        success: whole.observed(&response).success().map(share),
        notes,
        latency_by_status_us: times
            .by_status
            .iter()
            .map(|(class, times)| (class.clone(), SummaryUs::of(&Curve::exact(&times.exact))))
            .collect(),
        drain: drain(parts),
        http2: http2(parts),
        thresholds,
        histograms: times.texts(),
        series: window::series(parts, window.started_s)?,
        plan,
    })
}

/// What all requests, or those of one name, came to.
struct Whole<'a> {
    requests: Requests,
    succeeded: u64,
    errors: Errors,
    censoring: Censoring,
    times: &'a MergedTimes,
    requests_per_second: f64,
}

impl Whole<'_> {
    fn response(&self) -> Curve {
        self.times.response.curve(self.censoring)
    }

    fn observed<'c>(&self, response: &'c Curve) -> Observed<'c> {
        let answered = &self.times.response.exact;
        let knows = !answered.is_empty() && self.censoring == Censoring::Independent;
        Observed {
            response,
            scheduled: self.requests.scheduled,
            completed: self.requests.completed,
            failed: self.requests.failed,
            succeeded: self.succeeded,
            // As `Totals::excused`.
            excused: if knows { self.times.cut_off.censored.count_between(0, answered.max()) } else { 0 },
            requests_per_second: self.requests_per_second,
        }
    }

    fn latencies(&self, response: &Curve) -> LatenciesUs {
        let of = if self.requests.completed > 0 { SummaryUs::of } else { SummaryUs::counts_of };
        LatenciesUs {
            response: of(response),
            service: of(&self.times.service.curve(Censoring::Independent)),
            queue_wait: of(&self.times.queue_wait.curve(self.censoring)),
            schedule_lag: of(&Curve::exact(&self.times.schedule_lag.exact)),
        }
    }

    fn phases(&self) -> PhasesUs {
        let times = self.times;
        PhasesUs {
            dns: SummaryUs::of(&Curve::exact(&times.dns.exact)),
            connect: SummaryUs::of(&times.connect.curve(Censoring::Independent)),
            tls: SummaryUs::of(&times.tls.curve(Censoring::Independent)),
            first_byte: SummaryUs::of(&Curve::exact(&times.first_byte.exact)),
            transfer: SummaryUs::of(&Curve::exact(&times.transfer.exact)),
        }
    }

    /// The thresholds of all parts, each once, checked against the whole.
    fn thresholds(
        &self,
        parts: &[Part],
        response: &Curve,
        steps: Option<&[(String, MergedStep)]>,
        window: &Window<'_>,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for outcome in parts.iter().flat_map(|part| &part.result.thresholds) {
            if outcomes.iter().any(|known| known.expression == outcome.expression) {
                continue;
            }
            let Ok(threshold) = outcome.expression.parse::<Threshold>() else { continue };
            let step = threshold.step().and_then(|name| {
                let (_, step) = steps?.iter().find(|(step, _)| step == name)?;
                Some(step)
            });
            outcomes.push(match step {
                None => threshold.evaluate(self.observed(response)),
                Some(step) => {
                    let whole = step.whole(ratio(step.step.requests.completed as f64, window.duration_s()));
                    threshold.evaluate(whole.observed(&whole.response()))
                }
            });
        }
        outcomes
    }
}

/// A request name of all parts.
struct MergedStep {
    step: Step,
    times: MergedTimes,
    censoring: Censoring,
}

impl MergedStep {
    fn whole(&self, requests_per_second: f64) -> Whole<'_> {
        Whole {
            requests: self.step.requests,
            succeeded: self.step.succeeded,
            errors: self.step.errors,
            censoring: self.censoring,
            times: &self.times,
            requests_per_second,
        }
    }
}

fn steps(parts: &[Part]) -> Result<Option<Vec<(String, MergedStep)>>, MergeError> {
    let Some(Steps(first)) = &parts[0].result.steps else { return Ok(None) };
    let mut merged = Vec::new();
    for (name, _) in first {
        let mut same = Vec::new();
        for part in parts {
            let step = part.result.steps.iter().flat_map(|steps| &steps.0).find(|(step, _)| step == name);
            let Some((_, step)) = step else {
                let problem = format!("`{name}` is missing, which {} has", parts[0].file);
                return Err(MergeError::Field {
                    file: part.file.clone(),
                    field: "steps".to_owned(),
                    problem,
                });
            };
            same.push((part.file.as_str(), step));
        }
        let place = format!("steps.{name}.");
        let times = same.iter().map(|(file, step)| (*file, place.as_str(), &step.histograms));
        let times = MergedTimes::of(times)?;
        let whole = Whole {
            requests: requests(same.iter().map(|(_, step)| &step.requests)),
            succeeded: same.iter().map(|(_, step)| step.succeeded).sum(),
            errors: errors(same.iter().map(|(_, step)| &step.errors)),
            censoring: censoring(same.iter().map(|(_, step)| &step.latency_us)),
            times: &times,
            requests_per_second: 0.0,
        };
        let step = Step {
            requests: whole.requests,
            latency_us: whole.latencies(&whole.response()),
            errors: whole.errors,
            succeeded: whole.succeeded,
            histograms: times.texts(),
        };
        let censoring = whole.censoring;
        merged.push((name.clone(), MergedStep { step, times, censoring }));
    }
    Ok(Some(merged))
}

fn censoring<'a>(parts: impl Iterator<Item = &'a LatenciesUs>) -> Censoring {
    let mut parts = parts;
    let grew = parts.any(|latency| latency.response.is_lower_bound(crate::result::Figure::Min));
    if grew { Censoring::Dependent } else { Censoring::Independent }
}

fn requests<'a>(parts: impl Iterator<Item = &'a Requests>) -> Requests {
    parts.fold(Requests { scheduled: 0, sent: 0, completed: 0, failed: 0, censored: 0 }, |sum, part| {
        Requests {
            scheduled: sum.scheduled + part.scheduled,
            sent: sum.sent + part.sent,
            completed: sum.completed + part.completed,
            failed: sum.failed + part.failed,
            censored: sum.censored + part.censored,
        }
    })
}

fn errors<'a>(parts: impl Iterator<Item = &'a Errors>) -> Errors {
    parts.fold(Errors::default(), |sum, part| Errors {
        dns: sum.dns + part.dns,
        connect: sum.connect + part.connect,
        tls: sum.tls + part.tls,
        timeout: sum.timeout + part.timeout,
        reset: sum.reset + part.reset,
        closed: sum.closed + part.closed,
        incomplete: sum.incomplete + part.incomplete,
        protocol: sum.protocol + part.protocol,
        expect: sum.expect + part.expect,
    })
}

fn sums<'a>(parts: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (key, count) in parts.flatten() {
        *all.entry(key.clone()).or_default() += count;
    }
    all
}

fn first_of_each<'a>(parts: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (key, text) in parts.flatten() {
        all.entry(key.clone()).or_insert_with(|| text.clone());
    }
    all
}

/// When the last answer of all came, since the common window began.
fn last_answer_s(parts: &[Part], from_s: f64) -> Option<f64> {
    let answers = parts.iter().filter_map(|part| {
        let result = &part.result;
        Some(microseconds(result.started_unix_s - from_s + result.last_answer_s?))
    });
    answers.reduce(f64::max)
}

fn ended_by(parts: &[Part]) -> EndedBy {
    let all: Vec<EndedBy> = parts.iter().map(|part| part.result.ended_by).collect();
    let early = [EndedBy::Interrupt, EndedBy::MaxErrors].into_iter().find(|early| all.contains(early));
    early.unwrap_or(all[0])
}

/// Valid if all are; each reason with its file.
fn verdict(parts: &[Part]) -> Verdict {
    let all: Vec<Option<bool>> = parts.iter().map(|part| part.result.verdict.valid).collect();
    let valid = if all.contains(&Some(false)) {
        Some(false)
    } else if all.contains(&None) {
        None
    } else {
        Some(true)
    };
    let reasons = parts.iter().flat_map(|part| {
        part.result.verdict.reasons.iter().map(move |reason| format!("{}: {reason}", part.file))
    });
    Verdict { valid, reasons: reasons.collect() }
}

fn tls(parts: &[Part]) -> Option<TlsSummary> {
    let all: Vec<&TlsSummary> = parts.iter().filter_map(|part| part.result.tls.as_ref()).collect();
    (!all.is_empty()).then(|| TlsSummary {
        version: costs::joined(all.iter().filter_map(|tls| tls.version.as_deref())),
        cipher: costs::joined(all.iter().filter_map(|tls| tls.cipher.as_deref())),
        handshakes_full: all.iter().map(|tls| tls.handshakes_full).sum(),
        handshakes_resumed: all.iter().map(|tls| tls.handshakes_resumed).sum(),
    })
}

fn http2(parts: &[Part]) -> Option<Http2Summary> {
    let all: Vec<&Http2Summary> = parts.iter().filter_map(|part| part.result.http2.as_ref()).collect();
    (!all.is_empty()).then(|| Http2Summary {
        replayed: all.iter().map(|http2| http2.replayed).sum(),
        resets: sums(all.iter().map(|http2| &http2.resets)),
        goaways: sums(all.iter().map(|http2| &http2.goaways)),
        streams_max_peer: all.iter().filter_map(|http2| http2.streams_max_peer).min(),
    })
}

fn drain(parts: &[Part]) -> Option<DrainSummary> {
    let all: Vec<&DrainSummary> = parts.iter().filter_map(|part| part.result.drain.as_ref()).collect();
    (!all.is_empty()).then(|| DrainSummary {
        took_s: all.iter().map(|drain| drain.took_s).fold(0.0, f64::max),
        completed: all.iter().map(|drain| drain.completed).sum(),
        failed: all.iter().map(|drain| drain.failed).sum(),
    })
}

#[cfg(test)]
mod tests;
