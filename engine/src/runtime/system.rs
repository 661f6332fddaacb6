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

/// Has the kernel wake this thread at its deadlines instead of up to 50 µs later (prctl(2), `PR_SET_TIMERSLACK`).
#[cfg(target_os = "linux")]
pub(super) fn set_timer_slack_to_minimum() {
    // Failure leaves the default slack, which costs precision and nothing else.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Only Linux has a timer slack to set.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_timer_slack_to_minimum() {}
