//! `ringtide merge`: its flags.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::format::Format;

/// What `merge --help` says after the flags.
const AFTER_HELP: &str = "It takes results of generators that ran one test at the same time, each saved
with --format json -o FILE, and makes the result of all: histograms and counts
are added, and every figure is made anew from the sums. Rates are those of the
time in which all of them ran. It is valid if each part is.

Results of different tests, or of different times, are refused.

Example:
  ringtide merge a.json b.json c.json -o all.json --format json

Exit codes:
  0    done, and every threshold held
  1    could not write
  2    usage error, or results that do not belong together
  3    a threshold was missed
  130  one of the runs was interrupted";

/// The flags of `merge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct MergeArgs {
    /// Results to merge, as JSON
    #[arg(required = true, value_name = "RESULT.json", value_hint = ValueHint::FilePath)]
    pub results: Vec<PathBuf>,
    /// Write the report here instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Report format [default: text]
    #[arg(long, value_enum, value_name = "text|json|csv", hide_possible_values = true)]
    pub format: Option<Format>,
}
