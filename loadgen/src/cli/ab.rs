//! `ringtide ab`: its flags, and the plan that they make.

use clap::{Arg, Args, ValueHint};

use super::flags::RunArgs;
use super::many;
use super::parse;
use super::run::{Output, RunCommand};
use crate::decide::{Metric, PAIRS_MIN, Rules};
use crate::error::UsageError;
use crate::input::BodySource;
use crate::plan::Plan;
use crate::result::Figure;
use crate::units::show_typed_time_ns;
use crate::verdict::MEASURED_MIN;

/// Default time of all pairs.
const DURATION_DEFAULT_NS: u64 = 20_000_000_000;
/// Default time that each side runs before the first pair.
const WARMUP_DEFAULT_NS: u64 = 500_000_000;
/// The smallest relative difference that counts by default.
const MIN_EFFECT_DEFAULT: f64 = 0.01;

/// The least measured part of a slice. A little more than a verdict needs.
pub const SLICE_MEASURED_MIN_NS: u64 = MEASURED_MIN.as_nanos() as u64 + 10_000_000;

/// What `ab --help` says after the flags.
const AFTER_HELP: &str = "It measures many short pairs, a slice of A and one of B in random order, so that
what disturbs the machine disturbs both. The verdict is on B: it is \"slower\" or
\"faster\" if the 95 % interval of the difference leaves out 0 and the difference
is at least --min-effect. \"No difference\" means that none was shown; the report
tells which one would have been found, and how long it takes to find less.

A pair in which the generator was the bottleneck does not count. For valid
pairs, keep generator and servers on cores of their own. A side that fails more
of its requests (by more than 0.1 %) is the slower one, however fast.

Metrics: rps, mean, p50, p75, p90, p95, p99, p99.9, p99.99.
Times: 250ms, 20s, 1m30s (ns, us, ms, s, m, h); without a unit, seconds.

Examples:
  Is the new build slower than the old one?
    ringtide ab http://127.0.0.1:8081/ http://127.0.0.1:8082/ -d 1m
  Are its response times worse at 2,000 requests per second?
    ringtide ab http://127.0.0.1:8081/ http://127.0.0.1:8082/ -R 2k \\
      --metric p99 --min-effect 5%

Exit codes:
  0    B is faster, or no difference was shown
  1    could not run
  2    usage error
  3    B is slower
  4    --require-valid was given, and too few pairs are valid
  130  interrupted; the report of the pairs so far is still written";

/// The flags of `ab`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = AFTER_HELP,
    mut_arg("url", |_| url_a()),
    mut_arg("duration", |arg| arg.help("All pairs take this long [default: 20s]")),
    mut_arg("rate", |arg| arg.value_name("N").help("Send N requests/s in all")),
    mut_arg("warmup", |arg| arg.help("Run each side so long before [default: 500ms]")),
    mut_arg("require_valid", |arg| arg.help("Exit with 4 if too few pairs are valid")),
    mut_args(many::hide_refused("ab")),
)]
pub struct AbArgs {
    /// What `run` takes as well.
    #[command(flatten)]
    pub run: RunArgs,
    /// What is compared with the base
    // clap moves the arguments that it changes to the end.
    #[arg(value_hint = ValueHint::Url, index = 2)]
    pub url_b: String,
    /// What decides [default: `requests_per_second`, p99 with -R]
    // In `help`, so that it fits.
    #[arg(
        long,
        value_name = "METRIC",
        help = "What decides [default: rps, or p99 with -R]",
        help_heading = "Decision"
    )]
    pub metric: Option<Metric>,
    /// The smallest difference that counts [default: 1%]
    #[arg(long, value_name = "SHARE", value_parser = parse::percent, help_heading = "Decision")]
    pub min_effect: Option<f64>,
}

/// In place of the URL of `run`, which is not needed there if a file has it.
fn url_a() -> Arg {
    let url = Arg::new("url").index(1).required(true).value_name("URL_A").value_hint(ValueHint::Url);
    url.help("The base, as for `run`")
}

/// What to measure, and how to decide.
#[derive(Clone, Debug, PartialEq)]
pub struct AbPlan {
    /// One side; its time and warm-up are not used.
    pub a: Plan,
    /// The other, which differs in its URL.
    pub b: Plan,
    /// How long all pairs take together.
    pub duration_ns: u64,
    /// How long each side runs before the first pair.
    pub warmup_ns: u64,
    /// How to decide.
    pub rules: Rules,
}

/// The command line, checked as far as possible without touching files or the network.
#[derive(Clone, Debug, PartialEq)]
pub struct AbCommand {
    /// What to do. The bodies are still empty: `body` says where to read them.
    pub plan: AbPlan,
    /// Where to find the body.
    pub body: BodySource,
    /// What to do with the result.
    pub output: Output,
}

