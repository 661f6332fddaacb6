//! `ringtide targets`: its flags, and the plan that they make.

use clap::Args;

use super::format::Format;
use super::parse;
use crate::plan::DriverChoice;
use crate::units::parse_positive_time_ns;

/// Default time to measure each target.
const DURATION_DEFAULT_NS: u64 = 3_000_000_000;

/// What `targets --help` says after the flags.
const AFTER_HELP: &str = "It starts a server of its own, measures it over the loopback, and prints each
target with the measured figure:
  over 64 connections, 1,000 requests/s and a p99 response below 10 ms
  with bodies of 1 MiB, 100 MB/s
  per request in flight and per idle connection, less than 1 KiB of heap each
  10,000 new connections/s; one at a time, a median below 1 ms to connect

Times: 500ms, 3s, 1m30s (ns, us, ms, s, m, h); without a unit, seconds.

Exit codes:
  0  every target was met
  1  could not run
  2  usage error
  3  a target was missed";

/// The flags of `targets`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TargetsArgs {
    /// Measure each target for this long [default: 3s]
    #[arg(short, long, value_name = "T", value_parser = parse_positive_time_ns)]
    pub duration: Option<u64>,
    /// I/O driver: auto, io_uring, fallback [default: auto]
    // In `help`, as clippy would have marks around the name.
    #[arg(long, value_name = "DRIVER", value_parser = parse::driver, help = "I/O driver: auto, io_uring, fallback [default: auto]")]
    pub driver: Option<DriverChoice>,
    /// Format of the table [default: text]
    #[arg(long, value_name = "text|json", value_parser = parse::text_or_json)]
    pub format: Option<Format>,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// How to measure the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetsPlan {
    /// How long to measure each target.
    pub duration_ns: u64,
    /// Which driver moves the bytes, at both ends.
    pub driver: DriverChoice,
    /// The format of the table.
    pub format: Format,
    /// Whether to show no progress.
    pub quiet: bool,
}

impl TargetsArgs {
    /// The plan. Every combination of these flags is one.
    pub fn plan(self) -> TargetsPlan {
        TargetsPlan {
            duration_ns: self.duration.unwrap_or(DURATION_DEFAULT_NS),
            driver: self.driver.unwrap_or_default(),
            format: self.format.unwrap_or_default(),
            quiet: self.quiet,
        }
    }
}
