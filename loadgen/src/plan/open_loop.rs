//! The schedule of an open loop: its stages, and how it is kept.

use serde::{Deserialize, Serialize};

/// The schedule of an open loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenLoop {
    /// The rate over time. Not empty, and not 0 throughout, without a replay. The run ends with the last stage if not before.
    pub stages: Vec<Stage>,
    /// Instead of stages: requests with their times, in the order of these.
    #[serde(default)]
    pub replay: Vec<Replayed>,
    /// How arrivals are spaced.
    pub arrival: Arrival,
    /// How many connections may be open while all are busy. At least `Plan::connections`.
    pub max_connections: usize,
}

/// A request of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// When it is due, from the start of the measured part.
    pub due_ns: u64,
    /// Which of the plan's requests.
    pub request: u32,
}

/// A part of an open loop, at a constant rate or on a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How long it takes, not 0. Only the last stage, at a constant rate, may have no end of its own.
    pub duration_ns: Option<u64>,
    /// Requests per second in all, at the start. Finite and not negative.
    pub rate_start: f64,
    /// And at the end. In between, the rate changes linearly in time.
    pub rate_end: f64,
}

/// How the arrivals of an open loop are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Evenly.
    #[default]
    Constant,
    /// Independently of each other: exponential gaps.
    Poisson,
}

impl OpenLoop {
    /// Constant arrivals at `rate` for as long as the run takes.
    pub fn steady(rate: f64, max_connections: usize) -> Self {
        let arrival = Arrival::default();
        Self { stages: vec![Stage::endless(rate)], replay: Vec::new(), arrival, max_connections }
    }

    /// The same at one rate, for a warm-up: the first one that is not 0.
    #[must_use]
    pub fn warm_up(&self) -> Self {
        let rates = self.stages.iter().flat_map(|stage| [stage.rate_start, stage.rate_end]);
        // A replay has only the mean of a rate.
        let first = rates.into_iter().find(|rate| *rate > 0.0).unwrap_or_else(|| self.rate_mean());
        let Self { arrival, max_connections, .. } = *self;
        Self { stages: vec![Stage::endless(first)], replay: Vec::new(), arrival, max_connections }
    }

    /// How long all stages take; `None` if the last one has no end, and for a replay, which ends with its last answer.
    pub fn duration_ns(&self) -> Option<u64> {
        if !self.replay.is_empty() {
            return None;
        }
        self.stages.iter().map(|stage| stage.duration_ns).sum()
    }

    /// How many requests come due from `from_ns` to `to_ns` after the start, perhaps not a whole number.
    pub fn due_between(&self, from_ns: u64, to_ns: u64) -> f64 {
        if self.replay.is_empty() {
            return self.due_by(to_ns) - self.due_by(from_ns);
        }
        let before = |ns| self.replay.partition_point(|arrival| arrival.due_ns < ns);
        before(to_ns) as f64 - before(from_ns) as f64
    }

    fn due_by(&self, ns: u64) -> f64 {
        let (mut left_ns, mut due) = (ns, 0.0);
        for stage in &self.stages {
            let passed_ns = left_ns.min(stage.duration_ns.unwrap_or(u64::MAX));
            let part = stage.duration_ns.map_or(0.0, |ns| passed_ns as f64 / ns as f64);
            let rate = stage.rate_start + (stage.rate_end - stage.rate_start) * part;
            due += f64::midpoint(stage.rate_start, rate) * passed_ns as f64 / 1e9;
            left_ns -= passed_ns;
        }
        due
    }

    /// The mean rate.
    pub fn rate_mean(&self) -> f64 {
        if let Some(last) = self.replay.last() {
            // All at once are as many as in a second.
            let duration_s = if last.due_ns > 0 { last.due_ns as f64 / 1e9 } else { 1.0 };
            return self.replay.len() as f64 / duration_s;
        }
        match self.duration_ns() {
            Some(ns) => self.stages.iter().filter_map(Stage::requests).sum::<f64>() * 1e9 / ns as f64,
            // What came before takes no part of a time without end.
            None => self.stages.last().map_or(0.0, Stage::mean),
        }
    }
}

