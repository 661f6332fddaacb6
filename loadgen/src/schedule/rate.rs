//! The rate of an open loop over time: its stages one after the other, and the times at which its integral reaches a
//! number.

use std::sync::Arc;

use crate::plan::Stage;

/// A stage ends this part of its integral early, so that no rounding adds an arrival at its end, nor moves the first one of
/// the next stage there: if the rate is 0 in between, that is far away.
const ROUNDING: f64 = 1e-14;

/// A rate in requests per second, a straight line in each stage.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    lines: Arc<[Line]>,
    /// The line that the last time was on, and its index.
    current: Line,
    index: usize,
}

/// The rate of one stage.
#[derive(Clone, Copy, Debug)]
struct Line {
    start_ns: u64,
    duration_ns: u64,
    rate_start: f64,
    /// The change per second.
    slope: f64,
    /// The integral of the rate up to the start, and over the line.
    integral_start: f64,
    size: f64,
    /// The next line begins at this integral; infinite for the last one.
    integral_end: f64,
}

impl Rate {
    /// The rate in `stages`; the last one goes on for ever.
    ///
    /// # Panics
    /// When all rates are 0, or there is no stage.
    pub(super) fn new(stages: &[Stage]) -> Self {
        assert!(stages.iter().any(|stage| stage.rate_start + stage.rate_end > 0.0), "{stages:?}");
        let (mut start_ns, mut integral_start) = (0, 0.0);
        let line = |stage: &Stage| {
            let Stage { duration_ns, rate_start, rate_end } = *stage;
            let slope = duration_ns.map_or(0.0, |ns| (rate_end - rate_start) * 1e9 / ns as f64);
            let size = stage.requests().unwrap_or(f64::INFINITY);
            let duration_ns = duration_ns.unwrap_or(u64::MAX);
            let end = integral_start + size;
            let integral_end = end * (1.0 - ROUNDING);
            let line = Line { start_ns, duration_ns, rate_start, slope, integral_start, size, integral_end };
            (start_ns, integral_start) = (start_ns.saturating_add(duration_ns), end);
            line
        };
        let mut lines: Arc<[Line]> = stages.iter().map(line).collect();
        let last = Arc::make_mut(&mut lines).last_mut().expect("there is a stage");
        last.integral_end = f64::INFINITY;
        Self { current: lines[0], lines, index: 0 }
    }

    /// The time at which the integral of the rate is `integral`. Where the rate is 0 and it stays the same, that is at the
    /// end. Asked for ever larger integrals.
    #[inline]
    pub(super) fn time_ns(&mut self, integral: f64) -> f64 {
        while integral >= self.current.integral_end {
            self.index += 1;
            self.current = self.lines[self.index];
        }
        self.current.time_ns(integral)
    }

    /// The integral at which no arrival comes any more if the run ends at `time_ns`.
    pub(super) fn integral_end(&self, time_ns: u64) -> f64 {
        self.integral(time_ns) * (1.0 - ROUNDING)
    }

    /// The integral of the rate from the start to `time_ns`.
    pub(super) fn integral(&self, time_ns: u64) -> f64 {
        let after = self.lines.partition_point(|line| line.start_ns <= time_ns);
        self.lines[after.saturating_sub(1)].integral(time_ns)
    }
}

impl Line {
    /// The root of `rate_start·t + slope·t²/2 = integral`, in the form that does not cancel for small slopes.
    #[inline]
    fn time_ns(&self, integral: f64) -> f64 {
        let (integral, start_ns) = (integral - self.integral_start, self.start_ns as f64);
        if integral <= 0.0 {
            return start_ns;
        }
        if self.slope == 0.0 {
            // Multiplied first: whole nanoseconds come out exactly.
            return start_ns + integral * 1e9 / self.rate_start;
        }
        let root = (self.rate_start * self.rate_start + 2.0 * self.slope * integral).max(0.0).sqrt();
        start_ns + 2.0 * integral * 1e9 / (self.rate_start + root)
    }

    fn integral(&self, time_ns: u64) -> f64 {
        let ns = time_ns - self.start_ns;
        let within = if self.slope == 0.0 {
            self.rate_start * ns as f64 / 1e9
        } else if ns >= self.duration_ns {
            self.size
        } else {
            let seconds = ns as f64 / 1e9;
            self.rate_start.mul_add(seconds, self.slope * seconds * seconds / 2.0)
        };
        self.integral_start + within
    }
}
