//! What ended a run, as in its result.

use serde::{Deserialize, Serialize};

use crate::plan::Stop;

/// What ended the measured part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its time was up.
    #[default]
    Duration,
    /// Its number of requests was reached.
    Requests,
    /// The limit on failed requests was reached.
    MaxErrors,
    /// The user.
    Interrupt,
    /// The rows of a table that are given out only once had run out.
    Data,
}

/// What ended a run early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedEarly {
    /// The user.
    Interrupted,
    /// The number of failed requests.
    MaxErrors,
    /// The lack of further rows.
    OutOfData,
}

impl EndedBy {
    pub(super) fn of(stop: Stop, early: Option<EndedEarly>, ended: u64) -> Self {
        match (early, stop) {
            (Some(EndedEarly::Interrupted), _) => Self::Interrupt,
            (Some(EndedEarly::MaxErrors), _) => Self::MaxErrors,
            (Some(EndedEarly::OutOfData), _) => Self::Data,
            (None, Stop::Requests { count, within_ns }) if within_ns.is_none() || ended >= count => {
                Self::Requests
            }
            (None, _) => Self::Duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_by_the_first_of_its_limits() {
        let requests = |within_ns| Stop::Requests { count: 10, within_ns };
        for (stop, early, ended, by) in [
            (Stop::Duration { ns: 1 }, None, 5, EndedBy::Duration),
            (requests(None), None, 10, EndedBy::Requests),
            (requests(Some(1)), None, 10, EndedBy::Requests),
            (requests(Some(1)), None, 9, EndedBy::Duration),
            (requests(Some(1)), Some(EndedEarly::MaxErrors), 9, EndedBy::MaxErrors),
            (Stop::Duration { ns: 1 }, Some(EndedEarly::Interrupted), 5, EndedBy::Interrupt),
        ] {
            assert_eq!(EndedBy::of(stop, early, ended), by, "{stop:?} {early:?} {ended}");
        }
    }
}