/// The shortest time in which enough pairs fit.
fn duration_min_ns() -> u64 {
    // A quarter for what is discarded.
    let slices_ns = PAIRS_MIN as u64 * 2 * (SLICE_MEASURED_MIN_NS + SLICE_MEASURED_MIN_NS / 4);
    // As one types it: in whole seconds.
    slices_ns.next_multiple_of(1_000_000_000)
}

impl AbArgs {
    /// The plan, and what to do with its result.
    ///
    /// # Errors
    /// When a flag cannot be carried out; the message names it.
    pub fn plan(self) -> Result<AbCommand, UsageError> {
        let Self { mut run, url_b, metric, min_effect } = self;
        many::check_format("ab", run.format)?;
        let duration_ns = run.duration.unwrap_or(DURATION_DEFAULT_NS);
        if duration_ns < duration_min_ns() {
            let problem = format!(
                "{} is too short: {PAIRS_MIN} pairs, the fewest that decide anything, take {}",
                show_typed_time_ns(duration_ns),
                show_typed_time_ns(duration_min_ns())
            );
            return Err(UsageError::Value { flag: "--duration (-d)", problem });
        }
        let warmup_ns = run.warmup.filter(|ns| *ns > 0).unwrap_or(WARMUP_DEFAULT_NS);
        if let Some(rate) = run.rate.as_ref().filter(|rate| rate.start.to_bits() != rate.end.to_bits()) {
            return Err(UsageError::Contradiction {
                first: format!("--rate (-R) {}:{}", rate.start, rate.end),
                second: "ab".to_owned(),
                why: "each slice would be at another rate; give one rate".to_owned(),
            });
        }
        run.seed = Some(run.seed.unwrap_or_else(|| u64::from(fastrand::u32(1..))));
        let seed = run.seed.unwrap_or_default();
        let mut for_b = run.clone();
        for_b.url = Some(url_b);
        let RunCommand { plan: a, body, output } = run.plan()?;
        let b = for_b.plan()?.plan;
        let by_loop = || {
            let is_open = a.open_loop().is_some();
            if is_open { Metric::Response(Figure::P99) } else { Metric::RequestsPerSecond }
        };
        let rules = Rules {
            metric: metric.unwrap_or_else(by_loop),
            min_effect: min_effect.unwrap_or(MIN_EFFECT_DEFAULT),
            seed,
        };
        Ok(AbCommand { plan: AbPlan { a, b, duration_ns, warmup_ns, rules }, body, output })
    }
}

impl AbCommand {
    /// Reads the body into both plans.
    ///
    /// # Errors
    /// As [`BodySource::load`].
    pub fn load(self) -> Result<(AbPlan, Output), UsageError> {
        let Self { mut plan, body, output } = self;
        body.load(&mut plan.a)?;
        for (b, a) in plan.b.requests.iter_mut().zip(&plan.a.requests) {
            b.body.clone_from(&a.body);
        }
        Ok((plan, output))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn command(flags: &[&str]) -> Result<AbCommand, UsageError> {
        let words = ["ringtide", "ab", "http://a/", "http://b/"].iter().chain(flags);
        match Cli::try_parse_from(words).expect("it parses").command {
            Command::Ab(args) => args.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_sides_differ_in_their_url_alone() {
        let AbCommand { plan, .. } = command(&["-c", "8", "-H", "X: y"]).expect("valid");
        assert_eq!((plan.a.url.text.as_str(), plan.b.url.text.as_str()), ("http://a/", "http://b/"));
        let mut b = plan.b.clone();
        b.url = plan.a.url.clone();
        assert_eq!(b, plan.a);
        assert_eq!((plan.duration_ns, plan.warmup_ns), (20_000_000_000, 500_000_000));
        assert_eq!((plan.rules.metric, plan.rules.min_effect), (Metric::RequestsPerSecond, 0.01));
    }

    #[test]
    fn an_open_loop_is_judged_by_its_p99() {
        let rules = |flags: &[&str]| command(flags).expect("valid").plan.rules;
        assert_eq!(rules(&["-R", "1k"]).metric, Metric::Response(Figure::P99));
        let chosen = rules(&["-R", "1k", "--metric", "p50", "--min-effect", "5%"]);
        assert_eq!((chosen.metric, chosen.min_effect), (Metric::Response(Figure::P50), 0.05));
    }

    #[test]
    fn too_few_pairs_are_refused() {
        let error = command(&["-d", "3s"]).expect_err("too short").to_string();
        assert!(error.contains("3s is too short: 6 pairs") && error.ends_with("take 4s"), "{error}");
        command(&["-d", "4s"]).expect("just long enough");
    }
}
