//! How long the phases of the work took: name resolution, connect, TLS handshake, the wait for the first byte, the transfer.

use super::markup::Markup;
use super::plot::{LEFT, Plot, RIGHT, TOP, time_ticks};
use super::scale::{Scale, shown};
use super::table::{Cell, Head, Table};
use crate::report::time;
use crate::result::{Figure, RunResult, SummaryUs};
use crate::units::show_count;

/// The height of a phase in the plot,
const ROW: f64 = 44.0;
/// and that of its bar.
const BAR: f64 = 14.0;

/// Writes a plot and a table. What did not happen has no times, and is left out.
pub(super) fn write(out: &mut Markup, result: &RunResult) {
    let phases = &result.phases_us;
    let mut all: Vec<(&str, &SummaryUs)> = vec![
        ("name resolution (DNS)", &phases.dns),
        ("connect", &phases.connect),
        ("TLS handshake", &phases.tls),
        ("send to first byte", &phases.first_byte),
        ("first to last byte", &phases.transfer),
    ];
    all.retain(|(_, summary)| summary.count > 0);
    let known: Vec<_> = all.iter().filter_map(|(name, summary)| Some((*name, Times::of(summary)?))).collect();
    if known.is_empty() {
        out.raw("<p>Nothing was connected or answered, so there are no times.</p>\n");
        return;
    }
    out.raw("<figure>");
    draw(out, &known);
    out.raw("<figcaption>Bar: from p50 to p99. Thin line: from the shortest to the longest time.</figcaption></figure>\n");
    let figures = [Figure::Mean, Figure::P50, Figure::P90, Figure::P99, Figure::Max];
    let row = |(name, summary): &(&str, &SummaryUs)| {
        let mut cells = vec![Cell::of(show_count(summary.count))];
        cells.extend(figures.map(|figure| Cell::of(time(summary, figure))));
        ((*name).to_owned(), cells)
    };
    let rows = all.iter().map(row).collect();
    let heads = Head::texts(&["count", "mean", "p50", "p90", "p99", "max"]);
    Table { caption: "Times of the phases", corner: "phase", heads, rows, is_numeric: true }.write(out);
}

/// The shortest time that has a place of its own in the plot.
const SHORTEST_NS: f64 = 1_000.0;

/// What is drawn of a phase, in nanoseconds.
struct Times {
    min: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(summary: &SummaryUs) -> Option<Self> {
        // Shorter ones, and those of 0 among them, would stretch a logarithmic axis for nothing.
        let ns = |us: Option<f64>| Some((us? * 1e3).max(SHORTEST_NS));
        Some(Self {
            min: ns(summary.min)?,
            p50: ns(summary.p50)?,
            p99: ns(summary.p99)?,
            max: ns(summary.max)?,
        })
    }
}

fn draw(out: &mut Markup, phases: &[(&str, Times)]) {
    let height = TOP + ROW * phases.len() as f64 + 44.0;
    let min = phases.iter().map(|(_, times)| times.min).fold(f64::INFINITY, f64::min);
    let max = phases.iter().map(|(_, times)| times.max).fold(0.0, f64::max);
    let x = Scale::of_times(min, max, LEFT, RIGHT);
    let mut plot = Plot::begin(out, height, "Times of the phases, from p50 to p99");
    plot.horizontal_axis(&time_ticks(x));
    for (index, (name, times)) in (0..).zip(phases) {
        let top = TOP + ROW * f64::from(index);
        let bar = top + 22.0;
        let at = |ns: f64| shown(x.at(ns));
        plot.text("tick", LEFT + 4.0, top + 16.0, name);
        plot.path("line c1", &format!("M{} {}H{}", at(times.min), shown(bar + BAR / 2.0), at(times.max)));
        // A bar of no width would not be seen.
        let (from, to) = (x.at(times.p50), x.at(times.p99).max(x.at(times.p50) + 2.0));
        let (from, to, bottom) = (shown(from), shown(to), shown(bar + BAR));
        plot.path("bar", &format!("M{from} {}H{to}V{bottom}H{from}z", shown(bar)));
    }
    plot.end();
}
