//! `ringtide run`: the plan that its flags make.

use std::path::PathBuf;

use http::Method;
use ringtide::PreparedRequest;

use super::contradictions::{check_flags, check_http, check_numbers, check_resolve, check_tls};
use super::flags::RunArgs;
use super::format::Format;
use super::parse::{RateArg, StageList};
use crate::error::UsageError;
use crate::input::BodySource;
use crate::plan::{
    CONNECTIONS_DEFAULT, ClientCert, Connect, DURATION_DEFAULT_NS, Header, HttpVersion, Mode, OpenLoop, Plan,
    Proxy, Replayed, Stage, Stop, available_cores,
};
use crate::replay::{self, Replay};
use crate::scenario;
use crate::urls;

/// The command line, checked as far as possible without touching other files or the network.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCommand {
    /// What to do. The body is still empty: `body` says where to read it.
    pub plan: Plan,
    /// Where to find the body.
    pub body: BodySource,
    /// What to do with the result.
    pub output: Output,
}

/// Files that are written beside the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// A JSON line per second.
    pub timeseries: Option<PathBuf>,
    /// An interval log of HdrHistogram.
    pub hdr: Option<PathBuf>,
    /// Markdown.
    pub summary: Option<PathBuf>,
    /// JUnit XML.
    pub junit: Option<PathBuf>,
    /// OpenMetrics.
    pub openmetrics: Option<PathBuf>,
    /// A page for a browser.
    pub html: Option<PathBuf>,
}

/// What to do with the result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// A file, or standard output.
    pub file: Option<PathBuf>,
    /// The format of the report.
    pub format: Format,
    /// What else to write.
    pub files: Files,
    /// Whether to show no progress.
    pub quiet: bool,
    /// Whether to show plain lines instead of a bar.
    pub plain_progress: bool,
    /// Whether an invalid measurement fails the command.
    pub require_valid: bool,
}

impl RunArgs {
    /// The plan, and what to do with its result. Reads the file that names the requests, if there is one.
    ///
    /// # Errors
    /// When a flag cannot be carried out; the message names it. When something in the file is not right; the message names
    /// the line.
    pub fn plan(mut self) -> Result<RunCommand, UsageError> {
        check_flags(&self)?;
        let mut plan = self.requests()?;
        let mut replayed = Vec::new();
        if let Some(path) = &self.replay {
            let Replay { requests, arrivals } = replay::read(path)?;
            (plan.requests, replayed) = (requests, arrivals);
        }
        let count = if replayed.is_empty() { self.requests } else { Some(replayed.len() as u64) };
        check_tls(&self, plan.url.is_https)?;
        check_http(&self, plan.url.is_https)?;
        plan.connections = match (self.connections, count) {
            (Some(connections), _) => connections,
            // More connections than requests would be useless.
            (None, Some(requests)) => {
                CONNECTIONS_DEFAULT.min(usize::try_from(requests).unwrap_or(CONNECTIONS_DEFAULT))
            }
            (None, None) => CONNECTIONS_DEFAULT,
        };
        let cores = self.cpus.as_ref().map_or_else(available_cores, |cpus| cpus.0.len());
        plan.threads = self.threads.unwrap_or(cores.min(plan.connections));
        check_numbers(&self, plan.connections, plan.threads)?;
        plan.cpus = self.cpus.take().map(|cpus| cpus.0);
        plan.stop = match (count, self.duration) {
            (Some(count), within_ns) => Stop::Requests { count, within_ns },
            (None, duration) => Stop::Duration { ns: duration.unwrap_or(DURATION_DEFAULT_NS) },
        };
        self.fill_schedule(&mut plan, replayed);
        plan.max_errors = self.max_errors;
        plan.warmup_ns = self.warmup.unwrap_or(plan.warmup_ns);
        plan.drain_ns = self.drain.unwrap_or(plan.drain_ns);
        plan.parallel = self.parallel.unwrap_or(plan.parallel);
        plan.keepalive = !self.no_keepalive;
        plan.timeout_ns = self.timeout.unwrap_or(plan.timeout_ns);
        plan.connect_timeout_ns = self.connect_timeout.unwrap_or(plan.connect_timeout_ns);
        if let Some((host, port)) = self.connect_to.take() {
            plan.connect = Connect::Tcp { host, port };
        }
        if let Some(path) = self.unix.take() {
            plan.connect = Connect::Unix { path };
        }
        plan.spin = self.spin.unwrap_or_default();
        plan.resolve = std::mem::take(&mut self.resolve);
        plan.proxy = match self.proxy.as_deref().map(Proxy::parse) {
            None => None,
            Some(Ok(proxy)) => Some(proxy),
            Some(Err(problem)) => return Err(UsageError::Value { flag: "--proxy", problem }),
        };
        check_resolve(&plan)?;
        plan.bind = self.bind.take().map(|list| list.0).unwrap_or_default();
        self.fill_http(&mut plan);
        self.fill_requests(&mut plan);
        check_headers(&plan)?;
        plan.driver = self.driver.unwrap_or_default();
        // Short enough to be typed again, and exact in every reader of JSON.
        plan.seed = self.seed.unwrap_or_else(|| u64::from(fastrand::u32(1..)));
        plan.thresholds = self.thresholds;
        check_thresholds(&plan)?;
        let output = Output {
            file: self.output,
            format: self.format.unwrap_or_default(),
            files: Files {
                timeseries: self.timeseries,
                hdr: self.hdr,
                summary: self.summary,
                junit: self.junit,
                openmetrics: self.openmetrics,
                html: self.html,
            },
            quiet: self.quiet,
            plain_progress: self.no_tui,
            require_valid: self.require_valid,
        };
        let body = self.body.unwrap_or_else(|| BodySource::Text(String::new()));
        Ok(RunCommand { plan, body, output })
    }

