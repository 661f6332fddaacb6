//! Ringtide: an io_uring-first, thread-per-core HTTP engine.
#![warn(missing_docs)]

pub mod limits;
pub mod runtime;
