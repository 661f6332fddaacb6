//! `ringtide run`: its flags, and the plan that they make.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::format::Format;
use super::parse::{self, CpuList, RateArg};
use crate::error::UsageError;
use crate::input::BodySource;
use crate::plan::{
    Arrival, CONNECTIONS_DEFAULT, Connect, DURATION_DEFAULT_NS, DriverChoice, Header, MaxErrors, Mode,
    OpenLoop, Plan, Spin, Stop, available_cores,
};
use crate::threshold::Threshold;
use crate::units::{parse_positive_count, parse_positive_time_ns, parse_time_ns};
use crate::url::parse_host_port;

/// What `run --help` says after the flags.
const AFTER_HELP: &str = "Numbers: 500, 10k, 1.5M, 1G. Times: 250ms, 10s, 1m30s (ns, us, ms, s, m, h).

Thresholds compare (<, <=, >, >=) one of these with a limit:
  p50, p99.9, ...  response time at any percentile; also min, mean and max
  success          share of the requests due that got a status below 400
  errors           failed requests, as a number or a share: the connection
                   failed, or no complete response came in time. A status such as
                   500 is not an error, nor is a request cut off by the end.
  rps              completed requests per second
Gate success along with any percentile: failing can be fast, too.

--max-errors counts failed requests as errors does, and judges a share once 100
requests have ended. The verdict says whether the figures are the server's, or
the generator was the bottleneck.

Examples:
  Measure what the server can take, for 10 seconds:
    ringtide run http://127.0.0.1:8080/ -c 64 -d 10s
  Send 1,000 requests per second, evenly spaced:
    ringtide run http://127.0.0.1:8080/ -R 1k
  Ramp up as a gate in CI, and give up if 5 % of the requests fail:
    ringtide run http://127.0.0.1:8080/ -R 1k:20k -d 1m --max-errors 5% \\
      --threshold 'p99<10ms' --threshold 'success>99.9%'
  Post a file:
    ringtide run http://127.0.0.1:8080/in -X POST -b @order.json

Exit codes:
  0    done, and every threshold held
  1    could not run
  2    usage error
  3    a threshold was missed, or --max-errors reached
  4    the verdict is not \"valid\", with --require-valid
  130  interrupted; the report is still written";