    /// When requests are due, if that is not up to the server.
    fn fill_schedule(&mut self, plan: &mut Plan, replayed: Vec<Replayed>) {
        let stages = match (self.stages.take(), self.rate.take()) {
            (Some(StageList(stages)), _) => stages,
            (None, Some(RateArg { start, end })) => {
                let is_ramp = start.to_bits() != end.to_bits();
                let duration_ns = plan.stop.duration_ns().filter(|_| is_ramp);
                vec![Stage { duration_ns, rate_start: start, rate_end: end }]
            }
            (None, None) => Vec::new(),
        };
        if !stages.is_empty() || !replayed.is_empty() {
            let open = OpenLoop {
                stages,
                replay: replayed,
                arrival: self.arrival.unwrap_or_default(),
                max_connections: self.max_connections.unwrap_or(plan.connections),
            };
            if let (Stop::Duration { ns }, Some(all_ns)) = (&mut plan.stop, open.duration_ns()) {
                *ns = all_ns;
            }
            plan.mode = Mode::Open(open);
        }
    }

    /// How HTTP and TLS are spoken.
    fn fill_http(&mut self, plan: &mut Plan) {
        plan.tls.insecure = self.insecure;
        plan.tls.cacert = self.cacert.take();
        plan.tls.cert = self.cert.take().zip(self.key.take()).map(|(cert, key)| ClientCert { cert, key });
        plan.tls.sni = self.sni.take();
        plan.http.version = match (self.http1, self.http2) {
            (true, _) => HttpVersion::Http1,
            (_, true) => HttpVersion::Http2,
            _ => HttpVersion::ByAlpn,
        };
        plan.http.h2_window = self.h2_window;
        plan.http.h2_header_table_size = self.h2_header_table_size.unwrap_or(plan.http.h2_header_table_size);
        plan.tls.alpn = self.alpn.take().map_or_else(|| plan.http.version.alpn(), |list| list.0);
        plan.tls.resumption = self.tls_resumption.unwrap_or(plan.tls.resumption);
        plan.tls.min_version = self.tls_min.unwrap_or(plan.tls.min_version);
        plan.tls.max_version = self.tls_max.unwrap_or(plan.tls.max_version);
        plan.tls.groups = self.tls_groups.take().map(|list| list.0).unwrap_or_default();
        plan.tls.ciphers = self.ciphers.take().map(|list| list.0).unwrap_or_default();
        plan.tls.keylog = self.keylog.take();
    }

