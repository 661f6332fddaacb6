//! `ringtide find`: the highest rate at which a server holds an objective, by probes at constant rates.
//!
//! Each probe is an open loop, so that a server that falls behind shows it in its response times. Which rate comes
//! next is for `decide`.

use crate::cli::FindPlan;
use crate::decide::{FindResult, Probe, Search, Step};
use crate::error::Error;
use crate::plan::{Mode, Plan, Stage, Stop};
use crate::runs::Runs;

/// The search ends when the highest rate is known to within this share.
pub const PRECISION: f64 = 0.02;

/// Searches. `progress` is called after each probe.
///
/// # Errors
/// When a run fails as a whole, such as when nothing connects.
pub fn search(plan: &FindPlan, runs: &Runs, mut progress: impl FnMut(&Probe)) -> Result<FindResult, Error> {
    let mut search = Search::new(plan.lowest, plan.highest, PRECISION);
    let mut probes = Vec::new();
    let found = loop {
        let rate = match search.next() {
            Step::Done(found) => break found,
            Step::Probe(rate) => rate,
        };
        let Some(result) = runs.run(probe_at(plan, rate, probes.len()))? else { break search.so_far() };
        let probe = Probe::of(rate, result);
        search.record(rate, probe.outcome());
        progress(&probe);
        probes.push(probe);
    };
    let mut result = FindResult::new(found, probes);
    result.slo.clone_from(&plan.slo);
    result.url.clone_from(&plan.probe.url.text);
    result.seed = plan.probe.seed;
    result.interrupted = runs.is_stopped();
    Ok(result)
}

fn probe_at(plan: &FindPlan, rate: f64, index: usize) -> Plan {
    let mut probe = plan.probe.clone();
    probe.stop = Stop::Duration { ns: plan.duration_ns };
    probe.seed = plan.probe.seed.wrapping_add(index as u64);
    if let Mode::Open(open) = &mut probe.mode {
        open.stages = vec![Stage::endless(rate)];
    }
    probe
}
