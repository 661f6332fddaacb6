//! The course of a run as lines of JSON, one per second.

use std::fmt::Write as _;

use crate::series::Second;

/// Appends the line of a second: its point, as in the `series` of a result, with the time of its end as
/// `unix_s` before it.
///
/// # Panics
/// Never: points have no keys but strings.
pub fn append_line(second: &Second<'_>, out: &mut String) {
    let point = second.point;
    let unix_s = second.started_unix_s + point.at_s + point.duration_s;
    let text = serde_json::to_string(point).expect("points have only strings as keys");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{{\"unix_s\":{unix_s:.3},{}", &text[1..]);
}
