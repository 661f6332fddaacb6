//! The format of a report, a flag that several commands share.

use clap::ValueEnum;

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For tables: a line of names and a line of figures.
    Csv,
}
