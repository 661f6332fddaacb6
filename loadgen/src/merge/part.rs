//! One of the results that are merged.

use crate::result::RunResult;

/// A result, and the name of its file.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub file: String,
    /// What is in it.
    pub result: RunResult,
}
