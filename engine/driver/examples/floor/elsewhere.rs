//! What the two floor examples are on a system without io_uring: a sentence that says so.

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    eprintln!("this example is a bare io_uring loop, and io_uring exists on Linux only");
    ExitCode::FAILURE
}
