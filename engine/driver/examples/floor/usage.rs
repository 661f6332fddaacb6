//! The resources that this process has used so far, as reported by getrusage(2).

// One system call through libc.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

pub(crate) struct Usage {
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    pub(crate) rss_peak_bytes: u64,
}

impl Usage {
    pub(crate) fn now() -> io::Result<Self> {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the pointer refers to memory of the right type and size, and the call only writes to it.
        if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has succeeded, so it has written the whole structure.
        let usage = unsafe { usage.assume_init() };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Ok(Self {
            user_seconds: seconds(usage.ru_utime),
            system_seconds: seconds(usage.ru_stime),
            // Linux reports units of 1024 bytes.
            rss_peak_bytes: usage.ru_maxrss as u64 * 1024,
        })
    }
}
