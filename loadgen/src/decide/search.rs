//! The search for the highest rate that holds an objective: which rate to probe next, from what the probes so far
//! have shown.
//!
//! It doubles the rate until the objective is missed, then halves the gap in between. Near the edge a probe goes
//! either way by chance, so a rate is decided when two probes agree; only the way up goes by single probes, as it is
//! far from the edge until the end, where its last step is checked again.

/// What a probe has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The objective held.
    Met,
    /// It did not.
    Missed,
    /// The generator was the limit, so nothing is known of the server.
    NotValid,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Probe this rate, and tell the outcome.
    Probe(f64),
    /// The search is over.
    Done(Found),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The highest rate that held the objective; `None` if not even the lowest did.
    pub rate: Option<f64>,
    /// What keeps the rate from being higher.
    pub limit: Limit,
}

/// What keeps a rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Slightly above, the objective was missed.
    Objective,
    /// Slightly above, the generator was the limit.
    Generator,
    /// It is the highest rate that the user allows.
    Highest,
    /// The search was not finished.
    Unfinished,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Search {
    lowest: f64,
    highest: Option<f64>,
    precision: f64,
    /// In ascending order.
    levels: Vec<Level>,
}

/// The probes at one rate.
#[derive(Clone, Copy, Debug)]
struct Level {
    rate: f64,
    met: u32,
    missed: u32,
    not_valid: u32,
}

/// So many probes that agree decide a rate.
const PROBES_TO_DECIDE: u32 = 2;

impl Level {
    fn decided(&self) -> Option<Outcome> {
        [(self.met, Outcome::Met), (self.missed, Outcome::Missed), (self.not_valid, Outcome::NotValid)]
            .into_iter()
            .find_map(|(count, outcome)| (count >= PROBES_TO_DECIDE).then_some(outcome))
    }

    /// Whether every probe so far met the objective.
    fn is_met_so_far(&self) -> bool {
        self.decided() == Some(Outcome::Met) || (self.met > 0 && self.missed + self.not_valid == 0)
    }
}

impl Search {
    /// A search from `lowest`, which is positive, upwards, to `highest` at most. It ends when the highest rate that
    /// holds the objective is known to within the share `precision`.
    pub fn new(lowest: f64, highest: Option<f64>, precision: f64) -> Self {
        Self { lowest, highest, precision, levels: Vec::new() }
    }

    /// Takes the outcome of a probe.
    pub fn record(&mut self, rate: f64, outcome: Outcome) {
        let at = self.levels.partition_point(|level| level.rate < rate);
        if self.levels.get(at).is_none_or(|level| level.rate > rate) {
            self.levels.insert(at, Level { rate, met: 0, missed: 0, not_valid: 0 });
        }
        let level = &mut self.levels[at];
        match outcome {
            Outcome::Met => level.met += 1,
            Outcome::Missed => level.missed += 1,
            Outcome::NotValid => level.not_valid += 1,
        }
    }

    /// The next step.
    pub fn next(&self) -> Step {
        let ceiling = self.ceiling();
        let below = &self.levels[..ceiling.unwrap_or(self.levels.len())];
        // A probe that did not hold is repeated before anything else is learnt from it.
        if let Some(level) = below.iter().find(|level| level.decided().is_none() && !level.is_met_so_far()) {
            return Step::Probe(level.rate);
        }
        let limit = ceiling.map(|at| match self.levels[at].decided() {
            Some(Outcome::NotValid) => Limit::Generator,
            _ => Limit::Objective,
        });
        let Some(floor) = below.last() else {
            return limit.map_or(Step::Probe(self.lowest), |limit| Step::Done(Found { rate: None, limit }));
        };
        let is_highest = self.highest.is_some_and(|highest| floor.rate >= highest);
        if floor.decided().is_none() && (limit.is_some() || is_highest) {
            return Step::Probe(floor.rate);
        }
        let done = |limit| Step::Done(Found { rate: Some(floor.rate), limit });
        match (ceiling, limit) {
            (Some(at), Some(limit)) => {
                let above = self.levels[at].rate;
                if above <= floor.rate * (1.0 + self.precision) {
                    return done(limit);
                }
                match between(floor.rate, above) {
                    Some(rate) => Step::Probe(rate),
                    None => done(limit),
                }
            }
            _ if is_highest => done(Limit::Highest),
            _ => Step::Probe((floor.rate * 2.0).min(self.highest.unwrap_or(f64::MAX))),
        }
    }

    /// The highest rate that holds so far, for a search that the user has stopped.
    pub fn so_far(&self) -> Found {
        let ceiling = self.ceiling().unwrap_or(self.levels.len());
        let held = self.levels[..ceiling].iter().rev().find(|level| level.is_met_so_far());
        Found { rate: held.map(|level| level.rate), limit: Limit::Unfinished }
    }

    /// The lowest rate that is known not to hold.
    fn ceiling(&self) -> Option<usize> {
        let fails = |level: &Level| matches!(level.decided(), Some(Outcome::Missed | Outcome::NotValid));
        self.levels.iter().position(fails)
    }
}

