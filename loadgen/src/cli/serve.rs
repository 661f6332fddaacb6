//! `ringtide serve`: its flags, and the plan that they make.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use ringtide_driver::Address;

use super::contradictions::check_cert;
use super::parse::{self, CpuList};
use crate::error::UsageError;
use crate::plan::{ClientCert, DriverChoice, Spin, available_cores};
use crate::units::parse_positive_time_ns;

/// What `serve --help` says after the flags.
const AFTER_HELP: &str = "Paths:
  /              12 bytes: hello world
  /bytes/N       N bytes
  /stream/N      N chunks of 12 bytes
  /delay/MS      a response after MS milliseconds
  /status/CODE   a response with that status
  /echo          the body of the request
  /headers       the headers of the request
  /id            a new number as JSON, and in Location; status 201
  /cookie/N/V    like /, and sets the cookie N to V
  /redirect/N    N redirects, then /
  /flaky?p=0.1   like /, but one request in ten fails: status 500, connection
                 closed, or no response

On port 0 it picks a free port and prints it. Clients that close their sending
half get only responses that begin within 1 s.

Times: 50us, 2ms, 1s (ns, us, ms, s, m, h); without a unit, seconds.

It speaks HTTP/1.1 and HTTP/2 on the same port: with --tls as the client and it
agree (ALPN), else as the client begins.

With --spin auto, a thread waits for the next request without sleeping, as long
as requests come within 200 us, where the threads leave a core of the machine
free. It then answers sooner by a wake-up, and uses its whole core.

With --tls alone, the certificate is a new one for localhost, signed by itself:
clients accept it with -k.

Examples:
  ringtide serve --addr 127.0.0.1:8080 -t 1 --cpus 1
  ringtide serve --addr 127.0.0.1:8443 --tls

Ctrl-C stops it; requests in flight have 1 s to end.";

/// The flags of `serve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ServeArgs {
    /// Address: IP:PORT or unix:PATH [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", hide_default_value = true)]
    pub addr: Address,
    /// Worker threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = parse::count)]
    pub threads: Option<usize>,
    /// Pin each worker to one of these cores: 0-3,6
    #[arg(long, value_name = "LIST", value_parser = parse::cpus)]
    pub cpus: Option<CpuList>,
    /// Speak TLS
    #[arg(long)]
    pub tls: bool,
    /// Certificate and chain (PEM) [default: self-signed]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Keep the core busy this long for each request
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns)]
    pub burn: Option<u64>,
    /// Spin, not sleep: auto, off or T [default: off]
    #[arg(long, value_name = "WHEN", value_parser = parse::spin)]
    pub spin: Option<Spin>,
    /// I/O driver: auto, io_uring, fallback [default: auto]
    // In `help`, as clippy would have marks around the name.
    #[arg(long, value_name = "DRIVER", value_parser = parse::driver, help = "I/O driver: auto, io_uring, fallback [default: auto]")]
    pub driver: Option<DriverChoice>,
    /// Seed of the choices of /flaky [default: 0]
    #[arg(long, value_name = "N", value_parser = parse::seed, default_value_t = 0, hide_default_value = true)]
    pub seed: u64,
    /// End when standard input ends, as a child process does
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// How to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServePlan {
    /// Where to listen.
    pub address: Address,
    /// Worker threads. At least 1.
    pub threads: usize,
    /// Cores for the workers, one each, at least as many as `threads`; `None` leaves them to the scheduler.
    pub cpus: Option<Vec<usize>>,
    /// Whether to speak TLS,
    pub tls: bool,
    /// and with which certificate; `None` for a self-signed one.
    pub cert: Option<ClientCert>,
    /// How long to keep the core busy for each request. 0: not at all.
    pub burn_ns: u64,
    /// How a worker waits for the next request of a client that was just answered.
    pub spin: Spin,
    /// Which driver moves the bytes.
    pub driver: DriverChoice,
    /// The seed of the choices of `/flaky`.
    pub seed: u64,
    /// Whether the end of standard input ends the server.
    pub until_stdin_closes: bool,
}

impl ServeArgs {
    /// The plan.
    ///
    /// # Errors
    /// When flags contradict each other: more threads than cores to pin them to, or a certificate without TLS or key.
    pub fn plan(self) -> Result<ServePlan, UsageError> {
        let cpus = self.cpus.map(|cpus| cpus.0);
        let cores = cpus.as_ref().map_or_else(available_cores, Vec::len);
        let threads = self.threads.unwrap_or(cores);
        if cpus.is_some() && threads > cores {
            return Err(UsageError::Contradiction {
                first: format!("--threads (-t) {threads}"),
                second: format!("--cpus with {cores} core{}", if cores == 1 { "" } else { "s" }),
                why: "each thread is pinned to a core of its own".to_owned(),
            });
        }
        check_cert(self.cert.is_some(), self.key.is_some())?;
        if self.cert.is_some() && !self.tls {
            let why = "without it, the server speaks plain HTTP";
            return Err(UsageError::Needs { flag: "--cert", missing: "--tls", why });
        }
        Ok(ServePlan {
            address: self.addr,
            threads,
            cpus,
            tls: self.tls,
            cert: self.cert.zip(self.key).map(|(cert, key)| ClientCert { cert, key }),
            burn_ns: self.burn.unwrap_or(0),
            spin: self.spin.unwrap_or(Spin::Off),
            driver: self.driver.unwrap_or_default(),
            seed: self.seed,
            until_stdin_closes: self.until_stdin_closes,
        })
    }
}
