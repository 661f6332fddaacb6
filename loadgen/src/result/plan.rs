//! The plan of a run, as in its result.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::numbers::seconds;
use crate::plan::{Arrival, Mode, OpenLoop, Plan, Tls};

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// As typed.
    pub url: String,
    /// The method.
    pub method: String,
    /// Bytes of the body of each request.
    pub body_bytes: usize,
    /// Open connections.
    pub connections: usize,
    /// The most connections that there could have been.
    pub max_connections: usize,
    /// Worker threads.
    pub threads: usize,
    /// Requests in flight per connection.
    pub parallel: usize,
    /// Whether connections carried more than one request.
    pub keepalive: bool,
    /// `closed` or `open`.
    pub mode: LoopName,
    /// Scheduled requests per second at the start; null in a closed loop.
    pub rate: Option<f64>,
    /// And at the end.
    pub rate_end: Option<f64>,
    /// How they were spaced; null in a closed loop.
    pub arrival: Option<Arrival>,
    /// The limit on the measured time; null if only a number of requests limited the run.
    pub duration_s: Option<f64>,
    /// The limit on the number of requests; null without one.
    pub requests: Option<u64>,
    /// The limit on failed requests: a number, or a share such as `5%`; null without one.
    #[serde(default)]
    pub max_errors: Option<String>,
    /// Warm-up time before it.
    pub warmup_s: f64,
    /// Timeout of a request.
    pub timeout_s: f64,
    /// Timeout of a connect.
    pub connect_timeout_s: f64,
    /// The addresses that connections came from; empty if the system chose.
    #[serde(default)]
    pub bind: Vec<IpAddr>,
    /// How TLS was to be used; null without TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The version of HTTP.
    pub http: String,
    /// The seed of all random choices.
    pub seed: u64,
}

/// Who decided when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopName {
    /// The server's answers.
    Closed,
    /// A schedule.
    Open,
}

impl PlanSummary {
    pub(super) fn of(plan: &Plan) -> Self {
        let open = plan.open_loop();
        Self {
            url: plan.url.text.clone(),
            method: plan.method.clone(),
            body_bytes: plan.body.len(),
            connections: plan.connections,
            max_connections: plan.connections_max(),
            threads: plan.threads,
            parallel: plan.parallel,
            keepalive: plan.keepalive,
            mode: match plan.mode {
                Mode::Closed => LoopName::Closed,
                Mode::Open(_) => LoopName::Open,
            },
            rate: open.map(|open| open.rate_start),
            rate_end: open.map(|open| open.rate_end),
            arrival: open.map(|OpenLoop { arrival, .. }| *arrival),
            duration_s: plan.stop.duration_ns().map(seconds),
            requests: plan.stop.requests(),
            max_errors: plan.max_errors.map(|max| max.to_string()),
            warmup_s: seconds(plan.warmup_ns),
            timeout_s: seconds(plan.timeout_ns),
            connect_timeout_s: seconds(plan.connect_timeout_ns),
            bind: plan.bind.clone(),
            tls: plan.url.is_https.then(|| plan.tls.clone()),
            http: "1.1".to_owned(),
            seed: plan.seed,
        }
    }
}
