//! Ringtide's load generator as a library: the `ringtide` command is a thin shell around it.
//!
//! A run goes one way: [`cli`] reads flags, a [`plan::Plan`] says what is to be done ([`input`] gives it its body), workers do it by a
//! [`schedule::Schedule`] and count into [`metrics`], and a [`result::RunResult`] with its [`verdict`] comes out, which
//! [`report`] shows.
//!
//! Not here: sockets, HTTP, timers. Those are the engine's (crate `ringtide`).

#![forbid(unsafe_code)]

pub mod cli;
pub mod environment;
pub mod error;
pub mod estimate;
pub mod exit;
pub mod fd_limit;
pub mod input;
pub mod metrics;
pub mod output;
pub mod plan;
pub mod progress;
pub mod report;
pub mod result;
pub mod run;
pub mod schedule;
pub mod serve;
pub mod targets;
pub mod threshold;
pub mod units;
pub mod url;
pub mod verdict;
mod worker;
