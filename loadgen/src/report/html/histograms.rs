//! Histograms of a result, read back. Those that ringtide did not write so are refused, as nothing could be added to them.

use hdrhistogram::Histogram;

use crate::estimate::{Censoring, Curve};
use crate::hdr;
use crate::metrics::histogram;
use crate::result::{Figure, SummaryUs, TimesText};

/// What is wrong, behind the name of the field.
pub(super) type FieldProblem = (String, String);

/// The distribution of `times`, whose figures are `summary`; `None` if there are none.
pub(super) fn curve(
    times: &TimesText,
    summary: &SummaryUs,
    field: &str,
) -> Result<Option<Curve>, FieldProblem> {
    let all = histogram();
    let read = |text: &Option<String>, part: &str| match text {
        Some(text) => decode(text, &all, &format!("{field}.{part}")).map(Some),
        None => Ok(None),
    };
    let (exact, censored) = (read(&times.completed, "completed")?, read(&times.censored, "censored")?);
    if exact.is_none() && censored.is_none() {
        return Ok(None);
    }
    // All figures are lower bounds, even the shortest, if the backlog grew.
    let grew = summary.is_lower_bound(Figure::Min);
    let censoring = if grew { Censoring::Dependent } else { Censoring::Independent };
    let of = |part: Option<Histogram<u64>>| part.unwrap_or_else(histogram);
    Ok(Some(Curve::new(&of(exact), &of(censored), censoring)))
}

/// The histogram in `text`, which must have the bounds of `like`.
pub(super) fn decode(text: &str, like: &Histogram<u64>, field: &str) -> Result<Histogram<u64>, FieldProblem> {
    let problem = |problem: String| (field.to_owned(), problem);
    let times = hdr::decode(text).map_err(|error| problem(error.to_string()))?;
    let bounds = |times: &Histogram<u64>| (times.low(), times.high(), times.sigfig());
    if bounds(&times) == bounds(like) {
        return Ok(times);
    }
    let (low, high, digits) = bounds(&times);
    Err(problem(format!(
        "its histogram has {digits} digits from {low} to {high} ns, unlike those of ringtide"
    )))
}