/// The geometric middle in four digits; `None` if there is none in between.
fn between(low: f64, high: f64) -> Option<f64> {
    let middle = (low * high).sqrt();
    let unit = 10_f64.powf(middle.log10().floor() - 3.0);
    let rounded = (middle / unit).round() * unit;
    // Rates below 1 divide into decimals; the others are shorter to type without their rounding errors.
    let rounded = if unit >= 1.0 { rounded.round() } else { (rounded * 1e6).round() / 1e6 };
    (low < rounded && rounded < high).then_some(rounded)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// Searches until the end; returns what was found and how many probes it took.
    fn search(mut search: Search, mut probe: impl FnMut(f64) -> Outcome) -> (Found, usize) {
        for probes in 0..200 {
            match search.next() {
                Step::Probe(rate) => search.record(rate, probe(rate)),
                Step::Done(found) => return (found, probes),
            }
        }
        panic!("it does not end: {search:?}");
    }

    fn holds_below(limit: f64) -> impl FnMut(f64) -> Outcome {
        move |rate| if rate < limit { Outcome::Met } else { Outcome::Missed }
    }

    #[test]
    fn an_edge_is_found_to_the_precision_wherever_it_is() {
        for limit in [0.7, 12.0, 100.1, 137.0, 9_999.0, 1_234_567.0] {
            let lowest = if limit < 100.0 { 0.5 } else { 100.0 };
            let (found, probes) = search(Search::new(lowest, None, 0.02), holds_below(limit));
            let rate = found.rate.expect("the lowest holds");
            assert!(rate < limit && limit <= rate * 1.0201, "{rate} for {limit}");
            assert_eq!(found.limit, Limit::Objective);
            assert!(probes < 45, "{probes} probes for {limit}");
        }
    }

    #[test]
    fn what_holds_nowhere_and_what_holds_everywhere_end() {
        let (found, probes) = search(Search::new(100.0, None, 0.02), holds_below(50.0));
        assert_eq!((found, probes), (Found { rate: None, limit: Limit::Objective }, 2));
        let (found, probes) = search(Search::new(100.0, Some(500.0), 0.02), holds_below(1e9));
        assert_eq!((found, probes), (Found { rate: Some(500.0), limit: Limit::Highest }, 5));
        let (found, _) = search(Search::new(100.0, Some(100.0), 0.02), holds_below(1e9));
        assert_eq!(found.rate, Some(100.0));
    }

    #[test]
    fn a_generator_at_its_limit_is_no_server_that_misses() {
        let weak = |rate: f64| if rate < 5_000.0 { Outcome::Met } else { Outcome::NotValid };
        let (found, _) = search(Search::new(100.0, None, 0.02), weak);
        assert_eq!(found.limit, Limit::Generator);
        assert!(found.rate.is_some_and(|rate| (4_900.0..5_000.0).contains(&rate)), "{found:?}");
        let (found, probes) = search(Search::new(100.0, None, 0.02), |_| Outcome::NotValid);
        assert_eq!((found, probes), (Found { rate: None, limit: Limit::Generator }, 2));
    }

    #[test]
    fn one_disturbed_probe_decides_nothing() {
        for disturbed in 0..12 {
            for outcome in [Outcome::Missed, Outcome::NotValid] {
                let mut probe = 0;
                let (found, _) = search(Search::new(100.0, None, 0.02), |rate| {
                    probe += 1;
                    if probe == disturbed + 1 { outcome } else { holds_below(3_000.0)(rate) }
                });
                let rate = found.rate.expect("the lowest holds");
                assert!((2_940.0..3_000.0).contains(&rate), "{found:?} with probe {disturbed} disturbed");
            }
        }
    }

    #[test]
    fn a_lucky_last_step_on_the_way_up_is_taken_back() {
        // 1,600 holds by luck, once.
        let mut lucky = true;
        let (found, _) = search(Search::new(100.0, None, 0.02), |rate| {
            if (1_599.0..1_601.0).contains(&rate) && std::mem::take(&mut lucky) {
                Outcome::Met
            } else {
                holds_below(1_000.0)(rate)
            }
        });
        assert!(found.rate.is_some_and(|rate| (980.0..1_000.0).contains(&rate)), "{found:?}");
    }

    #[test]
    fn a_noisy_edge_is_found_within_its_noise() {
        // From 9,500 to 10,500 the objective holds ever more rarely, and one probe in twenty is disturbed.
        let mut rng = Rng::with_seed(3);
        let near = |rng: &mut Rng| {
            let (found, _) = search(Search::new(100.0, None, 0.02), |rate| {
                let holds = rng.f64() > (rate - 9_500.0) / 1_000.0 && rng.f64() > 0.05;
                if holds { Outcome::Met } else { Outcome::Missed }
            });
            found.rate.is_some_and(|rate| (9_200.0..10_600.0).contains(&rate))
        };
        let right = (0..500).filter(|_| near(&mut rng)).count();
        assert!(right >= 450, "{right} of 500");
    }

    #[test]
    fn a_stopped_search_tells_what_holds_so_far() {
        let mut search = Search::new(100.0, None, 0.02);
        assert_eq!(search.so_far().rate, None);
        search.record(100.0, Outcome::Met);
        search.record(200.0, Outcome::Missed);
        assert_eq!(search.so_far(), Found { rate: Some(100.0), limit: Limit::Unfinished });
    }
}
