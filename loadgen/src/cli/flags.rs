//! The flags of `ringtide run`, as they are typed. What they come to is the matter of `run`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::format::Format;
use super::parse::{self, AddressList, CpuList, NameList, RateArg, StageList};
use ringtide::tls::Version;

use crate::expect::Expect;
use crate::input::BodySource;
use crate::plan::{Arrival, DriverChoice, Header, MaxErrors, Resolve, Spin};
use crate::threshold::Threshold;
use crate::units::{parse_positive_count, parse_positive_time_ns, parse_time_ns};
use crate::url::parse_host_port;

/// What `run --help` says after the flags.
const AFTER_HELP: &str = "Numbers: 500, 10k, 1.5M, 1G. Times: 250ms, 10s, 1m30s (ns, us, ms, s, m, h);
without a unit, seconds.

Thresholds compare (<, <=, >, >=) one of these with a limit. Put quotes around
them, as in 'p99<10ms': a shell takes < and > for redirections.
  p50, p99.9, ...  response time at any percentile; also min, mean and max
  success          share of the requests due that got a status below 400
  errors           failed requests, as a number or a share ('errors<0.1%'):
                   the connection failed, or no complete response came in time.
                   No error: a status such as 500, or a request that the end of
                   the run cut off
  rps              completed requests per second
With several requests, NAME: in front of it is for those of one name, as in
'login:p99<10ms'; with --urls the name is path and query.
Add a success threshold to every percentile: failing can be fast, too.

--expect has checks with commas between them; a response that fails one is an
error. A comma within a check is written \\,
  status=200       a code, a class (2xx) or a range (200-299); 200|404 is either
  header:NAME      the field is there; header:NAME=TEXT, header:NAME~REGEX
  body~REGEX       the body matches; body*=TEXT has TEXT in it; body=TEXT
  size=12          bytes of the body; also 'size<10KiB' and 'size>=1'

--proxy is http://, socks5:// or socks5h:// with [USER:PASSWORD@]HOST:PORT. Each
connection asks it for a tunnel (CONNECT), also with an http:// URL. socks5://
is told the server's address, the others its name. It takes part of the time of
the connect.