/// The flags of `run`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and they are independent")]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    /// What to load, sent exactly as typed.
    // In `help`, as rustdoc would take the brackets for a link.
    #[arg(value_hint = ValueHint::Url, help = "http://HOST[:PORT]/PATH, sent exactly as typed")]
    pub url: String,

    /// Open connections, in all [default: 50]
    #[arg(short, long, value_name = "N", value_parser = parse::count, help_heading = "Load")]
    pub connections: Option<usize>,
    /// Measure for this long [default: 10s]
    #[arg(short, long, visible_short_alias = 'z', value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Load")]
    pub duration: Option<u64>,
    /// Stop after N requests, or after -d if that is sooner
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_positive_count, help_heading = "Load")]
    pub requests: Option<u64>,
    /// Give up after N failed requests, or a share (5%)
    #[arg(long, value_name = "N|SHARE", value_parser = parse::max_errors, help_heading = "Load")]
    pub max_errors: Option<MaxErrors>,
    /// Run this long before measuring [default: 0s]
    #[arg(long, value_name = "T", value_parser = parse_time_ns, help_heading = "Load")]
    pub warmup: Option<u64>,
    /// Pipelined requests per connection, up to 1024 [default: 1]
    #[arg(short, long, value_name = "N", value_parser = parse::parallel, help_heading = "Load")]
    pub parallel: Option<usize>,
    /// Open a new connection for every request
    #[arg(long, help_heading = "Load")]
    pub no_keepalive: bool,

    /// Send N requests per second, in all; N:M ramps
    #[arg(short = 'R', long, visible_short_alias = 'q', value_name = "N[:M]", value_parser = parse::rate, help_heading = "Fixed rate (open loop)")]
    pub rate: Option<RateArg>,
    /// Spacing: constant or poisson [default: constant]
    #[arg(long, value_name = "KIND", value_parser = parse::arrival, help_heading = "Fixed rate (open loop)")]
    pub arrival: Option<Arrival>,
    /// Busy-wait before each send: auto, off or a time [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = parse::spin, help_heading = "Fixed rate (open loop)")]
    pub spin: Option<Spin>,
    /// Open up to N while all are busy [default: as -c]
    #[arg(long, value_name = "N", value_parser = parse::count, help_heading = "Fixed rate (open loop)")]
    pub max_connections: Option<usize>,

    /// Request method, also with -b [default: GET]
    #[arg(short, long, visible_short_alias = 'X', value_name = "METHOD", value_parser = parse::method, help_heading = "Request")]
    pub method: Option<String>,
    /// Add a header; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse::header, help_heading = "Request")]
    pub headers: Vec<Header>,
    /// Request body: text, @FILE, or @- (standard input)
    #[arg(short, long, value_name = "BODY", value_parser = parse::body, allow_hyphen_values = true, help_heading = "Request")]
    pub body: Option<BodySource>,
    /// Use HTTP/1.1, the only version so far
    #[arg(long, help_heading = "Request")]
    pub http1: bool,

    /// Connect here instead; Host stays that of the URL
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port, help_heading = "Connection")]
    pub connect_to: Option<(String, u16)>,
    /// Connect to this Unix socket instead
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub unix: Option<PathBuf>,
    /// For each request, from its send [default: 30s]
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Connection")]
    pub timeout: Option<u64>,
    /// For each connection attempt [default: 10s]
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Connection")]
    pub connect_timeout: Option<u64>,

    /// Exit with 3 unless this holds; repeatable, see below
    #[arg(long = "threshold", value_name = "COND", help_heading = "Result")]
    pub thresholds: Vec<Threshold>,
    /// Exit with 4 unless the verdict is "valid"
    #[arg(long, help_heading = "Result")]
    pub require_valid: bool,
    /// Write the report here instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub output: Option<PathBuf>,
    /// Report format [default: text]
    #[arg(long, value_enum, value_name = "text|json", hide_possible_values = true, help_heading = "Result")]
    pub format: Option<Format>,
    /// Show progress as plain lines on standard error
    #[arg(long, help_heading = "Result")]
    pub no_tui: bool,
    /// Show no progress at all
    #[arg(long, help_heading = "Result")]
    pub quiet: bool,

    /// Worker threads [default: one per core, at most -c]
    #[arg(short, long, value_name = "N", value_parser = parse::count, help_heading = "Generator")]
    pub threads: Option<usize>,
    /// Pin each worker to one of these cores: 0-3,6
    #[arg(long, value_name = "LIST", value_parser = parse::cpus, help_heading = "Generator")]
    pub cpus: Option<CpuList>,
    /// I/O driver: auto, io_uring or fallback [default: auto]
    // In `help`, as clippy would have marks around the name.
    #[arg(long, value_name = "DRIVER", value_parser = parse::driver, help = "I/O driver: auto, io_uring or fallback [default: auto]", help_heading = "Generator")]
    pub driver: Option<DriverChoice>,
    /// Seed of all random choices [default: random]
    #[arg(long, value_name = "N", value_parser = parse::seed, help_heading = "Generator")]
    pub seed: Option<u64>,
}

/// The command line, checked as far as possible without touching files or the network.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCommand {
    /// What to do. The body is still empty: `body` says where to read it.
    pub plan: Plan,
    /// Where to find the body.
    pub body: BodySource,
    /// What to do with the result.
    pub output: Output,
}

/// What to do with the result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// A file, or standard output.
    pub file: Option<PathBuf>,
    /// The format of the report.
    pub format: Format,
    /// Whether to show no progress.
    pub quiet: bool,
    /// Whether to show plain lines instead of a bar.
    pub plain_progress: bool,
    /// Whether an invalid measurement fails the command.
    pub require_valid: bool,
}

