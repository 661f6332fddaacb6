//! The result of a run, field by field the JSON that others read. Names and order are a contract: add, never rename.
//!
//! Times are microseconds, rounded to the nanosecond; no field is ever NaN or infinite.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::metrics::{self, ErrorKind, GeneratorFacts, Totals};
use crate::plan::{Arrival, Mode, OpenLoop, Plan, Stop};
use crate::threshold::{Observed, Outcome};
use crate::units::rounded;
use crate::verdict::Verdict;

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What measured.
    pub tool: Tool,
    /// What was to be done.
    pub plan: PlanSummary,
    /// Where.
    pub environment: Environment,
    /// How many.
    pub requests: Requests,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// Bytes of answers, heads included, per second.
    pub bytes_received_per_second: f64,
    /// Bytes of answers, heads included.
    pub bytes_received: u64,
    /// Bytes of requests, heads included.
    pub bytes_sent: u64,
    /// How long the measured part was.
    pub duration_s: f64,
    /// When the last complete answer came, from the start of the measured part; null without one.
    #[serde(default)]
    pub last_answer_s: Option<f64>,
    /// Whether the user stopped it early.
    pub interrupted: bool,
    /// What ended the measured part.
    #[serde(default)]
    pub ended_by: EndedBy,
    /// Times of whole requests.
    pub latency_us: LatenciesUs,
    /// Times of parts of the work.
    pub phases_us: PhasesUs,
    /// Completed requests by status code; codes that were not seen are left out.
    pub status: BTreeMap<String, u64>,
    /// Failed requests by kind.
    pub errors: Errors,
    /// What the first error of a kind said, where it said more than its kind.
    #[serde(default)]
    pub error_examples: BTreeMap<String, String>,
    /// What the generator cost.
    pub generator: Generator,
    /// Whether the figures are the server's.
    pub verdict: Verdict,
    /// The share of the requests due that were answered with a status below 400, but for those that the end cut off in good time; null
    /// without any.
    #[serde(default)]
    pub success: Option<f64>,
    /// How the thresholds did.
    pub thresholds: Vec<Outcome>,
}

/// What measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `ringtide`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What was to be done.
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
    /// How many there could have been.
    pub max_connections: usize,
    /// Worker threads.
    pub threads: usize,
    /// Requests in flight per connection.
    pub parallel: usize,
    /// Whether connections were used again.
    pub keepalive: bool,
    /// `closed` or `open`.
    pub mode: LoopName,
    /// Scheduled requests per second at the start; null in a closed loop.
    pub rate: Option<f64>,
    /// And at the end.
    pub rate_end: Option<f64>,
    /// How they were spaced; null in a closed loop.
    pub arrival: Option<Arrival>,
    /// Measured time at most; null when a number of requests alone was to end the run.
    pub duration_s: Option<f64>,
    /// The number of requests that was to end the run; null without one.
    pub requests: Option<u64>,
    /// How many failed requests were to end it early: a number, or a share such as `5%`; null for any number.
    #[serde(default)]
    pub max_errors: Option<String>,
    /// Time run before it.
    pub warmup_s: f64,
    /// Per request.
    pub timeout_s: f64,
    /// Per connection.
    pub connect_timeout_s: f64,
    /// The version of HTTP.
    pub http: String,
    /// What every random choice followed from.
    pub seed: u64,
}

/// What ended the measured part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its time was up.
    #[default]
    Duration,
    /// Its number of requests was reached.
    Requests,
    /// As many requests had failed as the plan allows.
    MaxErrors,
    /// The user.
    Interrupt,
}

/// What ended a run before its plan was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedEarly {
    /// The user.
    Interrupted,
    /// The number of failed requests.
    MaxErrors,
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

/// How many requests there were. `scheduled` = `completed` + `failed` + `censored`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Were due.
    pub scheduled: u64,
    /// The kernel took at least a byte.
    pub sent: u64,
    /// Were answered completely.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Were unanswered when the run ended.
    pub censored: u64,
}

/// Times of whole requests, in microseconds. `response` and `service` include timeouts and censored requests with the
/// time that they had waited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatenciesUs {
    /// From the scheduled send.
    pub response: SummaryUs,
    /// From the actual send.
    pub service: SummaryUs,
    /// From the scheduled send until a connection was free: the server's doing.
    pub queue_wait: SummaryUs,
    /// From then until the actual send: the generator's own.
    pub schedule_lag: SummaryUs,
}