    /// What the flags say of each request.
    fn fill_requests(&self, plan: &mut Plan) {
        let flags_make_it = plan.scenario.is_none();
        for request in plan.requests.iter_mut().filter(|_| flags_make_it) {
            if self.replay.is_none() {
                request.method = self.method.clone().unwrap_or_else(|| "GET".to_owned());
            }
            // A replayed request has fields of its own, which replace those of the flags.
            let own = std::mem::take(&mut request.headers);
            let is_replaced = |name: &str| own.iter().any(|header| header.name.eq_ignore_ascii_case(name));
            let others = self.headers.iter().filter(|header| !is_replaced(&header.name)).cloned();
            request.headers = others.collect();
            request.headers.extend(own);
            request.expect.clone_from(&self.expect);
        }
    }

    /// A plan with the URL, or with those of a file.
    fn requests(&self) -> Result<Plan, UsageError> {
        if let Some(path) = &self.scenario {
            for (given, second) in [
                (self.urls.is_some(), "--urls"),
                (self.method.is_some(), "--method (-m, -X)"),
                (self.body.is_some(), "--body (-b)"),
                (self.expect.is_some(), "--expect"),
            ] {
                if given {
                    return Err(UsageError::Contradiction {
                        first: "--scenario".to_owned(),
                        second: second.to_owned(),
                        why: "the file says what is sent; write it there, for each step".to_owned(),
                    });
                }
            }
            return scenario::read(path, self.url.as_deref(), &self.headers);
        }
        match (&self.url, &self.urls) {
            (Some(_), Some(_)) => Err(UsageError::Contradiction {
                first: "a URL".to_owned(),
                second: "--urls".to_owned(),
                why: "the file has all URLs; add this one to it".to_owned(),
            }),
            (_, Some(path)) => urls::read(path),
            (url, None) => Ok(Plan::for_url(url.as_deref().unwrap_or_default())?),
        }
    }
}

/// Each threshold for a name is for one of the plan's.
fn check_thresholds(plan: &Plan) -> Result<(), UsageError> {
    let names = plan.names();
    for threshold in &plan.thresholds {
        let Some(step) = threshold.step().filter(|step| !names.contains(step)) else { continue };
        let problem = match names.as_slice() {
            [] => format!(
                "in `{threshold}`, `{step}` names a request, and the requests of this run have no names; leave out `{step}:`"
            ),
            names => {
                format!("in `{threshold}`, no request is named `{step}`; there are {}", names.join(", "))
            }
        };
        return Err(UsageError::Value { flag: "--threshold", problem });
    }
    Ok(())
}

/// Checks the headers against the rest of the plan, except its body.
fn check_headers(plan: &Plan) -> Result<(), UsageError> {
    let mut hosts = 0;
    // The flags give all requests the same.
    for header in plan.requests.first().into_iter().flat_map(|request| &request.headers) {
        let asks_to_close =
            || header.value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        if !plan.keepalive && header.name.eq_ignore_ascii_case("connection") && !asks_to_close() {
            return Err(UsageError::Contradiction {
                first: "--no-keepalive".to_owned(),
                second: format!("--header (-H) 'Connection: {}'", header.value),
                why: "a connection for one request must say `close` (RFC 9112 §9.6)".to_owned(),
            });
        }
        if plan.http.version == HttpVersion::Http2 && is_for_one_connection(header) {
            return Err(UsageError::Contradiction {
                first: "--http2".to_owned(),
                second: format!("--header (-H) '{}: {}'", header.name, header.value),
                why: "HTTP/2 has no fields for one connection (RFC 9113 §8.2.2)".to_owned(),
            });
        }
        if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            let field = (header.name.as_bytes(), header.value.as_bytes());
            if PreparedRequest::from_parts(&Method::GET, "/", [field].into_iter(), Vec::new()).is_err() {
                let problem = format!("`{}` is not a valid Host; write HOST or HOST:PORT", header.value);
                return Err(UsageError::Value { flag: "--header (-H)", problem });
            }
        }
    }
    if hosts > 1 {
        let problem = "Host is given twice; a request has only one (RFC 9112 §3.2)".to_owned();
        return Err(UsageError::Value { flag: "--header (-H)", problem });
    }
    Ok(())
}

