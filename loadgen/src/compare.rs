//! `ringtide compare`: saved results against each other, one on each side or sets of repeats.
//!
//! Two single results have no interval: nothing in them tells how much the next run would differ. So they show
//! differences and decide nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::decide::{Comparison, Metric, RESULTS_MIN, Rules};
use crate::error::Error;
use crate::result::{Figure, LoopName, RunResult, read_saved};

/// Fields of a plan that may differ: where the server is, how long a run took, and how the generator was run.
const MAY_DIFFER: [&str; 11] = [
    "url",
    "seed",
    "threads",
    "duration_s",
    "requests",
    "warmup_s",
    "timeout_s",
    "connect_timeout_s",
    "bind",
    "max_errors",
    "drain_s",
];

/// Saved results of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// What the messages call it.
    pub side: &'static str,
    /// The results, with the files that they are from.
    pub results: Vec<(PathBuf, RunResult)>,
}

impl Saved {
    /// Reads the results in `paths`: files, and folders with a result in each `.json` file.
    ///
    /// # Errors
    /// When there is none, or a file cannot be read or has no result in it.
    pub fn read(side: &'static str, paths: &[PathBuf]) -> Result<Self, Error> {
        let mut results = Vec::new();
        for path in paths {
            for file in files(path)? {
                let result = read_saved(&file)?;
                results.push((file, result));
            }
        }
        Ok(Self { side, results })
    }

    /// Results that were not saved.
    pub fn of(side: &'static str, results: impl IntoIterator<Item = RunResult>) -> Self {
        let named = |(index, result)| (PathBuf::from(format!("{side} {}", index + 1)), result);
        Self { side, results: results.into_iter().enumerate().map(named).collect() }
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| problem(path, format!("cannot be read: {error}"));
    if !path.is_dir() {
        if path.to_string_lossy().contains("://") && !path.exists() {
            let what = "is not a saved result; to compare servers, use `ringtide ab`";
            return Err(problem(path, what.to_owned()));
        }
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(problem(path, "the folder has no .json file".to_owned()));
    }
    Ok(files)
}

fn problem(path: &Path, problem: String) -> Error {
    Error::SavedResult { path: path.to_owned(), problem }
}

/// Compares the sides: A is the base.
///
/// # Errors
/// When plans differ in what the server was asked to do, or when no result of a side is valid.
pub fn compare(base: Saved, new: Saved, rules: Rules) -> Result<Comparison, Error> {
    let (first_path, first) = first_of(&base)?;
    first_of(&new)?;
    let mut environments = Vec::new();
    for (path, result) in base.results.iter().chain(&new.results) {
        let differences = differences(&plan_of(first), &plan_of(result));
        if !differences.is_empty() {
            return Err(problem(
                path,
                format!(
                    "its plan differs from that of {}, so a difference would prove nothing: {}",
                    first_path.display(),
                    differences.join("; ")
                ),
            ));
        }
        environments.extend(environment_differences(first, result).into_iter().map(|what| (path, what)));
    }
    let mut notes: Vec<String> = Vec::new();
    if let Some((path, what)) = environments.first() {
        notes.push(format!(
            "not all is the same beside the server: {what} ({} and {}); this may be what the figures show",
            first_path.display(),
            path.display()
        ));
    }
    let (mut excluded, mut reasons) = (0, Vec::new());
    let mut valid = |side: Saved| -> Result<Vec<RunResult>, Error> {
        let (mut kept, mut last) = (Vec::new(), None);
        for (path, result) in side.results {
            if result.verdict.valid == Some(true) {
                kept.push(result);
                continue;
            }
            let reason = result.verdict.reasons.first().map_or("it could not be judged", String::as_str);
            excluded += 1;
            reasons.push(format!("{}: {reason}", path.display()));
            last = Some((path, reason.to_owned()));
        }
        match last {
            Some((path, reason)) if kept.is_empty() => {
                Err(Error::NothingValid { side: side.side, path, reason })
            }
            _ => Ok(kept),
        }
    };
    let (a, b) = (valid(base)?, valid(new)?);
    let mut comparison = Comparison::of_sets(&a, &b, rules);
    if comparison.deciding().is_some_and(|difference| difference.interval95.is_none()) {
        notes.push(format!(
            "there is no interval, so nothing is decided: it takes {RESULTS_MIN} valid results on each side to tell a \
             difference from chance"
        ));
    }
    comparison.excluded = excluded;
    reasons.truncate(3);
    comparison.excluded_because = reasons;
    notes.append(&mut comparison.notes);
    comparison.notes = notes;
    Ok(comparison)
}

/// What decides by default: as in `ab`, the rate if the loop was closed, and the 99th percentile if it was open.
pub fn metric_of(base: &Saved) -> Metric {
    let first = base.results.first().map(|(_, result)| result.plan.mode);
    if first == Some(LoopName::Open) { Metric::Response(Figure::P99) } else { Metric::RequestsPerSecond }
}

fn first_of(side: &Saved) -> Result<(PathBuf, &RunResult), Error> {
    let first = side.results.first();
    let nothing = || problem(Path::new(side.side), "there is no result".to_owned());
    first.map(|(path, result)| (path.clone(), result)).ok_or_else(nothing)
}

/// What the server was asked to do.
fn plan_of(result: &RunResult) -> Map<String, Value> {
    let Ok(Value::Object(mut plan)) = serde_json::to_value(&result.plan) else { return Map::new() };
    let is_encrypted =
        Value::Bool(plan.get("url").and_then(Value::as_str).is_some_and(|url| url.starts_with("https:")));
    plan.retain(|name, _| !MAY_DIFFER.contains(&name.as_str()));
    plan.insert("https".to_owned(), is_encrypted);
    // A single stage takes as long as its run.
    if let Some([Value::Object(stage)]) =
        plan.get_mut("stages").and_then(Value::as_array_mut).map(Vec::as_mut_slice)
    {
        stage.remove("duration_s");
    }
    // Which authorities are trusted, and where secrets are logged, is no work of the server's.
    if let Some(Value::Object(tls)) = plan.get_mut("tls") {
        tls.retain(|name, _| !["insecure", "cacert", "cert", "keylog"].contains(&name.as_str()));
    }
    plan
}

fn differences(base: &Map<String, Value>, other: &Map<String, Value>) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, value) in base {
        let others = other.get(name).unwrap_or(&Value::Null);
        if value != others {
            differences.push(format!("`{name}` is {others} instead of {value}"));
        }
    }
    for (name, value) in other.iter().filter(|(name, _)| !base.contains_key(*name)) {
        differences.push(format!("`{name}` is {value} instead of null"));
    }
    differences
}

