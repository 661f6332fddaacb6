//! Response times over time as a heat map: a column is some seconds of the run, a row a range of times, and the deeper the
//! colour, the larger the share of the column's answers in it.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::course::{Bin, Course};
use super::markup::Markup;
use super::over_time::{bin_name, figure};
use super::plot::{LEFT, Place, Plot, RIGHT, TOP, second_ticks, time_ticks, write_swatch};
use super::scale::{Scale, shown};
use crate::units::show_count;

const HEIGHT: f64 = 320.0;
/// Above the rows there is a strip for requests without an answer.
const STRIP: f64 = 18.0;
const ROWS_MAX: f64 = 48.0;
/// A row spans at least this factor, as finer ones would show how the histograms are made.
const ROW_FACTOR_MIN: f64 = 1.07;
/// The rows together span at least this factor, so that a steady server looks steady.
const FACTOR_MIN: f64 = 4.0;

/// Whether a column has something.
type Is = fn(&Bin) -> bool;

/// What the strip tells of a column, by colours of the style sheet.
const STRIPS: [(&str, Is); 2] =
    [("failed", |bin| bin.failed > 0), ("cut", |bin| bin.failed == 0 && bin.cut_off > 0)];

/// From these shares of a column on, a cell has the next colour.
const LEVELS: [f64; 7] = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3];
/// The colours, as in the style sheet.
const CLASSES: [&str; 7] = ["h1", "h2", "h3", "h4", "h5", "h6", "h7"];
/// What the colours mean.
const NAMES: [&str; 7] = ["below 0.1 %", "0.1 %", "0.3 %", "1 %", "3 %", "10 %", "30 % and more"];

/// The times of several courses, for maps that are to be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    from_ns: f64,
    to_ns: f64,
}

impl Range {
    /// The times of all `courses`, and the figures that are drawn; `None` if nothing was answered.
    pub(super) fn of<'a>(courses: impl Iterator<Item = &'a Course>) -> Option<Self> {
        let (mut from_ns, mut to_ns) = (f64::INFINITY, 0.0_f64);
        for bin in courses.flat_map(|course| &course.bins) {
            if let Some(times) = bin.times.as_ref().filter(|times| !times.is_empty()) {
                from_ns = from_ns.min(times.min().max(1) as f64);
                to_ns = to_ns.max(times.max() as f64);
                // A lower bound can lie above all answers, and its line is drawn.
                to_ns = figure(bin, "p99").map_or(to_ns, |(ns, _)| to_ns.max(ns));
            }
        }
        if to_ns < from_ns {
            return None;
        }
        let missing = (FACTOR_MIN / (to_ns / from_ns)).max(1.0).sqrt();
        Some(Self { from_ns: from_ns / missing, to_ns: to_ns * missing })
    }

    /// Edges of rows of the same height, from the shortest time to the longest.
    fn edges(self) -> Vec<f64> {
        let factor = self.to_ns / self.from_ns;
        let rows = (factor.ln() / ROW_FACTOR_MIN.ln()).floor().clamp(1.0, ROWS_MAX);
        let edge = |row: u32| self.from_ns * factor.powf(f64::from(row) / rows);
        (0..=rows as u32).map(edge).collect()
    }
}

/// Draws the map.
pub(super) fn draw(out: &mut Markup, course: &Course, range: Range, label: &str) {
    let x = Scale::linear(0.0, course.end_s(), LEFT, RIGHT);
    let any_unanswered = course.bins.iter().any(|bin| bin.unanswered() > 0);
    let top = if any_unanswered { TOP + STRIP } else { TOP };
    let bottom = Plot::bottom_of(HEIGHT);
    let y = Scale::log(range.from_ns, range.to_ns, bottom, top);
    let edges = range.edges();
    let mut plot = Plot::begin(out, HEIGHT, label);
    let mut paths: [String; LEVELS.len()] = Default::default();
    for bin in &course.bins {
        let Some(times) = &bin.times else { continue };
        let (from_x, to_x) = (shown(x.at(bin.from_s)), shown(x.at(bin.to_s)));
        for (row, share) in shares(times, &edges).into_iter().enumerate() {
            let Some(level) = level(share) else { continue };
            let (from_y, to_y) = (shown(y.at(edges[row])), shown(y.at(edges[row + 1])));
            let _ = write!(paths[level], "M{from_x} {from_y}H{to_x}V{to_y}H{from_x}z");
        }
    }
    for (class, path) in CLASSES.iter().zip(&paths) {
        plot.path(class, path);
    }
    for (class, is_so) in STRIPS {
        let mut strip = String::new();
        for bin in course.bins.iter().filter(|bin| is_so(bin)) {
            let (from_x, to_x) = (shown(x.at(bin.from_s)), shown(x.at(bin.to_s)));
            let (from_y, to_y) = (shown(TOP), shown(TOP + STRIP - 6.0));
            let _ = write!(strip, "M{from_x} {from_y}H{to_x}V{to_y}H{from_x}z");
        }
        plot.path(class, &strip);
    }
    plot.vertical_axis(&time_ticks(y));
    plot.horizontal_axis(&second_ticks(x));
    for class in ["p50", "p99"] {
        let mut places = Vec::new();
        for bin in &course.bins {
            let Some((ns, is_lower_bound)) = figure(bin, class) else { continue };
            let place = |second: f64| Place { x: x.at(second), y: y.at(ns), is_lower_bound };
            places.extend([place(bin.from_s), place(bin.to_s)]);
        }
        plot.line(class, &places);
    }
    for bin in &course.bins {
        let mut hint = format!("{}: {} answered", bin_name(bin), show_count(bin.completed));
        for (count, what) in [(bin.failed, "failed"), (bin.cut_off, "cut off by the end")] {
            if count > 0 {
                let _ = write!(hint, ", {} {what}", show_count(count));
            }
        }
        for name in ["p50", "p90", "p99", "max"] {
            if let Some((ns, is_lower_bound)) = figure(bin, name) {
                let sign = if is_lower_bound { "≥ " } else { "" };
                let _ = write!(hint, "\n{name} {sign}{}", crate::units::show_time_ns(ns));
            }
        }
        plot.hint(x.at(bin.from_s), x.at(bin.to_s), &hint);
    }
    plot.end();
}

