//! Waiting for readiness until a deadline in nanoseconds, with a call that counts in milliseconds.
//!
//! `epoll_wait` has a timeout in milliseconds, and `mio` rounds up to them: a deadline would be missed by up to one. So
//! the whole milliseconds are waited for in the selector, and only what is left, less than one, in pselect(2), which
//! watches the selector's own descriptor and counts in nanoseconds. Under load that call is never reached, because a look
//! without waiting comes first. The lateness left is the system's timer slack (50 µs on Linux unless the thread lowers
//! it, prctl(2)). Nothing spins.

// pselect(2) has no safe form among this crate's dependencies.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use mio::{Events, Poll};
use ringtide_driver::monotonic_ns;

const MILLISECOND_NS: u64 = 1_000_000;

/// When a wait ends at the latest.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// At once: only what is ready already.
    Now,
    /// At this moment of [`monotonic_ns`].
    Moment(u64),
    /// Never.
    Ready,
}

/// Fills `events`, waiting for the first one until `until`. A signal ends it early. Adds its system calls to `syscalls`.
pub(crate) fn wait(
    selector: &mut Poll,
    events: &mut Events,
    until: Until,
    syscalls: &mut u64,
) -> io::Result<()> {
    let deadline_ns = match until {
        Until::Now => return look(selector, events, Some(Duration::ZERO), syscalls).map(drop),
        Until::Ready => return look(selector, events, None, syscalls).map(drop),
        Until::Moment(deadline_ns) => deadline_ns,
    };
    let whole_ms = deadline_ns.saturating_sub(monotonic_ns()) / MILLISECOND_NS;
    if look(selector, events, Some(Duration::from_millis(whole_ms)), syscalls)? {
        return Ok(());
    }
    let rest_ns = deadline_ns.saturating_sub(monotonic_ns());
    // A timeout that was cut short (epoll_wait's is an int) leaves more than this; the caller calls again.
    if rest_ns == 0 || rest_ns > MILLISECOND_NS {
        return Ok(());
    }
    *syscalls += 1;
    if wait_readable(selector.as_raw_fd(), rest_ns) {
        look(selector, events, Some(Duration::ZERO), syscalls)?;
    }
    Ok(())
}

/// One call to the selector. Says whether the wait is over: something is ready, a signal came, for which whoever
/// waits returns early, or the kernel is short of memory for the moment.
fn look(
    selector: &mut Poll,
    events: &mut Events,
    timeout: Option<Duration>,
    syscalls: &mut u64,
) -> io::Result<bool> {
    *syscalls += 1;
    match selector.poll(events, timeout) {
        Ok(()) => Ok(!events.is_empty()),
        Err(error) if passes(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether the call will work again, so that whoever waits only has to go on.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock
    )
}

/// Waits less than a second until `descriptor` is readable, and says whether it may be.
fn wait_readable(descriptor: RawFd, timeout_ns: u64) -> bool {
    // A descriptor beyond the set's size cannot be watched so; returning at once makes the caller spin out its last
    // millisecond, late by nothing. It takes a driver that is made after a thousand descriptors.
    if descriptor as usize >= size_of::<libc::fd_set>() * 8 {
        return true;
    }
    // A nanosecond count below a second fits every system's `tv_nsec`.
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: timeout_ns as _ };
    let mut readable = MaybeUninit::<libc::fd_set>::uninit();
    // SAFETY: FD_ZERO initialises the whole set before it is used, FD_SET stays inside it because the descriptor is below
    // its size in bits, and pselect touches only the set and the timeout, both of which outlive the call.
    let ready = unsafe {
        libc::FD_ZERO(readable.as_mut_ptr());
        libc::FD_SET(descriptor, readable.as_mut_ptr());
        libc::pselect(
            descriptor + 1,
            readable.as_mut_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw const timeout,
            ptr::null(),
        )
    };
    // An error is a signal (EINTR), or a system that forbids the call; looking again is right for both.
    ready != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_passes_and_a_broken_selector_does_not() {
        for errno in [libc::EINTR, libc::ENOMEM, libc::EAGAIN] {
            assert!(passes(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for errno in [libc::EBADF, libc::EINVAL, libc::EFAULT] {
            assert!(!passes(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }
}