fn environment_differences(base: &RunResult, other: &RunResult) -> Option<String> {
    let (a, b) = (&base.environment, &other.environment);
    let path = |url: &str| {
        url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()))
    };
    let pairs = [
        ("the processor", a.cpu.clone(), b.cpu.clone()),
        ("the number of cores", a.cores.to_string(), b.cores.to_string()),
        ("the kernel", a.kernel.clone(), b.kernel.clone()),
        ("the driver", a.driver.clone(), b.driver.clone()),
        ("the generator's threads", base.plan.threads.to_string(), other.plan.threads.to_string()),
        ("ringtide's version", base.tool.version.clone(), other.tool.version.clone()),
        ("the path", path(&base.plan.url).unwrap_or_default(), path(&other.plan.url).unwrap_or_default()),
    ];
    let different = pairs.into_iter().find(|(_, a, b)| a != b);
    different.map(|(what, a, b)| format!("{what} was {a} and is {b}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Verdict;
    use crate::result::tests::example;

    const RULES: Rules = Rules { metric: Metric::RequestsPerSecond, min_effect: 0.01, seed: 1 };

    fn set(side: &'static str, rates: &[u64]) -> Saved {
        let result = |rate: &u64| {
            let mut result = example();
            (result.verdict.valid, result.verdict.reasons) = (Some(true), Vec::new());
            (result.requests.completed, result.success) = (*rate, Some(1.0));
            result
        };
        Saved::of(side, rates.iter().map(result))
    }

    #[test]
    fn two_results_show_a_difference_and_decide_nothing() {
        let compared =
            compare(set("base", &[1000]), set("new", &[500]), RULES).expect("they can be compared");
        assert_eq!(compared.verdict, Verdict::NoDifference);
        assert!(
            compared.notes.iter().any(|note| note.contains("nothing is decided")),
            "{:?}",
            compared.notes
        );
    }

    #[test]
    fn sets_decide_without_what_is_not_valid() {
        let mut new = set("new", &[900, 905, 895, 1]);
        new.results[3].1.verdict.valid = Some(false);
        new.results[3].1.verdict.reasons = vec!["it was starved".to_owned()];
        let compared = compare(set("base", &[1000, 1003, 997]), new.clone(), RULES).expect("comparable");
        assert_eq!((compared.verdict, compared.excluded), (Verdict::Slower, 1));
        assert_eq!(compared.excluded_because, ["new 4: it was starved"]);
        new.results.drain(..3);
        let error = compare(set("base", &[1000]), new, RULES).expect_err("nothing is valid").to_string();
        assert!(
            error.starts_with("no result of new is valid") && error.ends_with("new 4: it was starved"),
            "{error}"
        );
    }

    #[test]
    fn plans_that_ask_for_something_else_are_refused() {
        let mut new = set("new", &[1000, 1000]);
        new.results[1].1.plan.connections = 7;
        let error = compare(set("base", &[1000]), new, RULES).expect_err("they differ").to_string();
        assert!(error.starts_with("new 2: its plan differs from that of base 1"), "{error}");
        assert!(error.ends_with("`connections` is 7 instead of 50"), "{error}");
        // Where the server is, and for how long it was loaded, may differ.
        let mut elsewhere = set("new", &[1000]);
        let plan = &mut elsewhere.results[0].1.plan;
        (plan.url, plan.seed, plan.duration_s) = ("http://other:1/".to_owned(), 9, Some(3.0));
        plan.stages[0].duration_s = Some(3.0);
        let same = compare(set("base", &[1000]), elsewhere.clone(), RULES).expect("comparable");
        assert_eq!(same.notes.len(), 1, "{:?}", same.notes);
        elsewhere.results[0].1.environment.cpu = "Another Processor".to_owned();
        let other = compare(set("base", &[1000]), elsewhere.clone(), RULES).expect("comparable");
        assert!(other.notes[0].contains("was A Processor and is Another Processor"), "{:?}", other.notes);
        elsewhere.results[0].1.plan.url = "https://other:1/".to_owned();
        assert!(compare(set("base", &[1000]), elsewhere, RULES).is_err(), "one side encrypts");
    }

    #[test]
    fn nothing_compares_with_nothing() {
        let error = compare(set("base", &[1]), set("new", &[]), RULES).expect_err("nothing").to_string();
        assert_eq!(error, "new: there is no result");
    }
}
