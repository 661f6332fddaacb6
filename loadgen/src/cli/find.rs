//! `ringtide find`: its flags, and the plan that they make.

use clap::Args;

use super::flags::RunArgs;
use super::many;
use super::parse::{self, RateArg};
use super::run::{Output, RunCommand};
use crate::error::UsageError;
use crate::input::BodySource;
use crate::plan::Plan;
use crate::threshold::Threshold;
use crate::units::{show_typed_rate, show_typed_time_ns};
use crate::verdict::MEASURED_MIN;

/// Default time of each probe.
const DURATION_DEFAULT_NS: u64 = 3_000_000_000;
/// Each probe warms up for this part of its time, if nothing else is said.
const WARMUP_PART: u64 = 6;
/// And waits for its last answers for up to this part, as a percentile of a few requests is open if some of them are
/// cut off.
const DRAIN_PART: u64 = 6;
/// The lowest rate by default.
const FROM_DEFAULT: f64 = 100.0;

/// What `find --help` says after the flags.
const AFTER_HELP: &str = "It probes constant rates: from --from upwards in doubling steps until the
objective is missed, then the gap is halved until it is below 2 %. Near the edge
each rate is probed until two probes agree. A probe in which the generator was
the limit says nothing about the server, and is told apart from a missed
objective. The server must also keep up with the rate: no growing backlog.

The objective is a list of conditions, each as `run --threshold` takes them.
Put quotes around it, as a shell takes < and > for redirections.

Times: 500ms, 3s, 1m30s (ns, us, ms, s, m, h); without a unit, seconds.

Example:
  ringtide find http://127.0.0.1:8080/ --slo 'p99<10ms,success>99.9%'

Exit codes:
  0    the rate was found
  1    could not run
  2    usage error
  3    not even the lowest rate holds the objective
  4    the generator was the limit: at the lowest rate, or with --require-valid
  130  interrupted; the report of the probes so far is still written";

/// The flags of `find`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = AFTER_HELP,
    mut_arg("duration", |arg| arg.help("Each probe measures this long [default: 3s]")),
    mut_arg("warmup", |arg| arg.help("Before each probe [default: a sixth of -d]")),
    mut_arg("drain", |arg| arg.help("After each, for what is in flight [default: -d / 6]")),
    mut_arg("require_valid", |arg| arg.help("Exit with 4 if the generator was the limit")),
    mut_args(many::hide_refused("find")),
)]
pub struct FindArgs {
    /// What `run` takes as well.
    #[command(flatten)]
    pub run: RunArgs,
    /// The objective: 'p99<10ms,errors<0.1%'
    #[arg(long, value_name = "CONDS", value_parser = parse_slo, help_heading = "Search")]
    pub slo: Slo,
    /// The lowest rate to try [default: 100]
    #[arg(long, value_name = "N", value_parser = parse::positive_rate, help_heading = "Search")]
    pub from: Option<f64>,
    /// The highest rate to try [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse::positive_rate, help_heading = "Search")]
    pub to: Option<f64>,
}

/// An objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// As typed.
    pub text: String,
    /// Its conditions; at least one.
    pub conditions: Vec<Threshold>,
}

fn parse_slo(text: &str) -> Result<Slo, String> {
    let mut conditions = Vec::new();
    for piece in text.split(',') {
        let piece = piece.trim();
        if piece.is_empty() {
            return Err(format!("`{text}` has an empty condition; write for example 'p99<10ms,errors<0.1%'"));
        }
        let metric = piece.split(['<', '>']).next().unwrap_or_default().trim();
        if matches!(metric.rsplit(':').next(), Some("rps" | "requests_per_second")) {
            return Err(format!("`{piece}` limits what is searched for; --from and --to bound the search"));
        }
        conditions.push(piece.parse::<Threshold>().map_err(|error| error.to_string())?);
    }
    Ok(Slo { text: text.to_owned(), conditions })
}

/// What to probe, and what to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct FindPlan {
    /// Each probe: an open loop, whose rate and time are not used, with the objective as its thresholds.
    pub probe: Plan,
    /// The objective as it was typed.
    pub slo: String,
    /// How long each probe measures.
    pub duration_ns: u64,
    /// The lowest rate that is tried,
    pub lowest: f64,
    /// and the highest, if there is one.
    pub highest: Option<f64>,
}

