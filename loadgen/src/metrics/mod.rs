//! What a worker counts and times, in constant memory, and how the workers' parts become one.
//!
//! Nothing here reads a clock; all times are given, in nanoseconds on one clock. What is made of the numbers is decided
//! in `result` and `verdict`.

mod backlog;
mod counters;
mod error_kind;
mod generator;
mod keyed;
mod recorder;
mod times;
mod totals;

pub use backlog::{Backlog, Half, Moment};
pub use counters::{Counters, STATUS_CODES};
pub use error_kind::ErrorKind;
pub use generator::{GeneratorFacts, WorkerFacts};
pub use keyed::StatusClass;
pub use recorder::{Recorder, Sample, Unfinished};
pub use times::{TIME_MAX_NS, Times, histogram};
pub use totals::{Latencies, Phases, Totals};
