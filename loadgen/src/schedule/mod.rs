//! When the requests of an open loop are due: one schedule for all workers, computed on demand and never stored.
//!
//! Nothing here waits or reads a clock; times are nanoseconds since the start of the measured part.

mod rate;

use std::sync::Arc;

use fastrand::Rng;

use self::rate::Rate;
use crate::plan::{Arrival, OpenLoop, Part, Replayed, Stage, Stop};

/// The arrivals that one worker has to send, in order.
///
/// Constant arrivals form one even grid over all workers. They are dealt out to the connections in turn, and each
/// worker takes those of its own connections ([`Part`]). Arrival k is due when the integral of the rate over all stages
/// reaches k, so a ramp is even with respect to its own rate, and no stage begins its count anew. Poisson arrivals are independent seeded processes, one per worker, at
/// a rate proportional to its connections.
///
/// Arrival k is computed from k, not from arrival k − 1, so nothing drifts, however long the run.
#[derive(Clone, Debug)]
pub struct Schedule {
    rate: Rate,
    /// The arrivals end when the integral of the rate reaches this.
    integral_end: f64,
    /// Remaining arrivals of this worker.
    left: u64,
    duration_ns: u64,
    process: Process,
    next_ns: Option<u64>,
}

#[derive(Clone, Debug)]
enum Process {
    /// The global index of this worker's next arrival.
    Grid { index: u64, part: Part },
    /// The integral of the total rate at this worker's last arrival. Summing loses less than one arrival in 10¹⁴, far
    /// below the randomness of the process.
    Poisson { integral: f64, step: f64, random: Rng },
    /// This worker's arrivals of a replay, and how many of them have come next.
    Replay { own: Arc<[Replayed]>, position: usize },
}

/// Unsent arrivals are counted in batches of this part of the remaining ones, so that counting takes no time.
const OVERDUE_PARTS: f64 = 8_192.0;

impl Schedule {
    /// The arrivals of one worker.
    ///
    /// # Panics
    /// When the worker does not exist, there are fewer connections than workers, or all rates are 0.
    pub fn new(open: &OpenLoop, stop: Stop, seed: u64, part: Part) -> Self {
        let Part { worker, workers, connections } = part;
        assert!(worker < workers && workers <= connections, "{part:?}");
        let is_replay = !open.replay.is_empty();
        let rate =
            if is_replay { Rate::new(&[Stage::endless(open.rate_mean())]) } else { Rate::new(&open.stages) };
        let duration_ns = open.duration_ns().into_iter().chain(stop.duration_ns()).min();
        let integral_end = duration_ns.map_or(f64::INFINITY, |ns| rate.integral_end(ns));
        let process = match open.arrival {
            _ if is_replay => {
                let is_own = |(index, _): &(usize, _)| index % connections % workers == worker;
                let own = open.replay.iter().enumerate().filter(is_own);
                let own = own.map(|(_, arrival)| *arrival).collect();
                Process::Replay { own, position: 0 }
            }
            Arrival::Constant => Process::Grid { index: worker as u64, part },
            Arrival::Poisson => {
                let mut seeds = Rng::with_seed(seed);
                let own = (0..=worker).fold(0, |_, _| seeds.u64(..));
                let gap = connections as f64 / part.connections_of(connections) as f64;
                Process::Poisson { integral: 0.0, step: gap, random: Rng::with_seed(own) }
            }
        };
        let mut schedule = Self {
            rate,
            integral_end,
            left: part.requests_of(stop),
            duration_ns: duration_ns.unwrap_or(u64::MAX),
            process,
            next_ns: None,
        };
        schedule.advance();
        schedule
    }

    /// When the next arrival is due; `None` after the last.
    #[inline]
    pub fn peek_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// Which of the plan's requests it is, in a replay.
    #[inline]
    pub fn peek_request(&self) -> Option<u32> {
        match &self.process {
            Process::Replay { own, position } => Some(own.get(position.checked_sub(1)?)?.request),
            Process::Grid { .. } | Process::Poisson { .. } => None,
        }
    }

