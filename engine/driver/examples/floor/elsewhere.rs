//! The floor examples on a system without io_uring: they only print an error.

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    eprintln!("this example is a bare io_uring loop, and io_uring exists on Linux only");
    ExitCode::FAILURE
}
