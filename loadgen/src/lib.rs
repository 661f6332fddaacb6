//! Ringtide's load generator as a library: the `ringtide` command is a thin shell around it.
//!
//! A run goes one way: [`cli`] reads the flags and makes a [`plan::Plan`]; [`input`] reads the request's body into
//! it; workers carry it out by a [`schedule::Schedule`] and count into [`metrics`]; a [`result::RunResult`] with its
//! [`verdict`] comes out, and [`report`] shows it.
//!
//! Sockets, HTTP and timers belong to the engine (crate `ringtide`).

#![forbid(unsafe_code)]

pub mod cli;
mod encode;
pub mod environment;
pub mod error;
pub mod estimate;
pub mod exit;
pub mod expect;
pub mod fd_limit;
pub mod input;
pub mod metrics;
pub mod output;
pub mod plan;
pub mod progress;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod serve;
pub mod targets;
mod template;
pub mod threshold;
pub mod tls;
pub mod units;
pub mod url;
pub mod urls;
pub mod verdict;
mod worker;