    /// Takes arrivals before `end_ns` that nobody will send: the time of one in their middle, and how many they are.
    /// It takes one at a time, unless there are very many, which then lie close together.
    pub fn next_overdue(&mut self, end_ns: u64) -> Option<(u64, u64)> {
        let mut due_ns = self.next_ns.filter(|due_ns| *due_ns <= end_ns)?;
        let integral_end = self.rate.integral(end_ns).min(self.integral_end);
        let mut count = 0;
        match &mut self.process {
            Process::Grid { index, part } => {
                // In whole rounds of all connections, which have the same number of this worker's arrivals.
                let round = part.connections as f64;
                let rounds = ((integral_end - *index as f64) / round / OVERDUE_PARTS).max(0.0) as u64;
                let own = part.connections_of(part.connections) as u64;
                let rounds = rounds.min(self.left / own);
                count = rounds * own;
                if count > 0 {
                    due_ns = self.rate.time_ns(*index as f64 + rounds as f64 * round / 2.0) as u64;
                    *index += rounds * part.connections as u64;
                }
            }
            Process::Poisson { integral, step, .. } => {
                let expected = ((integral_end - *integral) / *step / OVERDUE_PARTS).max(0.0) as u64;
                if expected > 1 {
                    count = expected.min(self.left);
                    due_ns = self.rate.time_ns(*integral + *step * count as f64 / 2.0) as u64;
                    *integral += *step * count as f64;
                }
            }
            Process::Replay { .. } => {}
        }
        self.left -= count;
        self.advance();
        Some((due_ns.min(end_ns), count + 1))
    }

    /// Whether all requests of the count have been taken; false without a count, or if the time was up first.
    pub fn is_complete(&self) -> bool {
        self.next_ns.is_none() && self.left == 0
    }

    /// How many arrivals before `end_ns` have not been taken. Takes none of them.
    pub fn overdue(&self, end_ns: u64) -> u64 {
        let mut rest = self.clone();
        std::iter::from_fn(|| rest.next_overdue(end_ns)).map(|(_, count)| count).sum()
    }

    fn advance(&mut self) {
        if self.left == 0 {
            self.next_ns = None;
            return;
        }
        let integral = match &mut self.process {
            Process::Grid { index, part: Part { worker, workers, connections } } => {
                let integral = *index as f64;
                let (connections, workers) = (*connections as u64, *workers as u64);
                let connection = *index % connections;
                *index += if connection + workers < connections {
                    workers
                } else {
                    // Skips to the worker's first connection of the next round.
                    connections - connection + *worker as u64
                };
                integral
            }
            Process::Poisson { integral, step, random } => {
                // f64() is below 1, so the logarithm is finite.
                *integral -= (1.0 - random.f64()).ln() * *step;
                *integral
            }
            Process::Replay { own, position } => {
                let next_ns = own.get(*position).map(|arrival| arrival.due_ns);
                *position += 1;
                self.next_ns = next_ns.filter(|due_ns| *due_ns < self.duration_ns);
                self.left -= u64::from(self.next_ns.is_some());
                return;
            }
        };
        self.next_ns = (integral < self.integral_end)
            // Rounding must not move an arrival out of the run.
            .then(|| (self.rate.time_ns(integral).round() as u64).min(self.duration_ns - 1));
        self.left -= u64::from(self.next_ns.is_some());
    }
}

