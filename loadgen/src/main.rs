//! The `ringtide` command: reads the flags, calls the library, and ends with the exit code that scripts depend on.

use std::process::ExitCode;

use clap::Parser as _;
use ringtide_driver::allocator::CountingAllocator;
use ringtide_loadgen::cli::{Cli, Command};
use ringtide_loadgen::error::Error;
use ringtide_loadgen::exit::Exit;
use ringtide_loadgen::fd_limit;
use ringtide_loadgen::output::Sink;

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
        Ok(()) => {
            eprintln!("error: `ringtide {name}` is not built yet");
            Exit::CouldNotRun.into()
        }
        Err(error) => {
            eprintln!("error: {error}");
            if let Error::Usage(_) = error {
                eprintln!("\nFor more information, try 'ringtide {name} --help'.");
            }
            Exit::from(&error).into()
        }
    }
}

/// Everything that comes before the work.
fn execute(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(args) => {
            let (plan, output) = args.plan()?;
            fd_limit::ensure(plan.connections_max(), plan.threads)?;
            Sink::open(output.file.as_deref())?;
        }
        Command::Serve(args) => {
            args.plan()?;
        }
        Command::Targets(args) => {
            args.plan();
        }
    }
    Ok(())
}
