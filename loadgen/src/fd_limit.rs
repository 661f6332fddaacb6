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
        "{} {needed} open files, but the hard limit is {hard}{}; \
         raise it (`ulimit -Hn {needed}` as root, LimitNOFILE= in systemd, --ulimit nofile={needed} in Docker){}",
        if *connections == 1 { "1 connection needs".to_owned() } else { format!("{connections} connections need") },
        if *possible == 0 { ", too low for even one" } else { "" },
        match possible {
            0 => String::new(),
            1 => ", or use 1 connection".to_owned(),
            _ => format!(", or use at most {possible} connections"),
        }
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
    let needed = overhead(threads) + connections as u64;
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
            possible: possible(hard, threads),
        });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(system)
}

/// Descriptors of all that is no connection.
fn overhead(threads: usize) -> u64 {
    PROCESS_DESCRIPTORS + WORKER_DESCRIPTORS * threads as u64
}

/// Connections that fit. One alone needs no second worker.
fn possible(hard: u64, threads: usize) -> u64 {
    match hard.saturating_sub(overhead(threads)) {
        0 => u64::from(hard > overhead(1)),
        connections => connections,
    }
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
    fn the_message_fits_the_numbers() {
        for (connections, possible, says) in [
            (
                1000,
                24,
                &["1000 connections need", "is 64; raise it", "in Docker), or use at most 24 connections"][..],
            ),
            (2, 1, &["2 connections need", "in Docker), or use 1 connection"]),
            (4, 0, &["4 connections need", "is 64, too low for even one; raise it"]),
            (1, 0, &["1 connection needs"]),
        ] {
            let error =
                DescriptorLimitError::Hard { connections, needed: 1040, hard: 64, possible }.to_string();
            for piece in says {
                assert!(error.contains(piece), "no `{piece}`: {error}");
            }
            assert!(possible > 0 || error.ends_with("in Docker)"), "{error}");
        }
    }

    #[test]
    fn as_many_fit_as_the_workers_leave_room_for() {
        assert_eq!([56, 57, 80].map(|hard| possible(hard, 1)), [0, 1, 24]);
        assert_eq!([56, 57, 80, 81, 96].map(|hard| possible(hard, 2)), [0, 1, 1, 1, 16]);
    }

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
