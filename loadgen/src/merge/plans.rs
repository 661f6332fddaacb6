//! Whether several plans are parts of one test, and their sum.

use serde_json::Value;

use super::part::{MergeError, Part};
use crate::result::{PlanSummary, StageSummary};

/// What the generators have shares of.
const SUMMED: [&str; 6] = ["connections", "max_connections", "threads", "rate", "rate_end", "requests"];

/// What may differ without a word.
const FREE: [&str; 3] = ["seed", "bind", "stages"];

/// What may differ, and is told.
const TOLD: [&str; 3] = ["duration_s", "warmup_s", "drain_s"];

/// The plan of all together, and what a reader should know about it.
pub(super) fn merged(parts: &[Part]) -> Result<(PlanSummary, Vec<String>), MergeError> {
    let plan = |part: &Part| match serde_json::to_value(&part.result.plan) {
        Ok(Value::Object(plan)) => plan,
        _ => unreachable!("a plan is an object with strings as keys"),
    };
    let (first, mut notes) = (plan(&parts[0]), Vec::new());
    for part in &parts[1..] {
        let other = plan(part);
        for (field, ours) in &first {
            let theirs = &other[field];
            let is = |names: &[&str]| names.contains(&field.as_str());
            if ours == theirs || is(&FREE) || (is(&SUMMED) && ours.is_null() == theirs.is_null()) {
                continue;
            }
            if !is(&TOLD) {
                return Err(MergeError::Differ {
                    first: parts[0].file.clone(),
                    second: part.file.clone(),
                    field: format!("plan.{field}"),
                    ours: ours.to_string(),
                    theirs: theirs.to_string(),
                });
            }
            let files = format!("{} and {}", parts[0].file, part.file);
            notes.push(format!("{files} differ in plan.{field}: {ours} and {theirs}"));
        }
    }
    let plans = || parts.iter().map(|part| &part.result.plan);
    let sum = |of: fn(&PlanSummary) -> usize| plans().map(of).sum();
    let rate = |of: fn(&PlanSummary) -> Option<f64>| plans().map(of).sum::<Option<f64>>();
    let plan = PlanSummary {
        connections: sum(|plan| plan.connections),
        max_connections: sum(|plan| plan.max_connections),
        threads: sum(|plan| plan.threads),
        rate: rate(|plan| plan.rate),
        rate_end: rate(|plan| plan.rate_end),
        requests: plans().map(|plan| plan.requests).sum(),
        stages: stages(parts)?,
        ..parts[0].result.plan.clone()
    };
    Ok((plan, notes))
}

/// The stages with the sums of their rates. All parts must have as many, of the same lengths.
fn stages(parts: &[Part]) -> Result<Vec<StageSummary>, MergeError> {
    let mut sums = parts[0].result.plan.stages.clone();
    let lengths = |stages: &[StageSummary]| stages.iter().map(|stage| stage.duration_s).collect::<Vec<_>>();
    for part in &parts[1..] {
        let stages = &part.result.plan.stages;
        // One stage is a rate or a ramp, whose length is that of the run.
        if stages.len() != sums.len() || (stages.len() > 1 && lengths(stages) != lengths(&sums)) {
            return Err(MergeError::Differ {
                first: parts[0].file.clone(),
                second: part.file.clone(),
                field: "plan.stages".to_owned(),
                ours: format!("{} stages of {:?} s", sums.len(), lengths(&sums)),
                theirs: format!("{} of {:?} s", stages.len(), lengths(stages)),
            });
        }
        for (sum, stage) in sums.iter_mut().zip(stages) {
            sum.rate += stage.rate;
            sum.rate_end += stage.rate_end;
        }
    }
    Ok(sums)
}
