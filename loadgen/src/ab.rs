//! `ringtide ab`: measures two URLs in many short pairs and decides whether they differ.
//!
//! Each pair is a slice of A and one of B in random order, one right after the other. So what disturbs the machine for
//! longer than a pair disturbs both, and what disturbs it for less is random in its sign. Each slice opens its own
//! connections; its first part is discarded, which covers the connects, the handshakes and the first answers on them.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::cli::{AbPlan, SLICE_MEASURED_MIN_NS};
use crate::decide::{Comparison, Metric};
use crate::error::Error;
use crate::plan::{Plan, Stop};
use crate::result::{Figure, RunResult};
use crate::runs::Runs;

/// The part of a slice that is discarded, beside the measured one.
const DISCARDED_SHARE: f64 = 0.2;

/// A slice measures so many times the median response, so that those that its end cuts off are few.
const RESPONSES_PER_SLICE: f64 = 20.0;

/// And so many times the requests that the deciding metric needs at least.
const REQUESTS_FACTOR: f64 = 2.0;

/// Long slices leave at least so many pairs.
const PAIRS_WANTED_MIN: u64 = 10;

/// Reasons of pairs that do not count: so many are told.
const REASONS_MAX: usize = 3;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The part of the time that has passed, from 0 to 1.
    pub share: f64,
    /// The pairs that count so far,
    pub pairs: usize,
    /// and those that do not.
    pub excluded: usize,
}

/// Measures the pairs and compares them. `progress` is called after each pair.
///
/// # Errors
/// When a run fails as a whole, such as when nothing connects.
pub fn measure(plan: &AbPlan, runs: &Runs, mut progress: impl FnMut(Progress)) -> Result<Comparison, Error> {
    let started = Instant::now();
    let mut pairs = Vec::new();
    let mut excluded = 0;
    let mut reasons: Vec<String> = Vec::new();
    let mut took = Duration::ZERO;
    if let Some(slice) = warm_up(plan, runs)? {
        let mut order = Rng::with_seed(plan.rules.seed);
        let begun = Instant::now();
        let duration = Duration::from_nanos(plan.duration_ns);
        let mut done = 0;
        loop {
            let elapsed = begun.elapsed();
            let expected = if done > 0 { elapsed / done } else { slice.expected() * 2 };
            if elapsed + expected > duration && (done > 0 || runs.is_stopped()) {
                break;
            }
            let Some((a, b)) = pair(plan, slice, &mut order, runs)? else { break };
            done += 1;
            match why_not_valid(&a, &b) {
                None => pairs.push((a, b)),
                Some(reason) => {
                    excluded += 1;
                    let is_told = reasons.iter().any(|told| is_same_but_for_numbers(told, &reason));
                    if reasons.len() < REASONS_MAX && !is_told {
                        reasons.push(reason);
                    }
                }
            }
            let share = (begun.elapsed().as_secs_f64() / duration.as_secs_f64()).min(1.0);
            progress(Progress { share, pairs: pairs.len(), excluded });
        }
        took = begun.elapsed();
    }
    let mut comparison = Comparison::of_pairs(&pairs, plan.rules);
    comparison.excluded = excluded;
    comparison.excluded_because = reasons;
    comparison.duration_s = Some((took.as_secs_f64() * 1e3).round() / 1e3);
    comparison.interrupted = runs.is_stopped();
    if comparison.interrupted {
        let ran = started.elapsed().as_secs_f64();
        comparison.notes.insert(0, format!("interrupted after {ran:.1} s: this is what was reached"));
    }
    Ok(comparison)
}

/// Whether one sentence says what the other one says, with other figures.
fn is_same_but_for_numbers(a: &str, b: &str) -> bool {
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split_whitespace().filter(|word| !word.starts_with(|first: char| first.is_ascii_digit()))
    }
    words(a).eq(words(b))
}

/// The times of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    discarded_ns: u64,
    measured_ns: u64,
}

impl Slice {
    /// `longest_ns` is for one side of a pair; `of_each` has what was seen of each side in the warm-up.
    fn choose(metric: Metric, longest_ns: u64, of_each: [Seen; 2]) -> Self {
        let needed_ns = of_each.map(|Seen { requests_per_second, response_p50_us }| {
            let requests = metric.requests_min() as f64 * REQUESTS_FACTOR;
            let for_requests_ns = requests / requests_per_second * 1e9;
            for_requests_ns.max(RESPONSES_PER_SLICE * response_p50_us * 1e3)
        });
        let longest_ns = longest_ns as f64 / (1.0 + DISCARDED_SHARE);
        let least_ns = SLICE_MEASURED_MIN_NS as f64;
        let measured_ns = needed_ns[0].max(needed_ns[1]).min(longest_ns).max(least_ns);
        Self { discarded_ns: (measured_ns * DISCARDED_SHARE) as u64, measured_ns: measured_ns as u64 }
    }

    fn expected(self) -> Duration {
        Duration::from_nanos(self.discarded_ns + self.measured_ns)
    }
}

