//! `ringtide targets`: checks on this machine that the engine meets its performance targets.
//!
//! The server is a child process (this program as `ringtide serve`), so its memory and descriptors do not count. An
//! ordinary run measures each target, with flags that a user could type.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use ringtide_driver::allocator::CountingAllocator;

use crate::cli::TargetsPlan;
use crate::error::Error;
use crate::plan::{DriverChoice, Plan, Stop};
use crate::progress::Display;
use crate::report::targets::{
    CONNECT_P50, CONNECTIONS_PER_SECOND, HEAP_PER_CONNECTION, HEAP_PER_REQUEST, LATENCY_P99,
    REQUESTS_PER_SECOND, THROUGHPUT, Target, Targets,
};
use crate::result::RunResult;
use crate::run::Run;

/// Connections of the ordinary measurement.
const CONNECTIONS: usize = 64;
/// Connections that are open while the memory of one is measured.
const CONNECTIONS_MANY: usize = 10_000;
/// Connections that fetch large bodies.
const CONNECTIONS_LARGE: usize = 4;
/// The size of a large body.
const BODY_SIZE: usize = 1024 * 1024;

/// Measures all targets. `heap` is the program's global allocator, the source of the memory figures.
///
/// # Errors
/// When the server cannot be started or a run fails. The server has ended.
pub fn measure(
    plan: &TargetsPlan,
    heap: &'static CountingAllocator,
    notice: fn(&str),
    progress: impl Fn(&str),
) -> Result<Targets, Error> {
    let server = Server::start(plan.driver)?;
    let run = |what: &str, path: &str, change: &dyn Fn(&mut Plan)| -> Result<RunResult, Error> {
        progress(what);
        let mut run = Plan::for_url(&format!("http://{}{path}", server.address))
            .map_err(|error| Error::Server(error.to_string()))?;
        run.connections = CONNECTIONS;
        // The server has the other cores.
        run.threads = 1;
        run.driver = plan.driver;
        run.stop = Stop::Duration { ns: plan.duration_ns };
        run.warmup_ns = plan.duration_ns / 10;
        change(&mut run);
        Run::new(run, Display::Silent, Some(heap), notice)?.execute()
    };

    let busy = run("requests, 64 connections", "/", &|_| ())?;
    let large = run("bodies of 1 MiB, 4 connections", &format!("/bytes/{BODY_SIZE}"), &|plan| {
        plan.connections = CONNECTIONS_LARGE;
    })?;
    let many = run("10,000 connections", "/", &|plan| plan.connections = CONNECTIONS_MANY)?;
    let single = run("connects, one at a time", "/", &|plan| {
        plan.connections = 1;
        plan.keepalive = false;
    })?;
    let fresh = run("connects, 64 at a time", "/", &|plan| plan.keepalive = false)?;

    let bytes = |value: Option<u64>| value.map_or(f64::NAN, |bytes| bytes as f64);
    // A run without answers has measured nothing.
    let answered =
        |result: &RunResult, value: f64| if result.requests.completed > 0 { value } else { f64::NAN };
    let ms = |time_us: Option<f64>| time_us.map_or(f64::NAN, |time_us| time_us / 1e3);
    let targets: Vec<Target> = vec![
        REQUESTS_PER_SECOND.judge(busy.requests_per_second),
        LATENCY_P99.judge(ms(busy.latency_us.response.p99)),
        THROUGHPUT.judge(large.requests_per_second * BODY_SIZE as f64 / 1e6),
        HEAP_PER_REQUEST.judge(answered(&busy, bytes(busy.generator.heap_bytes_per_request))),
        HEAP_PER_CONNECTION.judge(answered(&many, bytes(many.generator.heap_bytes_per_connection))),
        CONNECT_P50.judge(answered(&single, ms(single.phases_us.connect.p50))),
        CONNECTIONS_PER_SECOND.judge(fresh.requests_per_second),
    ];
    drop(server);
    Ok(Targets { targets })
}

/// The most descriptors that the generator needs.
pub fn connections_max() -> usize {
    CONNECTIONS_MANY
}

/// The server in its own process. Dropping it ends it.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(driver: DriverChoice) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Server(error.to_string());
        let driver = match driver {
            DriverChoice::Auto => "auto",
            DriverChoice::IoUring => "io_uring",
            DriverChoice::Fallback => "fallback",
        };
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .args([
                "serve",
                "--addr",
                "127.0.0.1:0",
                "--threads",
                "1",
                "--driver",
                driver,
                "--until-stdin-closes",
            ])
            // Closes when this process ends, even by a crash, and so ends the server.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut server = Self { child, address: String::new() };
        let stdout =
            server.child.stdout.take().ok_or_else(|| Error::Server("it has no output".to_owned()))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        server.address = line
            .trim()
            .rsplit_once("http://")
            .map(|(_, address)| address.trim_end_matches('/').to_owned())
            .ok_or_else(|| Error::Server(format!("it said {line:?} instead of its address")))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that needs a graceful end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
