//! What the live view shows: plain data, brought up to date once a second.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::history::{Entry, History};
use super::judge::Judge;
use super::reserve::Reserve;
use crate::metrics::histogram;
use crate::plan::{OpenLoop, Plan};
use crate::ranges::{Range, ranges};
use crate::series::{Point, ResponseUs, Second};
use crate::verdict::Verdict;

/// A response time in microseconds, and whether the true one may be longer; `None` without any.
pub(super) type Time = Option<(f64, bool)>;

/// Figures of a second, or of all so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) rate: f64,
    /// What the schedule asks for; `None` in a closed loop.
    pub(super) asked: Option<f64>,
    /// p50, p90, p99 and the longest.
    pub(super) times: [Time; 4],
}

/// All of it.
#[derive(Debug)]
pub(super) struct Figures {
    /// Seconds that these are of.
    pub(super) seconds: u64,
    /// The last second,
    pub(super) last: Part,
    /// and the whole run so far.
    pub(super) all: Part,
    pub(super) completed: u64,
    pub(super) failed: u64,
    /// By the class of the status: 1xx to 5xx.
    pub(super) status: [u64; 5],
    /// By kind.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) connections: u64,
    pub(super) opened: u64,
    pub(super) in_flight: u64,
    /// Due, and without a connection.
    pub(super) waiting: u64,
    /// Response times of completed requests so far.
    pub(super) ranges: Vec<Range>,
    pub(super) history: History,
    pub(super) verdict: Option<Verdict>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            seconds: 0,
            last: Part::default(),
            all: Part::default(),
            completed: 0,
            failed: 0,
            status: [0; 5],
            errors: BTreeMap::new(),
            connections: 0,
            opened: 0,
            in_flight: 0,
            waiting: 0,
            ranges: Vec::new(),
            history: History::new(),
            verdict: None,
        }
    }
}

impl Figures {
    /// Takes the place of `other`. The large part of it does not allocate.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.history.copy_from(&other.history);
        self.errors.clone_from(&other.errors);
        self.ranges.clone_from(&other.ranges);
        self.verdict.clone_from(&other.verdict);
        (self.seconds, self.last, self.all) = (other.seconds, other.last, other.all);
        (self.completed, self.failed, self.status) = (other.completed, other.failed, other.status);
        (self.connections, self.opened) = (other.connections, other.opened);
        (self.in_flight, self.waiting) = (other.in_flight, other.waiting);
    }
}

/// Makes the figures, a second after the other.
pub(super) struct Maker {
    open: Option<OpenLoop>,
    judge: Judge,
    asked: f64,
    elapsed_s: f64,
    scratch: Histogram<u64>,
    reserve: Reserve,
}

impl Maker {
    /// For a run of `plan`. Allocates what it needs.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            open: plan.open_loop().cloned(),
            judge: Judge::new(plan),
            asked: 0.0,
            elapsed_s: 0.0,
            scratch: histogram(),
            reserve: Reserve::new(),
        }
    }

    /// Computes what a second changes. What is returned enters the figures at once, so that nobody waits for the work.
    pub(super) fn take(&mut self, second: &Second<'_>) -> Update {
        let Self { open, judge, asked, elapsed_s, scratch, reserve } = self;
        let point = second.point;
        *elapsed_s = point.at_s + point.duration_s;
        let asked_now =
            open.as_ref().map(|open| open.due_between((point.at_s * 1e9) as u64, (*elapsed_s * 1e9) as u64));
        *asked += asked_now.unwrap_or(0.0);
        reserve.lend(|| {
            judge.add(second);
            let response = judge.response();
            Update {
                last: Part {
                    rate: point.requests_per_second,
                    asked: asked_now.map(|asked| asked / point.duration_s.max(1e-9)),
                    times: times(&point.response_us),
                },
                asked_mean: asked_now.map(|_| *asked / elapsed_s.max(1e-9)),
                elapsed_s: *elapsed_s,
                times: times(&ResponseUs::of(response, scratch)),
                ranges: ranges(&response.exact),
                verdict: judge.verdict(second),
            }
        })
    }
}

/// What a second changes.
pub(super) struct Update {
    last: Part,
    asked_mean: Option<f64>,
    elapsed_s: f64,
    times: [Time; 4],
    ranges: Vec<Range>,
    verdict: Option<Verdict>,
}

impl Update {
    /// Brings `figures` up to date.
    pub(super) fn enter(self, point: &Point, figures: &mut Figures) {
        let Self { last, asked_mean, elapsed_s, times, ranges, verdict } = self;
        figures.seconds += 1;
        figures.completed += point.completed;
        figures.failed += point.failed;
        for (sum, (_, count)) in figures.status.iter_mut().zip(point.status.named()) {
            *sum += count;
        }
        for (kind, count) in &point.errors {
            match figures.errors.get_mut(kind) {
                Some(sum) => *sum += count,
                None => drop(figures.errors.insert(kind.clone(), *count)),
            }
        }
        (figures.connections, figures.opened) = (point.connections, point.connections_opened);
        (figures.in_flight, figures.waiting) = (point.in_flight, point.waiting);
        let us = |time: Time| time.map_or(0.0, |(us, _)| us);
        let [p50, p90, p99, _] = last.times.map(us);
        figures.history.push(Entry { seconds: 1, rate: last.rate, p50, p90, p99 });
        figures.last = last;
        let rate = figures.completed as f64 / elapsed_s.max(1e-9);
        figures.all = Part { rate, asked: asked_mean, times };
        figures.ranges = ranges;
        figures.verdict = verdict;
    }
}

fn times(figures: &ResponseUs) -> [Time; 4] {
    let ResponseUs { p50, p90, p99, max, lower_bounds, .. } = figures;
    [("p50", p50), ("p90", p90), ("p99", p99), ("max", max)]
        .map(|(name, us)| us.map(|us| (us, lower_bounds.iter().any(|bound| bound == name))))
}
