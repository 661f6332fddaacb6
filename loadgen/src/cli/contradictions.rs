//! Which flags of `run` cannot stand together, and why.

use super::run::RunArgs;
use crate::error::UsageError;

fn contradiction(
    first: impl Into<String>,
    second: impl Into<String>,
    why: impl Into<String>,
) -> Result<(), UsageError> {
    Err(UsageError::Contradiction { first: first.into(), second: second.into(), why: why.into() })
}

impl RunArgs {
    /// Contradictions that show without any default.
    pub(super) fn check_contradictions(&self) -> Result<(), UsageError> {
        if self.requests.is_some() && self.duration.is_some() {
            return contradiction(
                "--requests (-n)",
                "--duration (-d)",
                "a run ends after a number of requests or after a time",
            );
        }
        if self.unix.is_some() && self.connect_to.is_some() {
            return contradiction("--unix", "--connect-to", "a connection goes to one place");
        }
        if self.no_keepalive && self.parallel.is_some_and(|parallel| parallel > 1) {
            return contradiction(
                "--no-keepalive",
                "--parallel (-p) above 1",
                "a connection that serves one request has one in flight",
            );
        }
        if self.quiet && self.no_tui {
            return contradiction("--quiet", "--no-tui", "progress is shown as lines or not at all");
        }
        if let Some(rate) = &self.rate
            && self.requests.is_some()
            && rate.start.to_bits() != rate.end.to_bits()
        {
            return contradiction(
                format!("--rate (-R) {}:{}", rate.start, rate.end),
                "--requests (-n)",
                "a ramp needs the time that it takes; give --duration (-d)",
            );
        }
        if self.rate.is_none() {
            for (given, flag, why) in [
                (
                    self.arrival.is_some(),
                    "--arrival",
                    "in a closed loop the server's answers space the requests",
                ),
                (self.spin.is_some(), "--spin", "a closed loop has no scheduled sends to wait for"),
                (
                    self.max_connections.is_some(),
                    "--max-connections",
                    "a closed loop never needs more than --connections (-c)",
                ),
            ] {
                if given {
                    return Err(UsageError::Needs { flag, missing: "--rate (-R)", why });
                }
            }
        }
        Ok(())
    }

    /// Contradictions between numbers, defaults included.
    pub(super) fn check_numbers(&self, connections: usize, threads: usize) -> Result<(), UsageError> {
        if threads > connections {
            return contradiction(
                format!("--threads (-t) {threads}"),
                format!("--connections (-c) {connections}"),
                "each worker thread drives at least one connection",
            );
        }
        if let Some(cpus) = &self.cpus
            && threads > cpus.0.len()
        {
            return contradiction(
                format!("--threads (-t) {threads}"),
                format!("--cpus with {} core{}", cpus.0.len(), if cpus.0.len() == 1 { "" } else { "s" }),
                "each worker thread is pinned to a core of its own",
            );
        }
        if let Some(most) = self.max_connections
            && most < connections
        {
            return contradiction(
                format!("--max-connections {most}"),
                format!("--connections (-c) {connections}"),
                "the most cannot be fewer than those that are open from the start",
            );
        }
        Ok(())
    }
}
