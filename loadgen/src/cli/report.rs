//! `ringtide report`: its flags.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::error::UsageError;
use crate::report::html::RESULTS_MAX;

/// What `report --help` says after the flags.
const AFTER_HELP: &str = "A result is what `ringtide run --format json -o FILE` writes, or what
`ringtide merge` makes of several. The page has its plots in itself: it needs no
network and no script, and can be mailed, printed and kept. Several results, up
to 8, stand side by side. With `ringtide run --html FILE`, a run writes its page
at once.

Examples:
  ringtide report result.json -o report.html
  ringtide report base.json new.json -o compared.html

Exit codes:
  0  done
  1  could not write
  2  usage error, or a file holds no result";

/// The flags of `report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReportArgs {
    /// Results to show, as JSON
    #[arg(required = true, value_name = "RESULT.json", value_hint = ValueHint::FilePath)]
    pub results: Vec<PathBuf>,
    /// Write the page here
    #[arg(short, long, required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

impl ReportArgs {
    /// Checks the flags, without reading a result.
    ///
    /// # Errors
    /// When there are too many results, or the page would replace one of them.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.results.len() > RESULTS_MAX {
            let problem = format!(
                "there are {} results, and a page shows up to {RESULTS_MAX}, as more curves in one plot cannot be told \
                 apart; `ringtide compare` takes any number",
                self.results.len()
            );
            return Err(UsageError::Value { flag: "RESULT.json", problem });
        }
        let place = |path: &Path| path.canonicalize().ok().filter(|path| path.is_file());
        let output = place(&self.output);
        if let Some(result) = self.results.iter().find(|result| output.is_some() && place(result) == output) {
            return Err(UsageError::Contradiction {
                first: format!("--output (-o) {}", self.output.display()),
                second: format!("the result {}", result.display()),
                why: "the page would replace the result".to_owned(),
            });
        }
        Ok(())
    }

    /// What the page calls the results: by their file names if these differ, else by their whole paths.
    pub fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let short: Vec<String> = self.results.iter().filter_map(name).collect();
        let is_unique = |name: &String| short.iter().filter(|other| *other == name).count() == 1;
        if short.len() == self.results.len() && short.iter().all(is_unique) {
            return short;
        }
        self.results.iter().map(|path| path.display().to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(results: &[&str], output: &str) -> ReportArgs {
        ReportArgs { results: results.iter().map(PathBuf::from).collect(), output: PathBuf::from(output) }
    }

    #[test]
    fn names_are_as_short_as_they_can_be() {
        assert_eq!(args(&["a/x.json", "b/y.json"], "p").names(), ["x.json", "y.json"]);
        assert_eq!(args(&["a/x.json", "b/x.json"], "p").names(), ["a/x.json", "b/x.json"]);
    }

    #[test]
    fn too_many_results_are_refused() {
        assert!(args(&["a"; 8], "p").check().is_ok());
        let error = args(&["a"; 9], "p").check().expect_err("too many").to_string();
        assert!(error.starts_with("RESULT.json: there are 9 results, and a page shows up to 8"), "{error}");
    }
}
