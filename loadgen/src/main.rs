//! The `ringtide` command: reads the flags, calls the library, and ends with the exit code that scripts depend on.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use ringtide::Address;
use ringtide_driver::allocator::CountingAllocator;
use ringtide_loadgen::ab;
use ringtide_loadgen::cli::{
    AbPlan, Cli, Command, CompareCommand, FindPlan, Format, ManArgs, MergeArgs, Output, ReportArgs,
    RunCommand, ServePlan, TargetsPlan,
};
use ringtide_loadgen::compare::{self, Saved};
use ringtide_loadgen::completions;
use ringtide_loadgen::environment::worker_spin;
use ringtide_loadgen::error::{Error, UsageError};
use ringtide_loadgen::exit::Exit;
use ringtide_loadgen::fd_limit;
use ringtide_loadgen::find;
use ringtide_loadgen::live::{self, Live};
use ringtide_loadgen::manual;
use ringtide_loadgen::merge::{self, Part};
use ringtide_loadgen::output::{Outputs, Sink};
use ringtide_loadgen::plan::Plan;
use ringtide_loadgen::progress::Display;
use ringtide_loadgen::report::html::Named;
use ringtide_loadgen::report::{self, Style};
use ringtide_loadgen::result::{RunResult, read_saved};
use ringtide_loadgen::run::Run;
use ringtide_loadgen::runs::Runs;
use ringtide_loadgen::runs_progress::RunsProgress;
use ringtide_loadgen::serve::{self, ServeOptions};
use ringtide_loadgen::targets;
use ringtide_loadgen::tls;
use ringtide_loadgen::units::show_count;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Source of the heap figures in a report.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn main() -> ExitCode {
    let (name, outcome) = match Cli::read() {
        Ok(Cli { command }) => (command.name(), execute(command)),
        Err((name, error)) => (name, Err(error.into())),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error}");
            if let Error::Usage(_) = error {
                eprintln!("\nFor more information, try 'ringtide {name} --help'.");
            }
            Exit::from(&error).into()
        }
    }
}

fn execute(command: Command) -> Result<Exit, Error> {
    match command {
        Command::Run(args) => {
            let RunCommand { mut plan, body, output } = args.plan()?;
            body.load(&mut plan)?;
            run(plan, &output)
        }
        Command::Find(args) => {
            let (plan, output) = args.plan()?.load()?;
            find(&plan, &output)
        }
        Command::Ab(args) => {
            let (plan, output) = args.plan()?.load()?;
            ab(&plan, &output)
        }
        Command::Compare(args) => compare(&args.command()?),
        Command::Serve(args) => serve(&args.plan()?),
        Command::Merge(args) => merge(&args),
        Command::Report(args) => write_page(&args),
        Command::Targets(args) => targets(&args.plan()),
        Command::Completions(args) => print(&completions::script(args.shell)),
        Command::Man(args) => man(&args),
    }
}

fn run(plan: Plan, output: &Output) -> Result<Exit, Error> {
    fd_limit::ensure(plan.connections_max(), plan.threads)?;
    let is_live = !output.quiet && !output.plain_progress && live::is_possible();
    let display = if is_live { Display::Silent } else { display(output) };
    let mut run = Run::new(plan, display, Some(&ALLOCATOR), live::tell)?;
    // Before the run: a report that cannot be written must not waste it.
    let outputs = Outputs::open(output)?;
    outputs.attach(&mut run);
    let stopper = run.stopper();
    on_interrupt(move || stopper.stop())?;
    let live = if is_live { Some(Live::start(&mut run).map_err(Error::Thread)?) } else { None };
    let result = run.execute();
    // The report comes after the view.
    drop(live);
    let result = result?;
    let written = outputs.write(&result, |error| eprintln!("ringtide: {error}"));
    if output.file.is_some() || output.format != Format::Text {
        explain_exit(&result, output.require_valid);
    }
    written?;
    Ok(Exit::of_run(&result, output.require_valid))
}

fn merge(args: &MergeArgs) -> Result<Exit, Error> {
    let sink = Sink::open(args.output.as_deref())?;
    let mut parts = Vec::new();
    for path in &args.results {
        parts.push(Part { file: path.display().to_string(), result: read_saved(path)? });
    }
    let merged = merge::merge(&parts).map_err(|error| UsageError::NotOneTest(error.to_string()))?;
    let format = args.format.unwrap_or_default();
    sink.write_result(&merged, format)?;
    if args.output.is_some() || format != Format::Text {
        explain_exit(&merged, false);
    }
    Ok(Exit::of_run(&merged, false))
}

