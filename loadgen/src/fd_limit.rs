//! The limit on open descriptors: raised as far as a plan needs, or refused before anything has started.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringtide::limits::CLOSE_AFTER_PEER_MAX;

/// Descriptors of the process itself: standard streams, report, progress, name resolution, and room for libraries.
const PROCESS_DESCRIPTORS: u64 = 32;
/// Descriptors of one worker: ring or epoll, event descriptor, clock and scheduler facts, and room; and connections that
/// are done with and wait for their peers to close them.
const WORKER_DESCRIPTORS: u64 = 8 + CLOSE_AFTER_PEER_MAX as u64;

/// The system does not allow as many descriptors as are needed.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorLimitError {
    /// The hard limit is too low; only its owner can raise it.
    #[error(
        "{connections} connections need {needed} open files, but the hard limit is {hard}; \
         raise it (`ulimit -Hn {needed}` as root, LimitNOFILE= in systemd, --ulimit nofile={needed} in Docker), \
         or use at most {possible} connections"
    )]
    Hard {
        /// Connections asked for.
        connections: usize,
        /// Descriptors that they need, with everything else.
        needed: u64,
        /// What `ulimit -Hn` gives.
        hard: u64,
        /// Connections that the hard limit leaves room for.
        possible: u64,
    },
    /// The limit could not be read or raised, though it should.
    #[error("cannot raise the limit on open files to {needed}: {source}")]
    System {
        /// Descriptors needed.
        needed: u64,
        /// Why.
        source: io::Error,
    },
}

/// Makes sure that `connections` can be open at once, by raising the soft limit if need be. It is never lowered.
///
/// # Errors
/// When the hard limit is too low, or the system refuses. The limit is then as it was.
pub fn ensure(connections: usize, threads: usize) -> Result<(), DescriptorLimitError> {
    let overhead = PROCESS_DESCRIPTORS + WORKER_DESCRIPTORS * threads as u64;
    let needed = overhead + connections as u64;
    let system = |source: nix::Error| DescriptorLimitError::System { needed, source: source.into() };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(system)?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(DescriptorLimitError::Hard {
            connections,
            needed,
            hard,
            possible: hard.saturating_sub(overhead),
        });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(system)
}

/// Raises the soft limit to the hard one, for a server that does not know how many clients will come.
///
/// # Errors
/// When the system refuses. The limit is then as it was.
pub fn raise_to_hard() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_and_a_hard_one_is_named() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("readable");
        ensure(1, 1).expect("room for one");
        if soft < hard {
            let connections = (soft + 1) as usize;
            if soft + 1 + PROCESS_DESCRIPTORS + WORKER_DESCRIPTORS <= hard {
                ensure(connections, 1).expect("within the hard limit");
            }
            assert!(getrlimit(Resource::RLIMIT_NOFILE).expect("readable").0 > soft);
        }
        if hard < u64::MAX / 2 {
            let error = ensure(hard as usize, 1).expect_err("beyond the hard limit").to_string();
            assert!(error.contains(&format!("the hard limit is {hard}")), "{error}");
            assert!(
                error.contains(&format!(
                    "at most {} connections",
                    hard - PROCESS_DESCRIPTORS - WORKER_DESCRIPTORS
                )),
                "{error}"
            );
        }
    }
}
