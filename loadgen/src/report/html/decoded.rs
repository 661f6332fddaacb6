//! The histograms of a result, decoded once for all that is drawn.

use super::course::Course;
use super::histograms::curve;
use crate::estimate::Curve;
use crate::result::{RunResult, SummaryUs, TimesText};

/// A result, and what readers call it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The name; with a single result it is not shown.
    pub name: &'a str,
    /// The result.
    pub result: &'a RunResult,
}

/// Why a result cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Unreadable {
    /// Which of the results it is, from 0.
    pub index: usize,
    /// The field, with dots for its place.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A result with its histograms.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    /// What readers call it.
    pub(super) name: &'a str,
    /// A letter for plots and narrow tables.
    pub(super) letter: &'static str,
    /// Its colour in plots, as in the style sheet.
    pub(super) colour: &'static str,
    /// The rest of it.
    pub(super) result: &'a RunResult,
    /// The distribution of the response times, if anything was completed.
    pub(super) response: Option<Curve>,
    /// The distribution of the service times, if it is another.
    pub(super) service: Option<Curve>,
    /// The course of the run, if the result has it.
    pub(super) course: Option<Course>,
}

/// More results in one plot could not be told apart.
pub const RESULTS_MAX: usize = 8;

/// The letters of several results.
const LETTERS: [&str; RESULTS_MAX] = ["A", "B", "C", "D", "E", "F", "G", "H"];
/// And their colours.
const COLOURS: [&str; RESULTS_MAX] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];

impl<'a> Decoded<'a> {
    /// Decodes the histograms of the result with this index.
    pub(super) fn of(index: usize, named: Named<'a>) -> Result<Self, Unreadable> {
        let Named { name, result } = named;
        let failed = |(field, problem)| Unreadable { index, field, problem };
        let (times, latency) = (&result.histograms, &result.latency_us);
        let is_same = times.service == times.response;
        let service = if is_same { None } else { Some((&times.service, &latency.service)) };
        let of = |times: &TimesText, summary: &SummaryUs, name: &str| {
            if result.requests.completed == 0 { Ok(None) } else { curve(times, summary, name) }
        };
        Ok(Self {
            name,
            letter: LETTERS[index % RESULTS_MAX],
            colour: COLOURS[index % RESULTS_MAX],
            result,
            response: of(&times.response, &latency.response, "histograms.response").map_err(failed)?,
            service: match service {
                Some((times, summary)) => of(times, summary, "histograms.service").map_err(failed)?,
                None => None,
            },
            course: result
                .series
                .as_ref()
                .map(Course::of)
                .transpose()
                .map_err(failed)?
                .filter(Course::is_any),
        })
    }
}
