//! The `ringtide` command: reads the flags, calls the library, and ends with the exit code that scripts depend on.

use std::process::ExitCode;
use std::thread;

use clap::Parser as _;
use ringtide_driver::allocator::CountingAllocator;
use ringtide_loadgen::cli::{Cli, Command, Format, Output};
use ringtide_loadgen::error::Error;
use ringtide_loadgen::exit::Exit;
use ringtide_loadgen::fd_limit;
use ringtide_loadgen::output::Sink;
use ringtide_loadgen::plan::Plan;
use ringtide_loadgen::progress::Display;
use ringtide_loadgen::report;
use ringtide_loadgen::run::Run;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The heap figures of a report come from here.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn main() -> ExitCode {
    // Ends the process by itself for --help, --version (0) and for what it cannot read (2).
    let command = Cli::parse().command;
    let name = match &command {
        Command::Run(_) => "run",
        Command::Serve(_) => "serve",
        Command::Targets(_) => "targets",
    };
    match execute(command) {
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
            let (plan, output) = args.plan()?;
            run(plan, &output)
        }
        Command::Serve(_) | Command::Targets(_) => {
            eprintln!("error: not built yet");
            Ok(Exit::CouldNotRun)
        }
    }
}

fn run(plan: Plan, output: &Output) -> Result<Exit, Error> {
    // Before the work: a report that cannot be written shall not cost a run.
    let sink = Sink::open(output.file.as_deref())?;
    fd_limit::ensure(plan.connections_max(), plan.threads)?;
    let display = Display::choose(output.quiet, output.plain_progress);
    let run = Run::new(plan, display, Some(&ALLOCATOR), |notice| eprintln!("ringtide: {notice}"));
    let stopper = run.stopper();
    on_interrupt(move || stopper.stop())?;
    let result = run.execute()?;
    match output.format {
        Format::Text => {
            let colour = sink.colour();
            sink.write_text(&report::text::render(&result, colour))?;
        }
        Format::Json => sink.write_json(&result)?,
    }
    Ok(Exit::of_run(&result, output.require_valid))
}

/// Calls `stop` at the first SIGINT or SIGTERM; the second one ends the process as usual.
fn on_interrupt(stop: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
    thread::spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            stop();
        }
        if let Some(signal) = signals.next() {
            // Without the handler, as the user means it.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
    Ok(())
}
