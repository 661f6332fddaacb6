//! What comes out of a search for a rate: its fields are those of the JSON of `find`.

use serde::Serialize;

use super::search::{Found, Limit, Outcome};
use crate::result::{Figure, RunResult};
use crate::threshold;
use crate::units::rounded;

/// The outcome of a search: its fields are those of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindResult {
    /// The highest rate that held the objective, in requests per second; 0 if not even the lowest did.
    pub rate: f64,
    /// The objective as it was typed.
    pub slo: String,
    /// What keeps the rate from being higher.
    pub limited_by: LimitName,
    /// What was loaded.
    pub url: String,
    /// The probes in their order.
    pub probes: Vec<Probe>,
    /// Whether the user stopped it early.
    pub interrupted: bool,
    /// The seed of all random choices.
    pub seed: u64,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What keeps a rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// The server: the objective was missed above.
    Objective,
    /// The generator: above, it could not judge the server.
    Generator,
    /// `--to`.
    To,
    /// The search was interrupted.
    Interrupt,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// The rate that was asked for.
    pub rate: f64,
    /// Whether the objective held; false also if the probe is not valid.
    pub met: bool,
    /// The 99th percentile of the response time; null if nothing was answered.
    pub p99_us: Option<f64>,
    /// The share of failed requests.
    pub errors: f64,
    /// The median.
    pub p50_us: Option<f64>,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// Whether the server kept up with the rate; if not, its backlog grew, and times are lower bounds.
    pub kept_up: bool,
    /// Whether the figures are the server's.
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// The share of the due requests that were answered with a status below 400; null if nothing was due.
    pub success: Option<f64>,
    /// Each condition of the objective.
    pub conditions: Vec<threshold::Outcome>,
}

impl Probe {
    /// What a run at this rate has shown.
    pub fn of(rate: f64, result: RunResult) -> Self {
        let response = &result.latency_us.response;
        // When a backlog grows, every figure is a lower bound, even the least.
        let kept_up = !response.is_lower_bound(Figure::Min);
        let valid = result.verdict.valid == Some(true);
        let failed = result.requests.failed as f64 / result.requests.scheduled.max(1) as f64;
        Self {
            rate,
            met: valid && kept_up && result.thresholds.iter().all(|condition| condition.met),
            p99_us: response.p99,
            errors: (failed * 1e9).round() / 1e9,
            p50_us: response.p50,
            requests_per_second: result.requests_per_second,
            kept_up,
            valid,
            reasons: result.verdict.reasons,
            success: result.success,
            conditions: result.thresholds,
        }
    }

    /// For the search.
    pub fn outcome(&self) -> Outcome {
        match (self.valid, self.met) {
            (false, _) => Outcome::NotValid,
            (true, true) => Outcome::Met,
            (true, false) => Outcome::Missed,
        }
    }
}

impl FindResult {
    /// What `probes` have found.
    pub fn new(found: Found, probes: Vec<Probe>) -> Self {
        Self {
            rate: rounded(found.rate.unwrap_or(0.0)),
            slo: String::new(),
            limited_by: match found.limit {
                Limit::Objective => LimitName::Objective,
                Limit::Generator => LimitName::Generator,
                Limit::Highest => LimitName::To,
                Limit::Unfinished => LimitName::Interrupt,
            },
            url: String::new(),
            notes: notes(found, &probes),
            probes,
            interrupted: false,
            seed: 0,
        }
    }
}

fn notes(found: Found, probes: &[Probe]) -> Vec<String> {
    let mut notes = Vec::new();
    let not_valid: Vec<&Probe> = probes.iter().filter(|probe| !probe.valid).collect();
    if let Some(reason) = not_valid.last().and_then(|probe| probe.reasons.first()) {
        notes.push(format!(
            "{} of {} probes were not valid, so they tell nothing of the server; the last one: {reason}",
            not_valid.len(),
            probes.len()
        ));
    }
    if found.limit == Limit::Generator && found.rate.is_some() {
        notes.push(
            "the generator was the limit, not the server: the server may hold the objective at higher rates"
                .to_owned(),
        );
    }
    let left_open = |probe: &&Probe| {
        let mut missed = probe.conditions.iter().filter(|condition| !condition.met).peekable();
        probe.valid
            && probe.kept_up
            && missed.peek().is_some()
            && missed.all(threshold::Outcome::is_undecided)
    };
    let left_open = probes.iter().filter(left_open).count();
    if left_open > 0 {
        notes.push(format!(
            "{left_open} of {} probes missed the objective only because their ends cut off too many requests to tell; \
             longer probes (-d) cut off fewer",
            probes.len()
        ));
    }
    let at_rate = |probe: &&Probe| Some(probe.rate) == found.rate && probe.met;
    let success = probes.iter().filter(at_rate).filter_map(|probe| probe.success).fold(1.0, f64::min);
    if success < 0.999 {
        notes.push(format!(
            "at this rate only {success:.4} of the requests were answered with a status below 400; failing can be fast, so \
             add a condition such as success>99.9%"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> RunResult {
        let mut result = crate::result::tests::example();
        (result.verdict.valid, result.verdict.reasons) = (Some(true), Vec::new());
        result.thresholds.retain(|condition| condition.met);
        result.latency_us.response.lower_bounds.clear();
        result
    }

    #[test]
    fn a_probe_tells_the_server_from_the_generator() {
        let good = Probe::of(1_000.0, result());
        assert_eq!((good.outcome(), good.met, good.kept_up), (Outcome::Met, true, true));
        let mut slow = result();
        slow.thresholds[0].met = false;
        assert_eq!(Probe::of(1_000.0, slow).outcome(), Outcome::Missed);
        let mut behind = result();
        behind.latency_us.response.lower_bounds = Figure::ALL.to_vec();
        let behind = Probe::of(1_000.0, behind);
        assert_eq!((behind.outcome(), behind.kept_up), (Outcome::Missed, false));
        for valid in [None, Some(false)] {
            let mut starved = result();
            (starved.verdict.valid, starved.thresholds[0].met) = (valid, false);
            let starved = Probe::of(1_000.0, starved);
            assert_eq!((starved.outcome(), starved.met), (Outcome::NotValid, false));
        }
    }

    #[test]
    fn the_notes_tell_what_the_rate_hides() {
        let mut failing = Probe::of(1_000.0, result());
        failing.success = Some(0.5);
        let mut starved = Probe::of(2_000.0, result());
        (starved.valid, starved.reasons) = (false, vec!["it was late".to_owned()]);
        let found = Found { rate: Some(1_000.0), limit: Limit::Generator };
        let notes = notes(found, &[failing, starved]);
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[0].starts_with("1 of 2 probes were not valid") && notes[0].ends_with("it was late"));
        assert!(notes[2].contains("only 0.5000 of the requests"), "{notes:?}");
    }
}
