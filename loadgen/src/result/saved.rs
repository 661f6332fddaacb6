//! Results that were saved with `--format json`, read back.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

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
    serde_json::from_slice::<IgnoredAny>(&text).map_err(|error| problem(format!("is not JSON: {error}")))?;
    // Whatever is no object with such fields has none of them.
    let head: Head = serde_json::from_slice(&text).unwrap_or_default();
    match head.schema {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => {
            return Err(problem(format!(
                "is a result of format {schema}; this version reads format {SCHEMA}"
            )));
        }
        None => {
            let writes = "`ringtide run --format json -o FILE` writes one";
            return Err(problem(match head.other_kind() {
                Some(kind) => format!("is {kind}, not the result of one run; {writes}"),
                None => format!("is no result; {writes}"),
            }));
        }
    }
    // From the text again, as this error tells the line.
    serde_json::from_slice(&text).map_err(|error| problem(format!("is no whole result: {error}")))
}

/// What tells a result from what else ringtide writes as JSON. The rest, which may be large, is not kept.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    schema: Option<u64>,
    pairs: Option<IgnoredAny>,
    metrics: Option<IgnoredAny>,
    probes: Option<IgnoredAny>,
    targets: Option<IgnoredAny>,
}

impl Head {
    fn other_kind(&self) -> Option<&'static str> {
        if self.pairs.is_some() && self.metrics.is_some() {
            Some("a comparison by `ringtide ab` or `ringtide compare`")
        } else if self.probes.is_some() {
            Some("a search by `ringtide find`")
        } else {
            self.targets.map(|_| "a table of `ringtide targets`")
        }
    }
}
