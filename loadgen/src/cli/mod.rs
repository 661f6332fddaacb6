//! The command line: what was typed, without effects. [`RunArgs::plan`] and the like turn it into validated plans;
//! `input` reads the named files later.
//!
//! A flag is added only when the program does what it says.

mod ab;
mod compare;
mod contradictions;
mod find;
mod flags;
mod format;
mod install;
mod many;
mod merge;
mod parse;
mod report;
mod run;
mod serve;
mod targets;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use ab::{AbArgs, AbCommand, AbPlan, SLICE_MEASURED_MIN_NS};
pub use compare::{CompareArgs, CompareCommand};
pub use find::{FindArgs, FindCommand, FindPlan, Slo};
pub use flags::RunArgs;
pub use format::Format;
pub use install::{CompletionsArgs, ManArgs, Shell};
pub use merge::MergeArgs;
pub use report::ReportArgs;
pub use run::{Files, Output, RunCommand};
pub use serve::{ServeArgs, ServePlan};
pub use targets::{TargetsArgs, TargetsPlan};

use crate::error::UsageError;

/// Flags that `run` will have. clap would take them for typing errors and suggest others.
const NOT_THERE_YET: [&str; 2] = ["--http3", "--sse"];

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
  ringtide find http://127.0.0.1:8080/ --slo 'p99<10ms,success>99.9%'
  ringtide ab http://127.0.0.1:8081/ http://127.0.0.1:8082/ -d 1m
  ringtide compare base.json new.json
  ringtide report base.json new.json -o report.html
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
    /// Parses the command line. Ends the process itself for `--help` and `--version` (0), and for most errors (2).
    ///
    /// # Errors
    /// When a flag of `run` is not supported yet or not by this command, or a value is negative. For these, clap's own
    /// advice would be wrong. The name is that of the command.
    pub fn read() -> Result<Self, (&'static str, UsageError)> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let read = Self::command()
            .try_get_matches_from(&words)
            .and_then(|matches| Self::from_arg_matches(&matches).map(|cli| (matches, cli)));
        let (matches, cli) = read.map_err(|error| {
            let unknown = (error.kind() == ErrorKind::UnknownArgument)
                .then(|| error.get(ContextKind::InvalidArg))
                .flatten();
            let Some(ContextValue::String(typed)) = unknown else { error.exit() };
            if let Some(flag) = NOT_THERE_YET.into_iter().find(|flag| flag == typed) {
                return ("run", UsageError::NotThereYet { flag });
            }
            if let Some(error) = negative_value(typed, &words) {
                return ("run", error);
            }
            // Of a misspelt flag, clap says how to pass it as a value; none of the commands takes such values.
            let mut error = error;
            error.remove(ContextKind::Suggested);
            error.exit()
        })?;
        let name = cli.command.name();
        if let (Command::Ab(_) | Command::Find(_), Some((_, matches))) = (&cli.command, matches.subcommand())
        {
            many::refuse(name, matches).map_err(|error| (name, error))?;
        }
        Ok(cli)
    }
}

/// The error for a word such as `-5s` behind a flag. `typed` is what clap takes for the name of a flag in it: `-5`.
fn negative_value(typed: &str, words: &[OsString]) -> Option<UsageError> {
    let begins_a_number = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !typed.strip_prefix('-').is_some_and(begins_a_number) {
        return None;
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let pair = words.windows(2).find(|pair| pair[0].starts_with('-') && pair[1].starts_with(typed))?;
    Some(UsageError::Negative { flag: pair[0].to_string(), value: pair[1].to_string() })
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one load test
    Run(Box<RunArgs>),
    /// Find the highest rate that holds an objective
    Find(Box<FindArgs>),
    /// Decide whether URL_B is slower than URL_A
    Ab(Box<AbArgs>),
    /// Compare saved results
    Compare(CompareArgs),
    /// Start an HTTP server to test against
    Serve(ServeArgs),
    /// Merge results of generators that ran at the same time
    Merge(MergeArgs),
    /// Make a page with plots of saved results
    Report(ReportArgs),
    /// Check that the engine meets its targets on this machine
    Targets(TargetsArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print or write the man pages
    Man(ManArgs),
}

impl Command {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Find(_) => "find",
            Self::Ab(_) => "ab",
            Self::Compare(_) => "compare",
            Self::Serve(_) => "serve",
            Self::Merge(_) => "merge",
            Self::Report(_) => "report",
            Self::Targets(_) => "targets",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
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
