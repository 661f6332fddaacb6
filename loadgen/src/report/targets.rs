//! The performance targets: their goals, how a measurement compares with them, and the table.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Style;
use crate::units::{rounded, show_count, three_digits};

/// Which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// At least the goal.
    Higher,
    /// Below the goal.
    Lower,
}

/// A performance target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Its name in reports.
    pub name: &'static str,
    /// For `Higher` the lowest value that meets it, for `Lower` the lowest that does not.
    pub goal: f64,
    /// The unit of the goal and of the measurement.
    pub unit: &'static str,
    /// The direction.
    pub better: Better,
}

/// Answers per second in a closed loop.
pub const REQUESTS_PER_SECOND: Goal = goal("requests_per_second", 1000.0, "req/s", Better::Higher);
/// The 99th percentile of the response time.
pub const LATENCY_P99: Goal = goal("latency_p99_ms", 10.0, "ms", Better::Lower);
/// Bytes of bodies per second, in 10⁶.
pub const THROUGHPUT: Goal = goal("throughput_mb_per_s", 100.0, "MB/s", Better::Higher);
/// Heap per request in flight.
pub const HEAP_PER_REQUEST: Goal = goal("heap_bytes_per_request", 1024.0, "bytes", Better::Lower);
/// Heap per open, idle connection, with 10,000 of them.
pub const HEAP_PER_CONNECTION: Goal = goal("heap_bytes_per_connection", 1024.0, "bytes", Better::Lower);
/// The median of the time to connect.
pub const CONNECT_P50: Goal = goal("connect_p50_ms", 1.0, "ms", Better::Lower);
/// New connections per second.
pub const CONNECTIONS_PER_SECOND: Goal = goal("connections_per_second", 10_000.0, "conn/s", Better::Higher);

const fn goal(name: &'static str, goal: f64, unit: &'static str, better: Better) -> Goal {
    Goal { name, goal, unit, better }
}

/// A target and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What is promised.
    pub goal: f64,
    /// The measurement, to three decimals.
    pub measured: f64,
    /// The unit of both.
    pub unit: String,
    /// The direction.
    pub better: Better,
    /// Whether the promise holds.
    pub met: bool,
}

/// All targets, as the JSON has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// In the order of their measurement.
    pub targets: Vec<Target>,
}

impl Goal {
    /// Compares `measured` with the goal. NaN (nothing could be measured) meets no goal.
    pub fn judge(self, measured: f64) -> Target {
        let met = match self.better {
            Better::Higher => measured >= self.goal,
            Better::Lower => measured < self.goal,
        };
        Target {
            name: self.name.to_owned(),
            goal: self.goal,
            measured: rounded(measured),
            unit: self.unit.to_owned(),
            better: self.better,
            met: met && measured.is_finite(),
        }
    }
}

impl Targets {
    /// Whether all are met.
    pub fn all_met(&self) -> bool {
        self.targets.iter().all(|target| target.met)
    }

    /// The table, for people.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        let (name, goal, measured, gap, unit) =
            if style.is_narrow() { (26, 9, 11, 2, 6) } else { (28, 14, 16, 3, 8) };
        let mut row = |columns: [&str; 4], mark: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:<name$}{:>goal$}{:>measured$}{:gap$}{:<unit$}{mark}",
                columns[0], columns[1], columns[2], "", columns[3]
            );
        };
        row(["target", "goal", "measured", ""], "met");
        for target in &self.targets {
            let sign = match target.better {
                Better::Higher => "≥",
                Better::Lower => "<",
            };
            let mark = if target.met { style.good("✓") } else { style.bad("✗") };
            let goal = format!("{sign} {}", show(target.goal));
            row([&target.name, &goal, &show(target.measured), &target.unit], &mark);
        }
        let missed = self.targets.iter().filter(|target| !target.met).count();
        let _ = if missed == 0 {
            writeln!(out, "\n{}", style.good("Every target is met on this machine."))
        } else {
            let verb = if missed == 1 { "is" } else { "are" };
            let line = format!("{missed} of {} targets {verb} not met on this machine.", self.targets.len());
            writeln!(out, "\n{}", style.bad(&line))
        };
        out
    }
}

fn show(value: f64) -> String {
    if value >= 99.95 || value.fract() == 0.0 {
        show_count(value.round() as u64)
    } else {
        three_digits(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Colour;

    fn measured() -> Targets {
        Targets {
            targets: vec![
                REQUESTS_PER_SECOND.judge(123_456.7),
                LATENCY_P99.judge(0.812_345),
                THROUGHPUT.judge(99.9),
                HEAP_PER_REQUEST.judge(1024.0),
                HEAP_PER_CONNECTION.judge(488.0),
                CONNECT_P50.judge(0.06),
                CONNECTIONS_PER_SECOND.judge(10_000.0),
            ],
        }
    }

    #[test]
    fn a_goal_is_reached_or_gone_below() {
        let met: Vec<bool> = measured().targets.iter().map(|target| target.met).collect();
        assert_eq!(met, [true, true, false, false, true, true, true]);
        assert!(!measured().all_met());
        assert!(!LATENCY_P99.judge(f64::NAN).met && !THROUGHPUT.judge(f64::INFINITY).met);
    }

    #[test]
    fn the_table_reads_so() {
        assert_eq!(measured().render(Style::PLAIN), include_str!("snapshots/targets.txt"));
    }

    #[test]
    fn the_table_fits_a_narrow_terminal() {
        let mut targets = measured();
        targets.targets[0].measured = 1_234_567.0;
        for line in targets.render(Style { colour: Colour::None, ..Style::for_terminal(60) }).lines() {
            assert!(line.chars().count() <= 60, "{line}");
        }
    }

    #[test]
    fn the_json_has_the_names_of_the_contract() {
        let json = serde_json::to_string(&measured()).expect("serialisable");
        assert!(
            json.starts_with(
                r#"{"targets":[{"name":"requests_per_second","goal":1000.0,"measured":123456.7,"unit":"req/s","better":"higher","met":true},"#
            ),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Targets>(&json).expect("deserialisable"), measured());
    }
}
