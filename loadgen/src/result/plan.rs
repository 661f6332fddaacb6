//! The plan of a run, as in its result.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::numbers::seconds;
use crate::plan::{Arrival, HttpVersion, Mode, OpenLoop, Plan, Request, Stage, Tls};

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// As typed.
    pub url: String,
    /// The method; if there are several, with commas between them.
    pub method: String,
    /// Bytes of the body of each request, the largest if they differ.
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
    /// The rate over time, a stage after the other; empty in a closed loop.
    #[serde(default)]
    pub stages: Vec<StageSummary>,
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
    /// How long answers were to be waited for after it.
    #[serde(default)]
    pub drain_s: f64,
    /// Timeout of a request.
    pub timeout_s: f64,
    /// Timeout of a connect.
    pub connect_timeout_s: f64,
    /// What names were to stand for, as `HOST:PORT:ADDR`.
    #[serde(default)]
    pub resolve: Vec<String>,
    /// The proxy, without the user and the password; null without one.
    #[serde(default)]
    pub proxy: Option<String>,
    /// The addresses that connections came from; empty if the system chose.
    #[serde(default)]
    pub bind: Vec<IpAddr>,
    /// How TLS was to be used; null without TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The version of HTTP that was spoken: `1.1` or `2`, or both with `and` between them.
    pub http: String,
    /// The window of each stream that was announced in HTTP/2; null for the engine's own, and if no HTTP/2 could be
    /// spoken.
    #[serde(default)]
    pub h2_window: Option<u32>,
    /// The size of the table for the fields of responses that was announced in HTTP/2; null if none could be spoken.
    #[serde(default)]
    pub h2_header_table_size: Option<u32>,
    /// The seed of all random choices.
    pub seed: u64,
}

/// A stage of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// How long it takes; null if it goes on until a number of requests is reached.
    pub duration_s: Option<f64>,
    /// Requests per second at its start.
    pub rate: f64,
    /// And at its end.
    pub rate_end: f64,
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
    /// `versions` are those that were spoken.
    pub(super) fn of(plan: &Plan, versions: &BTreeSet<&'static str>) -> Self {
        let open = plan.open_loop();
        let limit_ns = plan.stop.duration_ns();
        let stage = |stage: &Stage| StageSummary {
            duration_s: stage.duration_ns.or(limit_ns).map(seconds),
            rate: stage.rate_start,
            rate_end: stage.rate_end,
        };
        let stages: Vec<_> = open.iter().flat_map(|open| &open.stages).map(stage).collect();
        let http2 = plan.may_speak_http2().then_some(());
        Self {
            url: plan.url.text.clone(),
            method: methods(&plan.requests),
            body_bytes: plan.requests.iter().map(|request| request.body.len()).max().unwrap_or(0),
            connections: plan.connections,
            max_connections: plan.connections_max(),
            threads: plan.threads,
            parallel: plan.parallel,
            keepalive: plan.keepalive,
            mode: match plan.mode {
                Mode::Closed => LoopName::Closed,
                Mode::Open(_) => LoopName::Open,
            },
            rate: stages.first().map(|stage| stage.rate),
            rate_end: stages.last().map(|stage| stage.rate_end),
            stages,
            arrival: open.map(|OpenLoop { arrival, .. }| *arrival),
            duration_s: plan.stop.duration_ns().map(seconds),
            requests: plan.stop.requests(),
            max_errors: plan.max_errors.map(|max| max.to_string()),
            warmup_s: seconds(plan.warmup_ns),
            drain_s: seconds(plan.drain_ns),
            timeout_s: seconds(plan.timeout_ns),
            connect_timeout_s: seconds(plan.connect_timeout_ns),
            resolve: plan.resolve.iter().map(ToString::to_string).collect(),
            proxy: plan.proxy.as_ref().map(ToString::to_string),
            bind: plan.bind.clone(),
            tls: plan.url.is_https.then(|| plan.tls.clone()),
            http: match (versions.is_empty(), plan.http.version) {
                (true, HttpVersion::Http2) => "2".to_owned(),
                (true, HttpVersion::Http1 | HttpVersion::ByAlpn) => "1.1".to_owned(),
                (false, _) => versions.iter().copied().collect::<Vec<_>>().join(" and "),
            },
            h2_window: http2.and(plan.http.h2_window),
            h2_header_table_size: http2.map(|()| plan.http.h2_header_table_size),
            seed: plan.seed,
        }
    }
}

/// The methods, each once.
fn methods(requests: &[Request]) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for Request { method, .. } in requests {
        if !methods.contains(&method.as_str()) {
            methods.push(method);
        }
    }
    methods.join(", ")
}
