//! `ringtide run`: its flags, and the plan that they make.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Format;
use super::parse::{self, CpuList, RateArg};
use crate::error::UsageError;
use crate::plan::{
    Arrival, CONNECTIONS_DEFAULT, Connect, DriverChoice, Header, Mode, OpenLoop, Plan, Spin, Stop,
    available_cores,
};
use crate::threshold::Threshold;
use crate::units::{parse_positive_count, parse_positive_time_ns, parse_time_ns};
use crate::url::parse_host_port;

/// The flags of `run`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and they are independent")]
#[command(after_help = "Counts take k, M, G (10k, 1M); times take ns, us, ms, s, m, h (250ms, 1m30s).

Examples:
  As fast as the server answers, for 10 seconds:
      ringtide run http://127.0.0.1:8080/ -c 64 -d 10s
  1,000 requests per second, evenly spaced:
      ringtide run http://127.0.0.1:8080/ -R 1000
  A ramp, with a gate for CI:
      ringtide run http://127.0.0.1:8080/ -R 1k:20k -d 1m --threshold 'p99<10ms'
  Post a file:
      ringtide run http://127.0.0.1:8080/in -X POST -b @order.json

Exit codes: 0 done · 1 could not run · 2 usage · 3 threshold missed
            4 not valid, with --require-valid (goes before 3) · 130 interrupted

Thresholds know any percentile (p50, p99.9), min, mean and max of the response time, rps, success (a share), and errors (a number or a share).
An error is a request whose connection or answer failed; a status is none, nor is a request unanswered at the end.
Success is a complete answer with a status below 400, of all requests that were due, but for those that the end cut off in good time.")]
pub struct RunArgs {
    /// What to load
    #[arg(value_hint = ValueHint::Url, help = "What to load: http://HOST[:PORT]/PATH, sent as typed")]
    pub url: String,

    /// Open connections, in all [default: 50]
    #[arg(short, long, value_name = "N", value_parser = parse::count, help_heading = "Load")]
    pub connections: Option<usize>,
    /// Measured time [default: 10s]
    #[arg(short, long, visible_short_alias = 'z', value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Load")]
    pub duration: Option<u64>,
    /// Stop after N requests instead
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_positive_count, help_heading = "Load")]
    pub requests: Option<u64>,
    /// Run this long first, unmeasured [default: 0s]
    #[arg(long, value_name = "T", value_parser = parse_time_ns, help_heading = "Load")]
    pub warmup: Option<u64>,
    /// Requests in flight per connection (pipelining) [default: 1]
    #[arg(short, long, value_name = "N", value_parser = parse::count, help_heading = "Load")]
    pub parallel: Option<usize>,
    /// A new connection for every request
    #[arg(long, help_heading = "Load")]
    pub no_keepalive: bool,

    /// Requests per second in all, whatever the server does; N:M ramps
    #[arg(short = 'R', long, visible_short_alias = 'q', value_name = "N[:M]", value_parser = parse::rate, help_heading = "Open loop")]
    pub rate: Option<RateArg>,
    /// How they are spaced [default: constant]
    #[arg(
        long,
        value_enum,
        value_name = "constant|poisson",
        hide_possible_values = true,
        help_heading = "Open loop"
    )]
    pub arrival: Option<Arrival>,
    /// Wait the last T before each send by spinning [default: auto]
    #[arg(long, value_name = "auto|off|T", value_parser = parse::spin, help_heading = "Open loop")]
    pub spin: Option<Spin>,
    /// Open up to N connections when all are busy [default: as -c]
    #[arg(long, value_name = "N", value_parser = parse::count, help_heading = "Open loop")]
    pub max_connections: Option<usize>,

    /// The method [default: GET]
    #[arg(short, long, visible_short_alias = 'X', value_name = "METHOD", value_parser = parse::method, help_heading = "Request")]
    pub method: Option<String>,
    /// A header; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse::header, help_heading = "Request")]
    pub headers: Vec<Header>,
    /// The body: text, @FILE, or @- for standard input; the method stays GET unless -m says POST
    #[arg(short, long, value_name = "BODY", allow_hyphen_values = true, help_heading = "Request")]
    pub body: Option<String>,
    /// Use HTTP/1.1, which is what http:// means anyway
    #[arg(long, help_heading = "Request")]
    pub http1: bool,

    /// Connect there instead; Host stays the URL's
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port, help_heading = "Connection")]
    pub connect_to: Option<(String, u16)>,
    /// Connect to a Unix socket instead
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub unix: Option<PathBuf>,
    /// For each request, from its actual send [default: 30s]
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Connection")]
    pub timeout: Option<u64>,
    /// For each connection [default: 10s]
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Connection")]
    pub connect_timeout: Option<u64>,

    /// A gate: p99<10ms, errors<0.1%, rps>1000; repeatable
    #[arg(long = "threshold", value_name = "COND", help_heading = "Result")]
    pub thresholds: Vec<Threshold>,
    /// Exit with 4 when the generator was the bottleneck
    #[arg(long, help_heading = "Result")]
    pub require_valid: bool,
    /// Write the report to a file instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub output: Option<PathBuf>,
    /// The form of the report
    #[arg(
        long,
        value_enum,
        value_name = "text|json",
        default_value_t,
        hide_possible_values = true,
        help_heading = "Result"
    )]
    pub format: Format,
    /// Show progress as plain lines on standard error
    #[arg(long, help_heading = "Result")]
    pub no_tui: bool,
    /// Show no progress; goes before --no-tui
    #[arg(long, help_heading = "Result")]
    pub quiet: bool,

    /// Worker threads [default: one per core, at most as -c]
    #[arg(short, long, value_name = "N", value_parser = parse::count, help_heading = "Generator")]
    pub threads: Option<usize>,
    /// Pin the workers to these cores, one each: 0-3,6
    #[arg(long, value_name = "LIST", value_parser = parse::cpus, help_heading = "Generator")]
    pub cpus: Option<CpuList>,
    /// What moves the bytes
    #[arg(
        long,
        value_enum,
        value_name = "DRIVER",
        help = "What moves the bytes: auto, io_uring or fallback",
        default_value_t,
        hide_possible_values = true,
        help_heading = "Generator"
    )]
    pub driver: DriverChoice,
    /// Makes random choices repeatable [default: random, in the report]
    #[arg(long, value_name = "N", value_parser = parse::seed, help_heading = "Generator")]
    pub seed: Option<u64>,
}

