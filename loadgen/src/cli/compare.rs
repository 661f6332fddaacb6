//! `ringtide compare`: its flags, and what they ask for.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::format::Format;
use super::many;
use super::parse;
use crate::decide::{Metric, Rules};
use crate::error::UsageError;

/// The smallest relative difference that counts by default.
const MIN_EFFECT_DEFAULT: f64 = 0.01;

/// What `compare --help` says after the flags.
const AFTER_HELP: &str = "A result is what `ringtide run --format json -o FILE` writes. A folder stands
for all .json files in it. With three or more results on each side, the verdict
on the new ones is \"slower\" or \"faster\" if the 95 % interval of the difference
leaves out 0 and the difference is at least --min-effect. Two single results
show their differences, but decide nothing: nothing tells how much the next run
would differ.

Results that are not valid do not count. Results of different plans are refused.

Metrics: rps, mean, p50, p75, p90, p95, p99, p99.9, p99.99.

Examples:
  ringtide compare base.json new.json
  ringtide compare results/base results/new --metric p99 --min-effect 5%
  ringtide compare --base a1.json a2.json a3.json --new b1.json b2.json b3.json

Exit codes:
  0  faster, or no difference was shown
  1  a side has no valid result
  2  usage error, or a file has no result that can be compared
  3  slower";

/// The flags of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CompareArgs {
    /// A result, or a folder with repeats
    #[arg(value_name = "BASE", value_hint = ValueHint::AnyPath, required_unless_present = "base")]
    pub first: Option<PathBuf>,
    /// What is compared with it
    #[arg(value_name = "NEW", value_hint = ValueHint::AnyPath, required_unless_present = "new")]
    pub second: Option<PathBuf>,
    /// Repeats of the base, instead of BASE
    #[arg(long, value_name = "FILE", num_args = 1.., value_hint = ValueHint::AnyPath, conflicts_with_all = ["first", "second"], requires = "new")]
    pub base: Vec<PathBuf>,
    /// Repeats of the new one, instead of NEW
    #[arg(long, value_name = "FILE", num_args = 1.., value_hint = ValueHint::AnyPath, conflicts_with_all = ["first", "second"], requires = "base")]
    pub new: Vec<PathBuf>,
    /// What decides [default: `requests_per_second`, or p99 of an open loop]
    // In `help`, so that it fits.
    #[arg(long, value_name = "METRIC", help = "What decides [default: rps, or p99 of an open loop]")]
    pub metric: Option<Metric>,
    /// The smallest difference that counts [default: 1%]
    #[arg(long, value_name = "SHARE", value_parser = parse::percent)]
    pub min_effect: Option<f64>,
    /// Write the report here instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Report format [default: text]
    #[arg(long, value_enum, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<Format>,
    /// Seed of the bootstrap [default: 1]
    #[arg(long, value_name = "N", value_parser = parse::seed, default_value_t = 1, hide_default_value = true)]
    pub seed: u64,
}

/// What to compare, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareCommand {
    /// Files and folders of the base,
    pub base: Vec<PathBuf>,
    /// and of what is compared with it.
    pub new: Vec<PathBuf>,
    /// The metric that decides, if the user has chosen one.
    pub metric: Option<Metric>,
    /// The smallest relative difference that counts.
    pub min_effect: f64,
    /// The seed of the bootstrap.
    pub seed: u64,
    /// A file for the report, or standard output,
    pub output: Option<PathBuf>,
    /// and its format.
    pub format: Format,
}

impl CompareArgs {
    /// What to do.
    ///
    /// # Errors
    /// When the format is none of this command.
    pub fn command(self) -> Result<CompareCommand, UsageError> {
        many::check_format("compare", self.format)?;
        let side = |one: Option<PathBuf>, many: Vec<PathBuf>| one.map_or(many, |path| vec![path]);
        Ok(CompareCommand {
            base: side(self.first, self.base),
            new: side(self.second, self.new),
            metric: self.metric,
            min_effect: self.min_effect.unwrap_or(MIN_EFFECT_DEFAULT),
            seed: self.seed,
            output: self.output,
            format: self.format.unwrap_or_default(),
        })
    }
}

impl CompareCommand {
    /// How to decide. Without a choice by the user, the deciding metric follows from the loop.
    pub fn rules(&self, by_loop: Metric) -> Rules {
        Rules { metric: self.metric.unwrap_or(by_loop), min_effect: self.min_effect, seed: self.seed }
    }
}
