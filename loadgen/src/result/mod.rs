//! The result of a run: its fields are those of the JSON that other programs read. Names and order are a contract:
//! add fields, never rename any.
//!
//! Times are microseconds, rounded to the nanosecond; no field is ever NaN or infinite.

mod between;
mod counts;
mod drain;
mod ended;
mod generator;
mod histograms;
mod http2;
mod latency;
mod notes;
pub(crate) mod numbers;
mod plan;
mod saved;
mod steps;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::between::Between;
pub use self::counts::{Errors, Requests};
use self::counts::{error_examples, status};
pub use self::drain::DrainSummary;
pub use self::ended::{EndedBy, EndedEarly};
pub use self::generator::{Generator, QueueSummary, WorkerSummary};
pub use self::histograms::{Histograms, TimesText};
pub use self::http2::Http2Summary;
pub use self::latency::{Figure, LatenciesUs, PhasesUs, SummaryUs};
use self::notes::Facts;
use self::numbers::{microseconds, ratio, seconds, share};
pub use self::plan::{LoopName, PlanSummary, ReplaySummary, StageSummary};
pub use self::saved::read_saved;
pub use self::steps::{Step, Steps};
pub use self::tls::TlsSummary;
use crate::environment::Environment;
use crate::estimate::Curve;
use crate::metrics::{AfterEnd, GeneratorFacts, StatusClass, Totals};
use crate::plan::{OpenLoop, Plan};
use crate::series::Series;
use crate::threshold::{Observed, Outcome};
use crate::units::rounded;
use crate::verdict::Verdict;

/// The version of this format.
pub const SCHEMA: u32 = 1;

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What measured.
    pub tool: Tool,
    /// What the run was told to do.
    pub plan: PlanSummary,
    /// Where.
    pub environment: Environment,
    /// How many.
    pub requests: Requests,
    /// Requests completed in the measured part, per second.
    pub requests_per_second: f64,
    /// Bytes of answers, heads included, per second.
    pub bytes_received_per_second: f64,
    /// Bytes of answers, heads included.
    pub bytes_received: u64,
    /// Bytes of requests, heads included.
    pub bytes_sent: u64,
    /// How long the measured part was, in which requests were sent.
    pub duration_s: f64,
    /// When the measured part began, in seconds since 1970-01-01 UTC by the wall clock,
    #[serde(default)]
    pub started_unix_s: f64,
    /// and when it ended.
    #[serde(default)]
    pub ended_unix_s: f64,
    /// When the last complete answer came, from the start of the measured part; null if none came.
    #[serde(default)]
    pub last_answer_s: Option<f64>,
    /// Connections opened in the measured part. Together with `connections_opened_before_start` and the attempts that
    /// were cut short (`phases_us.connect.censored`), these are the connects of `phases_us.connect`.
    #[serde(default)]
    pub connections_opened: u64,
    /// Connections opened before the start. The warm-up, if there is one, comes after that, and the connects in it are
    /// in no figure.
    #[serde(default)]
    pub connections_opened_before_start: u64,
    /// The most connections that were open at once in the measured part. With several threads it is the sum of what each had at
    /// most. null in results of older versions.
    #[serde(default)]
    pub connections_open_max: Option<u64>,
    /// Whether the user stopped it early.
    pub interrupted: bool,
    /// What ended the measured part.
    #[serde(default)]
    pub ended_by: EndedBy,
    /// Times of whole requests.
    pub latency_us: LatenciesUs,
    /// Times of parts of the work.
    pub phases_us: PhasesUs,
    /// What TLS agreed on; null without TLS.
    #[serde(default)]
    pub tls: Option<TlsSummary>,
    /// The requests of each name; null if they have none.
    #[serde(default)]
    pub steps: Option<Steps>,
    /// Completed requests by status code; codes without requests are left out.
    pub status: BTreeMap<String, u64>,
    /// Failed requests by kind.
    pub errors: Errors,
    /// The message of the first error of each kind, if it says more than the kind. Those of TLS are there by their own
    /// kinds as well, such as `tls.unknown_issuer`.
    #[serde(default)]
    pub error_examples: BTreeMap<String, String>,
    /// What the generator cost.
    pub generator: Generator,
    /// Whether the figures are the server's.
    pub verdict: Verdict,
    /// The share of the due requests that were answered with a status below 400, from 0 to 1. Leaves out those that
    /// the end cut off, sent or not, unless they had already waited longer than the slowest response took or the
    /// backlog grew; null if there are no others.
    #[serde(default)]
    pub success: Option<f64>,
    /// What a reader should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Response times of answers by the class of their status, `1xx` to `5xx`; classes without answers are left out.
    #[serde(default)]
    pub latency_by_status_us: BTreeMap<String, SummaryUs>,
    /// What came of the requests in flight at the end; null if they were not waited for.
    #[serde(default)]
    pub drain: Option<DrainSummary>,
    /// What happened in HTTP/2 beside the requests; null if it was not spoken.
    #[serde(default)]
    pub http2: Option<Http2Summary>,
    /// How the thresholds did.
    pub thresholds: Vec<Outcome>,
    /// All times without loss, for programs that merge or draw results.
    #[serde(default)]
    pub histograms: Histograms,
    /// A point per second; null if nobody asked for it.
    #[serde(default)]
    pub series: Option<Series>,
}

