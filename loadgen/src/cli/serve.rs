//! `ringtide serve`: its flags, and the plan that they make.

use clap::Args;
use ringtide_driver::Address;

use super::parse::{self, CpuList};
use crate::error::UsageError;
use crate::plan::{DriverChoice, available_cores};
use crate::units::parse_positive_time_ns;

/// The flags of `serve`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Paths: / (12 bytes) · /bytes/N · /delay/MS · /status/CODE · /echo · /headers ·\n       /stream/N (chunked) · /flaky?p=0.1\n       (that share of the requests gets a 500, a closed connection, or no answer)"
)]
pub struct ServeArgs {
    /// ADDRESS:PORT (0 takes a free port) or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub addr: Address,
    /// Worker threads [default: cores available]
    #[arg(short, long, value_name = "N", value_parser = parse::count)]
    pub threads: Option<usize>,
    /// Pin the workers to these cores, one each: 0-3,6
    #[arg(long, value_name = "LIST", value_parser = parse::cpus)]
    pub cpus: Option<CpuList>,
    /// Spin this long for each request, as a server that computes
    #[arg(long, value_name = "T", value_parser = parse_positive_time_ns)]
    pub burn: Option<u64>,
    /// What moves the bytes
    #[arg(
        long,
        value_enum,
        value_name = "DRIVER",
        help = "What moves the bytes: auto, io_uring or fallback",
        default_value_t,
        hide_possible_values = true
    )]
    pub driver: DriverChoice,
    /// The choices of /flaky follow from it
    #[arg(long, value_name = "N", value_parser = parse::seed, default_value_t = 0)]
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
    /// How long to spin for each request. 0: not at all.
    pub burn_ns: u64,
    /// Which driver moves the bytes.
    pub driver: DriverChoice,
    /// What the choices of `/flaky` follow from.
    pub seed: u64,
    /// Whether the end of standard input ends the server.
    pub until_stdin_closes: bool,
}

impl ServeArgs {
    /// The plan.
    ///
    /// # Errors
    /// When there are more threads than cores to pin them to.
    pub fn plan(self) -> Result<ServePlan, UsageError> {
        let cpus = self.cpus.map(|cpus| cpus.0);
        let cores = cpus.as_ref().map_or_else(available_cores, Vec::len);
        let threads = self.threads.unwrap_or(cores);
        if cpus.is_some() && threads > cores {
            return Err(UsageError::Contradiction {
                first: format!("--threads (-t) {threads}"),
                second: format!("--cpus with {cores} cores"),
                why: "each worker thread is pinned to a core of its own".to_owned(),
            });
        }
        Ok(ServePlan {
            address: self.addr,
            threads,
            cpus,
            burn_ns: self.burn.unwrap_or(0),
            driver: self.driver,
            seed: self.seed,
            until_stdin_closes: self.until_stdin_closes,
        })
    }
}
