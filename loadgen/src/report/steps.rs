//! The table of a text report that has a line for each request name.

use std::fmt::{self, Write as _};

use super::Style;
use crate::result::{Figure, RunResult, SummaryUs};
use crate::units::{show_count, show_rate, show_time_ns};

/// Columns of a figure.
const COLUMN: usize = 11;

/// A figure of a distribution, with a sign before a lower bound.
pub(super) fn time(summary: &SummaryUs, figure: Figure) -> String {
    let Some(time_us) = summary.figure(figure) else { return "-".to_owned() };
    let sign = if summary.is_lower_bound(figure) { "≥ " } else { "" };
    format!("{sign}{}", show_time_ns(time_us * 1e3))
}

/// Writes the table, if the requests have names.
pub(super) fn write_steps(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let Some(steps) = &result.steps else { return Ok(()) };
    let heads: &[&str] = if style.is_narrow() {
        &["requests/s", "p50", "p99"]
    } else {
        &["requests/s", "p50", "p99", "failed"]
    };
    // The name gets what the figures leave, and a longer one a line of its own.
    let room = style.width - heads.len() * COLUMN;
    write!(out, "\n{:room$}", "Requests by name")?;
    for head in heads {
        write!(out, "{head:>COLUMN$}")?;
    }
    writeln!(out)?;
    for (name, step) in &steps.0 {
        let name = format!("  {name}");
        if name.chars().count() < room {
            write!(out, "{name:room$}")?;
        } else {
            write!(out, "{name}\n{:room$}", "")?;
        }
        let rate =
            if result.duration_s > 0.0 { step.requests.completed as f64 / result.duration_s } else { 0.0 };
        let response = &step.latency_us.response;
        let failed = show_count(step.requests.failed);
        let failed = format!("{failed:>COLUMN$}");
        let failed = if step.requests.failed > 0 { style.bad(&failed) } else { failed };
        write!(out, "{:>COLUMN$}", show_rate(rate))?;
        for figure in [Figure::P50, Figure::P99] {
            write!(out, "{:>COLUMN$}", time(response, figure))?;
        }
        if heads.len() > 3 {
            write!(out, "{failed}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