/// What becomes of the result of a run, beside its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// A file, or standard output.
    pub file: Option<PathBuf>,
    /// The form of the report.
    pub format: Format,
    /// No progress at all.
    pub quiet: bool,
    /// Plain lines instead of a bar.
    pub plain_progress: bool,
    /// Whether an invalid measurement is a failure.
    pub require_valid: bool,
}

impl RunArgs {
    /// The plan, and what becomes of its result. Reads the file or the standard input that `--body` names; nothing else
    /// is touched.
    ///
    /// # Errors
    /// When something typed cannot be carried out; the message names it.
    pub fn plan(self) -> Result<(Plan, Output), UsageError> {
        self.check_contradictions()?;
        let mut plan = Plan::for_url(&self.url)?;
        plan.connections = match (self.connections, self.requests) {
            (Some(connections), _) => connections,
            // More connections than requests would be opened for nothing.
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
        if let Some(ns) = self.duration {
            plan.stop = Stop::Duration { ns };
        }
        if let Some(count) = self.requests {
            plan.stop = Stop::Requests { count };
        }
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
        plan.body = self.body.map(read_body).transpose()?.unwrap_or_default();
        check_headers(&plan)?;
        plan.driver = self.driver;
        // Short enough to be typed again, and exact in every reader of JSON.
        plan.seed = self.seed.unwrap_or_else(|| u64::from(fastrand::u32(1..)));
        plan.thresholds = self.thresholds;
        let output = Output {
            file: self.output,
            format: self.format,
            quiet: self.quiet,
            plain_progress: self.no_tui,
            require_valid: self.require_valid,
        };
        Ok((plan, output))
    }
}

fn read_body(body: String) -> Result<Vec<u8>, UsageError> {
    let Some(name) = body.strip_prefix('@') else {
        return Ok(body.into_bytes());
    };
    if name == "-" {
        let mut bytes = Vec::new();
        return match std::io::stdin().lock().read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(UsageError::Body { name: "standard input".to_owned(), source }),
        };
    }
    if name.is_empty() {
        let problem = "`@` names no file; write @FILE, or @- for standard input".to_owned();
        return Err(UsageError::Value { flag: "--body", problem });
    }
    fs::read(name).map_err(|source| UsageError::Body { name: format!("`{name}`"), source })
}