impl Iterator for Schedule {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let due_ns = self.next_ns?;
        self.advance();
        Some(due_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Stage;
    use crate::testing::few_cases;

    /// With one connection per worker.
    fn part(worker: usize, workers: usize) -> Part {
        Part { worker, workers, connections: workers }
    }

    fn open(stages: &[Stage], arrival: Arrival) -> OpenLoop {
        OpenLoop { stages: stages.to_vec(), replay: Vec::new(), arrival, max_connections: 1 }
    }

    fn steady(rate: f64, arrival: Arrival) -> OpenLoop {
        open(&[Stage::endless(rate)], arrival)
    }

    fn stage(duration_ms: u64, rate_start: f64, rate_end: f64) -> Stage {
        Stage { duration_ns: Some(duration_ms * 1_000_000), rate_start, rate_end }
    }

    fn ramp(seconds: u64, start: f64, end: f64, arrival: Arrival) -> OpenLoop {
        open(&[stage(seconds * 1000, start, end)], arrival)
    }

    fn seconds(seconds: u64) -> Stop {
        Stop::Duration { ns: seconds * 1_000_000_000 }
    }

    fn all(open: &OpenLoop, stop: Stop, seed: u64, workers: usize) -> Vec<u64> {
        let mut arrivals: Vec<u64> =
            (0..workers).flat_map(|worker| Schedule::new(open, stop, seed, part(worker, workers))).collect();
        arrivals.sort_unstable();
        arrivals
    }

    proptest! {
        #![proptest_config(few_cases(64))]

        #[test]
        fn the_workers_together_are_one_even_grid(
            rate in 1_u64..50_000, duration_ms in 1_u64..2_000, workers in 1_usize..9, more in 0_usize..9,
        ) {
            let stop = Stop::Duration { ns: duration_ms * 1_000_000 };
            let open = steady(rate as f64, Arrival::Constant);
            let connections = workers + more;
            let arrivals_of = |worker| Schedule::new(&open, stop, 1, Part { worker, workers, connections });
            for worker in 0..workers {
                let part = Part { worker, workers, connections };
                let (all, fair) = (rate as f64 * duration_ms as f64 / 1e3, part.connections_of(connections) as f64);
                let own = arrivals_of(worker).count() as f64;
                // Within one round of the connections.
                prop_assert!((own - all * fair / connections as f64).abs() <= fair, "{} of {}", own, all);
            }
            let mut arrivals: Vec<u64> = (0..workers).flat_map(arrivals_of).collect();
            arrivals.sort_unstable();
            prop_assert_eq!(arrivals.len() as u64, (rate * duration_ms).div_ceil(1000));
            for (k, &due_ns) in arrivals.iter().enumerate() {
                // Rounded to the nearest nanosecond, in integers.
                let exact = (k as u128 * 2_000_000_000 + u128::from(rate)) / (2 * u128::from(rate));
                prop_assert!(due_ns.abs_diff(exact as u64) <= u64::from(due_ns + 1 == duration_ms * 1_000_000));
            }
        }

        #[test]
        fn a_ramp_has_as_many_arrivals_as_its_integral(
            start in 0.0_f64..20_000.0, end in 0.0_f64..20_000.0, duration_ms in 1_u64..3_000, workers in 1_usize..5,
        ) {
            prop_assume!(start + end > 0.1);
            let ns = duration_ms * 1_000_000;
            let arrivals = all(&open(&[stage(duration_ms, start, end)], Arrival::Constant), Stop::Duration { ns }, 1, workers);
            let integral = f64::midpoint(start, end) * ns as f64 / 1e9;
            prop_assert_eq!(arrivals.len(), integral.ceil() as usize);
            for (k, &due_ns) in arrivals.iter().enumerate() {
                prop_assert!(due_ns < ns);
                let t = due_ns as f64 / 1e9;
                let at = start * t + (end - start) / (ns as f64 / 1e9) * t * t / 2.0;
                // The rounding of t to a nanosecond, times the highest rate; the last one may be drawn into the run.
                prop_assert!((at - k as f64).abs() < 1e-4, "arrival {} at integral {}", k, at);
            }
        }

        #[test]
        fn each_worker_goes_forward(rate in 0.01_f64..5_000.0, end in 0.01_f64..5_000.0, seed: u64, workers in 1_usize..5, poisson: bool) {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Constant };
            for worker in 0..workers {
                let mut schedule = Schedule::new(&ramp(1, rate, end, arrival), seconds(1), seed, part(worker, workers));
                let mut last = 0;
                while let Some(peeked) = schedule.peek_ns() {
                    prop_assert_eq!(schedule.next(), Some(peeked));
                    prop_assert!(peeked >= last && peeked < 1_000_000_000);
                    last = peeked;
                }
                prop_assert_eq!(schedule.next(), None);
            }
        }
    }