--replay reads a request a line, sorted by time:
  {\"offset_s\":0.5,\"method\":\"GET\",\"path\":\"/x\",\"body\":\"\",\"headers\":{\"A\":\"b\"}}
offset_s and path must be there. All go to the URL's host. The run ends with the
last answer.

--max-errors counts what `errors` counts. It judges a share once 100 requests
have ended.

CSV has a line of names and one of figures, times in microseconds. All files are
opened before the first request; they are written even if one of them fails. In
the log of --hdr, requests without a response have the tag `censored`.

The verdict says whether the figures are the server's. If not, the generator
was the bottleneck.

Examples:
  Measure what the server can take, for 10 seconds:
    ringtide run http://127.0.0.1:8080/ -c 64 -d 10s
  Send 1,000 requests per second, evenly spaced:
    ringtide run http://127.0.0.1:8080/ -R 1k
  Ramp up in CI, and give up if 5 % of the requests fail:
    ringtide run http://127.0.0.1:8080/ -R 1k:20k -d 1m --max-errors 5% \\
      --threshold 'p99<10ms' --threshold 'success>99.9%'
  Warm to 1,000/s, ramp to 5,000/s, then see what a spike does:
    ringtide run http://127.0.0.1:8080/ --stages 30s@1k,1m@1k:5k,10s@20k
  Measure full TLS handshakes, one per request:
    ringtide run https://127.0.0.1:8443/ -k --no-keepalive --tls-resumption off
  Send HTTP/2 over 10 connections with 100 streams each:
    ringtide run http://127.0.0.1:8080/ --http2 -c 10 -p 100
  Post a file:
    ringtide run http://127.0.0.1:8080/in -X POST -b @order.json

Exit codes:
  0    done, and every threshold held
  1    could not run
  2    usage error
  3    a threshold was missed, or --max-errors was reached
  4    --require-valid was given and the verdict is not \"valid\", whether or not
       a threshold was missed
  130  interrupted; the report is still written";

/// The heading above the flags of the version; it tells the default.
const HTTP_HEADING: &str = "HTTP version (default: http:// is 1.1, https:// chooses 2 or 1.1 by ALPN)";

/// The flags of `run`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and they are independent")]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    /// What to load, sent exactly as typed.
    // In `help`, as rustdoc would take the brackets for a link.
    #[arg(value_hint = ValueHint::Url, required_unless_present_any = ["urls", "scenario"], help = "http[s]://HOST[:PORT]/PATH, sent exactly as typed")]
    pub url: Option<String>,

    /// Open connections, in all [default: 50]
    #[arg(short, long, value_name = "N", value_parser = parse::count, help_heading = "Load")]
    pub connections: Option<usize>,
    /// Measure for this long [default: 10s]
    #[arg(short, long, visible_short_alias = 'z', value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Load")]
    pub duration: Option<u64>,
    /// Stop after N requests, or after -d if sooner
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_positive_count, help_heading = "Load")]
    pub requests: Option<u64>,
    /// Give up after N failed requests, or a share (5%)
    #[arg(long, value_name = "N|SHARE", value_parser = parse::max_errors, help_heading = "Load")]
    pub max_errors: Option<MaxErrors>,
    /// Run this long before measuring [default: 0s]
    #[arg(long, value_name = "T", value_parser = parse_time_ns, help_heading = "Load")]
    pub warmup: Option<u64>,
    /// At the end, wait for responses [default: 0s]
    #[arg(long, value_name = "T", value_parser = parse_time_ns, help_heading = "Load")]
    pub drain: Option<u64>,
    /// In flight on each (HTTP/2: streams) [default: 1]
    #[arg(short, long, value_name = "N", value_parser = parse::parallel, help_heading = "Load")]
    pub parallel: Option<usize>,
    /// Open a new connection for every request
    #[arg(long, help_heading = "Load")]
    pub no_keepalive: bool,
    /// Spin, not sleep: auto, off or T [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = parse::spin, help_heading = "Load")]
    pub spin: Option<Spin>,

    /// Send N requests/s in all; N:M is a ramp
    #[arg(short = 'R', long, visible_short_alias = 'q', value_name = "N[:M]", value_parser = parse::rate, help_heading = "Fixed rate (open loop)")]
    pub rate: Option<RateArg>,
    /// Rates in turn: 30s@1k,1m@1k:5k,10s@20k
    #[arg(long, value_name = "T@RATE,...", value_parser = parse::stages, help_heading = "Fixed rate (open loop)")]
    pub stages: Option<StageList>,
    /// Send a timed log: JSON lines, see below
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Fixed rate (open loop)")]
    pub replay: Option<PathBuf>,
    /// Spacing: constant or poisson [default: constant]
    #[arg(long, value_name = "KIND", value_parser = parse::arrival, help_heading = "Fixed rate (open loop)")]
    pub arrival: Option<Arrival>,
    /// Open up to N while all are busy [default: as -c]
    #[arg(long, value_name = "N", value_parser = parse::count, help_heading = "Fixed rate (open loop)")]
    pub max_connections: Option<usize>,

    /// Method, also with -b [default: GET]
    #[arg(short, long, visible_short_alias = 'X', value_name = "METHOD", value_parser = parse::method, help_heading = "Request")]
    pub method: Option<String>,
    /// Add a header; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse::header, help_heading = "Request")]
    pub headers: Vec<Header>,
    /// Request body: text, @FILE, or @- (standard input)
    #[arg(short, long, value_name = "BODY", value_parser = parse::body, allow_hyphen_values = true, help_heading = "Request")]
    pub body: Option<BodySource>,
    /// Send these URLs: one a line, and a tab and weight
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Request")]
    pub urls: Option<PathBuf>,
    /// Users who walk through requests (TOML)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Request")]
    pub scenario: Option<PathBuf>,
    /// Check responses: 'status=200,body~REGEX'
    #[arg(long, value_name = "CHECKS", help_heading = "Request")]
    pub expect: Option<Expect>,
    /// Speak HTTP/1.1, whatever the server has
    #[arg(long, help_heading = HTTP_HEADING)]
    pub http1: bool,
    /// Speak HTTP/2; with http:// without asking
    #[arg(long, help_heading = HTTP_HEADING)]
    pub http2: bool,
    /// HTTP/2 window of a stream, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = parse::h2_window, help_heading = HTTP_HEADING)]
    pub h2_window: Option<u32>,
    /// HPACK table for responses [default: 4096]
    #[arg(long, value_name = "SIZE", value_parser = parse::h2_header_table_size, help_heading = HTTP_HEADING)]
    pub h2_header_table_size: Option<u32>,

    /// Connect here instead; Host stays that of the URL
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port, help_heading = "Connection")]
    pub connect_to: Option<(String, u16)>,
    /// Use ADDR for a host: HOST:PORT:ADDR; repeatable
    #[arg(long, value_name = "RULE", value_parser = Resolve::parse, help_heading = "Connection")]
    pub resolve: Vec<Resolve>,
    /// Connect through this proxy, see below
    // Parsed later: clap would show the password in its errors.
    #[arg(long, value_name = "URL", help_heading = "Connection")]
    pub proxy: Option<String>,
    /// Connect to this Unix socket instead
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub unix: Option<PathBuf>,
    /// Source addresses, used in turn
    #[arg(long, value_name = "ADDR,...", value_parser = parse::addresses, help_heading = "Connection")]
    pub bind: Option<AddressList>,
    /// Limit of a request, from its send [default: 30s]
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Connection")]
    pub timeout: Option<u64>,
    /// Limit of a connect with TLS [default: 10s]
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns, help_heading = "Connection")]
    pub connect_timeout: Option<u64>,

    /// Accept any certificate; INSECURE, for tests
    #[arg(short = 'k', long, help_heading = "TLS")]
    pub insecure: bool,
    /// Trust the authorities in this PEM file only
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub cacert: Option<PathBuf>,
    /// Our certificate, if the server wants one (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub key: Option<PathBuf>,
    /// Ask for this name and check it, not the host
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub sni: Option<String>,
    /// Protocols to offer [default: h2,http/1.1]
    #[arg(long, value_name = "NAME,...", value_parser = parse::alpn, help_heading = "TLS")]
    pub alpn: Option<NameList>,
    /// Resume sessions: on or off [default: on]
    #[arg(long, value_name = "on|off", value_parser = parse::on_or_off, help_heading = "TLS")]
    pub tls_resumption: Option<bool>,
    /// Lowest version: 1.2 or 1.3 [default: 1.2]
    #[arg(long, value_name = "VERSION", value_parser = parse::tls_version, help_heading = "TLS")]
    pub tls_min: Option<Version>,
    /// Highest version: 1.2 or 1.3 [default: 1.3]
    #[arg(long, value_name = "VERSION", value_parser = parse::tls_version, help_heading = "TLS")]
    pub tls_max: Option<Version>,
    /// Key exchange, such as X25519,P-256
    #[arg(long, value_name = "NAME,...", value_parser = parse::names, help_heading = "TLS")]
    pub tls_groups: Option<NameList>,
    /// Cipher suites, by IANA or OpenSSL names
    #[arg(long, value_name = "NAME,...", value_parser = parse::names, help_heading = "TLS")]
    pub ciphers: Option<NameList>,
    /// Append the session secrets here, for Wireshark
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub keylog: Option<PathBuf>,

    /// Exit with 3 unless this holds; repeatable
    #[arg(long = "threshold", value_name = "COND", help_heading = "Result")]
    pub thresholds: Vec<Threshold>,
    /// Exit with 4 unless the verdict is "valid"
    #[arg(long, help_heading = "Result")]
    pub require_valid: bool,
    /// Write the report here instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub output: Option<PathBuf>,
    /// Report format [default: text]
    #[arg(
        long,
        value_enum,
        value_name = "text|json|csv",
        hide_possible_values = true,
        help_heading = "Result"
    )]
    pub format: Option<Format>,
    /// Write a JSON line per second here
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub timeseries: Option<PathBuf>,
    /// HdrHistogram log (V2) of each second
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub hdr: Option<PathBuf>,
    /// Markdown for the page of a CI job
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub summary: Option<PathBuf>,
    /// The thresholds as JUnit XML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub junit: Option<PathBuf>,
    /// A page with plots, for a browser
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub html: Option<PathBuf>,
    /// The figures as OpenMetrics text
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub openmetrics: Option<PathBuf>,
    /// Plain lines on stderr, not the live view
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
    /// I/O driver: auto, io_uring, fallback [default: auto]
    // In `help`, as clippy would have marks around the name.
    #[arg(long, value_name = "DRIVER", value_parser = parse::driver, help = "I/O driver: auto, io_uring, fallback [default: auto]", help_heading = "Generator")]
    pub driver: Option<DriverChoice>,
    /// Seed of all random choices [default: random]
    #[arg(long, value_name = "N", value_parser = parse::seed, help_heading = "Generator")]
    pub seed: Option<u64>,
}