/// Times of parts of the work, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhasesUs {
    /// Resolving names.
    pub dns: SummaryUs,
    /// Making connections.
    pub connect: SummaryUs,
    /// TLS handshakes.
    pub tls: SummaryUs,
    /// From the send to the first byte.
    pub first_byte: SummaryUs,
    /// From there to the last.
    pub transfer: SummaryUs,
}

/// A distribution of times in microseconds. All zeros when `count` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SummaryUs {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation.
    pub stdev: f64,
    /// The median.
    pub p50: f64,
    /// 75 %.
    pub p75: f64,
    /// 90 %.
    pub p90: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// 99.99 %.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
}

/// Failed requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// See [`ErrorKind::Dns`].
    pub dns: u64,
    /// See [`ErrorKind::Connect`].
    pub connect: u64,
    /// See [`ErrorKind::Tls`].
    pub tls: u64,
    /// See [`ErrorKind::Timeout`].
    pub timeout: u64,
    /// See [`ErrorKind::Reset`].
    pub reset: u64,
    /// See [`ErrorKind::Closed`].
    pub closed: u64,
    /// See [`ErrorKind::Incomplete`].
    pub incomplete: u64,
    /// See [`ErrorKind::Protocol`].
    pub protocol: u64,
    /// See [`ErrorKind::Expect`].
    pub expect: u64,
}

/// What the generator cost, its workers over the measured part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time per completed request, in user space and in the kernel.
    pub cpu_us_per_request: f64,
    /// Of it, in user space.
    pub user_us_per_request: f64,
    /// CPU time in what its threads could have had: 1 is all.
    pub cpu_utilisation: f64,
    /// The part of it in which they only waited, spinning, so as to send in time. It is no work, and the verdict leaves it out.
    #[serde(default)]
    pub spin_utilisation: f64,
    /// Calls into the kernel per completed request.
    pub syscalls_per_request: f64,
    /// (Peak of the heap − heap with all connections idle) / requests in flight at most. Null where nothing counts it.
    pub heap_bytes_per_request: Option<u64>,
    /// (Heap with all connections idle − before the first) / connections. Null where nothing counts it.
    pub heap_bytes_per_connection: Option<u64>,
    /// The most memory that the process ever held.
    pub rss_peak_bytes: u64,
}

/// What a run has measured.
#[derive(Debug)]
pub struct Measured {
    /// Its requests.
    pub totals: Totals,
    /// When the measured part began, on the workers' clock.
    pub measured_from_ns: u64,
    /// How long the measured part was.
    pub elapsed: Duration,
    /// What ended it early, if anything did.
    pub ended_early: Option<EndedEarly>,
    /// What the generator cost.
    pub generator: GeneratorFacts,
    /// Where.
    pub environment: Environment,
}

