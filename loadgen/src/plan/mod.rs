//! Everything that a run does, as plain data that can be stored with its result or sent to another machine.
//!
//! A plan has no effects and knows no flags: `cli` checks the flags and fills it.

mod http;
mod open_loop;
mod proxy;
mod request;
mod scenario;
mod spin;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ringtide::tls::Version;
use serde::{Deserialize, Serialize};

pub use self::http::{
    ALPN_H2, ALPN_HTTP1, H2_HEADER_TABLE_SIZE_DEFAULT, H2_WINDOW_MAX, HttpChoice, HttpVersion,
};
pub use self::open_loop::{Arrival, OpenLoop, Replayed, Stage};
pub use self::proxy::{Credentials, Proxy, ProxyKind, Resolve};
pub use self::request::{Header, NAMES_MAX, Request};
pub use self::scenario::{
    Capture, CaptureFrom, Generator, RowOrder, Scenario, Step, Table, TextPart, UserKind,
};
pub use self::spin::Spin;
use crate::threshold::Threshold;
use crate::url::{Url, UrlError};

/// Default number of connections.
pub const CONNECTIONS_DEFAULT: usize = 50;
/// Default measured time.
pub const DURATION_DEFAULT_NS: u64 = 10_000_000_000;
/// Default timeout of a request.
pub const TIMEOUT_DEFAULT_NS: u64 = 30_000_000_000;
/// Default timeout of a connect.
pub const CONNECT_TIMEOUT_DEFAULT_NS: u64 = 10_000_000_000;

/// The most requests in flight on one connection. Beyond this, each costs more: up to 40 times as much at 100,000.
pub const PARALLEL_MAX: usize = 1_024;

/// A share of errors is judged only once this many requests have ended. Otherwise a single failure could end a run.
pub const MAX_ERRORS_ENDED_MIN: u64 = 100;

/// One load test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What to request; and from whom, unless `connect` says otherwise.
    pub url: Url,
    /// Where to connect.
    pub connect: Connect,
    /// What names stand for, instead of what the system says. Those of a name are tried in order.
    #[serde(default)]
    pub resolve: Vec<Resolve>,
    /// The proxy to connect through.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// The addresses to connect from, in turn; empty to leave them to the system.
    #[serde(default)]
    pub bind: Vec<IpAddr>,
    /// What TLS does. Of no effect if the URL is `http://`.
    #[serde(default)]
    pub tls: Tls,
    /// How to speak HTTP.
    #[serde(default)]
    pub http: HttpChoice,
    /// What is sent: at least one request. All of them go to the origin of `url`.
    pub requests: Vec<Request>,
    /// The users who walk through them; `None` if each request is chosen by its weight alone. What is sent is in its steps then.
    #[serde(default)]
    pub scenario: Option<Scenario>,
    /// Open connections in all. At least `threads`.
    pub connections: usize,
    /// Worker threads. At least 1.
    pub threads: usize,
    /// Cores for the workers, one each, at least as many as `threads`; `None` leaves them to the scheduler.
    pub cpus: Option<Vec<usize>>,
    /// Who decides when a request is sent.
    pub mode: Mode,
    /// When the measured part ends.
    pub stop: Stop,
    /// How many requests of the measured part may fail before it ends early; `None` for any number.
    pub max_errors: Option<MaxErrors>,
    /// How long to run before measuring.
    pub warmup_ns: u64,
    /// How long to wait after the measured part for what is in flight, without sending anything.
    #[serde(default)]
    pub drain_ns: u64,
    /// Requests in flight on one connection: in HTTP/2 its streams. From 1 to [`PARALLEL_MAX`], and 1 without `keepalive`.
    pub parallel: usize,
    /// Whether a connection serves more than one request.
    pub keepalive: bool,
    /// Timeout of a request, from its actual send.
    pub timeout_ns: u64,
    /// Timeout of a connect, the TLS handshake included.
    pub connect_timeout_ns: u64,
    /// Which driver moves the bytes.
    pub driver: DriverChoice,
    /// How a worker waits for answers, and for the next send of a schedule.
    #[serde(default)]
    pub spin: Spin,
    /// The seed of all random choices.
    pub seed: u64,
    /// What the result must meet.
    pub thresholds: Vec<Threshold>,
}

