//! The course of a run as an interval log of HdrHistogram (its format version 1.3): a line per second with the response
//! times of that second. Requests that timed out or were cut off are in lines of their own, with the tag `censored`:
//! their times are how long they had waited.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::hdr::Encoder;
use crate::metrics::histogram;
use crate::series::Second;

/// The tag of requests without a complete answer.
pub const CENSORED_TAG: &str = "censored";

/// Times are in nanoseconds, their maxima beside them in milliseconds, as is usual.
const MAX_DIVISOR: f64 = 1e6;

/// Writes the lines.
#[derive(Debug)]
pub struct IntervalLog {
    encoder: Encoder,
    has_head: bool,
}

impl IntervalLog {
    /// Allocates its memory.
    pub fn new() -> Self {
        let mut encoder = Encoder::new();
        // So that it need not grow while the run goes on.
        let mut longest = histogram();
        longest.saturating_record(longest.high());
        let _ = encoder.text(&longest);
        Self { encoder, has_head: false }
    }

    /// Appends the lines of a second; the head before the first.
    pub fn append(&mut self, second: &Second<'_>, out: &mut String) {
        if !self.has_head {
            self.has_head = true;
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "#[Logged with ringtide {}: response times in nanoseconds]\n\
                 #[Histogram log format version 1.3]\n\
                 #[StartTime: {:.3} (seconds since epoch)]\n\
                 \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
                env!("CARGO_PKG_VERSION"),
                second.started_unix_s
            );
        }
        self.append_line("", second, &second.response.exact, out);
        if !second.response.censored.is_empty() {
            self.append_line("Tag=censored,", second, &second.response.censored, out);
        }
    }

    fn append_line(&mut self, tag: &str, second: &Second<'_>, times: &Histogram<u64>, out: &mut String) {
        let (at_s, duration_s) = (second.point.at_s, second.point.duration_s);
        let max_ms = if times.is_empty() { 0.0 } else { times.max() as f64 / MAX_DIVISOR };
        let _ = write!(out, "{tag}{at_s:.3},{duration_s:.3},{max_ms:.3},");
        self.encoder.append(times, out);
        out.push('\n');
    }
}

impl Default for IntervalLog {
    fn default() -> Self {
        Self::new()
    }
}
