//! The course of a run: a point per second, made while it runs, off the threads that measure.
//!
//! Once a second each worker swaps the histograms of its response times for empty ones, and sends them, with a copy of
//! its counters, to one thread: the collector. A request costs nothing for that, and a worker some microseconds per
//! second. The collector joins the workers' parts into points, keeps the points for the result, and shows each to the
//! subscribers: files that grow while the run goes on, and live views. All of its memory is allocated before the run,
//! except for what subscribers take, so that it is in no figure of the heap.
//!
//! A second is one of the measured part, counted from its start; the warm-up is in none. Runs of any length have a
//! point per second; the last point may be shorter.

mod collector;
mod point;
mod reporter;

use hdrhistogram::Histogram;

pub(crate) use self::collector::{Collected, Collector};
pub(crate) use self::point::compact as compact_histogram;
pub use self::point::{ByStatus, Point, ResponseUs, Series};
pub(crate) use self::reporter::{Gauges, Reporter};
use crate::metrics::Times;

/// How long each point but the last is.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// One second of a run, as subscribers see it.
#[derive(Clone, Copy, Debug)]
pub struct Second<'a> {
    /// Its figures.
    pub point: &'a Point,
    /// The response times of the requests that ended in it, in nanoseconds.
    pub response: &'a Times,
    /// By how much the generator was late with those of them that were due at a time, in nanoseconds.
    pub schedule_lag: &'a Histogram<u64>,
    /// What the generator itself ran out of.
    pub ran_out: RanOut,
    /// CPU time that each worker has spent spinning until its end.
    pub spin_ns: &'a [u64],
    /// When the measured part began, in seconds since 1970-01-01 UTC.
    pub started_unix_s: f64,
}

/// How often in a second the generator itself ran out of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RanOut {
    /// File descriptors.
    pub descriptors: u64,
    /// Local ports.
    pub ports: u64,
}

/// What is called with each second when it is over, on the collector's thread. If it takes long, the workers do not
/// notice: their next seconds become part of a later point.
pub type Subscriber = Box<dyn FnMut(&Second<'_>) + Send>;