impl Plan {
    /// A plan for `url` with every default: 50 connections in a closed loop for 10 s, GET, a worker per core, seed 0.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn for_url(url: &str) -> Result<Self, UrlError> {
        let url = Url::parse(url)?;
        let requests = vec![Request::get(&url.target)];
        Ok(Self {
            url,
            connect: Connect::Url,
            resolve: Vec::new(),
            proxy: None,
            bind: Vec::new(),
            tls: Tls::default(),
            http: HttpChoice::default(),
            requests,
            scenario: None,
            connections: CONNECTIONS_DEFAULT,
            threads: available_cores().min(CONNECTIONS_DEFAULT),
            cpus: None,
            mode: Mode::Closed,
            stop: Stop::Duration { ns: DURATION_DEFAULT_NS },
            max_errors: None,
            warmup_ns: 0,
            drain_ns: 0,
            parallel: 1,
            keepalive: true,
            timeout_ns: TIMEOUT_DEFAULT_NS,
            connect_timeout_ns: CONNECT_TIMEOUT_DEFAULT_NS,
            driver: DriverChoice::Auto,
            spin: Spin::Auto,
            seed: 0,
            thresholds: Vec::new(),
        })
    }

    /// Whether the run may speak HTTP/2.
    pub fn may_speak_http2(&self) -> bool {
        let offers_it = || self.url.is_https && self.tls.alpn.iter().any(|name| name == ALPN_H2);
        match self.http.version {
            HttpVersion::ByAlpn => offers_it(),
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
        }
    }

    /// The open-loop part, if the loop is open.
    pub fn open_loop(&self) -> Option<&OpenLoop> {
        match &self.mode {
            Mode::Closed => None,
            Mode::Open(open) => Some(open),
        }
    }

    /// Worker `worker`'s part of the run.
    pub fn part(&self, worker: usize) -> Part {
        Part { worker, workers: self.threads, connections: self.connections }
    }

    /// The names under which results are kept, each once; none if there is only the whole.
    pub fn names(&self) -> Vec<&str> {
        request::names(&self.requests)
    }

    /// The host and port of the server; `None` for a Unix socket.
    pub fn server(&self) -> Option<(&str, u16)> {
        match &self.connect {
            Connect::Unix { .. } => None,
            Connect::Tcp { host, port } => Some((host, *port)),
            Connect::Url => Some((&self.url.host, self.url.port)),
        }
    }

    /// The most connections that are ever open at once.
    pub fn connections_max(&self) -> usize {
        self.open_loop().map_or(self.connections, |open| open.max_connections)
    }
}

/// Cores that this process may use; 1 when the system does not tell.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connect {
    /// To the host and port of the URL.
    Url,
    /// To this host (a name, or an address without brackets) and port, with the URL's `Host`.
    Tcp {
        /// A name or an address.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// To a Unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

/// How TLS is used. `tls` makes a client of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Whether any certificate is accepted.
    pub insecure: bool,
    /// Authorities to trust instead of those of the system.
    pub cacert: Option<PathBuf>,
    /// The client's own certificate, with its chain, and its key.
    pub cert: Option<ClientCert>,
    /// The name to ask for and to check the certificate against, instead of the host of the URL.
    pub sni: Option<String>,
    /// The protocols to offer (ALPN), the preferred first.
    pub alpn: Vec<String>,
    /// Whether sessions are resumed.
    pub resumption: bool,
    /// The lowest version.
    #[serde(with = "version")]
    pub min_version: Version,
    /// The highest version.
    #[serde(with = "version")]
    pub max_version: Version,
    /// The key-exchange groups to offer, by name; empty for the default ones.
    pub groups: Vec<String>,
    /// The cipher suites to offer, by name; empty for all.
    pub ciphers: Vec<String>,
    /// Where to append the secrets of all sessions.
    pub keylog: Option<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            insecure: false,
            cacert: None,
            cert: None,
            sni: None,
            alpn: HttpVersion::default().alpn(),
            resumption: true,
            min_version: Version::Tls12,
            max_version: Version::Tls13,
            groups: Vec::new(),
            ciphers: Vec::new(),
            keylog: None,
        }
    }
}

/// A certificate in PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCert {
    /// The certificate, and the chain behind it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A version of TLS, as text such as `1.3`.
mod version {
    use ringtide::tls::Version;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(super) fn serialize<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(version)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Who decides when a request is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The server: each response triggers the next request.
    Closed,
    /// A schedule, whatever the server does.
    Open(OpenLoop),
}

/// When the measured part of a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// After a time.
    Duration {
        /// Not 0.
        ns: u64,
    },
    /// After this many requests over all workers, or after a time if one is given, whichever comes first.
    Requests {
        /// Not 0.
        count: u64,
        /// Not 0.
        within_ns: Option<u64>,
    },
}

impl Stop {
    /// The time limit of the measured part.
    pub fn duration_ns(self) -> Option<u64> {
        match self {
            Self::Duration { ns } => Some(ns),
            Self::Requests { within_ns, .. } => within_ns,
        }
    }

    /// Its limit on the number of requests.
    pub fn requests(self) -> Option<u64> {
        match self {
            Self::Duration { .. } => None,
            Self::Requests { count, .. } => Some(count),
        }
    }
}

/// How many failed requests end a run early.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxErrors {
    /// This many.
    Count(u64),
    /// This share of the ended requests, in percent, once at least [`MAX_ERRORS_ENDED_MIN`] have ended.
    Percent(f64),
}

impl MaxErrors {
    /// Whether `failed` of `ended` requests reach the limit. Zero failures never do.
    pub fn is_reached(self, failed: u64, ended: u64) -> bool {
        failed > 0
            && match self {
                Self::Count(count) => failed >= count,
                Self::Percent(percent) => {
                    ended >= MAX_ERRORS_ENDED_MIN && failed as f64 * 100.0 >= percent * ended as f64
                }
            }
    }
}