/// What measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `ringtide`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a run has measured.
#[derive(Debug)]
pub struct Measured {
    /// Its requests,
    pub totals: Totals,
    /// and those of each of the plan's names, in its order.
    pub steps: Vec<Totals>,
    /// When the measured part began, on the workers' clock.
    pub measured_from_ns: u64,
    /// The same by the wall clock, in seconds since 1970-01-01 UTC.
    pub started_unix_s: f64,
    /// How long the measured part was.
    pub elapsed: Duration,
    /// The most connections that were open at once; see [`RunResult::connections_open_max`].
    pub connections_open_max: u64,
    /// A point per second, if they were collected.
    pub series: Option<Series>,
    /// How long answers were waited for after that, in nanoseconds.
    pub drained_ns: u64,
    /// What ended it early, if anything did.
    pub ended_early: Option<EndedEarly>,
    /// What the generator cost.
    pub generator: GeneratorFacts,
    /// Where.
    pub environment: Environment,
}

impl RunResult {
    /// Makes the result of `plan`: judges the run and checks its thresholds.
    pub fn new(plan: &Plan, measured: Measured) -> Self {
        let Measured {
            totals,
            steps,
            measured_from_ns,
            connections_open_max,
            started_unix_s,
            elapsed,
            drained_ns,
            series,
            ended_early,
            generator,
            environment,
        } = measured;
        let counters = &totals.counters;
        let duration_s = elapsed.as_secs_f64();
        let AfterEnd { completed, failed, bytes_received } = totals.after_end;
        // What was answered, failed and received in the measured part.
        let completed = counters.completed - completed;
        let ended = completed + counters.failed - failed;
        let bytes_received = counters.bytes_received - bytes_received;
        let requests_per_second = ratio(completed as f64, duration_s);
        let response = totals.response();
        let observed = observed(&totals, &response, duration_s);
        let last_answer_s =
            (counters.completed > 0).then(|| seconds(counters.last_done_ns.saturating_sub(measured_from_ns)));
        let rate_mean = plan.open_loop().map(OpenLoop::rate_mean);
        let summary = PlanSummary::of(plan, &totals.versions);
        let (requests, errors) = (Requests::of(counters), Errors::of(counters));
        let latency_us = LatenciesUs::of(&totals, &response);
        let ended_by = EndedBy::of(plan.stop, ended_early, ended);
        let notes = notes::notes(&Facts {
            plan: &summary,
            thresholds: &plan.thresholds,
            requests: &requests,
            errors: &errors,
            is_https: plan.url.is_https,
            bad_requests: counters.status[400],
            succeeded: counters.succeeded(),
            ruled_out: counters.ruled_out,
            streams_max_peer: totals.http2.streams_max_peer,
            unexpected_bytes: counters.unexpected_bytes,
            warmup_unanswered: counters.warmup_unanswered,
            unnamed: if plan.requests.len() > 1 && steps.is_empty() { plan.requests.len() } else { 0 },
            duration_s,
            last_answer_s,
            backlog_grew: totals.backlog_grew(),
            steal_share: generator.machine.steal_share,
            has_lower_bounds: !latency_us.response.lower_bounds.is_empty(),
            between: Between::of(plan, &totals, connections_open_max, ended_by, duration_s),
        });
        Self {
            schema: SCHEMA,
            tool: Tool { name: "ringtide".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            plan: summary,
            environment,
            requests,
            requests_per_second: rounded(requests_per_second),
            bytes_received_per_second: rounded(ratio(bytes_received as f64, duration_s)),
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            duration_s: seconds(elapsed.as_nanos() as u64),
            started_unix_s,
            ended_unix_s: microseconds(started_unix_s + duration_s),
            last_answer_s,
            connections_opened: counters.connects,
            connections_opened_before_start: totals.connects_before(),
            connections_open_max: Some(connections_open_max),
            interrupted: ended_early == Some(EndedEarly::Interrupted),
            ended_by,
            latency_us,
            phases_us: PhasesUs::of(&totals),
            steps: (!steps.is_empty()).then(|| {
                let named = plan.names().into_iter().map(str::to_owned).zip(&steps);
                Steps(named.map(|(name, totals)| (name, Step::of(totals))).collect())
            }),
            tls: plan.url.is_https.then(|| TlsSummary::of(&totals.handshakes)),
            status: status(counters),
            errors,
            error_examples: error_examples(counters),
            generator: Generator::of(&generator, counters, completed),
            verdict: Verdict::judge(&totals, &generator, rate_mean, elapsed),
            success: observed.success().map(share),
            notes,
            latency_by_status_us: latency_by_status(&totals),
            drain: (plan.drain_ns > 0).then(|| DrainSummary::of(drained_ns, totals.after_end)),
            http2: totals.versions.contains("2").then(|| Http2Summary::of(&totals.http2)),
            thresholds: plan
                .thresholds
                .iter()
                .map(|threshold| {
                    let step =
                        threshold.step().and_then(|step| plan.names().iter().position(|name| *name == step));
                    match step.and_then(|step| steps.get(step)) {
                        None => threshold.evaluate(observed),
                        Some(step) => threshold.evaluate(self::observed(step, &step.response(), duration_s)),
                    }
                })
                .collect(),
            histograms: Histograms::of(&totals),
            series,
        }
    }
}

impl RunResult {
    /// Completed requests with a status of this class, `1xx` to `5xx`. Codes from 600 are of the last.
    pub fn of_class(&self, class: &str) -> u64 {
        let is_of = |code: &str| code.parse().is_ok_and(|code| StatusClass::of(code).name() == class);
        self.status.iter().filter(|(code, _)| is_of(code)).map(|(_, count)| count).sum()
    }
}

fn latency_by_status(totals: &Totals) -> BTreeMap<String, SummaryUs> {
    let by_status = totals.response_by_status();
    by_status.iter().map(|(class, curve)| (class.name().to_owned(), SummaryUs::of(curve))).collect()
}

/// What thresholds are checked against.
fn observed<'c>(totals: &Totals, response: &'c Curve, duration_s: f64) -> Observed<'c> {
    let counters = &totals.counters;
    Observed {
        response,
        scheduled: counters.scheduled(),
        completed: counters.completed,
        failed: counters.failed,
        succeeded: counters.succeeded(),
        excused: totals.excused(),
        // What was answered after the end does not count into the rate.
        requests_per_second: ratio((counters.completed - totals.after_end.completed) as f64, duration_s),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metrics::{ErrorKind, MachineFacts, Recorder, Sample, Unfinished, WorkerFacts};
    use crate::plan::{Mode, Stop};

    /// An open loop: 1,000 answered in 1 to 1,000 µs, 2 timed out, 1 reset, 1 censored.
    pub(crate) fn example() -> RunResult {
        let mut plan = Plan::for_url("http://127.0.0.1:8081/").expect("valid");
        plan.mode = Mode::Open(OpenLoop::steady(1000.0, 50));
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
            steps: Vec::new(),
            measured_from_ns: 0,
            connections_open_max: 50,
            started_unix_s: 1_700_000_000.0,
            series: None,
            elapsed: Duration::from_secs(1),
            drained_ns: 0,
            ended_early: None,
            generator: GeneratorFacts {
                workers: vec![WorkerFacts {
                    wall_ns: 1_000_000_000,
                    user_ns: 1_000_000,
                    system_ns: 9_000_000,
                    spin_ns: 6_000_000,
                    syscalls: 2003,
                    wake_up_ns: 45_000,
                    ..WorkerFacts::default()
                }],
                heap_bytes_per_request: Some(312),
                heap_bytes_per_connection: Some(488),
                rss_peak_bytes: 9_437_184,
                machine: MachineFacts {
                    steal_share: Some(0.0),
                    steal_share_least: Some(0.0),
                    clock_step_ns: Some(-120),
                    suspended_ns: Some(0),
                },
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
            censored requests_per_second bytes_received_per_second duration_s connections_opened \
            connections_opened_before_start latency_us response count \
            min mean stdev p50 p75 p90 p95 p99 p99_9 p99_99 max service queue_wait schedule_lag \
            phases_us dns connect tls first_byte transfer tls steps status 200 errors dns connect tls timeout \
            reset closed incomplete protocol expect generator cpu_us_per_request user_us_per_request \
            cpu_utilisation syscalls_per_request heap_bytes_per_request heap_bytes_per_connection \
            rss_peak_bytes verdict valid reasons success notes latency_by_status_us 2xx count \
            http2 thresholds expression observed unit met";
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
        let near = |figure: Option<f64>, value: f64, part: f64| {
            figure.is_some_and(|figure| (figure / value - 1.0).abs() < part)
        };
        assert!(near(result.latency_us.service.p50, 501.0, 0.01));
        assert!(near(result.latency_us.service.max, 29_999_999.5, 0.001));
        assert!(near(result.generator.cpu_us_per_request, 10.0, 1e-9));
        assert!(near(result.generator.user_us_per_request, 1.0, 1e-9));
        assert!(near(result.generator.syscalls_per_request, 2.003, 1e-9));
        assert_eq!(result.status, BTreeMap::from([("200".to_owned(), 990), ("503".to_owned(), 10)]));
        assert_eq!((result.errors.timeout, result.errors.reset), (2, 1));
        assert_eq!(result.error_examples.keys().collect::<Vec<_>>(), ["reset"]);
        let met: Vec<bool> = result.thresholds.iter().map(|threshold| threshold.met).collect();
        assert_eq!(met, [true, false]);
    }

    #[test]
    fn without_a_response_there_are_counts_and_no_figures() {
        let mut plan = Plan::for_url("http://h/").expect("valid");
        plan.thresholds = vec!["p99<10ms".parse().expect("valid"), "errors<10".parse().expect("valid")];
        let mut recorder = Recorder::new(true);
        let unfinished =
            Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(5), ended_ns: 300_000_000 };
        recorder.failed(unfinished, ErrorKind::Timeout);
        recorder.censored(unfinished);
        recorder.connected(80_000);
        let result = RunResult::new(&plan, measured(&recorder));
        let LatenciesUs { response, service, queue_wait, schedule_lag } = &result.latency_us;
        for summary in [response, service, queue_wait, schedule_lag] {
            assert_eq!(summary.count, 2);
            assert!(Figure::ALL.iter().all(|figure| summary.figure(*figure).is_none()), "{summary:?}");
            assert!(summary.lower_bounds.is_empty(), "{summary:?}");
        }
        assert_eq!((response.censored, service.censored), (2, 2));
        // The connect is known all the same.
        assert_eq!(result.phases_us.connect.max, Some(80.063));
        let [latency, errors] = &result.thresholds[..] else { panic!("{:?}", result.thresholds) };
        assert_eq!((latency.observed, latency.met), (None, false));
        assert_eq!((errors.observed, errors.met), (Some(1.0), true));
        let missed = |outcome| crate::report::text::missed(&result, outcome);
        assert_eq!(missed(latency), "threshold missed: p99<10ms (nothing was completed)");
        assert_eq!(missed(errors), "threshold missed: errors<10 (observed 1 request)");
        let json = serde_json::to_string(&result).expect("serialisable");
        assert_eq!(serde_json::from_str::<RunResult>(&json).expect("deserialisable"), result);
    }

    #[test]
    fn http2_is_told_if_it_was_spoken() {
        let mut plan = Plan::for_url("http://h/").expect("valid");
        plan.parallel = 200;
        let mut recorder = Recorder::new(false);
        // What happened in the warm-up is forgotten; what the servers allow is not.
        recorder.stream_reset("CANCEL");
        recorder.allows_streams(128);
        recorder.allows_streams(100);
        recorder.reset();
        let of = |recorder: &Recorder| RunResult::new(&plan, measured(recorder));
        recorder.speaks("1.1");
        let result = of(&recorder);
        assert_eq!((result.plan.http.as_str(), result.http2), ("1.1", None));
        recorder.speaks("2");
        recorder.replayed();
        recorder.stream_reset("REFUSED_STREAM");
        recorder.stream_reset("REFUSED_STREAM");
        recorder.went_away("NO_ERROR");
        let mut measured = measured(&recorder);
        measured.totals = Totals::merge([&recorder, &recorder]);
        let result = RunResult::new(&plan, measured);
        assert_eq!(result.plan.http, "1.1 and 2");
        let json = serde_json::to_string(&result.http2).expect("serialisable");
        let expected =
            r#"{"replayed":2,"resets":{"REFUSED_STREAM":4},"goaways":{"NO_ERROR":2},"streams_max_peer":100}"#;
        assert_eq!(json, expected);
        let note = "the server allows 100 streams at once on a connection, fewer than -p 200";
        assert!(result.notes.iter().any(|text| text.contains(note)), "{:?}", result.notes);
        plan.parallel = 100;
        assert!(RunResult::new(&plan, super::tests::measured(&recorder)).notes.is_empty());
    }

    #[test]
    fn an_empty_run_has_no_figures() {
        let mut plan = Plan::for_url("http://h/").expect("valid");
        plan.thresholds = vec!["rps>1".parse().expect("valid")];
        let mut measured = measured(&Recorder::new(false));
        measured.elapsed = Duration::ZERO;
        let result = RunResult::new(&plan, measured);
        assert_eq!(result.latency_us.response, SummaryUs::default());
        let json = serde_json::to_string(&result).expect("serialisable");
        assert!(json.contains("\"requests_per_second\":0.0") && json.contains("\"status\":{}"), "{json}");
        let missed = crate::report::text::missed(&result, &result.thresholds[0]);
        assert_eq!(missed, "threshold missed: rps>1 (nothing was measured)");
        // NaN and infinity would become null. Only these may be: the figures of nine distributions, four of the
        // generator's, the one of the threshold, seventeen other fields, and the texts of ten empty distributions with the
        // series that nobody asked for.
        assert_eq!(json.matches("null").count(), 9 * Figure::ALL.len() + 4 + 1 + 17 + 21, "{json}");
    }
}
