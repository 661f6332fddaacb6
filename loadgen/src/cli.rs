//! The command line: what was typed, without effects. [`RunArgs::plan`] and its sisters turn it into validated plans.
//!
//! A flag is here when the program does what it says, and not before.

mod contradictions;
mod parse;
mod run;
mod serve;
mod targets;

use clap::{Parser, Subcommand, ValueEnum};

pub use run::{Output, RunArgs};
pub use serve::{ServeArgs, ServePlan};
pub use targets::{TargetsArgs, TargetsPlan};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "ringtide",
    version,
    about = "An HTTP load generator that says what its figures are worth",
    after_help = "Examples:
  ringtide run http://127.0.0.1:8080/ -c 64 -d 10s
  ringtide targets
  ringtide serve --addr 127.0.0.1:8080",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one load test
    Run(Box<RunArgs>),
    /// Start the embedded HTTP server, to test against
    Serve(ServeArgs),
    /// Measure the engine against its published targets on this machine
    Targets(TargetsArgs),
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}
