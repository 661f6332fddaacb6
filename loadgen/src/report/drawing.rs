//! A small drawing of the response times: a line for each range of times, with a bar for the share of the requests in
//! it.

use std::fmt::{self, Write as _};

use super::{Style, round_time};
use crate::hdr;
use crate::result::RunResult;
use crate::units::show_count;

/// No more lines than this. If ranges of 1, 2 and 5 make more, each is a power of ten.
const LINES_MAX: usize = 10;

/// Where bars begin,
const LABEL: usize = 15;
/// and how long they are at most, so that the share and the count fit beside them in 60 columns.
const BAR: usize = 24;

/// Eighths of a column.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The lines; none if nothing was answered, or the result holds no histogram.
pub(super) fn write_drawing(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let Some(text) = &result.histograms.response.completed else { return Ok(()) };
    let Ok(times) = hdr::decode(text) else { return Ok(()) };
    let ends = ends_ns(times.min(), times.max());
    let mut counts = Vec::new();
    let mut from_ns = 0;
    for end_ns in &ends {
        // A bucket belongs to the range in which its lower end lies.
        let below = |ns: u64| times.lowest_equivalent(ns).saturating_sub(1);
        counts.push(times.count_between(from_ns, below(*end_ns)));
        from_ns = times.lowest_equivalent(*end_ns);
    }
    let all = result.latency_us.response.count.max(1);
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    writeln!(out, "\n{}", style.bold("Response times of completed requests"))?;
    for (end_ns, count) in ends.iter().zip(counts) {
        write_line(out, &format!("< {}", round_time(*end_ns)), count, most, all)?;
    }
    let censored = result.latency_us.response.censored;
    if censored > 0 {
        write_line(out, "no response", censored, most.max(censored), all)?;
    }
    Ok(())
}

fn write_line(out: &mut String, label: &str, count: u64, most: u64, all: u64) -> fmt::Result {
    // What is there has a bar.
    let eighths = ((count as f64 / most as f64 * (BAR * 8) as f64) as usize).max(usize::from(count > 0));
    let bar = format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]);
    let share = count as f64 * 100.0 / all as f64;
    let share = if count > 0 && share < 0.05 { "< 0.1 %".to_owned() } else { format!("{share:.1} %") };
    writeln!(out, "  {label:<width$}{bar:<BAR$} {share:>7}  {}", show_count(count), width = LABEL - 2)
}

/// Where the ranges end: at 1, 2 and 5 times powers of ten, or at these powers alone. The first is above the shortest
/// time, the last above the longest.
fn ends_ns(min_ns: u64, max_ns: u64) -> Vec<u64> {
    let ends = |steps: &'static [u64]| {
        let all = (0..15).flat_map(move |power| steps.iter().map(move |step| step * 10_u64.pow(power)));
        let mut ends: Vec<u64> = all.filter(|end| *end > min_ns).collect();
        let last = ends.iter().position(|end| *end > max_ns).unwrap_or(ends.len() - 1);
        ends.truncate(last + 1);
        ends
    };
    let fine = ends(&[1, 2, 5]);
    if fine.len() <= LINES_MAX { fine } else { ends(&[1]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_hold_all_times() {
        for (min, max) in [(1, 1), (1, 86_400_000_000_000), (999, 1_000), (30_000, 2_000_000), (5, 5_000)] {
            let ends = ends_ns(min, max);
            assert!(
                ends.len() <= 15 && ends[0] > min && *ends.last().expect("one") > max,
                "{min} {max} {ends:?}"
            );
            assert!(ends.len() == 1 || ends[ends.len() - 2] <= max, "{ends:?}");
        }
    }

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
