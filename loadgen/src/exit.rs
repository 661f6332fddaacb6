//! The exit codes of the command. Scripts depend on them.

use std::process::ExitCode;

use crate::decide::{Comparison, FindResult, LimitName, Verdict};
use crate::error::Error;
use crate::result::{EndedBy, RunResult};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and every threshold held.
    Done = 0,
    /// Could not run: nothing connected, or an internal error.
    CouldNotRun = 1,
    /// The command line cannot be carried out.
    Usage = 2,
    /// A threshold was missed, `--max-errors` was reached, or a target was not met.
    ThresholdMissed = 3,
    /// The generator was the bottleneck, or the run too short to judge, and `--require-valid` was given.
    NotValid = 4,
    /// Stopped by the user. The report covers what ran until then.
    Interrupted = 130,
}

impl Exit {
    /// How a run with a result ended. An invalid measurement goes before a missed threshold, as its figures prove
    /// nothing. Too many errors go before both: they are a fact, and such a run may be too short to judge.
    pub fn of_run(result: &RunResult, require_valid: bool) -> Self {
        if result.interrupted {
            Self::Interrupted
        } else if result.ended_by == EndedBy::MaxErrors {
            Self::ThresholdMissed
        } else if require_valid && result.verdict.valid != Some(true) {
            Self::NotValid
        } else if result.thresholds.iter().any(|threshold| !threshold.met) {
            Self::ThresholdMissed
        } else {
            Self::Done
        }
    }
}

impl Exit {
    /// How a comparison ended. `require_valid`: an interval is needed.
    pub fn of_comparison(comparison: &Comparison, require_valid: bool) -> Self {
        if comparison.interrupted {
            Self::Interrupted
        } else if require_valid && comparison.power.is_none() {
            Self::NotValid
        } else if comparison.verdict == Verdict::Slower {
            Self::ThresholdMissed
        } else {
            Self::Done
        }
    }

    /// How a search ended. If even the lowest rate could not be judged, nothing is known of the objective.
    pub fn of_search(found: &FindResult, require_valid: bool) -> Self {
        if found.interrupted {
            Self::Interrupted
        } else if found.limited_by == LimitName::Generator && (require_valid || found.rate <= 0.0) {
            Self::NotValid
        } else if found.rate > 0.0 {
            Self::Done
        } else {
            Self::ThresholdMissed
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Usage(_) | Error::Method(_) | Error::Request(_) | Error::SavedResult { .. } => Self::Usage,
            Error::Interrupted => Self::Interrupted,
            _ => Self::CouldNotRun,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold::Outcome;

    #[test]
    fn interruption_goes_before_errors_and_errors_before_validity_and_validity_before_thresholds() {
        let mut result = crate::result::tests::example();
        result.verdict.valid = Some(true);
        result.thresholds.clear();
        assert_eq!(Exit::of_run(&result, true), Exit::Done);
        result.thresholds.push(Outcome {
            expression: "p99<1ms".to_owned(),
            observed: Some(2000.0),
            unit: "us".to_owned(),
            lower_bound: false,
            met: false,
        });
        assert_eq!(Exit::of_run(&result, true), Exit::ThresholdMissed);
        // A run too short to judge is not valid either.
        for valid in [Some(false), None] {
            result.verdict.valid = valid;
            assert_eq!(Exit::of_run(&result, false), Exit::ThresholdMissed);
            assert_eq!(Exit::of_run(&result, true), Exit::NotValid);
        }
        result.thresholds.clear();
        result.ended_by = EndedBy::MaxErrors;
        assert_eq!(Exit::of_run(&result, true), Exit::ThresholdMissed);
        result.interrupted = true;
        assert_eq!(Exit::of_run(&result, true), Exit::Interrupted);
    }
}
