//! Decisions from measurements: whether B differs from A, and where an objective stops to hold. Statistics without
//! I/O; everything random follows from a seed.
//!
//! A comparison is of pairs or of two sets of repeats ([`Comparison`]). How it decides, and why so, is in `interval`
//! and `trimmed`; the tests in `simulation` show how often it is wrong.

mod comparison;
mod found;
mod interval;
mod metric;
mod search;
#[cfg(test)]
mod simulation;
mod trimmed;

pub use self::comparison::{Comparison, Difference, Power, Results, Rules, Success, Verdict};
pub use self::found::{FindResult, LimitName, Probe};
pub use self::interval::{PAIRS_MIN, RESULTS_MIN};
pub use self::metric::Metric;
pub use self::search::{Found, Limit, Outcome, Search, Step};
