//! What a worker counts and times, in constant memory, and how the workers' parts are merged.
//!
//! Nothing here reads a clock: callers pass all times, in nanoseconds on one clock. `result` and `verdict` interpret
//! the numbers.

mod backlog;
mod counters;
mod error_kind;
mod generator;
mod handshakes;
mod http2;
mod interval;
mod keyed;
mod recorder;
mod times;
mod totals;

pub use backlog::{Backlog, Half, Moment};
pub use counters::{AfterEnd, Counters, STATUS_CODES};
pub use error_kind::ErrorKind;
pub use generator::{GeneratorFacts, MachineFacts, QueueFacts, WorkerFacts};
pub use handshakes::{Handshake, Handshakes};
pub use http2::Http2;
pub use interval::Interval;
pub use keyed::StatusClass;
pub use recorder::{Recorder, Sample, Unfinished};
pub use times::{TIME_MAX_NS, Times, histogram};
pub use totals::{Latencies, Phases, Totals};
