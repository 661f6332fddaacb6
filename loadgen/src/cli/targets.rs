//! `ringtide targets`: its flags, and the plan that they make.

use clap::Args;

use super::Format;
use crate::plan::DriverChoice;
use crate::units::parse_positive_time_ns;

/// How long each target is measured, unless said otherwise.
const DURATION_DEFAULT_NS: u64 = 3_000_000_000;

/// The flags of `targets`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every target is met · 1 could not run · 2 usage · 3 a target is not met"
)]
pub struct TargetsArgs {
    /// How long each target is measured [default: 3s]
    #[arg(short, long, value_name = "T", value_parser = parse_positive_time_ns)]
    pub duration: Option<u64>,
    /// What moves the bytes
    #[arg(
        long,
        value_enum,
        value_name = "DRIVER",
        help = "What moves the bytes: auto, io_uring or fallback",
        default_value_t,
        hide_possible_values = true
    )]
    pub driver: DriverChoice,
    /// The form of the table
    #[arg(long, value_enum, value_name = "text|json", default_value_t, hide_possible_values = true)]
    pub format: Format,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// How to measure the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetsPlan {
    /// For each target.
    pub duration_ns: u64,
    /// Which driver moves the bytes, at both ends.
    pub driver: DriverChoice,
    /// The form of the table.
    pub format: Format,
    /// No progress at all.
    pub quiet: bool,
}

impl TargetsArgs {
    /// The plan. Every combination of these flags is one.
    pub fn plan(self) -> TargetsPlan {
        TargetsPlan {
            duration_ns: self.duration.unwrap_or(DURATION_DEFAULT_NS),
            driver: self.driver,
            format: self.format,
            quiet: self.quiet,
        }
    }
}
