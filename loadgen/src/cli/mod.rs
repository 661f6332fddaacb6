//! The command line: what was typed, without effects. [`RunArgs::plan`] and its sisters turn it into validated plans;
//! files that were named are read later (`input`).
//!
//! A flag is here when the program does what it says, and not before.

mod contradictions;
mod parse;
mod run;
mod serve;
mod targets;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand, ValueEnum};

pub use run::{Output, RunArgs, RunCommand};
pub use serve::{ServeArgs, ServePlan};
pub use targets::{TargetsArgs, TargetsPlan};

use crate::error::UsageError;

/// Flags of `run` that have their names already. clap would take each for a typing error, and suggest another.
const NOT_THERE_YET: [&str; 22] = [
    "--stages",
    "--http2",
    "--http3",
    "--resolve",
    "--proxy",
    "-k",
    "--insecure",
    "--cacert",
    "--cert",
    "--key",
    "--sni",
    "--alpn",
    "--tls-resumption",
    "--keylog",
    "--scenario",
    "--expect",
    "--replay",
    "--sse",
    "--summary",
    "--hdr",
    "--timeseries",
    "--html",
];

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "ringtide",
    version,
    about = "An HTTP load generator that tells you when its figures cannot be trusted",
    after_help = "Examples:
  ringtide serve --addr 127.0.0.1:8080
  ringtide run http://127.0.0.1:8080/ -c 64 -d 10s
  ringtide run http://127.0.0.1:8080/ -R 1k --threshold 'p99<10ms' \\
    --threshold 'success>99.9%'
  ringtide targets

`ringtide COMMAND --help` lists the flags of a command.",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What was typed. Ends the process by itself for `--help` and `--version` (0), and for what cannot be read (2).
    ///
    /// # Errors
    /// When a flag of `run` is not there yet.
    pub fn read() -> Result<Self, UsageError> {
        Self::try_parse().map_err(|error| {
            let unknown = (error.kind() == ErrorKind::UnknownArgument)
                .then(|| error.get(ContextKind::InvalidArg))
                .flatten();
            let Some(ContextValue::String(typed)) = unknown else { error.exit() };
            let Some(flag) = NOT_THERE_YET.into_iter().find(|flag| flag == typed) else { error.exit() };
            UsageError::NotThereYet { flag }
        })
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one load test
    Run(Box<RunArgs>),
    /// Start an HTTP server to test against
    Serve(ServeArgs),
    /// Check on this machine that the engine meets its published targets
    Targets(TargetsArgs),
}

impl Command {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Serve(_) => "serve",
            Self::Targets(_) => "targets",
        }
    }
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_flag_that_is_there_is_not_said_to_be_missing() {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").expect("it is a command");
        let is_missing = |name: &str| NOT_THERE_YET.contains(&name);
        for flag in run.get_arguments() {
            assert!(!flag.get_long().is_some_and(|long| is_missing(&format!("--{long}"))), "{flag}");
            assert!(!flag.get_short().is_some_and(|short| is_missing(&format!("-{short}"))), "{flag}");
        }
    }
}