/// What a warm-up shows of a side.
#[derive(Clone, Copy, Debug)]
struct Seen {
    requests_per_second: f64,
    response_p50_us: f64,
}

impl Seen {
    fn of(result: &RunResult) -> Self {
        let no_answer_us = result.duration_s * 1e6;
        Self {
            // Not 0, so that the time for one request is a number.
            requests_per_second: result.requests_per_second.max(1e-3),
            response_p50_us: result.latency_us.response.figure(Figure::P50).unwrap_or(no_answer_us),
        }
    }
}

/// Runs each side for a while; returns how long slices should be. `None` if it was ended early.
fn warm_up(plan: &AbPlan, runs: &Runs) -> Result<Option<Slice>, Error> {
    let mut seen = Vec::with_capacity(2);
    for side in [&plan.a, &plan.b] {
        let mut warm = side.clone();
        (warm.stop, warm.warmup_ns) = (Stop::Duration { ns: plan.warmup_ns }, 0);
        let Some(result) = runs.run(warm)? else { return Ok(None) };
        seen.push(Seen::of(&result));
    }
    let longest_ns = plan.duration_ns / (2 * PAIRS_WANTED_MIN);
    Ok(Some(Slice::choose(plan.rules.metric, longest_ns, [seen[0], seen[1]])))
}

/// One slice of each side, in random order: A's and B's results. `None` if it was ended early.
fn pair(
    plan: &AbPlan,
    slice: Slice,
    order: &mut Rng,
    runs: &Runs,
) -> Result<Option<(RunResult, RunResult)>, Error> {
    let b_is_first = order.bool();
    // The same for both, so that they have the same arrivals.
    let seed = u64::from(order.u32(1..));
    let side = |side: &Plan| {
        let mut plan = side.clone();
        (plan.stop, plan.warmup_ns) = (Stop::Duration { ns: slice.measured_ns }, slice.discarded_ns);
        plan.seed = seed;
        runs.run(plan)
    };
    let (first, second) = if b_is_first { (&plan.b, &plan.a) } else { (&plan.a, &plan.b) };
    let Some(first) = side(first)? else { return Ok(None) };
    let Some(second) = side(second)? else { return Ok(None) };
    Ok(Some(if b_is_first { (second, first) } else { (first, second) }))
}

/// Why a pair does not count.
fn why_not_valid(a: &RunResult, b: &RunResult) -> Option<String> {
    let of_side = |name: &str, result: &RunResult| {
        let verdict = &result.verdict;
        let reason = verdict.reasons.first().map_or("it could not be judged", String::as_str);
        (verdict.valid != Some(true)).then(|| format!("{name}: {reason}"))
    };
    of_side("A", a).or_else(|| of_side("B", b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Seen = Seen { requests_per_second: 50_000.0, response_p50_us: 900.0 };

    #[test]
    fn slices_are_short_unless_they_would_see_too_little() {
        let second = 1_000_000_000;
        let of = |metric, seen| Slice::choose(metric, second, seen).measured_ns;
        assert_eq!(of(Metric::RequestsPerSecond, [FAST, FAST]), SLICE_MEASURED_MIN_NS);
        let slow = Seen { response_p50_us: 30_000.0, ..FAST };
        assert_eq!(of(Metric::RequestsPerSecond, [FAST, slow]), 600_000_000);
        let few = Seen { requests_per_second: 400.0, ..FAST };
        assert_eq!(of(Metric::Response(Figure::P99), [few, FAST]), 500_000_000);
        let none = Seen { requests_per_second: 1e-3, response_p50_us: 300_000.0 };
        let longest = Slice::choose(Metric::RequestsPerSecond, second, [none, FAST]);
        assert!(longest.expected() <= Duration::from_secs(1), "{longest:?}");
        assert!(longest.expected() > Duration::from_millis(990), "{longest:?}");
    }

    #[test]
    fn a_reason_is_told_once_whatever_its_figures() {
        let waited = |share: &str| format!("A: the generator waited {share} of the time");
        assert!(is_same_but_for_numbers(&waited("60 %"), &waited("63 %")));
        assert!(!is_same_but_for_numbers(&waited("60 %"), "B: the generator waited 60 % of the time"));
        assert!(!is_same_but_for_numbers(&waited("60 %"), "A: the generator"));
    }

    #[test]
    fn a_pair_counts_if_both_sides_are_valid() {
        let mut a = crate::result::tests::example();
        (a.verdict.valid, a.verdict.reasons) = (Some(true), Vec::new());
        let mut b = a.clone();
        assert_eq!(why_not_valid(&a, &b), None);
        (b.verdict.valid, b.verdict.reasons) = (Some(false), vec!["the generator was late".to_owned()]);
        assert_eq!(why_not_valid(&a, &b).as_deref(), Some("B: the generator was late"));
        b.verdict.valid = None;
        assert!(why_not_valid(&b, &a).is_some_and(|reason| reason.starts_with("A: ")));
    }
}
