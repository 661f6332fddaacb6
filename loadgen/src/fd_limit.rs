//! The limit on open descriptors: raised as far as a plan needs; if it cannot be, the plan is refused before anything
//! starts.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringtide::limits::CLOSE_AFTER_PEER_MAX;

/// Descriptors of the process itself: standard streams, report, progress, name resolution, and room for libraries.
const PROCESS_DESCRIPTORS: u64 = 32;
/// Descriptors of one worker: ring or epoll, event descriptor, clock and scheduler statistics, connections that wait
/// for their peers to close, and some spare.
const WORKER_DESCRIPTORS: u64 = 8 + CLOSE_AFTER_PEER_MAX as u64;

/// The system allows fewer descriptors than are needed.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorLimitError {
    /// The hard limit is too low; only its owner can raise it.
    #[error(
        "{} and {} need {needed} open files, but the hard limit is {hard}; {}raise it (`ulimit -Hn {needed}` as root, \
         LimitNOFILE= in systemd, --ulimit nofile={needed} in Docker)",
        plural(*connections as u64, "connection"),
        plural(*threads as u64, "thread"),
        advice(*connections, *threads, *hard)
    )]
    Hard {
        /// Connections asked for.
        connections: usize,
        /// Worker threads asked for.
        threads: usize,
        /// Descriptors that both need, with everything else.
        needed: u64,
        /// What `ulimit -Hn` gives.
        hard: u64,
    },
    /// The limit should have been raised, but it could not be read or set.
    #[error("cannot raise the limit on open files to {needed}: {source}")]
    System {
        /// Descriptors needed.
        needed: u64,
        /// Why.
        source: io::Error,
    },
}

/// Makes sure that `connections` can be open at once. Raises the soft limit if necessary and never lowers it.
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
        return Err(DescriptorLimitError::Hard { connections, threads, needed, hard });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(system)
}

/// Descriptors for everything but the connections.
fn overhead(threads: usize) -> u64 {
    PROCESS_DESCRIPTORS + WORKER_DESCRIPTORS * threads as u64
}

/// What would fit: fewer threads if that suffices, else fewer connections, else fewer of both.
fn advice(connections: usize, threads: usize, hard: u64) -> String {
    let left = |threads: usize| hard.saturating_sub(overhead(threads));
    let threads_possible = (left(0).saturating_sub(connections as u64) / WORKER_DESCRIPTORS) as usize;
    if (1..threads).contains(&threads_possible) {
        return format!(
            "each thread needs {WORKER_DESCRIPTORS}, so use at most {} (-t), or ",
            plural(threads_possible as u64, "thread")
        );
    }
    // Every worker has a connection, so fewer connections than threads also means fewer threads.
    let (connections, with) = match left(threads) {
        fit if fit >= threads as u64 => (fit, ""),
        _ => (left(1), " with 1 thread (-t 1)"),
    };
    match connections {
        0 => "that is too low for even one; ".to_owned(),
        fit => format!("use at most {} (-c){with}, or ", plural(fit, "connection")),
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Raises the soft limit to the hard one, for a server that cannot know how many clients will come.
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

    fn message(connections: usize, threads: usize, hard: u64) -> String {
        let needed = overhead(threads) + connections as u64;
        DescriptorLimitError::Hard { connections, threads, needed, hard }.to_string()
    }

    #[test]
    fn the_message_blames_what_is_to_blame() {
        for (connections, threads, hard, says) in [
            (
                1000,
                1,
                64,
                "1000 connections and 1 thread need 1056 open files, but the hard limit is 64; \
                use at most 8 connections (-c), or raise it (`ulimit -Hn 1056` as root",
            ),
            (2, 1, 57, "use at most 1 connection (-c), or raise it"),
            (4, 1, 56, "the hard limit is 56; that is too low for even one; raise it"),
            // The threads take the descriptors.
            (
                1000,
                1000,
                4096,
                "1000 connections and 1000 threads need 25032 open files, but the hard limit is 4096; \
                each thread needs 24, so use at most 127 threads (-t), or raise it",
            ),
            (8, 8, 64, "each thread needs 24, so use at most 1 thread (-t), or raise it"),
            // Both are too many.
            (100, 4, 64, "use at most 8 connections (-c) with 1 thread (-t 1), or raise it"),
            (1000, 2, 128, "use at most 48 connections (-c), or raise it"),
        ] {
            let message = message(connections, threads, hard);
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn what_the_message_advises_fits() {
        for hard in 57..400_u64 {
            for (connections, threads) in
                [(1, 1), (1000, 1), (1000, 2), (1000, 4), (50, 40), (20, 20), (300, 300)]
            {
                let fits = |connections: u64, threads: u64| overhead(threads as usize) + connections <= hard;
                if fits(connections as u64, threads as u64) {
                    continue;
                }
                let message = message(connections, threads, hard);
                let (_, advice) = message.split_once("use at most ").expect("something fits");
                let number: u64 = advice.split(' ').next().expect("a number").parse().expect("a number");
                let (connections, threads) = match advice {
                    advice if advice.contains("(-t), or") => (connections as u64, number),
                    advice if advice.contains("(-t 1)") => (number, 1),
                    _ => (number, threads as u64),
                };
                assert!(fits(connections, threads), "{hard}: {message}");
                assert!(threads <= connections, "{hard}: {message}");
            }
        }
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
            let fit = hard - PROCESS_DESCRIPTORS - WORKER_DESCRIPTORS;
            assert!(error.contains(&format!("at most {fit} connections")), "{error}");
        }
    }
}