fn write_page(args: &ReportArgs) -> Result<Exit, Error> {
    args.check()?;
    let mut results = Vec::new();
    for path in &args.results {
        results.push(read_saved(path)?);
    }
    let titles = args.names();
    let named: Vec<Named<'_>> =
        titles.iter().zip(&results).map(|(name, result)| Named { name, result }).collect();
    let page = report::html::render(&named).map_err(|error| Error::SavedResult {
        path: args.results[error.index].clone(),
        problem: error.to_string(),
    })?;
    for (path, _) in args.results.iter().zip(&results).filter(|(_, result)| result.series.is_none()) {
        eprintln!(
            "ringtide: {} holds no `series`, so the page shows nothing of it over time",
            path.display()
        );
    }
    Sink::open(Some(&args.output))?.write_text(&page)?;
    Ok(Exit::Done)
}

fn ab(plan: &AbPlan, output: &Output) -> Result<Exit, Error> {
    fd_limit::ensure(plan.a.connections_max(), plan.a.threads)?;
    let sink = Sink::open(output.file.as_deref())?;
    let runs = stoppable_runs()?;
    let mut shown = RunsProgress::new(display(output), Duration::from_nanos(plan.duration_ns / 20));
    let compared = ab::measure(plan, &runs, |progress| {
        let excluded = match progress.excluded {
            0 => String::new(),
            excluded => format!(", {excluded} not valid"),
        };
        let text = format!("{:.0} %: {} pairs{excluded}", progress.share * 100.0, progress.pairs);
        shown.tell(Some(progress.share), &text);
    })?;
    drop(shown);
    let names = [plan.a.url.text.as_str(), plan.b.url.text.as_str()];
    show(sink, output.format, &compared, |style| report::comparison::render(&compared, names, style))?;
    Ok(Exit::of_comparison(&compared, output.require_valid))
}

fn find(plan: &FindPlan, output: &Output) -> Result<Exit, Error> {
    fd_limit::ensure(plan.probe.connections_max(), plan.probe.threads)?;
    let sink = Sink::open(output.file.as_deref())?;
    let runs = stoppable_runs()?;
    // A probe takes seconds, so each may have a line.
    let mut shown = RunsProgress::new(display(output), Duration::ZERO);
    let found = find::search(plan, &runs, |probe| {
        shown.tell(None, report::search::line(probe, Style::PLAIN).trim_start());
    })?;
    drop(shown);
    show(sink, output.format, &found, |style| report::search::render(&found, style))?;
    Ok(Exit::of_search(&found, output.require_valid))
}

fn compare(command: &CompareCommand) -> Result<Exit, Error> {
    let (base, new) = (Saved::read("base", &command.base)?, Saved::read("new", &command.new)?);
    let names = [&command.base, &command.new].map(|paths| {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    });
    let rules = command.rules(compare::metric_of(&base));
    let compared = compare::compare(base, new, rules)?;
    let sink = Sink::open(command.output.as_deref())?;
    let names = [names[0].as_str(), names[1].as_str()];
    show(sink, command.format, &compared, |style| report::comparison::render(&compared, names, style))?;
    Ok(Exit::of_comparison(&compared, false))
}

fn show(
    sink: Sink,
    format: Format,
    value: &impl Serialize,
    render: impl FnOnce(Style) -> String,
) -> Result<(), Error> {
    if format == Format::Json {
        sink.write_json(value)
    } else {
        let style = sink.style();
        sink.write_text(&render(style))
    }
}

fn display(output: &Output) -> Display {
    Display::choose(output.quiet, output.plain_progress)
}

/// Runs that an interrupt ends. Each notice is shown once.
fn stoppable_runs() -> Result<Runs, Error> {
    static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let runs = Runs::new(|notice| {
        if SHOWN.lock().is_ok_and(|mut shown| shown.insert(notice.to_owned())) {
            eprintln!("ringtide: {notice}");
        }
    });
    let stopper = runs.clone();
    on_interrupt(move || stopper.stop())?;
    Ok(runs)
}

/// Says on standard error why a run fails, as nobody may be looking at its report.
fn explain_exit(result: &RunResult, require_valid: bool) {
    if let Some(why) = report::text::ended_early(result) {
        eprintln!("ringtide: {why}");
    }
    for threshold in result.thresholds.iter().filter(|threshold| !threshold.met) {
        eprintln!("ringtide: {}", report::text::missed(result, threshold));
    }
    if require_valid {
        for reason in &result.verdict.reasons {
            eprintln!("ringtide: not valid: {reason}");
        }
    }
}

