//! The course of a run in at most [`BINS_MAX`] bins, however long it took, so that its plots stay small and readable.

use hdrhistogram::Histogram;

use super::histograms::{FieldProblem, decode};
use crate::metrics::Times;
use crate::series::{Point, ResponseUs, Series, compact_histogram};

/// No more bins than this; in a plot, each is a few pixels wide.
pub(super) const BINS_MAX: usize = 120;

/// How many intervals a bin may have; beyond that, multiples of the last.
const INTERVALS: [usize; 15] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600];

/// A last bin that is shorter than this part of the others is joined to the one before it.
const REST_MIN: f64 = 0.1;

/// A run over time.
#[derive(Debug)]
pub(super) struct Course {
    /// The bins, in order.
    pub(super) bins: Vec<Bin>,
    /// How many points of the series a bin has, all but the last.
    pub(super) points_per_bin: usize,
    /// How long each point is.
    pub(super) interval_s: f64,
}

/// What happened in some seconds of a run.
#[derive(Debug)]
pub(super) struct Bin {
    /// When it began, in seconds since the start of the measured part,
    pub(super) from_s: f64,
    /// and when it ended.
    pub(super) to_s: f64,
    /// Requests with a complete answer.
    pub(super) completed: u64,
    /// Requests that failed.
    pub(super) failed: u64,
    /// Requests that the end of the run cut off.
    pub(super) cut_off: u64,
    /// Completed requests per second.
    pub(super) requests_per_second: f64,
    /// Requests per second that failed.
    pub(super) failed_per_second: f64,
    /// Open connections at its end.
    pub(super) connections: u64,
    /// Requests in flight at its end.
    pub(super) in_flight: u64,
    /// Requests that were due at its end and had no connection yet.
    pub(super) waiting: u64,
    /// The response times of completed requests in nanoseconds, with one significant digit.
    pub(super) times: Option<Histogram<u64>>,
    /// Figures of all response times, with the waits of requests that timed out or were cut off.
    pub(super) response_us: ResponseUs,
}

impl Course {
    pub(super) fn of(series: &Series) -> Result<Self, FieldProblem> {
        let points_per_bin = points_per_bin(series.points.len());
        let numbered: Vec<(usize, &Point)> = series.points.iter().enumerate().collect();
        let mut chunks: Vec<&[(usize, &Point)]> = numbered.chunks(points_per_bin).collect();
        // What is left at the end may be too short to be seen, and its rates mean nothing.
        let rest_s = |chunk: &[(usize, &Point)]| chunk.iter().map(|(_, point)| point.duration_s).sum::<f64>();
        if let [.., _, rest] = chunks[..]
            && rest_s(rest) < REST_MIN * points_per_bin as f64 * series.interval_s
        {
            chunks.pop();
            let joined = chunks.len() - 1;
            chunks[joined] = &numbered[joined * points_per_bin..];
        }
        let bins = chunks.into_iter().map(Bin::of).collect::<Result<_, _>>()?;
        Ok(Self { bins, points_per_bin, interval_s: series.interval_s })
    }

    /// Whether there is anything to draw.
    pub(super) fn is_any(&self) -> bool {
        self.bins.iter().any(|bin| bin.to_s > bin.from_s)
    }

    /// When it ended.
    pub(super) fn end_s(&self) -> f64 {
        self.bins.iter().map(|bin| bin.to_s).fold(0.0, f64::max)
    }
}

/// The fewest points of a bin with which the bins are not too many.
fn points_per_bin(points: usize) -> usize {
    let enough = points.div_ceil(BINS_MAX).max(1);
    let last = INTERVALS[INTERVALS.len() - 1];
    INTERVALS.into_iter().find(|count| *count >= enough).unwrap_or(enough.div_ceil(last) * last)
}

