//! What is merged, and why it cannot be.

use crate::result::RunResult;

/// Why results cannot be merged. Each message names the file and the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A field has a value that cannot be used.
    #[error("{file}: {field}: {problem}")]
    Field {
        /// The file.
        file: String,
        /// The field, with dots for its place.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two results differ where they must not.
    #[error("{first} and {second} differ in {field}: {ours} and {theirs}; merge takes results of one test")]
    Differ {
        /// One file.
        first: String,
        /// The other.
        second: String,
        /// The field.
        field: String,
        /// Its value in the first.
        ours: String,
        /// And in the second.
        theirs: String,
    },
    /// The runs were not at the same time.
    #[error(
        "{first} and {second} did not run at the same time: the first ended {gap_s} s before the second began; \
         merge takes results of generators that ran together"
    )]
    Apart {
        /// The file whose run ended first.
        first: String,
        /// The file whose run began last.
        second: String,
        /// The time between.
        gap_s: String,
    },
    /// There is only one.
    #[error("there is nothing to merge: name at least two results")]
    TooFew,
}

/// A result, and the name of its file.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub file: String,
    /// What is in it.
    pub result: RunResult,
}
