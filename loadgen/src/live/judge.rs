//! The verdict so far, by the rules of the verdict at the end, from what is known while the run goes on.

use std::time::Duration;

use super::threads::{Threads, Usage};
use crate::machine::MachineMeter;
use crate::metrics::{GeneratorFacts, Recorder, Times, Totals, WorkerFacts};
use crate::plan::Plan;
use crate::series::Second;
use crate::verdict::Verdict;
use crate::worker;

/// Judges a run again after each second.
pub(super) struct Judge {
    workers: usize,
    cpus: Option<Vec<usize>>,
    rate_mean: Option<f64>,
    /// What is known of the requests: counts, response times and the generator's own delays. The rest stays empty.
    totals: Totals,
    threads: Option<Threads>,
    /// From the first second on.
    machine: MachineMeter,
    /// The state at the end of the first second, with which each later one is compared.
    base: Option<State>,
    elapsed_s: f64,
}

struct State {
    elapsed_s: f64,
    usage: Vec<Usage>,
    spin_ns: Vec<u64>,
}

impl Judge {
    /// Allocates what it needs.
    pub(super) fn new(plan: &Plan) -> Self {
        let open = plan.open_loop();
        Self {
            workers: plan.threads,
            cpus: plan.cpus.clone(),
            rate_mean: open.map(crate::plan::OpenLoop::rate_mean),
            totals: Totals::merge([&Recorder::new(open.is_some())]),
            threads: None,
            machine: MachineMeter::begin(plan.cpus.as_deref()),
            base: None,
            elapsed_s: 0.0,
        }
    }

    /// The response times so far.
    pub(super) fn response(&self) -> &Times {
        &self.totals.latencies.response
    }

    /// Adds a second.
    pub(super) fn add(&mut self, second: &Second<'_>) {
        let Second { point, response, schedule_lag, ran_out, .. } = second;
        let counters = &mut self.totals.counters;
        counters.completed += point.completed;
        counters.failed += point.failed;
        counters.censored += point.censored;
        counters.descriptors_ran_out += ran_out.descriptors;
        counters.ports_ran_out += ran_out.ports;
        self.totals.latencies.response.add(response);
        if !schedule_lag.is_empty() {
            self.totals.latencies.schedule_lag.add(*schedule_lag).expect("the bounds are the same");
        }
        self.elapsed_s = point.at_s + point.duration_s;
    }

    /// The verdict on all seconds so far; `None` before there is anything to go by.
    pub(super) fn verdict(&mut self, second: &Second<'_>) -> Option<Verdict> {
        if self.threads.is_none() {
            self.threads = Threads::of_workers(self.workers);
        }
        let usage = self.threads.as_ref().and_then(Threads::read);
        let now = State {
            elapsed_s: self.elapsed_s,
            usage: usage.unwrap_or_default(),
            spin_ns: second.spin_ns.to_vec(),
        };
        let Some(base) = &self.base else {
            self.base = Some(now);
            self.machine = MachineMeter::begin(self.cpus.as_deref());
            return None;
        };
        let generator = GeneratorFacts {
            workers: base.facts_until(&now),
            machine: self.machine.end(),
            ..GeneratorFacts::default()
        };
        let elapsed = Duration::from_secs_f64(self.elapsed_s);
        Some(Verdict::judge(&self.totals, &generator, self.rate_mean, elapsed))
    }
}

impl State {
    /// What the workers have cost between the two; nothing where that is unknown.
    fn facts_until(&self, now: &Self) -> Vec<WorkerFacts> {
        let wall_ns = ((now.elapsed_s - self.elapsed_s) * 1e9) as u64;
        let cost = |index: usize| {
            let (before, after) = (self.usage.get(index)?, now.usage.get(index)?);
            let spin_ns = now.spin_ns.get(index)?.saturating_sub(*self.spin_ns.get(index)?);
            Some(WorkerFacts {
                wall_ns,
                user_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
                spin_ns,
                run_queue_wait_ns: after.run_queue_wait_ns.saturating_sub(before.run_queue_wait_ns),
                other_wakes: worker::other_wakes(wall_ns, 0),
                ..WorkerFacts::default()
            })
        };
        (0..now.spin_ns.len()).map(|index| cost(index).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_without_spinning_is_what_counts() {
        let state = |elapsed_s, cpu_ns, run_queue_wait_ns, spin_ns| State {
            elapsed_s,
            usage: vec![Usage { cpu_ns, run_queue_wait_ns }],
            spin_ns: vec![spin_ns],
        };
        let facts = state(1.0, 500, 70, 0).facts_until(&state(3.0, 1_800_000_500, 400_000_070, 800_000_000));
        assert!(
            (facts[0].busy_share() - 0.5).abs() < 1e-9 && (facts[0].run_queue_share() - 0.2).abs() < 1e-9
        );
        let unknown = State { usage: Vec::new(), ..state(3.0, 0, 0, 5) };
        assert_eq!(state(1.0, 500, 70, 0).facts_until(&unknown), [WorkerFacts::default()]);
    }
}
