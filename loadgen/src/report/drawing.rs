//! A small drawing of the response times: a line for each range of times, with a bar for the share of the requests in
//! it.

use std::fmt::{self, Write as _};

use super::Style;
use crate::hdr;
use crate::ranges::{Range, bar, ranges, show_round_time_ns, show_share};
use crate::result::RunResult;
use crate::units::show_count;

/// Where bars begin,
const LABEL: usize = 15;
/// and how long they are at most, so that the share and the count fit beside them in 60 columns.
const BAR: usize = 24;

/// The lines; none if nothing was answered, or the result holds no histogram.
pub(super) fn write_drawing(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let Some(text) = &result.histograms.response.completed else { return Ok(()) };
    let Ok(times) = hdr::decode(text) else { return Ok(()) };
    let ranges = ranges(&times);
    let all = result.latency_us.response.count.max(1);
    let censored = result.latency_us.response.censored;
    let most = ranges.iter().map(|range| range.count).max().unwrap_or(0).max(censored);
    writeln!(out, "\n{}", style.bold("Response times"))?;
    for Range { end_ns, count } in ranges {
        write_line(out, &format!("< {}", show_round_time_ns(end_ns)), count, most, all)?;
    }
    if censored > 0 {
        write_line(out, "no response", censored, most, all)?;
    }
    Ok(())
}

fn write_line(out: &mut String, label: &str, count: u64, most: u64, all: u64) -> fmt::Result {
    let (bar, share) = (bar(count, most, BAR), show_share(count, all));
    writeln!(out, "  {label:<width$}{bar:<BAR$} {share:>7}  {}", show_count(count), width = LABEL - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_so_in_sixty_columns() {
        let mut out = String::new();
        write_drawing(&mut out, &crate::result::tests::example(), Style::PLAIN).expect("a String takes it");
        assert_eq!(out, include_str!("snapshots/drawing.txt"), "\n{out}");
        for line in out.lines() {
            assert!(line.chars().count() <= 60, "{line}");
        }
        let shares: f64 = out
            .lines()
            .filter_map(|line| line.split_once(" %")?.0.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        assert!((shares - 100.0).abs() < 0.5, "{shares}");
    }
}