impl RunResult {
    /// The result of `plan`, judged and held against its thresholds.
    pub fn new(plan: &Plan, measured: Measured) -> Self {
        let Measured { totals, measured_from_ns, elapsed, ended_early, generator, environment } = measured;
        let counters = &totals.counters;
        let duration_s = elapsed.as_secs_f64();
        let requests_per_second = ratio(counters.completed as f64, duration_s);
        let observed = Observed {
            response: &totals.latencies.response,
            scheduled: counters.scheduled(),
            failed: counters.failed,
            succeeded: counters.status[..400].iter().sum(),
            under_way: counters.under_way,
            requests_per_second,
        };
        let last_answer_ns =
            (counters.completed > 0).then(|| counters.last_done_ns.saturating_sub(measured_from_ns));
        let rate_mean = plan.open_loop().map(|open| f64::midpoint(open.rate_start, open.rate_end));
        Self {
            schema: SCHEMA,
            tool: Tool { name: "ringtide".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            plan: PlanSummary::of(plan),
            environment,
            requests: Requests {
                scheduled: counters.scheduled(),
                sent: counters.sent,
                completed: counters.completed,
                failed: counters.failed,
                censored: counters.censored,
            },
            requests_per_second: rounded(requests_per_second),
            bytes_received_per_second: rounded(ratio(counters.bytes_received as f64, duration_s)),
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            duration_s: seconds(elapsed.as_nanos() as u64),
            last_answer_s: last_answer_ns.map(seconds),
            interrupted: ended_early == Some(EndedEarly::Interrupted),
            ended_by: EndedBy::of(plan.stop, ended_early, counters.completed + counters.failed),
            latency_us: LatenciesUs {
                response: SummaryUs::of(&totals.latencies.response),
                service: SummaryUs::of(&totals.latencies.service),
                queue_wait: SummaryUs::of(&totals.latencies.queue_wait),
                schedule_lag: SummaryUs::of(&totals.latencies.schedule_lag),
            },
            phases_us: PhasesUs {
                dns: SummaryUs::of(&totals.phases.dns),
                connect: SummaryUs::of(&totals.phases.connect),
                tls: SummaryUs::default(),
                first_byte: SummaryUs::of(&totals.phases.first_byte),
                transfer: SummaryUs::of(&totals.phases.transfer),
            },
            status: status(counters),
            errors: Errors::of(counters),
            error_examples: error_examples(counters),
            generator: Generator::of(&generator, counters.completed),
            verdict: if counters.scheduled() == 0 {
                Verdict { valid: false, reasons: vec!["nothing was measured".to_owned()] }
            } else {
                Verdict::judge(&totals, &generator, rate_mean)
            },
            success: (observed.scheduled > observed.under_way)
                .then(|| observed.succeeded as f64 / (observed.scheduled - observed.under_way) as f64)
                // As many digits as are exact in every reader of JSON.
                .map(|share| (share * 1e9).round() / 1e9),
            thresholds: plan.thresholds.iter().map(|threshold| threshold.evaluate(observed)).collect(),
        }
    }
}

impl EndedBy {
    fn of(stop: Stop, early: Option<EndedEarly>, ended: u64) -> Self {
        match (early, stop) {
            (Some(EndedEarly::Interrupted), _) => Self::Interrupt,
            (Some(EndedEarly::MaxErrors), _) => Self::MaxErrors,
            (None, Stop::Requests { count, within_ns }) if within_ns.is_none() || ended >= count => {
                Self::Requests
            }
            (None, _) => Self::Duration,
        }
    }
}

impl PlanSummary {
    fn of(plan: &Plan) -> Self {
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
            http: "1.1".to_owned(),
            seed: plan.seed,
        }
    }
}

impl SummaryUs {
    /// The summary of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| us(histogram.value_at_quantile(quantile) as f64);
        Self {
            count: histogram.len(),
            min: us(histogram.min() as f64),
            mean: us(histogram.mean()),
            stdev: us(histogram.stdev()),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: us(histogram.max() as f64),
        }
    }
}

impl Errors {
    fn of(counters: &metrics::Counters) -> Self {
        let count = |kind: ErrorKind| counters.errors[kind as usize];
        Self {
            dns: count(ErrorKind::Dns),
            connect: count(ErrorKind::Connect),
            tls: count(ErrorKind::Tls),
            timeout: count(ErrorKind::Timeout),
            reset: count(ErrorKind::Reset),
            closed: count(ErrorKind::Closed),
            incomplete: count(ErrorKind::Incomplete),
            protocol: count(ErrorKind::Protocol),
            expect: count(ErrorKind::Expect),
        }
    }

    /// How many of `kind`.
    pub fn count(&self, kind: ErrorKind) -> u64 {
        match kind {
            ErrorKind::Dns => self.dns,
            ErrorKind::Connect => self.connect,
            ErrorKind::Tls => self.tls,
            ErrorKind::Timeout => self.timeout,
            ErrorKind::Reset => self.reset,
            ErrorKind::Closed => self.closed,
            ErrorKind::Incomplete => self.incomplete,
            ErrorKind::Protocol => self.protocol,
            ErrorKind::Expect => self.expect,
        }
    }
}

impl Generator {
    fn of(facts: &GeneratorFacts, completed: u64) -> Self {
        let per_request = |value: u64| ratio(value as f64, completed as f64);
        Self {
            cpu_us_per_request: us(per_request(facts.cpu_ns())),
            user_us_per_request: us(per_request(facts.user_ns())),
            cpu_utilisation: rounded(facts.utilisation()),
            spin_utilisation: rounded(facts.spin_utilisation()),
            syscalls_per_request: rounded(per_request(
                facts.workers.iter().map(|worker| worker.syscalls).sum(),
            )),
            heap_bytes_per_request: facts.heap_bytes_per_request,
            heap_bytes_per_connection: facts.heap_bytes_per_connection,
            rss_peak_bytes: facts.rss_peak_bytes,
        }
    }
}

