//! The load generator.

pub mod serve;
