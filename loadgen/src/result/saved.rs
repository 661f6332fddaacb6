//! Results that were saved with `--format json`, read back.

use std::fs;
use std::path::Path;

use super::RunResult;
use crate::error::UsageError;

/// Reads a saved result.
///
/// # Errors
/// When the file cannot be read, or holds none. The message names the file, and the field or the place in it.
pub fn read_saved(path: &Path) -> Result<RunResult, UsageError> {
    let error = |problem: String| UsageError::Saved { file: path.display().to_string(), problem };
    let text = fs::read_to_string(path).map_err(|source| error(format!("cannot be read: {source}")))?;
    serde_json::from_str(&text)
        .map_err(|source| error(format!("is not a result of `ringtide run --format json`: {source}")))
}
