//! A gate for performance in Rust, for a project to put under its own `benches/` (with `harness = false`): measures a
//! server a few times and compares it with a baseline that the project commits. It is not for a first look at a
//! server; `ringtide run` is.
//!
//! ```sh
//! cargo run --release --example regression_gate -- --save   # writes the baseline, to be committed
//! cargo run --release --example regression_gate             # exits with 3 if the server has become slower
//! ```
//!
//! A baseline is of one machine: measure it where the gate runs. The verdict on each run says whether its figures are
//! the server's; on a machine that builds something else meanwhile, they may all be refused.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use ringtide_loadgen::compare::{self, Saved};
use ringtide_loadgen::decide::{Rules, Verdict};
use ringtide_loadgen::plan::{Mode, OpenLoop, Plan, Stop};
use ringtide_loadgen::progress::Display;
use ringtide_loadgen::report::{self, Style};
use ringtide_loadgen::result::RunResult;
use ringtide_loadgen::run::Run;
use ringtide_loadgen::serve::{ServeOptions, serve};

/// More repeats find smaller differences; it takes at least three.
const REPEATS: usize = 5;
/// How long each run measures.
const SECONDS: f64 = 2.0;
const RATE: f64 = 500.0;
/// Differences below this do not matter to this project.
const MIN_EFFECT: f64 = 0.10;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // A project takes a folder of its repository; this one may be thrown away.
    let folder = env::temp_dir().join("ringtide-baseline");
    gate(&folder, SECONDS, env::args().any(|word| word == "--save"))
}

/// Measures for so many seconds each time; saves the results as the baseline, or compares them with it.
fn gate(folder: &Path, seconds: f64, saves: bool) -> Result<ExitCode, Box<dyn Error>> {
    // The server under test. A project starts its own here.
    let server = serve(&ServeOptions { threads: 1, ..ServeOptions::default() })?;
    let url = format!("http://{}/", server.addresses()[0]);
    let results = measure(&url, seconds);
    server.shutdown();
    server.join();
    let results = results?;

    if saves {
        fs::create_dir_all(folder)?;
        for (index, result) in results.iter().enumerate() {
            fs::write(folder.join(format!("{index}.json")), serde_json::to_string_pretty(result)?)?;
        }
        println!("saved {} results in {}", results.len(), folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    let (base, new) = (Saved::read("base", &[folder.to_owned()])?, Saved::of("new", results));
    // p99, as the loop is open.
    let rules = Rules { metric: compare::metric_of(&base), min_effect: MIN_EFFECT, seed: 1 };
    let comparison = compare::compare(base, new, rules)?;
    print!("{}", report::comparison::render(&comparison, ["baseline", "now"], Style::PLAIN));
    Ok(if comparison.verdict == Verdict::Slower { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// The results of a few runs, one after the other.
fn measure(url: &str, seconds: f64) -> Result<Vec<RunResult>, Box<dyn Error>> {
    let mut plan = Plan::for_url(url)?;
    plan.connections = 8;
    // The server needs a core, too.
    plan.threads = 1;
    plan.mode = Mode::Open(OpenLoop::steady(RATE, plan.connections));
    plan.stop = Stop::Duration { ns: (seconds * 1e9) as u64 };
    plan.warmup_ns = (seconds * 1e9 / 10.0) as u64;
    let mut results = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let run = Run::new(plan.clone(), Display::Silent, None, |notice| eprintln!("{notice}"))?;
        results.push(run.execute()?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_saved_and_compared_with() {
        let folder = env::temp_dir().join(format!("ringtide-gate-{}", std::process::id()));
        gate(&folder, 0.25, true).expect("it measures and saves");
        assert_eq!(fs::read_dir(&folder).expect("saved").count(), REPEATS);
        match gate(&folder, 0.25, false) {
            // How it compares is up to the machine.
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains(" is valid, so the figures are not"), "{error}"),
        }
        fs::remove_dir_all(&folder).expect("removable");
    }
}