/// What the colours mean.
pub(super) fn write_key(out: &mut Markup, course: &Course) {
    for ((class, is_so), name) in
        STRIPS.iter().zip(["some failed", "some were cut off by the end of the run"])
    {
        if course.bins.iter().any(is_so) {
            write_swatch(out, class, name);
            out.raw(" ");
        }
    }
    out.raw("<p class=\"key\">Share of the column’s answers in a cell:");
    for (class, name) in CLASSES.iter().zip(NAMES) {
        out.raw(" ");
        write_swatch(out, class, name);
    }
    out.raw("</p>\n");
}

/// The part of `times` in each row. A bucket that lies in several rows is divided among them.
fn shares(times: &Histogram<u64>, edges: &[f64]) -> Vec<f64> {
    let mut shares = vec![0.0; edges.len() - 1];
    let all = times.len().max(1) as f64;
    for place in times.iter_recorded() {
        let value = place.value_iterated_to();
        let share = place.count_at_value() as f64 / all;
        let from = (times.lowest_equivalent(value) as f64).clamp(edges[0], edges[edges.len() - 1]);
        let to = (times.highest_equivalent(value) as f64 + 1.0).clamp(from, edges[edges.len() - 1]);
        if to <= from {
            let row = edges.partition_point(|edge| *edge <= from).clamp(1, shares.len()) - 1;
            shares[row] += share;
            continue;
        }
        let first = edges.partition_point(|edge| *edge <= from).clamp(1, shares.len()) - 1;
        for row in first..shares.len() {
            let common = to.min(edges[row + 1]) - from.max(edges[row]);
            if common <= 0.0 {
                break;
            }
            shares[row] += share * common / (to - from);
        }
    }
    shares
}

/// The colour of a share; `None` for nothing.
fn level(share: f64) -> Option<usize> {
    LEVELS.iter().rposition(|level| share > *level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series::compact_histogram;

    #[test]
    fn shares_have_levels() {
        assert_eq!(level(0.0), None);
        assert_eq!([1e-9, 0.002, 0.05, 1.0].map(level), [Some(0), Some(1), Some(4), Some(6)]);
    }

    #[test]
    fn a_steady_server_does_not_fill_the_map() {
        let mut times = compact_histogram();
        times.saturating_record_n(1_000_000, 100);
        let range = Range { from_ns: 500_000.0, to_ns: 2_000_000.0 };
        let shares = shares(&times, &range.edges());
        assert!(shares.iter().filter(|share| **share > 0.0).count() <= 2, "{shares:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_the_rows(
            values in proptest::collection::vec((1_u64..80_000_000_000_000, 1_u64..1_000_000), 1..100),
            from in 1_u64..1_000_000,
        ) {
            let mut times = compact_histogram();
            for (value, count) in values {
                times.saturating_record_n(value, count);
            }
            for range in [
                Range { from_ns: times.min().max(1) as f64, to_ns: times.max() as f64 * 1.01 },
                // What is outside counts at the edges.
                Range { from_ns: from as f64, to_ns: from as f64 * 4.0 },
            ] {
                let shares = shares(&times, &range.edges());
                prop_assert!(shares.len() as f64 <= ROWS_MAX);
                prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{:?} {:?}", range, shares);
            }
        }
    }
}
