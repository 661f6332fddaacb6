//! Waiting for readiness until a deadline in nanoseconds, although the system call takes milliseconds.
//!
//! `epoll_wait` takes a timeout in milliseconds, and `mio` rounds it up, so a wait could end up to one millisecond
//! late. Therefore the selector waits only for the whole milliseconds. For the rest, pselect(2) watches the selector's
//! own descriptor, with a timeout in nanoseconds. Under load, pselect(2) is never called, because the driver first
//! checks readiness without waiting. What remains is the system's timer slack (50 µs on Linux, unless the thread lowers
//! it, prctl(2)). Nothing spins.

// No dependency of this crate has a safe form of pselect(2).
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use mio::{Events, Poll};
use ringtide_driver::monotonic_ns;

const MILLISECOND_NS: u64 = 1_000_000;

/// The latest end of a wait.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// No wait: report only what is ready already.
    Now,
    /// Wait until this time of [`monotonic_ns`].
    Moment(u64),
    /// Wait without a time limit.
    Ready,
}

/// Waits for the first event until `until`, and fills `events`. A signal ends the wait early. Adds its system calls to
/// `syscalls`.
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
    // If the timeout was cut short (that of epoll_wait is an int), more than this is left. The caller then calls again.
    if rest_ns == 0 || rest_ns > MILLISECOND_NS {
        return Ok(());
    }
    *syscalls += 1;
    if wait_readable(selector.as_raw_fd(), rest_ns) {
        look(selector, events, Some(Duration::ZERO), syscalls)?;
    }
    Ok(())
}

/// Calls the selector once. Returns whether the wait is over.
///
/// The wait is over if something is ready, if a signal came, or if the kernel is temporarily short of memory. In the
/// last two cases the driver's turn returns early.
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

/// Returns whether the call will work again after this error, so that the caller can simply go on.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock
    )
}

/// Waits less than a second until `descriptor` is readable. Returns whether it may be.
fn wait_readable(descriptor: RawFd, timeout_ns: u64) -> bool {
    // pselect(2) cannot watch a descriptor beyond the size of the set. Returning at once makes the caller spin for the
    // last millisecond, which loses no precision. This only happens if more than a thousand descriptors were open when
    // the driver was created.
    if descriptor as usize >= size_of::<libc::fd_set>() * 8 {
        return true;
    }
    // A nanosecond count below a second fits every system's `tv_nsec`.
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: timeout_ns as _ };
    let mut readable = MaybeUninit::<libc::fd_set>::uninit();
    // SAFETY: FD_ZERO initialises the whole set before it is used. FD_SET stays inside the set, because the descriptor
    // is less than the set's size in bits. pselect accesses only the set and the timeout, and both outlive the call.
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
    // An error is a signal (EINTR), or a system that forbids the call. Checking the selector again is right in both
    // cases.
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
