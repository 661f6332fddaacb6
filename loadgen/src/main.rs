//! The `ringtide` command.
fn main() {}