impl RunArgs {
    /// The plan, and what to do with its result.
    ///
    /// # Errors
    /// When a flag cannot be carried out; the message names it.
    pub fn plan(self) -> Result<RunCommand, UsageError> {
        self.check_contradictions()?;
        let mut plan = Plan::for_url(&self.url)?;
        plan.connections = match (self.connections, self.requests) {
            (Some(connections), _) => connections,
            // More connections than requests would be useless.
            (None, Some(requests)) => {
                CONNECTIONS_DEFAULT.min(usize::try_from(requests).unwrap_or(CONNECTIONS_DEFAULT))
            }
            (None, None) => CONNECTIONS_DEFAULT,
        };
        let cores = self.cpus.as_ref().map_or_else(available_cores, |cpus| cpus.0.len());
        plan.threads = self.threads.unwrap_or(cores.min(plan.connections));
        self.check_numbers(plan.connections, plan.threads)?;
        plan.cpus = self.cpus.map(|cpus| cpus.0);
        if let Some(rate) = self.rate {
            plan.mode = Mode::Open(OpenLoop {
                rate_start: rate.start,
                rate_end: rate.end,
                arrival: self.arrival.unwrap_or_default(),
                spin: self.spin.unwrap_or_default(),
                max_connections: self.max_connections.unwrap_or(plan.connections),
            });
        }
        plan.stop = match (self.requests, self.duration) {
            (Some(count), within_ns) => Stop::Requests { count, within_ns },
            (None, duration) => Stop::Duration { ns: duration.unwrap_or(DURATION_DEFAULT_NS) },
        };
        plan.max_errors = self.max_errors;
        plan.warmup_ns = self.warmup.unwrap_or(plan.warmup_ns);
        plan.parallel = self.parallel.unwrap_or(plan.parallel);
        plan.keepalive = !self.no_keepalive;
        plan.timeout_ns = self.timeout.unwrap_or(plan.timeout_ns);
        plan.connect_timeout_ns = self.connect_timeout.unwrap_or(plan.connect_timeout_ns);
        if let Some((host, port)) = self.connect_to {
            plan.connect = Connect::Tcp { host, port };
        }
        if let Some(path) = self.unix {
            plan.connect = Connect::Unix { path };
        }
        plan.method = self.method.unwrap_or(plan.method);
        plan.headers = self.headers;
        check_headers(&plan)?;
        plan.driver = self.driver.unwrap_or_default();
        // Short enough to be typed again, and exact in every reader of JSON.
        plan.seed = self.seed.unwrap_or_else(|| u64::from(fastrand::u32(1..)));
        plan.thresholds = self.thresholds;
        let output = Output {
            file: self.output,
            format: self.format.unwrap_or_default(),
            quiet: self.quiet,
            plain_progress: self.no_tui,
            require_valid: self.require_valid,
        };
        let body = self.body.unwrap_or_else(|| BodySource::Text(String::new()));
        Ok(RunCommand { plan, body, output })
    }
}

