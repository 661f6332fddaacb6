//! The schedule of an open loop: its stages, and how it is kept.

use serde::{Deserialize, Serialize};

/// The schedule of an open loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenLoop {
    /// The rate over time. Not empty, and not 0 throughout. The run ends with the last stage if not before.
    pub stages: Vec<Stage>,
    /// How arrivals are spaced.
    pub arrival: Arrival,
    /// How many connections may be open while all are busy. At least `Plan::connections`.
    pub max_connections: usize,
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
        Self { stages: vec![Stage::endless(rate)], arrival: Arrival::default(), max_connections }
    }

    /// The same at one rate, for a warm-up: the first one that is not 0.
    #[must_use]
    pub fn warm_up(&self) -> Self {
        let rates = self.stages.iter().flat_map(|stage| [stage.rate_start, stage.rate_end]);
        let first = rates.into_iter().find(|rate| *rate > 0.0).unwrap_or_default();
        Self { stages: vec![Stage::endless(first)], ..self.clone() }
    }

    /// How long all stages take; `None` if the last one has no end.
    pub fn duration_ns(&self) -> Option<u64> {
        self.stages.iter().map(|stage| stage.duration_ns).sum()
    }

    /// The mean rate.
    pub fn rate_mean(&self) -> f64 {
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