impl fmt::Display for MaxErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A worker's part of a run. Connections are dealt out to the workers in turn, and requests to the connections in
/// turn, so a worker with more connections gets more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The worker's number, from 0.
    pub worker: usize,
    /// The number of workers.
    pub workers: usize,
    /// Connections of all workers; at least as many as workers.
    pub connections: usize,
}

impl Part {
    /// How many of `total` connections the worker has.
    pub fn connections_of(self, total: usize) -> usize {
        total / self.workers + usize::from(self.worker < total % self.workers)
    }

    /// How many requests the worker may start: its part of the count, or `u64::MAX` without a count. The parts of all
    /// workers add up to the count.
    pub fn requests_of(self, stop: Stop) -> u64 {
        let Some(count) = stop.requests() else { return u64::MAX };
        let (rounds, rest) = (count / self.connections as u64, count % self.connections as u64);
        // The remainder is less than one request per connection.
        rounds * self.connections_of(self.connections) as u64 + self.connections_of(rest as usize) as u64
    }
}

/// Which driver moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverChoice {
    /// `io_uring` where it can be used, the fallback elsewhere.
    #[default]
    Auto,
    /// `io_uring`, or an error.
    IoUring,
    /// epoll or kqueue.
    Fallback,
}

impl From<DriverChoice> for ringtide::runtime::DriverChoice {
    fn from(choice: DriverChoice) -> Self {
        match choice {
            DriverChoice::Auto => Self::Auto,
            DriverChoice::IoUring => Self::IoUring,
            DriverChoice::Fallback => Self::Fallback,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_travels_as_json() {
        let mut plan = Plan::for_url("http://h:1/x").expect("valid");
        plan.mode = Mode::Open(OpenLoop {
            stages: vec![
                Stage { duration_ns: Some(9), rate_start: 0.5, rate_end: 20_000.0 },
                Stage::endless(7.0),
            ],
            replay: vec![Replayed { due_ns: 3, request: 0 }],
            arrival: Arrival::Poisson,
            max_connections: 80,
        });
        plan.connect = Connect::Unix { path: "/run/x.sock".into() };
        plan.thresholds = vec!["p99<10ms".parse().expect("valid")];
        plan.driver = DriverChoice::IoUring;
        plan.spin = Spin::For { ns: 100_000 };
        plan.stop = Stop::Requests { count: 5, within_ns: Some(7) };
        plan.max_errors = Some(MaxErrors::Percent(0.5));
        plan.bind = vec![[127, 0, 0, 2].into()];
        plan.resolve = vec![Resolve::parse("h:1:[::1]").expect("valid")];
        plan.proxy = Some(Proxy::parse("socks5h://u:p@h:1").expect("valid"));
        plan.tls.max_version = Version::Tls12;
        plan.http = HttpChoice { version: HttpVersion::Http2, h2_window: Some(9), h2_header_table_size: 0 };
        plan.tls.cert = Some(ClientCert { cert: "/c.pem".into(), key: "/k.pem".into() });
        let json = serde_json::to_string(&plan).expect("serialisable");
        assert!(
            json.contains("\"max_version\":\"1.2\"")
                && json.contains("\"io_uring\"")
                && json.contains("\"p99<10ms\""),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Plan>(&json).expect("deserialisable"), plan);
    }

    #[test]
    fn the_workers_parts_add_up() {
        for (count, workers, connections) in
            [(1, 1, 1), (1, 4, 4), (10, 3, 3), (300, 2, 3), (7, 2, 5), (1_000_003, 7, 50)]
        {
            let parts = (0..workers).map(|worker| Part { worker, workers, connections });
            let of_each = parts.map(|part| {
                let (requests, own) = (
                    part.requests_of(Stop::Requests { count, within_ns: None }),
                    part.connections_of(connections) as u64,
                );
                // Every connection gets the same number, give or take one.
                let each = count / connections as u64;
                assert!((own * each..=own * (each + 1)).contains(&requests), "{requests} for {own}");
                (requests, own)
            });
            let (requests, own): (Vec<_>, Vec<_>) = of_each.unzip();
            assert_eq!((requests.iter().sum(), own.iter().sum()), (count, connections as u64));
        }
    }

    #[test]
    fn a_number_of_errors_is_reached_at_once_and_a_share_when_enough_have_ended() {
        for (max, failed, ended, reached) in [
            (MaxErrors::Count(1), 0, 1000, false),
            (MaxErrors::Count(1), 1, 1, true),
            (MaxErrors::Count(10), 9, 9, false),
            (MaxErrors::Count(10), 11, 1_000_000, true),
            (MaxErrors::Percent(50.0), 99, 99, false),
            (MaxErrors::Percent(50.0), 50, 100, true),
            (MaxErrors::Percent(50.0), 50, 101, false),
            (MaxErrors::Percent(0.7), 7, 1000, true),
            (MaxErrors::Percent(0.1), 0, 1000, false),
            (MaxErrors::Percent(100.0), 100, 100, true),
        ] {
            assert_eq!(max.is_reached(failed, ended), reached, "{max}: {failed} of {ended}");
        }
    }
}