    #[test]
    fn overdue_arrivals_are_counted_without_going_through_them() {
        for (start, end, arrival) in [
            (1e9_f64, 1e9_f64, Arrival::Constant),
            (0.0, 2e9, Arrival::Constant),
            (1e9, 1e9, Arrival::Poisson),
            (3_000.0, 3_000.0, Arrival::Constant),
            (3_000.0, 3_000.0, Arrival::Poisson),
        ] {
            for stop in [seconds(100), Stop::Requests { count: 70_000_003, within_ns: None }] {
                if start.to_bits() != end.to_bits() && stop != seconds(100) {
                    continue;
                }
                let (mut count, mut sum_s, mut calls) = (0_u64, 0.0, 0);
                for worker in 0..2 {
                    let part = Part { worker, workers: 2, connections: 3 };
                    let mut schedule = Schedule::new(&ramp(100, start, end, arrival), stop, 1, part);
                    let (mut last_ns, before, overdue) = (0, count, schedule.overdue(99_999_999_999));
                    while let Some((due_ns, own)) = schedule.next_overdue(99_999_999_999) {
                        assert!(due_ns >= last_ns, "{due_ns} after {last_ns}");
                        last_ns = due_ns;
                        count += own;
                        sum_s += own as f64 * due_ns as f64 / 1e9;
                        calls += 1;
                    }
                    assert_eq!(overdue, count - before);
                }
                let all = f64::midpoint(start, end) * 100.0;
                let all = if stop == seconds(100) { all } else { all.min(70_000_003.0) };
                if arrival == Arrival::Constant {
                    assert_eq!(count, all as u64);
                } else {
                    assert!((count as f64 / all - 1.0).abs() < 0.01, "{count} of {all}");
                }
                // The mean of a ramp from nothing is at two thirds.
                let mean_s = if start > 0.0 { all / start / 2.0 } else { 200.0 / 3.0 };
                assert!(
                    (sum_s / count as f64 / mean_s - 1.0).abs() < 0.01,
                    "{} {mean_s}",
                    sum_s / count as f64
                );
                assert!(calls < 1_000_000, "{calls}");
            }
        }
    }

    #[test]
    fn a_rate_below_one_and_below_the_workers_is_kept() {
        let slow = steady(0.5, Arrival::Constant);
        assert_eq!(all(&slow, seconds(10), 1, 4), [0, 2, 4, 6, 8].map(|s| s * 1_000_000_000));
        assert_eq!(Schedule::new(&slow, seconds(10), 1, part(3, 4)).peek_ns(), Some(6_000_000_000));
        assert_eq!(Schedule::new(&slow, seconds(4), 1, part(3, 4)).peek_ns(), None);
    }

    #[test]
    fn nothing_drifts_over_a_day() {
        // Arrival k of worker 1 of 3, read after a day at 100,003/s (a rate that does not divide a second).
        let rate = 100_003_u64;
        let mut schedule =
            Schedule::new(&steady(rate as f64, Arrival::Constant), seconds(90_000), 1, part(1, 3));
        let k = 86_400 * rate / 3 * 3 + 1;
        schedule.process = Process::Grid { index: k, part: part(1, 3) };
        schedule.advance();
        let exact = (u128::from(k) * 2_000_000_000 + u128::from(rate)) / (2 * u128::from(rate));
        assert_eq!(schedule.peek_ns(), Some(exact as u64));
    }

    #[test]
    fn a_count_stops_at_the_count() {
        for arrival in [Arrival::Constant, Arrival::Poisson] {
            let arrivals = all(&steady(1000.0, arrival), Stop::Requests { count: 10, within_ns: None }, 3, 4);
            assert_eq!(arrivals.len(), 10);
        }
        let grid =
            all(&steady(1000.0, Arrival::Constant), Stop::Requests { count: 5, within_ns: None }, 3, 2);
        assert_eq!(grid, [0, 1, 2, 3, 4].map(|ms| ms * 1_000_000));
    }

    #[test]
    fn a_count_and_a_time_end_at_the_first_of_the_two() {
        for arrival in [Arrival::Constant, Arrival::Poisson] {
            let schedule = |count, ns| {
                let stop = Stop::Requests { count, within_ns: Some(ns) };
                let mut schedule = Schedule::new(&steady(1000.0, arrival), stop, 3, part(0, 1));
                assert!(!schedule.is_complete());
                (schedule.by_ref().count(), schedule.is_complete())
            };
            assert_eq!(schedule(10, 1_000_000_000), (10, true));
            let (count, complete) = schedule(10_000, 1_000_000_000);
            assert!((850..1150).contains(&count) && !complete, "{count}");
        }
        // A ramp takes its time, of which the count may leave a part.
        let stop = Stop::Requests { count: 5, within_ns: Some(10_000_000_000) };
        assert_eq!(all(&ramp(10, 0.0, 2.0, Arrival::Constant), stop, 3, 1).len(), 5);
    }