/// The headers that must fit the rest of the plan.
fn check_headers(plan: &Plan) -> Result<(), UsageError> {
    let wrong = |problem: String| Err(UsageError::Value { flag: "--header", problem });
    let mut hosts = 0;
    for header in &plan.headers {
        if header.name.eq_ignore_ascii_case("content-length") && header.value != plan.body.len().to_string() {
            return wrong(format!(
                "Content-Length: {} does not fit the body of {} bytes; leave it out, it is sent anyway",
                header.value,
                plan.body.len()
            ));
        }
        let asks_to_close =
            || header.value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        if !plan.keepalive && header.name.eq_ignore_ascii_case("connection") && !asks_to_close() {
            return Err(UsageError::Contradiction {
                first: "--no-keepalive".to_owned(),
                second: format!("--header (-H) 'Connection: {}'", header.value),
                why: "the last request on a connection says `close` (RFC 9112 §9.6)".to_owned(),
            });
        }
        hosts += u32::from(header.name.eq_ignore_ascii_case("host"));
    }
    if hosts > 1 {
        return wrong("Host is given more than once (RFC 9112 §3.2 allows one)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(flags: &[&str]) -> Result<(Plan, Output), UsageError> {
        let words = ["ringtide", "run", "http://h/"].iter().chain(flags);
        match Cli::try_parse_from(words).expect("it parses").command {
            Command::Run(args) => args.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_plain_command_is_a_closed_loop_with_the_defaults() {
        let (plan, output) = plan(&[]).expect("valid");
        assert_eq!((plan.connections, plan.parallel, plan.keepalive), (50, 1, true));
        assert_eq!(plan.mode, Mode::Closed);
        assert_eq!(plan.stop, Stop::Duration { ns: 10_000_000_000 });
        assert_eq!((plan.timeout_ns, plan.connect_timeout_ns), (30_000_000_000, 10_000_000_000));
        assert_eq!(plan.threads, available_cores().min(50));
        assert_eq!(output.format, Format::Text);
    }

    #[test]
    fn the_letters_of_the_peers_mean_the_same() {
        let (peers, _) =
            plan(&["-z", "5s", "-q", "100", "-X", "POST", "--seed", "1", "-b", "-x"]).expect("valid");
        let (ours, _) =
            plan(&["--duration", "5s", "--rate", "100", "--method", "POST", "--seed", "1", "--body", "-x"])
                .expect("valid");
        assert_eq!(peers, ours);
        assert_eq!(ours.body, b"-x");
    }

    #[test]
    fn workers_are_no_more_than_connections_or_listed_cores() {
        assert_eq!(plan(&["-c", "1"]).expect("valid").0.threads, 1);
        assert_eq!(plan(&["-n", "1"]).expect("valid").0.connections, 1);
        assert_eq!(plan(&["-n", "10", "-c", "64"]).expect("valid").0.connections, 64);
        let (plan, _) = plan(&["-c", "8", "--cpus", "0"]).expect("valid");
        assert_eq!((plan.threads, plan.cpus), (1, Some(vec![0])));
    }

    #[test]
    fn an_open_loop_takes_its_flags() {
        let flags = ["-R", "10:1k", "--arrival", "poisson", "--spin", "off", "--max-connections", "100"];
        let (plan, _) = plan(&flags).expect("valid");
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
    fn a_body_that_cannot_be_read_is_named() {
        let error = plan(&["-b", "@/nonexistent/body.json"]).expect_err("no such file").to_string();
        assert!(error.contains("/nonexistent/body.json"), "{error}");
        assert!(plan(&["-b", "@"]).is_err());
    }

    #[test]
    fn headers_must_fit_the_rest() {
        assert!(plan(&["-b", "abc", "-H", "Content-Length: 3"]).is_ok());
        let error = plan(&["-b", "abc", "-H", "content-length: 4"]).expect_err("wrong").to_string();
        assert!(error.contains("does not fit the body of 3 bytes"), "{error}");
        assert!(plan(&["-H", "Host: a", "-H", "host: b"]).is_err());
    }
}