/// Checks the headers against the rest of the plan, except its body.
fn check_headers(plan: &Plan) -> Result<(), UsageError> {
    let mut hosts = 0;
    for header in &plan.headers {
        let asks_to_close =
            || header.value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        if !plan.keepalive && header.name.eq_ignore_ascii_case("connection") && !asks_to_close() {
            return Err(UsageError::Contradiction {
                first: "--no-keepalive".to_owned(),
                second: format!("--header (-H) 'Connection: {}'", header.value),
                why: "a connection for one request must say `close` (RFC 9112 §9.6)".to_owned(),
            });
        }
        hosts += u32::from(header.name.eq_ignore_ascii_case("host"));
    }
    if hosts > 1 {
        let problem = "Host is given twice; a request has only one (RFC 9112 §3.2)".to_owned();
        return Err(UsageError::Value { flag: "--header (-H)", problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn command(flags: &[&str]) -> Result<RunCommand, UsageError> {
        let words = ["ringtide", "run", "http://h/"].iter().chain(flags);
        match Cli::try_parse_from(words).expect("it parses").command {
            Command::Run(args) => args.plan(),
            other => panic!("{other:?}"),
        }
    }

    fn plan(flags: &[&str]) -> Plan {
        command(flags).expect("valid").plan
    }

    #[test]
    fn the_plain_command_is_a_closed_loop_with_the_defaults() {
        let RunCommand { plan, body, output } = command(&[]).expect("valid");
        assert_eq!((plan.connections, plan.parallel, plan.keepalive), (50, 1, true));
        assert_eq!(plan.mode, Mode::Closed);
        assert_eq!(plan.stop, Stop::Duration { ns: 10_000_000_000 });
        assert_eq!(plan.max_errors, None);
        assert_eq!((plan.timeout_ns, plan.connect_timeout_ns), (30_000_000_000, 10_000_000_000));
        assert_eq!(plan.threads, available_cores().min(50));
        assert_eq!((output.format, body), (Format::Text, BodySource::Text(String::new())));
    }

    #[test]
    fn the_letters_of_the_peers_mean_the_same() {
        let peers = command(&["-z", "5s", "-q", "100", "-X", "POST", "--seed", "1", "-b", "-x"]);
        let ours = command(&[
            "--duration",
            "5s",
            "--rate",
            "100",
            "--method",
            "POST",
            "--seed",
            "1",
            "--body",
            "-x",
        ]);
        let ours = ours.expect("valid");
        assert_eq!(peers.expect("valid"), ours);
        assert_eq!(ours.body, BodySource::Text("-x".to_owned()));
    }

    #[test]
    fn workers_are_no_more_than_connections_or_listed_cores() {
        assert_eq!(plan(&["-c", "1"]).threads, 1);
        assert_eq!(plan(&["-n", "1"]).connections, 1);
        assert_eq!(plan(&["-n", "10", "-c", "64"]).connections, 64);
        let plan = plan(&["-c", "8", "--cpus", "0"]);
        assert_eq!((plan.threads, plan.cpus), (1, Some(vec![0])));
    }

    #[test]
    fn a_number_of_requests_has_no_time_but_the_one_that_is_given() {
        assert_eq!(plan(&["-n", "5"]).stop, Stop::Requests { count: 5, within_ns: None });
        let capped = Stop::Requests { count: 5, within_ns: Some(1_000_000_000) };
        assert_eq!(plan(&["-n", "5", "-d", "1s"]).stop, capped);
        assert_eq!(plan(&["-n", "5", "-d", "1s", "-R", "1:9"]).stop, capped);
    }

    #[test]
    fn an_open_loop_takes_its_flags() {
        let flags = ["-R", "10:1k", "--arrival", "poisson", "--spin", "off", "--max-connections", "100"];
        let plan = plan(&flags);
        assert_eq!(
            plan.mode,
            Mode::Open(OpenLoop {
                rate_start: 10.0,
                rate_end: 1000.0,
                arrival: Arrival::Poisson,
                spin: Spin::Off,
                max_connections: 100
            })
        );
        assert_eq!(plan.connections_max(), 100);
    }

    #[test]
    fn no_file_is_read_for_the_plan() {
        let command = command(&["-b", "@/nonexistent/body.json"]).expect("nothing is wrong with the flags");
        assert_eq!(command.body, BodySource::File("/nonexistent/body.json".into()));
        assert!(command.plan.body.is_empty());
    }

    #[test]
    fn one_host_is_enough() {
        let error = command(&["-H", "Host: a", "-H", "host: b"]).expect_err("two hosts").to_string();
        assert!(error.contains("Host is given twice"), "{error}");
    }
}