    #[test]
    fn poisson_follows_its_seed() {
        let poisson = ramp(1, 1000.0, 2000.0, Arrival::Poisson);
        assert_eq!(all(&poisson, seconds(1), 7, 3), all(&poisson, seconds(1), 7, 3));
        assert_ne!(all(&poisson, seconds(1), 7, 3), all(&poisson, seconds(1), 8, 3));
        let first = |worker| Schedule::new(&poisson, seconds(1), 7, part(worker, 2)).next();
        assert_ne!(first(0), first(1));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_variance_of_the_process() {
        // 200,000 gaps of the sum of 4 workers at 2,000/s: mean 500 µs, standard deviation the same.
        let arrivals = all(&steady(2000.0, Arrival::Poisson), seconds(100), 42, 4);
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 500e3 - 1.0).abs() < 0.01, "mean {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.015, "deviation {}", variance.sqrt());
        // Counts per 100 ms: the variance of a Poisson count is its mean, 200.
        let mut counts = vec![0.0_f64; 1000];
        for due_ns in &arrivals {
            counts[(due_ns / 100_000_000) as usize] += 1.0;
        }
        let dispersion = counts.iter().map(|count| (count - 200.0).powi(2)).sum::<f64>() / 1000.0 / 200.0;
        assert!((0.85..1.15).contains(&dispersion), "dispersion {dispersion}");
    }

    #[test]
    fn a_poisson_ramp_has_its_arrivals_where_the_rate_is() {
        // From 0 to 20,000/s in 10 s: a quarter of them in the first half.
        let arrivals = all(&ramp(10, 0.0, 20_000.0, Arrival::Poisson), seconds(10), 5, 3);
        let early = arrivals.iter().filter(|&&due_ns| due_ns < 5_000_000_000).count();
        let share = early as f64 / arrivals.len() as f64;
        assert!((share - 0.25).abs() < 0.01, "share {share}");
        assert!((arrivals.len() as f64 / 100_000.0 - 1.0).abs() < 0.02);
    }

    #[test]
    fn stages_follow_each_other_and_a_rate_of_0_is_a_pause() {
        let stages =
            [stage(1000, 10.0, 10.0), stage(1000, 0.0, 0.0), stage(500, 4.0, 4.0), stage(700, 0.0, 0.0)];
        let arrivals = all(&open(&stages, Arrival::Constant), seconds(9), 1, 3);
        let expected = (0..10).map(|k| k * 100).chain([2000, 2250]).map(|ms| ms * 1_000_000);
        assert_eq!(arrivals, expected.collect::<Vec<u64>>());
        // Nor does one arrival come at the end of a stage that rounding has made a little longer.
        let stages =
            [stage(300, 0.1, 0.3), stage(2900, 0.6, 0.6), stage(1000, 0.1, 0.3), stage(5000, 0.0, 0.0)];
        let requests: f64 = stages.iter().filter_map(Stage::requests).sum();
        assert!((requests - 2.0).abs() < 1e-9, "{requests}");
        let end = [&stages[..], &[stage(1000, 1.0, 1.0)]].concat();
        assert_eq!(all(&open(&end, Arrival::Constant), seconds(60), 1, 1)[2..], [9_200_000_000]);
    }

    /// Stages that together have an arrival, with fractions in their rates and times.
    fn some_stages() -> impl Strategy<Value = Vec<Stage>> {
        let rate = || prop_oneof![1 => Just(0.0), 2 => 0.0_f64..50.0, 2 => 0.0_f64..20_000.0];
        let one = (1_u64..2_000, rate(), rate(), any::<bool>())
            .prop_map(|(ms, start, end, flat)| stage(ms, start, if flat { start } else { end }));
        prop::collection::vec(one, 1..7).prop_filter("they have a request", |stages| {
            stages.iter().filter_map(Stage::requests).sum::<f64>() > 1.0
        })
    }

