//! The differences between operating systems that concern the runtime.

/// Checks whether this process can use io_uring. Returns the reason if not.
#[cfg(target_os = "linux")]
pub(super) fn io_uring_usable() -> Result<(), String> {
    ringtide_driver::io_uring::probe().map_err(|reason| reason.to_string())
}

/// Checks whether this process can use io_uring. Returns the reason if not.
#[cfg(not(target_os = "linux"))]
pub(super) fn io_uring_usable() -> Result<(), String> {
    Err("only Linux has it".to_owned())
}

/// The cores on which a thread could run before the first worker was pinned.
#[cfg(target_os = "linux")]
static CORES: std::sync::OnceLock<rustix::thread::CpuSet> = std::sync::OnceLock::new();

/// Stores the allowed cores of this thread before it is pinned. Threads that it starts later use them.
#[cfg(target_os = "linux")]
pub(super) fn note_cores() {
    if CORES.get().is_none()
        && let Ok(cores) = rustix::thread::sched_getaffinity(None)
    {
        // Another worker may have been first. Its cores are the same, unless its thread was restricted by hand.
        let _ = CORES.set(cores);
    }
}

/// Does nothing: workers are pinned on Linux only.
#[cfg(not(target_os = "linux"))]
pub(super) fn note_cores() {}

/// Lets this thread run on other cores than the pinned worker that started it. It inherited the worker's affinity
/// (`sched_setaffinity(2)`).
#[cfg(target_os = "linux")]
pub(super) fn leave_worker_core() {
    if let Some(cores) = CORES.get() {
        // If this fails, the thread stays on the worker's core, which only costs time.
        let _ = rustix::thread::sched_setaffinity(None, cores);
    }
}

/// Does nothing: workers are pinned on Linux only.
#[cfg(not(target_os = "linux"))]
pub(super) fn leave_worker_core() {}

/// Makes the kernel wake this thread at its deadlines instead of up to 50 µs later (prctl(2), `PR_SET_TIMERSLACK`).
#[cfg(target_os = "linux")]
pub(super) fn set_timer_slack_to_minimum() {
    // If this fails, the default slack remains, which only costs precision.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Does nothing: only Linux has a timer slack.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_timer_slack_to_minimum() {}
