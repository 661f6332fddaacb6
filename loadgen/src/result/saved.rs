//! Results that were saved with `--format json`, read back.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{RunResult, SCHEMA};
use crate::error::Error;

/// Reads a saved result.
///
/// # Errors
/// When the file cannot be read, or holds no result of this version. The message names the file, and the field with its
/// line.
pub fn read_saved(path: &Path) -> Result<RunResult, Error> {
    let problem = |problem: String| Error::SavedResult { path: path.to_owned(), problem };
    let text = fs::read(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let json: Value =
        serde_json::from_slice(&text).map_err(|error| problem(format!("is not JSON: {error}")))?;
    match json.get("schema").and_then(Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => {
            return Err(problem(format!(
                "is a result of format {schema}; this version reads format {SCHEMA}"
            )));
        }
        None => {
            return Err(problem("is no result; `ringtide run --format json -o FILE` writes one".to_owned()));
        }
    }
    // From the text again, as this error tells the line.
    serde_json::from_slice(&text).map_err(|error| problem(format!("is no whole result: {error}")))
}