fn us(ns: f64) -> f64 {
    rounded(ns / 1e3)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn ratio(value: f64, by: f64) -> f64 {
    if by > 0.0 { value / by } else { 0.0 }
}

/// Only of what is counted: an error of a request from the warm-up is not.
fn error_examples(counters: &metrics::Counters) -> BTreeMap<String, String> {
    ErrorKind::ALL
        .into_iter()
        .filter(|kind| counters.errors[*kind as usize] > 0)
        .filter_map(|kind| {
            let text = counters.error_examples[kind as usize].as_ref()?;
            Some((kind.name().to_owned(), text.to_string()))
        })
        .collect()
}

fn status(counters: &metrics::Counters) -> BTreeMap<String, u64> {
    let seen = counters.status.iter().enumerate().filter(|(_, count)| **count > 0);
    seen.map(|(code, count)| (code.to_string(), *count)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metrics::{Recorder, Sample, Unfinished, WorkerFacts};

    /// An open loop: 1,000 answered in 1 to 1,000 µs, 2 timed out, 1 reset, 1 censored.
    pub(crate) fn example() -> RunResult {
        let mut plan = Plan::for_url("http://127.0.0.1:8081/").expect("valid");
        plan.mode = Mode::Open(OpenLoop {
            rate_start: 1000.0,
            rate_end: 1000.0,
            arrival: Arrival::Constant,
            spin: crate::plan::Spin::Auto,
            max_connections: 50,
        });
        plan.threads = 1;
        plan.seed = 42;
        plan.stop = Stop::Duration { ns: 1_000_000_000 };
        plan.thresholds = vec!["p99<10ms".parse().expect("valid"), "errors<0.1%".parse().expect("valid")];
        let mut recorder = Recorder::new(true);
        for index in 1..=1000 {
            recorder.completed(Sample {
                scheduled_ns: 0,
                ready_ns: 0,
                sent_ns: 500,
                first_byte_ns: 500 + index * 1000,
                done_ns: 500 + index * 1000,
                status: if index % 100 == 0 { 503 } else { 200 },
            });
        }
        let unfinished =
            |ended_ns| Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(500), ended_ns };
        recorder.failed(unfinished(30_000_000_000), ErrorKind::Timeout);
        recorder.failed(unfinished(30_000_000_000), ErrorKind::Timeout);
        recorder.failed(unfinished(100_000), ErrorKind::Reset);
        recorder.error_said(ErrorKind::Reset, || "the connection failed: No route to host".to_owned());
        recorder.error_said(ErrorKind::Reset, || "the second is not shown".to_owned());
        // An error of the warm-up's.
        recorder.error_said(ErrorKind::Connect, || "nor what is not counted".to_owned());
        recorder.censored(Unfinished {
            scheduled_ns: 900_000_000,
            ready_ns: None,
            sent_ns: None,
            ended_ns: 1_000_000_000,
        });
        recorder.received_bytes(1_000_000);
        recorder.sent_bytes(50_000);
        recorder.connected(80_000);
        RunResult::new(&plan, measured(&recorder))
    }

    pub(crate) fn measured(recorder: &Recorder) -> Measured {
        Measured {
            totals: Totals::merge([recorder]),
            measured_from_ns: 0,
            elapsed: Duration::from_secs(1),
            ended_early: None,
            generator: GeneratorFacts {
                workers: vec![WorkerFacts {
                    wall_ns: 1_000_000_000,
                    user_ns: 1_000_000,
                    system_ns: 9_000_000,
                    spin_ns: 6_000_000,
                    syscalls: 2003,
                    ..WorkerFacts::default()
                }],
                heap_bytes_per_request: Some(312),
                heap_bytes_per_connection: Some(488),
                rss_peak_bytes: 9_437_184,
            },
            environment: Environment {
                kernel: "6.12.0".to_owned(),
                cpu: "A Processor".to_owned(),
                cores: 2,
                driver: "io_uring".to_owned(),
                driver_features: vec!["defer_taskrun".to_owned()],
            },
        }
    }

    #[test]
    fn the_json_has_the_names_of_the_contract_in_their_order() {
        let json = serde_json::to_string(&example()).expect("serialisable");
        let mut at = 0;
        let names = "schema tool name version plan url connections threads mode rate duration_s http seed \
            environment kernel cpu cores driver driver_features requests scheduled sent completed failed \
            censored requests_per_second bytes_received_per_second duration_s latency_us response count \
            min mean stdev p50 p75 p90 p95 p99 p99_9 p99_99 max service queue_wait schedule_lag \
            phases_us dns connect tls first_byte transfer status 200 errors dns connect tls timeout \
            reset closed incomplete protocol expect generator cpu_us_per_request user_us_per_request \
            cpu_utilisation syscalls_per_request heap_bytes_per_request heap_bytes_per_connection \
            rss_peak_bytes verdict valid reasons thresholds expression observed unit met";
        for name in names.split_whitespace() {
            let found = json[at..].find(&format!("\"{name}\":"));
            at += found.unwrap_or_else(|| panic!("`{name}` is not where it should be: {}", &json[at..]));
        }
        assert!(json.contains("\"mode\":\"open\"") && json.contains("\"rate\":1000.0"), "{json}");
    }

    #[test]
    fn it_reads_back_as_it_was() {
        let result = example();
        let json = serde_json::to_string_pretty(&result).expect("serialisable");
        assert_eq!(serde_json::from_str::<RunResult>(&json).expect("deserialisable"), result);
    }

    #[test]
    fn the_figures_are_those_of_the_requests() {
        let result = example();
        let Requests { scheduled, sent, completed, failed, censored } = result.requests;
        assert_eq!((scheduled, sent, completed, failed, censored), (1004, 1003, 1000, 3, 1));
        assert_eq!(result.latency_us.response.count, 1003);
        assert_eq!(result.latency_us.service.count, 1002);
        assert!((result.requests_per_second - 1000.0).abs() < 1e-9);
        assert!((result.latency_us.service.p50 / 501.0 - 1.0).abs() < 0.01);
        assert!((result.latency_us.service.max / 29_999_999.5 - 1.0).abs() < 0.001);
        assert!((result.generator.cpu_us_per_request - 10.0).abs() < 1e-9);
        assert!((result.generator.user_us_per_request - 1.0).abs() < 1e-9);
        assert!((result.generator.syscalls_per_request - 2.003).abs() < 1e-9);
        assert_eq!(result.status, BTreeMap::from([("200".to_owned(), 990), ("503".to_owned(), 10)]));
        assert_eq!((result.errors.timeout, result.errors.reset), (2, 1));
        assert_eq!(result.error_examples.keys().collect::<Vec<_>>(), ["reset"]);
        let met: Vec<bool> = result.thresholds.iter().map(|threshold| threshold.met).collect();
        assert_eq!(met, [true, false]);
    }

    #[test]
    fn a_run_ends_by_the_first_of_its_limits() {
        let requests = |within_ns| Stop::Requests { count: 10, within_ns };
        for (stop, early, ended, by) in [
            (Stop::Duration { ns: 1 }, None, 5, EndedBy::Duration),
            (requests(None), None, 10, EndedBy::Requests),
            (requests(Some(1)), None, 10, EndedBy::Requests),
            (requests(Some(1)), None, 9, EndedBy::Duration),
            (requests(Some(1)), Some(EndedEarly::MaxErrors), 9, EndedBy::MaxErrors),
            (Stop::Duration { ns: 1 }, Some(EndedEarly::Interrupted), 5, EndedBy::Interrupt),
        ] {
            assert_eq!(EndedBy::of(stop, early, ended), by, "{stop:?} {early:?} {ended}");
        }
    }

    #[test]
    fn an_empty_run_is_all_zeros() {
        let plan = Plan::for_url("http://h/").expect("valid");
        let mut measured = measured(&Recorder::new(false));
        measured.elapsed = Duration::ZERO;
        let result = RunResult::new(&plan, measured);
        assert_eq!(result.latency_us.response, SummaryUs::default());
        let json = serde_json::to_string(&result).expect("serialisable");
        assert!(json.contains("\"requests_per_second\":0.0") && json.contains("\"status\":{}"), "{json}");
        // What is no number would be null; only these seven are meant to be.
        assert_eq!(json.matches("null").count(), 7, "{json}");
    }
}