/// Whether HTTP/2 forbids this field (RFC 9113 §8.2.2). A Transfer-Encoding is refused in any version.
fn is_for_one_connection(header: &Header) -> bool {
    let forbidden = ["connection", "keep-alive", "proxy-connection", "upgrade"];
    match header.name.to_ascii_lowercase().as_str() {
        "te" => !header.value.eq_ignore_ascii_case("trailers"),
        name => forbidden.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::plan::{Arrival, Spin};

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
        let flags = ["-R", "10:1k", "--arrival", "poisson", "--max-connections", "100"];
        let plan = plan(&flags);
        assert_eq!(
            plan.mode,
            Mode::Open(OpenLoop {
                stages: vec![Stage { duration_ns: Some(10_000_000_000), rate_start: 10.0, rate_end: 1000.0 }],
                replay: Vec::new(),
                arrival: Arrival::Poisson,
                max_connections: 100
            })
        );
        assert_eq!(plan.connections_max(), 100);
    }

    #[test]
    fn both_kinds_of_loop_may_spin() {
        assert_eq!(plan(&[]).spin, Spin::Auto);
        assert_eq!(plan(&["--spin", "off"]).spin, Spin::Off);
        assert_eq!(plan(&["-R", "10", "--spin", "50us"]).spin, Spin::For { ns: 50_000 });
    }

    #[test]
    fn stages_decide_how_long_a_run_takes() {
        let staged = plan(&["--stages", "3s@5,2s@5:9"]);
        assert_eq!(staged.stop, Stop::Duration { ns: 5_000_000_000 });
        assert_eq!(staged.open_loop().map(|open| open.stages.len()), Some(2));
        // One stage is the same as a rate.
        let ramp = plan(&["-R", "5:9", "-d", "2s", "--seed", "1"]);
        assert_eq!(ramp, plan(&["--stages", "2s@5:9", "--seed", "1"]));
        for (flags, says) in [
            (&["-R", "5"][..], "--stages does not go with --rate (-R)"),
            (&["-d", "5s"], "--stages does not go with --duration (-d): the run takes as long as its stages"),
            (&["-n", "5"], "--stages does not go with --requests (-n)"),
        ] {
            let error = command(&[&["--stages", "1s@5"], flags].concat()).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_version_decides_what_is_offered() {
        for (flags, version, offered) in [
            (&[][..], HttpVersion::ByAlpn, &["h2", "http/1.1"][..]),
            (&["--http1"], HttpVersion::Http1, &["http/1.1"]),
            (&["--http2"], HttpVersion::Http2, &["h2"]),
        ] {
            let plan = plan(flags);
            assert_eq!(plan.http.version, version);
            assert_eq!(plan.tls.alpn, offered);
        }
        assert!(!plan(&[]).may_speak_http2(), "with http:// only if it is asked for");
        let http2 = plan(&["--http2", "--h2-window", "1MiB", "--h2-header-table-size", "0"]);
        assert!(http2.may_speak_http2());
        assert_eq!((http2.http.h2_window, http2.http.h2_header_table_size), (Some(1 << 20), 0));
        assert_eq!(plan(&["--http2"]).http.h2_header_table_size, 4096);
    }

    #[test]
    fn no_file_is_read_for_the_plan() {
        let command = command(&["-b", "@/nonexistent/body.json"]).expect("nothing is wrong with the flags");
        assert_eq!(command.body, BodySource::File("/nonexistent/body.json".into()));
        assert!(command.plan.requests[0].body.is_empty());
    }

    #[test]
    fn a_host_must_be_one() {
        for host in ["a b", "user@h", "h/x"] {
            let error = command(&["-H", &format!("host: {host}")]).expect_err(host).to_string();
            assert_eq!(
                error,
                format!("--header (-H): `{host}` is not a valid Host; write HOST or HOST:PORT")
            );
        }
        for host in ["h", "h:80", "[::1]:80", ""] {
            command(&["-H", &format!("Host: {host}")]).expect(host);
        }
    }

    #[test]
    fn one_host_is_enough() {
        let error = command(&["-H", "Host: a", "-H", "host: b"]).expect_err("two hosts").to_string();
        assert!(error.contains("Host is given twice"), "{error}");
    }
}