fn serve(plan: &ServePlan) -> Result<Exit, Error> {
    // As many clients as the system allows.
    let _ = fd_limit::raise_to_hard();
    let tls = if plan.tls {
        Some(tls::server(plan.cert.as_ref(), &certificate_names(&plan.address))?)
    } else {
        None
    };
    let server = serve::serve(&ServeOptions {
        addresses: vec![plan.address.clone()],
        threads: plan.threads,
        cores: plan.cpus.clone().unwrap_or_default(),
        driver: plan.driver.into(),
        spin: worker_spin(plan.spin, plan.threads),
        tls,
        burn: Duration::from_nanos(plan.burn_ns),
        seed: plan.seed,
    })?;
    if let Some(reason) = server.fallback_reason() {
        eprintln!("ringtide: {reason}");
    }
    let shutdown = server.shutdown_handle();
    // First, as whoever reads that it listens may stop it at once.
    on_interrupt(move || {
        shutdown.begin();
        true
    })?;
    let scheme = if plan.tls { "https" } else { "http" };
    for address in server.addresses() {
        match address {
            Address::Tcp(address) => println!("listening on {scheme}://{address}/"),
            Address::Unix(path) => println!("listening on unix:{}", path.display()),
        }
        if plan.tls && plan.cert.is_none() {
            let (to, url) = match address {
                Address::Tcp(address) => (String::new(), format!("https://{address}/")),
                Address::Unix(path) => {
                    (format!(" --unix {}", path.display()), "https://localhost/".to_owned())
                }
            };
            let curl_to = to.replace("--unix ", "--unix-socket ");
            eprintln!(
                "ringtide: the certificate is self-signed; use it with -k: ringtide run -k{to} {url}, curl -k{curl_to} {url}"
            );
        }
    }
    if plan.until_stdin_closes {
        let shutdown = server.shutdown_handle();
        let wait = move || {
            // An error ends it as well.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            shutdown.begin();
        };
        thread::Builder::new().name("stdin".to_owned()).spawn(wait).map_err(Error::Thread)?;
    }
    let handshakes = server.failed_handshakes();
    let requests = server.join();
    let (received, answered) = (show_count(requests.received), show_count(requests.answered));
    eprintln!("ringtide: {received} requests received, {answered} answered");
    if handshakes.count() > 0 {
        eprintln!("ringtide: {} TLS handshakes failed", show_count(handshakes.count()));
    }
    Ok(Exit::Done)
}

/// The names of a self-signed certificate.
fn certificate_names(address: &Address) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Address::Tcp(address) = address {
        let name = address.ip().to_string();
        if !address.ip().is_unspecified() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn targets(plan: &TargetsPlan) -> Result<Exit, Error> {
    let sink = Sink::open(None)?;
    fd_limit::ensure(targets::connections_max(), 1)?;
    let quiet = plan.quiet || !io::stderr().is_terminal();
    let measured = targets::measure(
        plan,
        &ALLOCATOR,
        |notice| eprintln!("ringtide: {notice}"),
        |what| {
            if !quiet {
                eprintln!("measuring {what} …");
            }
        },
    )?;
    match plan.format {
        Format::Text => {
            let style = sink.style();
            sink.write_text(&measured.render(style))?;
        }
        Format::Json | Format::Csv => sink.write_json(&measured)?,
    }
    Ok(if measured.all_met() { Exit::Done } else { Exit::ThresholdMissed })
}

fn man(args: &ManArgs) -> Result<Exit, Error> {
    if let Some(dir) = &args.dir {
        manual::write_all(dir)?;
        return Ok(Exit::Done);
    }
    print(&manual::page(args.command.as_deref())?)
}

fn print(text: &str) -> Result<Exit, Error> {
    Sink::open(None)?.write_text(text)?;
    Ok(Exit::Done)
}

/// Calls `stop` at the first SIGINT or SIGTERM. The second one ends the process as usual, and so does the first if
/// `stop` finds nothing left to stop.
fn on_interrupt(stop: impl FnOnce() -> bool + Send + 'static) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
    let wait = move || {
        let mut signals = signals.forever();
        let Some(first) = signals.next() else { return };
        let last = if stop() { signals.next() } else { Some(first) };
        if let Some(signal) = last {
            live::restore();
            // The default action, as the user wants it to end.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(Error::Thread)?;
    Ok(())
}