/// The command line, checked as far as possible without touching files or the network.
#[derive(Clone, Debug, PartialEq)]
pub struct FindCommand {
    /// What to do. The body is still empty: `body` says where to read it.
    pub plan: FindPlan,
    /// Where to find the body.
    pub body: BodySource,
    /// What to do with the result.
    pub output: Output,
}

impl FindArgs {
    /// The plan, and what to do with its result.
    ///
    /// # Errors
    /// When a flag cannot be carried out; the message names it.
    pub fn plan(self) -> Result<FindCommand, UsageError> {
        let Self { mut run, slo, from, to } = self;
        many::check_format("find", run.format)?;
        let lowest = from.unwrap_or(FROM_DEFAULT);
        if let Some(highest) = to.filter(|highest| *highest < lowest) {
            return Err(UsageError::Contradiction {
                first: format!("--from {}", show_typed_rate(lowest)),
                second: format!("--to {}", show_typed_rate(highest)),
                why: "the search goes upwards; give a lower --from".to_owned(),
            });
        }
        let duration_ns = run.duration.unwrap_or(DURATION_DEFAULT_NS);
        if u128::from(duration_ns) < MEASURED_MIN.as_nanos() {
            let problem = format!(
                "{} is too short: a run below {} is not judged",
                show_typed_time_ns(duration_ns),
                show_typed_time_ns(MEASURED_MIN.as_nanos() as u64)
            );
            return Err(UsageError::Value { flag: "--duration (-d)", problem });
        }
        run.rate = Some(RateArg { start: lowest, end: lowest });
        run.warmup = Some(run.warmup.unwrap_or(duration_ns / WARMUP_PART));
        run.drain = Some(run.drain.unwrap_or(duration_ns / DRAIN_PART));
        run.thresholds = slo.conditions;
        let RunCommand { plan: probe, body, output } = run.plan().map_err(|error| match error {
            UsageError::Value { flag: "--threshold", problem } => {
                UsageError::Value { flag: "--slo", problem }
            }
            error => error,
        })?;
        let plan = FindPlan { probe, slo: slo.text, duration_ns, lowest, highest: to };
        Ok(FindCommand { plan, body, output })
    }
}

impl FindCommand {
    /// Reads the body into the plan.
    ///
    /// # Errors
    /// As [`BodySource::load`].
    pub fn load(self) -> Result<(FindPlan, Output), UsageError> {
        let Self { mut plan, body, output } = self;
        body.load(&mut plan.probe)?;
        Ok((plan, output))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn command(flags: &[&str]) -> Result<FindCommand, UsageError> {
        let slo = ["--slo", "p99<10ms, errors<0.1%"];
        let slo = if flags.contains(&"--slo") { &[][..] } else { &slo };
        let words = ["ringtide", "find", "http://h/"].iter().chain(slo).chain(flags);
        match Cli::try_parse_from(words).expect("it parses").command {
            Command::Find(args) => args.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_objective_is_a_list_of_thresholds() {
        let plan = command(&[]).expect("valid").plan;
        let conditions: Vec<String> = plan.probe.thresholds.iter().map(ToString::to_string).collect();
        assert_eq!(conditions, ["p99<10ms", "errors<0.1%"]);
        assert_eq!((plan.lowest, plan.highest, plan.duration_ns), (100.0, None, 3_000_000_000));
        assert_eq!(plan.probe.warmup_ns, 500_000_000);
        assert_eq!(plan.probe.drain_ns, 500_000_000);
        let error = command(&["--slo", "x:p99<1s"]);
        assert!(error.is_err_and(|error| error.to_string().starts_with("--slo: in `x:p99<1s`")));
        for (text, says) in [
            ("p99<10ms,", "empty condition"),
            ("rps>5", "--from and --to"),
            ("x:rps>5", "--from and --to"),
            ("p99", "no comparison"),
        ] {
            let error = parse_slo(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_search_goes_upwards() {
        let error = command(&["--from", "1k", "--to", "500"]).expect_err("backwards").to_string();
        assert!(error.contains("--from 1,000 does not go with --to 500"), "{error}");
        let plan = command(&["--from", "5", "--to", "10", "--arrival", "poisson"]).expect("valid").plan;
        assert_eq!((plan.lowest, plan.highest), (5.0, Some(10.0)));
    }
}
