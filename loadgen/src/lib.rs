//! Ringtide's load generator as a library: the `ringtide` command is a thin shell around it.
//!
//! A run goes one way: [`cli`] reads the flags and makes a [`plan::Plan`]; [`input`] reads the request's body into
//! it; workers carry it out by a [`schedule::Schedule`] and count into [`metrics`]; a [`result::RunResult`] with its
//! [`verdict`] comes out, and [`report`] shows it.
//!
//! Sockets, HTTP and timers belong to the engine (crate `ringtide`).
//!
//! The same from Rust: make a plan, run it, look at the result.
//!
//! ```no_run
//! use ringtide_loadgen::plan::{Mode, OpenLoop, Plan, Stop};
//! use ringtide_loadgen::progress::Display;
//! use ringtide_loadgen::run::Run;
//!
//! let mut plan = Plan::for_url("http://127.0.0.1:8080/")?;
//! plan.mode = Mode::Open(OpenLoop::steady(1_000.0, plan.connections));
//! plan.stop = Stop::Duration { ns: 5_000_000_000 };
//! plan.thresholds = vec!["p99<10ms".parse()?, "success>99.9%".parse()?];
//! let result = Run::new(plan, Display::Silent, None, |notice| eprintln!("{notice}"))?.execute()?;
//! if result.verdict.valid == Some(true) {
//!     println!("p99 {:?} µs", result.latency_us.response.p99);
//!     assert!(result.thresholds.iter().all(|threshold| threshold.met));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Many runs make a decision: [`ab`] measures pairs, [`find`] searches for a rate, [`compare`] takes saved results, all
//! with the statistics of [`decide`]. The example `regression_gate` is a gate with a committed baseline, for a project
//! to put under its own `benches/`.

#![forbid(unsafe_code)]

pub mod ab;
pub mod cli;
pub mod compare;
pub mod completions;
pub mod decide;
mod encode;
pub mod environment;
pub mod error;
pub mod estimate;
pub mod exit;
pub mod expect;
pub mod fd_limit;
pub mod find;
pub mod hdr;
pub mod input;
pub mod live;
pub mod machine;
pub mod manual;
pub mod merge;
pub mod metrics;
pub mod output;
pub mod plan;
pub mod progress;
pub mod ranges;
pub mod replay;
pub mod report;
pub mod result;
pub mod run;
pub mod runs;
pub mod runs_progress;
pub mod scenario;
pub mod schedule;
pub mod series;
pub mod serve;
pub mod targets;
mod template;
#[cfg(test)]
mod testing;
pub mod threshold;
pub mod tls;
pub mod units;
pub mod url;
pub mod urls;
pub mod verdict;
mod worker;