impl Bin {
    /// Requests without an answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.failed.saturating_add(self.cut_off)
    }

    fn of(points: &[(usize, &Point)]) -> Result<Self, FieldProblem> {
        let empty = compact_histogram();
        let mut sums: [Option<Histogram<u64>>; 2] = [None, None];
        for (index, point) in points {
            let texts = [("histogram", &point.histogram), ("histogram_censored", &point.histogram_censored)];
            for (sum, (name, text)) in sums.iter_mut().zip(texts) {
                if text.is_empty() {
                    continue;
                }
                let part = decode(text, &empty, &format!("series.points[{index}].{name}"))?;
                match sum {
                    Some(sum) => sum.add(&part).expect("the bounds are the same"),
                    None => *sum = Some(part),
                }
            }
        }
        let [exact, censored] = sums;
        let last = points.last().map(|(_, point)| *point);
        let figures = if let [(_, point)] = points {
            // More exact than its histogram.
            point.response_us.clone()
        } else {
            let of = |times: &Option<Histogram<u64>>| times.clone().unwrap_or_else(|| empty.clone());
            let times = Times { exact: of(&exact), censored: of(&censored) };
            ResponseUs::of(&times, &mut empty.clone())
        };
        let sum =
            |of: fn(&Point) -> u64| points.iter().map(|(_, point)| of(point)).fold(0, u64::saturating_add);
        let duration_s: f64 = points.iter().map(|(_, point)| point.duration_s.max(0.0)).sum();
        let per_second = |count: f64| if duration_s > 0.0 { count / duration_s } else { 0.0 };
        let answered = |point: &Point| point.requests_per_second * point.duration_s.max(0.0);
        Ok(Self {
            from_s: points.first().map_or(0.0, |(_, point)| point.at_s.max(0.0)),
            to_s: last.map_or(0.0, |point| point.at_s.max(0.0) + point.duration_s.max(0.0)),
            completed: sum(|point| point.completed),
            failed: sum(|point| point.failed),
            cut_off: sum(|point| point.censored),
            requests_per_second: per_second(points.iter().map(|(_, point)| answered(point)).sum()),
            failed_per_second: per_second(sum(|point| point.failed) as f64),
            connections: last.map_or(0, |point| point.connections),
            in_flight: last.map_or(0, |point| point.in_flight),
            waiting: last.map_or(0, |point| point.waiting),
            times: exact,
            response_us: figures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hdr::Encoder;

    /// A point a second, with a response time of as many milliseconds.
    fn series(seconds: usize) -> Series {
        let mut encoder = Encoder::new();
        let point = |second: usize| {
            let mut times = compact_histogram();
            times.saturating_record((second as u64 + 1) * 1_000_000);
            Point {
                at_s: second as f64,
                duration_s: 1.0,
                completed: 1,
                failed: 2,
                requests_per_second: 1.0,
                waiting: second as u64,
                histogram: encoder.text(&times).expect("not empty"),
                response_us: ResponseUs { max: Some((second as f64 + 1.0) * 1e3), ..ResponseUs::default() },
                ..Point::default()
            }
        };
        Series { interval_s: 1.0, points: (0..seconds).map(point).collect() }
    }

    #[test]
    fn long_runs_have_longer_bins_and_lose_nothing() {
        for (seconds, per_bin) in [(0, 1), (1, 1), (120, 1), (121, 2), (601, 10), (3_600, 30), (86_400, 900)]
        {
            assert_eq!(points_per_bin(seconds), per_bin, "{seconds}");
        }
        assert_eq!(points_per_bin(1_000_000), 10_800);
        for seconds in [1, 119, 121, 400] {
            let course = Course::of(&series(seconds)).expect("readable");
            assert!(course.bins.len() <= BINS_MAX && course.is_any());
            let count = |of: fn(&Bin) -> u64| course.bins.iter().map(of).sum::<u64>();
            assert_eq!(
                (count(|bin| bin.completed), count(|bin| bin.failed)),
                (seconds as u64, 2 * seconds as u64)
            );
            assert_eq!(count(|bin| bin.times.as_ref().map_or(0, Histogram::len)), seconds as u64);
            assert!((course.end_s() - seconds as f64).abs() < 1e-9);
            let last = course.bins.last().expect("there are bins");
            assert_eq!(last.waiting, seconds as u64 - 1);
            assert!(
                (last.requests_per_second - 1.0).abs() < 1e-9 && (last.failed_per_second - 2.0).abs() < 1e-9
            );
            let longest_us = seconds as f64 * 1e3;
            let max = last.response_us.max.expect("known");
            assert!((max / longest_us - 1.0).abs() < 0.07, "{max} {longest_us}");
        }
        assert!(!Course::of(&series(0)).expect("readable").is_any());
    }

    #[test]
    fn a_rest_at_the_end_is_joined_to_what_was_before() {
        for (rest_s, bins) in [(0.001, 3), (0.5, 4)] {
            let mut all = series(4);
            all.points[3].duration_s = rest_s;
            let course = Course::of(&all).expect("readable");
            assert_eq!(course.bins.len(), bins);
            let last = course.bins.last().expect("there are bins");
            assert!((last.to_s - 3.0 - rest_s).abs() < 1e-9 && last.waiting == 3, "{last:?}");
            assert_eq!(course.bins.iter().map(|bin| bin.completed).sum::<u64>(), 4);
        }
        let mut alone = series(1);
        alone.points[0].duration_s = 0.001;
        assert_eq!(Course::of(&alone).expect("readable").bins.len(), 1);
    }

    #[test]
    fn what_is_no_histogram_is_named() {
        let mut broken = series(3);
        broken.points[1].histogram_censored = "AAAA".to_owned();
        let (field, problem) = Course::of(&broken).expect_err("broken");
        assert_eq!(field, "series.points[1].histogram_censored");
        assert!(problem.contains("not a histogram"), "{problem}");
        let mut other = Histogram::<u64>::new_with_bounds(1, 1_000, 2).expect("valid");
        other.saturating_record(5);
        broken.points[1].histogram_censored = Encoder::new().text(&other).expect("not empty");
        let (_, problem) = Course::of(&broken).expect_err("of other bounds");
        assert!(problem.contains("2 digits from 1 to 1000 ns"), "{problem}");
    }
}
