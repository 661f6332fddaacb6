//! What differs between operating systems, as far as the runtime is concerned.

/// Whether io_uring can be used by this process, or why not.
#[cfg(target_os = "linux")]
pub(super) fn io_uring_usable() -> Result<(), String> {
    ringtide_driver::io_uring::probe().map_err(|reason| reason.to_string())
}

/// Whether io_uring can be used by this process, or why not.
#[cfg(not(target_os = "linux"))]
pub(super) fn io_uring_usable() -> Result<(), String> {
    Err("only Linux has it".to_owned())
}

/// The cores that a thread was allowed before the first worker was pinned.
#[cfg(target_os = "linux")]
static CORES: std::sync::OnceLock<rustix::thread::CpuSet> = std::sync::OnceLock::new();

/// Notes the cores of this thread before it is pinned, for the threads that it starts.
#[cfg(target_os = "linux")]
pub(super) fn note_cores() {
    if CORES.get().is_none()
        && let Ok(cores) = rustix::thread::sched_getaffinity(None)
    {
        // Another worker may have been first, with the same answer unless its thread had been restricted by hand.
        let _ = CORES.set(cores);
    }
}

/// Only Linux pins workers.
#[cfg(not(target_os = "linux"))]
pub(super) fn note_cores() {}

/// Lets this thread run elsewhere than on the core of the pinned worker that has started it (`sched_setaffinity(2)`: it is inherited).
#[cfg(target_os = "linux")]
pub(super) fn leave_worker_core() {
    if let Some(cores) = CORES.get() {
        // Failure leaves it there, which costs time and nothing else.
        let _ = rustix::thread::sched_setaffinity(None, cores);
    }
}

/// Only Linux pins workers.
#[cfg(not(target_os = "linux"))]
pub(super) fn leave_worker_core() {}

/// Has the kernel wake this thread at its deadlines instead of up to 50 µs later (prctl(2), `PR_SET_TIMERSLACK`).
#[cfg(target_os = "linux")]
pub(super) fn set_timer_slack_to_minimum() {
    // Failure leaves the default slack, which costs precision and nothing else.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Only Linux has a timer slack to set.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_timer_slack_to_minimum() {}
