//! What differs between operating systems, as far as the runtime is concerned.

/// Why io_uring cannot be used by this process, or `None` when it can.
#[cfg(target_os = "linux")]
pub(super) fn io_uring_unusable() -> Option<String> {
    ringtide_driver::io_uring::probe().err().map(|reason| reason.to_string())
}

/// Why io_uring cannot be used by this process, or `None` when it can.
#[cfg(not(target_os = "linux"))]
pub(super) fn io_uring_unusable() -> Option<String> {
    Some("only Linux has it".to_owned())
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
