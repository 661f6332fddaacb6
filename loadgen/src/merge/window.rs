//! The time in which all generators ran, what was answered in it, and the course of all together.

use super::part::{MergeError, Part};
use super::times::sum_of_points;
use crate::hdr::Encoder;
use crate::metrics::Times;
use crate::result::RunResult;
use crate::result::numbers::{microseconds, ratio};
use crate::series::{Point, Series};

/// A part that ran longer than the window by more than this share is told.
const OUTSIDE_SHARE_MAX: f64 = 0.01;

/// The common window.
pub(super) struct Window<'a> {
    parts: &'a [Part],
    /// When the last began, in seconds since 1970-01-01 UTC,
    pub(super) from_s: f64,
    /// and when the first ended.
    pub(super) to_s: f64,
    /// When the first began.
    pub(super) started_s: f64,
}

impl<'a> Window<'a> {
    pub(super) fn of(parts: &'a [Part]) -> Result<Self, MergeError> {
        for part in parts {
            let result = &part.result;
            if result.started_unix_s <= 0.0 || result.ended_unix_s < result.started_unix_s {
                return Err(MergeError::Field {
                    file: part.file.clone(),
                    field: "started_unix_s, ended_unix_s".to_owned(),
                    problem: "they do not tell when the run was; it is of an older version, or was changed"
                        .to_owned(),
                });
            }
        }
        let by =
            |of: fn(&RunResult) -> f64| move |a: &&Part, b: &&Part| of(&a.result).total_cmp(&of(&b.result));
        let last = parts.iter().max_by(by(|result| result.started_unix_s)).expect("there are parts");
        let first = parts.iter().min_by(by(|result| result.ended_unix_s)).expect("there are parts");
        let (from_s, to_s) = (last.result.started_unix_s, first.result.ended_unix_s);
        if to_s <= from_s {
            return Err(MergeError::Apart {
                first: first.file.clone(),
                second: last.file.clone(),
                gap_s: format!("{:.3}", from_s - to_s),
            });
        }
        let starts = parts.iter().map(|part| part.result.started_unix_s);
        Ok(Self { parts, from_s, to_s, started_s: starts.fold(f64::INFINITY, f64::min) })
    }

    pub(super) fn duration_s(&self) -> f64 {
        self.to_s - self.from_s
    }

    pub(super) fn requests_per_second(&self) -> f64 {
        let of_point = |point: &Point| point.requests_per_second * point.duration_s;
        self.parts
            .iter()
            .map(|part| self.rate_of(&part.result, of_point, part.result.requests_per_second))
            .sum()
    }

    pub(super) fn bytes_received_per_second(&self) -> f64 {
        let of_point = |point: &Point| point.bytes_received as f64;
        self.parts
            .iter()
            .map(|part| self.rate_of(&part.result, of_point, part.result.bytes_received_per_second))
            .sum()
    }

    /// The rate of a part in the window, by its points; those at the edges count in proportion. If it ran in the window
    /// only, or has no points, it is its own rate.
    fn rate_of(&self, result: &RunResult, of_point: impl Fn(&Point) -> f64, own: f64) -> f64 {
        let Some(series) = &result.series else { return own };
        if self.is_inside(result, 0.0) {
            return own;
        }
        let mut sum = 0.0;
        for point in &series.points {
            let from_s = result.started_unix_s + point.at_s;
            let to_s = from_s + point.duration_s;
            let common_s = to_s.min(self.to_s) - from_s.max(self.from_s);
            if common_s > 0.0 && point.duration_s > 0.0 {
                sum += of_point(point) * (common_s / point.duration_s).min(1.0);
            }
        }
        ratio(sum, self.duration_s())
    }

    /// Whether a part ran in the window only, up to a share of it.
    fn is_inside(&self, result: &RunResult, share: f64) -> bool {
        let outside_s = result.ended_unix_s - result.started_unix_s - self.duration_s();
        outside_s <= self.duration_s() * share + 1e-6
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let window_s = microseconds(self.duration_s());
        let longer = self.parts.iter().filter(|part| !self.is_inside(&part.result, OUTSIDE_SHARE_MAX));
        let longer: Vec<&str> = longer.map(|part| part.file.as_str()).collect();
        if !longer.is_empty() {
            notes.push(format!(
                "requests/s and bytes/s are those of the {window_s:.3} s in which all generators ran; counts and times \
                 are those of the whole runs, and these were longer: {}",
                longer.join(", ")
            ));
        }
        let without = self
            .parts
            .iter()
            .filter(|part| part.result.series.is_none() && !self.is_inside(&part.result, OUTSIDE_SHARE_MAX));
        for part in without {
            notes.push(format!(
                "{} has no series, so its rate over its whole run stands for that in the common window",
                part.file
            ));
        }
        notes
    }
}

/// The points of all parts, each added to that second, counted from the first start, in which most of it lies; `None`
/// if a part has none. Percentiles are made from the sums of the points' histograms, which have one digit.
pub(super) fn series(parts: &[Part], started_s: f64) -> Result<Option<Series>, MergeError> {
    let mut interval_s = 0.0_f64;
    let mut seconds: Vec<Vec<(&str, &Point)>> = Vec::new();
    for part in parts {
        let Some(series) = &part.result.series else { return Ok(None) };
        interval_s = interval_s.max(series.interval_s);
        for point in &series.points {
            let at =
                ((part.result.started_unix_s - started_s + point.at_s) / series.interval_s.max(1e-3)).round();
            // A day has 86,400 seconds; a result that says more has been tampered with.
            let index = (at.max(0.0) as usize).min(10_000_000);
            if seconds.len() <= index {
                seconds.resize_with(index + 1, Vec::new);
            }
            seconds[index].push((part.file.as_str(), point));
        }
    }
    let mut encoder = Encoder::new();
    let mut points = Vec::new();
    for (index, second) in seconds.iter().enumerate() {
        let texts = |of: fn(&Point) -> &String| -> Vec<(&str, &str)> {
            second.iter().map(|(file, point)| (*file, of(point).as_str())).collect()
        };
        let completed = sum_of_points(&texts(|point| &point.histogram), "series.points.histogram")?;
        let censored = texts(|point| &point.histogram_censored);
        let censored = sum_of_points(&censored, "series.points.histogram_censored")?;
        let all: Vec<&Point> = second.iter().map(|(_, point)| *point).collect();
        let at_s = index as f64 * interval_s;
        let response = Times { exact: completed, censored };
        points.push(Point::sum(&all, at_s, &response, &mut encoder));
    }
    Ok(Some(Series { interval_s, points }))
}