    proptest! {
        #![proptest_config(few_cases(64))]

        #[test]
        fn until_any_time_stages_have_as_many_arrivals_as_their_integral(
            stages in some_stages(), workers in 1_usize..5, at in 0.0_f64..1.0,
        ) {
            let open = open(&stages, Arrival::Constant);
            let all_ns = open.duration_ns().expect("each has an end");
            let arrivals = all(&open, Stop::Duration { ns: all_ns }, 1, workers);
            let all: f64 = stages.iter().filter_map(Stage::requests).sum();
            prop_assert!((arrivals.len() as f64 - all).abs() <= 1.0 + 1e-6, "{} of {}", arrivals.len(), all);
            prop_assert!(arrivals.last().is_none_or(|due_ns| *due_ns < all_ns));
            // Summed in small steps, unlike the schedule's own closed form.
            let until_ns = (all_ns as f64 * at) as u64;
            let (mut begun_ns, mut integral) = (0, 0.0);
            for stage in &stages {
                let ns = stage.duration_ns.expect("it has an end");
                let steps = 1000;
                for step in 0..steps {
                    let middle = (f64::from(step) + 0.5) / f64::from(steps);
                    let from = begun_ns as f64 + ns as f64 * f64::from(step) / f64::from(steps);
                    let part = ((until_ns as f64 - from) / (ns as f64 / f64::from(steps))).clamp(0.0, 1.0);
                    let rate = stage.rate_start + (stage.rate_end - stage.rate_start) * middle;
                    integral += rate * ns as f64 / 1e9 / f64::from(steps) * part;
                }
                begun_ns += ns;
            }
            let count = arrivals.iter().filter(|due_ns| **due_ns < until_ns).count() as f64;
            // One that is due just then, and what a step is off.
            prop_assert!((count - integral).abs() <= 1.1, "{} of {} until {}", count, integral, until_ns);
        }
    }

    #[test]
    fn poisson_stages_have_their_arrivals_where_the_rate_is() {
        let stages = [stage(2000, 5000.0, 5000.0), stage(1000, 0.0, 0.0), stage(2000, 0.0, 20_000.0)];
        let arrivals = all(&open(&stages, Arrival::Poisson), seconds(5), 7, 3);
        let within = |from_s: f64, to_s: f64| {
            arrivals.iter().filter(|due| (from_s * 1e9..to_s * 1e9).contains(&(**due as f64))).count() as f64
        };
        // Within five standard deviations.
        for (from_s, to_s, expected) in [(0.0, 2.0, 10_000.0), (3.0, 4.0, 5000.0), (4.0, 5.0, 15_000.0_f64)] {
            let counted = within(from_s, to_s);
            assert!((counted - expected).abs() < 5.0 * expected.sqrt(), "{counted} from {from_s} s");
        }
        assert!(within(2.0, 3.0) < 1.0);
    }

    #[test]
    fn a_replay_is_dealt_out_whole_and_in_order() {
        let arrival = |index: u32| Replayed { due_ns: u64::from(index / 3) * 1000, request: index };
        for (count, workers, connections) in [(1, 1, 1), (1, 4, 4), (10, 3, 3), (100, 2, 5), (101, 3, 7)] {
            let replay =
                OpenLoop { replay: (0..count).map(arrival).collect(), ..open(&[], Arrival::Constant) };
            let stop = |within_ns| Stop::Requests { count: count.into(), within_ns };
            let taken = |stop| {
                let mut all = Vec::new();
                for worker in 0..workers {
                    let mut schedule = Schedule::new(&replay, stop, 1, Part { worker, workers, connections });
                    let mut last_ns = 0;
                    while let (Some(request), Some(due_ns)) = (schedule.peek_request(), schedule.peek_ns()) {
                        assert!(due_ns >= last_ns);
                        last_ns = due_ns;
                        all.push((due_ns, request));
                        assert_eq!(schedule.next(), Some(due_ns));
                    }
                    assert!(schedule.is_complete() || stop.duration_ns().is_some());
                }
                all.sort_unstable();
                all
            };
            let whole: Vec<_> = (0..count).map(|index| (arrival(index).due_ns, index)).collect();
            assert_eq!(taken(stop(None)), whole);
            // Some come due only at the end or after it.
            if count > 9 {
                assert_eq!(taken(stop(Some(3000))), whole[..9]);
                let schedule =
                    Schedule::new(&replay, stop(None), 1, Part { worker: 0, workers: 1, connections: 1 });
                assert_eq!((schedule.overdue(1000), schedule.overdue(u64::MAX)), (6, count.into()));
            }
        }
    }

    #[test]
    fn overdue_arrivals_of_stages_are_counted() {
        let stages = [stage(10_000, 1e6, 1e6), stage(5000, 0.0, 0.0), stage(5000, 1e7, 1e7)];
        let mut schedule = Schedule::new(&open(&stages, Arrival::Constant), seconds(100), 1, part(0, 1));
        assert_eq!(schedule.overdue(12_000_000_000), 10_000_000);
        assert_eq!(schedule.overdue(60_000_000_000), 60_000_000);
        assert_eq!(schedule.by_ref().take_while(|due_ns| *due_ns < 500).count(), 1);
        assert_eq!(schedule.overdue(16_000_000_000), 19_999_999);
    }
}