impl Stage {
    /// A constant rate that goes on to the end of the run.
    pub fn endless(rate: f64) -> Self {
        Self { duration_ns: None, rate_start: rate, rate_end: rate }
    }

    /// Its mean rate.
    pub fn mean(&self) -> f64 {
        f64::midpoint(self.rate_start, self.rate_end)
    }

    /// How many requests come due in it, perhaps not a whole number; `None` if it has no end.
    pub fn requests(&self) -> Option<f64> {
        Some(self.mean() * self.duration_ns? as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(stages: &[(Option<u64>, f64, f64)]) -> OpenLoop {
        let stage = |&(duration_ns, rate_start, rate_end)| Stage { duration_ns, rate_start, rate_end };
        OpenLoop { stages: stages.iter().map(stage).collect(), ..OpenLoop::steady(1.0, 1) }
    }

    #[test]
    fn a_warm_up_runs_at_the_first_rate_that_is_one() {
        for (stages, rate) in [
            (&[(Some(1), 10.0, 50.0)][..], 10.0),
            (&[(Some(1), 0.0, 50.0)], 50.0),
            (&[(Some(1), 0.0, 0.0), (None, 7.0, 7.0)], 7.0),
        ] {
            assert_eq!(open(stages).warm_up(), open(&[(None, rate, rate)]));
        }
    }

    #[test]
    fn a_replay_is_warmed_up_for_at_its_mean_rate() {
        let replay = |times: &[u64]| {
            let arrival = |due_ns: &u64| Replayed { due_ns: *due_ns, request: 0 };
            OpenLoop {
                stages: Vec::new(),
                replay: times.iter().map(arrival).collect(),
                ..OpenLoop::steady(1.0, 1)
            }
        };
        assert_eq!(replay(&[0, 0, 500_000_000]).warm_up(), OpenLoop::steady(6.0, 1));
        assert_eq!(replay(&[0, 0]).warm_up(), OpenLoop::steady(2.0, 1));
        assert_eq!(replay(&[5]).duration_ns(), None);
    }

    #[test]
    fn what_is_due_in_a_second_follows_the_stages() {
        const SECOND: u64 = 1_000_000_000;
        let open = open(&[(Some(2 * SECOND), 0.0, 100.0), (Some(SECOND), 7.0, 7.0)]);
        for (from, to, due) in [(0, 1, 25.0), (1, 2, 75.0), (2, 3, 7.0), (3, 4, 0.0), (0, 9, 107.0)] {
            let is = open.due_between(from * SECOND, to * SECOND);
            assert!((is - due).abs() < 1e-9, "{from} {to} {is}");
        }
        let arrival = |due_ns| Replayed { due_ns, request: 0 };
        let replay = OpenLoop { replay: vec![arrival(0), arrival(5), arrival(SECOND)], ..open };
        assert!((replay.due_between(0, SECOND) - 2.0).abs() < 1e-9);
        assert!((replay.due_between(SECOND, 2 * SECOND) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_mean_is_that_of_the_time() {
        for (stages, mean, duration_ns) in [
            (&[(None, 7.0, 7.0)][..], 7.0, None),
            (&[(Some(3), 10.0, 50.0)], 30.0, Some(3)),
            (&[(Some(3), 10.0, 10.0), (Some(1), 0.0, 100.0)], 20.0, Some(4)),
            (&[(Some(3), 10.0, 10.0), (None, 5.0, 5.0)], 5.0, None),
        ] {
            let open = open(stages);
            assert!((open.rate_mean() - mean).abs() < 1e-9, "{stages:?}");
            assert_eq!(open.duration_ns(), duration_ns);
        }
    }
}
