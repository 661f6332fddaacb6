//! Ranges of times for a small drawing, and the bars that show how many times fell into each.

use hdrhistogram::Histogram;

use crate::units::show_typed_time_ns;

/// No more ranges than this. If ends at 1, 2 and 5 make more, each is a power of ten.
pub const RANGES_MAX: usize = 10;

/// Eighths of a column.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A range of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Times in it are shorter than this.
    pub end_ns: u64,
    /// How many.
    pub count: u64,
}

/// How many of `times` are in each range, up to the longest; none without any times.
pub fn ranges(times: &Histogram<u64>) -> Vec<Range> {
    if times.is_empty() {
        return Vec::new();
    }
    let mut from_ns = 0;
    let ends = ends_ns(times.min(), times.max());
    let count = |end_ns: u64| {
        // A bucket belongs to the range in which its lower end lies.
        let to_ns = times.lowest_equivalent(end_ns);
        let count = times.count_between(from_ns, to_ns.saturating_sub(1));
        from_ns = to_ns;
        Range { end_ns, count }
    };
    ends.into_iter().map(count).collect()
}

/// A bar of at most `width` columns, which is as long as `most`. What is there has a bar.
pub fn bar(count: u64, most: u64, width: usize) -> String {
    let eighths = (count as f64 / most.max(1) as f64 * (width * 8) as f64) as usize;
    let eighths = eighths.max(usize::from(count > 0)).min(width * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A share in per cent, with one decimal.
pub fn show_share(count: u64, all: u64) -> String {
    let share = count as f64 * 100.0 / all.max(1) as f64;
    if count > 0 && share < 0.05 { "< 0.1 %".to_owned() } else { format!("{share:.1} %") }
}

/// A round time, as reports write times.
pub fn show_round_time_ns(ns: u64) -> String {
    let typed = show_typed_time_ns(ns);
    let (number, unit) = typed.split_at(typed.find(|char: char| char.is_alphabetic()).unwrap_or(typed.len()));
    format!("{number} {}", if unit == "us" { "µs" } else { unit })
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
    if fine.len() <= RANGES_MAX { fine } else { ends(&[1]) }
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
            let mut times = Histogram::new(3).expect("valid");
            times.record_n(min, 3).expect("in range");
            times.record(max).expect("in range");
            let ranges = ranges(&times);
            assert_eq!(ranges.iter().map(|range| range.count).sum::<u64>(), 4, "{ranges:?}");
        }
        assert!(ranges(&Histogram::new(3).expect("valid")).is_empty());
    }

    #[test]
    fn what_is_there_has_a_bar_and_no_bar_is_too_long() {
        assert_eq!(bar(0, 100, 4), "");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(50, 100, 4), "██");
        assert_eq!((bar(7, 5, 2), bar(1, 5, 0)), ("██".to_owned(), String::new()));
        assert_eq!((show_share(1, 1_000_000), show_share(1, 8)), ("< 0.1 %".to_owned(), "12.5 %".to_owned()));
    }
}
