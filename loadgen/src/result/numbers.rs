//! Numbers as in the JSON of a result.

use crate::units::rounded;

pub(super) fn us(ns: f64) -> f64 {
    rounded(ns / 1e3)
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A quotient; 0 if the divisor is 0.
pub(super) fn ratio(value: f64, by: f64) -> f64 {
    if by > 0.0 { value / by } else { 0.0 }
}

/// With nine decimals, so that one in a thousand million still shows.
pub(super) fn share(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// Seconds with six decimals.
pub(super) fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
