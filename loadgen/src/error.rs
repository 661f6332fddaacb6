//! Everything that can make a command fail, by culprit.
//!
//! A failed request is not such an error: it is counted (`metrics::ErrorKind`).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ringtide::runtime::SetupError;
use ringtide::server::StartError;

use crate::fd_limit::DescriptorLimitError;
use crate::url::UrlError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line cannot be carried out. Nothing has been started.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The system allows fewer descriptors than the plan needs. Nothing has been started.
    #[error(transparent)]
    DescriptorLimit(#[from] DescriptorLimitError),
    /// No address was found for the host. Nothing has been started.
    #[error("cannot resolve `{host}`: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not one connection could be made.
    #[error("{url}: {reason}")]
    NothingConnected {
        /// The URL.
        url: String,
        /// Why the first one failed.
        reason: String,
    },
    /// A worker could not be set up.
    #[error("{}{_0}", flag_of(_0))]
    Setup(SetupError),
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The server could not be started.
    #[error("cannot start the server: {0}")]
    Server(String),
    /// The user ended the run before there was anything to report.
    #[error("interrupted before the first connection")]
    Interrupted,
    /// The signal handler could not be installed.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// A worker, or one of its tasks, panicked, which is a defect; the message of the panic has been printed.
    #[error(
        "a worker thread panicked, so the run has no result; this is a bug in ringtide, please report it"
    )]
    WorkerPanicked,
    /// Workers went on after being told to end, which is a defect. Their threads may still be running.
    #[error("the run did not end within {} s of being stopped; this is a bug in ringtide, please report it", patience.as_secs())]
    Unstoppable {
        /// How long the run waited for them.
        patience: Duration,
    },
    /// This is not an HTTP method.
    #[error("`{0}` is not an HTTP method")]
    Method(String),
    /// The request cannot be encoded.
    #[error("{0}")]
    Request(String),
    /// A saved result cannot be used.
    #[error("{}: {problem}", path.display())]
    SavedResult {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// None of a side's results is valid.
    #[error("no result of {side} is valid, so the figures are not the server's; {}: {reason}", path.display())]
    NothingValid {
        /// `base` or `new`.
        side: &'static str,
        /// One of its files.
        path: PathBuf,
        /// Why it is not valid.
        reason: String,
    },
    /// The report could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Output {
        /// The file of `--output`.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Worker(error) => Self::Setup(error),
            StartError::Listen { ref source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Self::Server(format!("{error}; choose another port with --addr"))
            }
            _ => Self::Server(error.to_string()),
        }
    }
}

/// The flag that a worker could not be set up with, as the beginning of a message.
fn flag_of(error: &SetupError) -> &'static str {
    match error {
        SetupError::Pin(_) => "--cpus: ",
        _ => "",
    }
}

/// What is wrong with the command line. Each message names the flag, its value, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A flag that a later version will have.
    #[error("{flag} is not supported yet")]
    NotThereYet {
        /// The flag.
        flag: &'static str,
    },
    /// A word that means nothing here, and what was probably meant.
    #[error("`{typed}`: {advice}")]
    Unknown {
        /// The word.
        typed: String,
        /// What to type instead.
        advice: String,
    },
    /// A flag of `run` that this command does not take.
    #[error("{flag} is a flag of `run`, and `{command}` does not take it")]
    NotOfCommand {
        /// The flag.
        flag: String,
        /// The command.
        command: &'static str,
    },
    /// Two flags contradict each other.
    #[error("{first} does not go with {second}: {why}")]
    Contradiction {
        /// One flag, with its value where that matters.
        first: String,
        /// The other.
        second: String,
        /// What makes them incompatible.
        why: String,
    },
    /// A flag has no meaning without another.
    #[error("{flag} needs {missing}: {why}")]
    Needs {
        /// The flag that was given.
        flag: &'static str,
        /// The missing flag.
        missing: &'static str,
        /// What the first one does.
        why: &'static str,
    },
    /// The value of a flag cannot be used.
    #[error("{flag}: {problem}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The value of a flag is below zero.
    #[error("{flag}: `{value}` is negative")]
    Negative {
        /// The flag as typed.
        flag: String,
        /// Its value as typed.
        value: String,
    },
    /// A file could not be read.
    #[error("{flag}: cannot read `{}`: {source}", path.display())]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a file is not right.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Saved results do not belong together.
    #[error("{0}")]
    NotOneTest(String),
    /// The file of `--body @FILE` could not be read.
    #[error("--body: cannot read {name}: {source}")]
    Body {
        /// The file, or standard input.
        name: String,
        /// Why.
        source: io::Error,
    },
}
