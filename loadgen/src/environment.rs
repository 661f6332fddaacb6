//! Facts about the machine and what this process and its threads have used of it.
//!
//! Everything here only reads. A fact that the system does not tell is `unknown` or 0, never invented.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use ringtide::runtime::{self, RunQueueMeter};
use serde::{Deserialize, Serialize};

use crate::plan::{self, available_cores};

/// Where a result was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The driver that moved the bytes; `fallback and io_uring` if only some workers could use io_uring.
    pub driver: String,
    /// Which features of the driver were in use.
    pub driver_features: Vec<String>,
}

impl Environment {
    /// Describes this machine and the driver that the run used.
    pub fn of_this_machine(driver: &str, driver_features: Vec<String>) -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |release| release.trim().to_owned()),
            cpu: fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| field(&text, "model name").map(str::to_owned))
                .unwrap_or_else(unknown),
            cores: available_cores(),
            driver: driver.to_owned(),
            driver_features,
        }
    }
}

/// The wall-clock time of a moment on the clock of all workers, in seconds since 1970-01-01 UTC, as the wall clock stands
/// now.
pub fn unix_s_of(monotonic_ns: u64) -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago_ns = ringtide_driver::monotonic_ns() as i64 - monotonic_ns as i64;
    let unix_us = since.as_micros() as i64 - ago_ns / 1_000;
    unix_us as f64 / 1e6
}

/// The peak resident memory of this process (`VmHWM`, proc(5)), in bytes.
pub fn rss_peak_bytes() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| field(&text, "VmHWM")?.strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}

/// What `threads` workers do if the plan says `spin`.
///
/// Spinning takes a core that others may need, such as the other side. So `auto` spins only if each worker can have a core
/// and they leave at least one core of the machine free.
pub fn worker_spin(spin: plan::Spin, threads: usize) -> runtime::Spin {
    match spin {
        plan::Spin::For { ns } => runtime::Spin::For(ns),
        plan::Spin::Auto if threads < online_cores() && threads <= available_cores() => runtime::Spin::Learnt,
        plan::Spin::Auto | plan::Spin::Off => runtime::Spin::Off,
    }
}

/// Online cores of the machine, whether or not this process may run on them; 1 if the system does not tell.
pub fn online_cores() -> usize {
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1)
}

/// What a thread has used so far, in nanoseconds. Only the difference between two readings means anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadUsage {
    /// CPU time in user space.
    pub user_ns: u64,
    /// CPU time in the kernel. 0 where the system does not tell the two apart; `user_ns` then has it all.
    pub system_ns: u64,
    /// Time spent ready to run, waiting for a core.
    pub run_queue_wait_ns: u64,
}

/// Reads what one thread, the one that made it, has used.
#[derive(Debug)]
pub struct ThreadMeter {
    run_queue: RunQueueMeter,
}

impl ThreadMeter {
    /// A meter of the calling thread. Read from another thread, it would mix the figures of both.
    pub fn of_this_thread() -> Self {
        Self { run_queue: RunQueueMeter::of_this_thread() }
    }

    /// What the thread has used so far.
    ///
    /// # Errors
    /// When the system does not give the thread's CPU time.
    pub fn read(&self) -> io::Result<ThreadUsage> {
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let cpu_ns = cpu.tv_sec() as u64 * 1_000_000_000 + cpu.tv_nsec() as u64;
        let system_ns = split_of_this_thread(cpu_ns)?;
        Ok(ThreadUsage {
            user_ns: cpu_ns - system_ns,
            system_ns,
            run_queue_wait_ns: self.run_queue.waited_ns().unwrap_or(0),
        })
    }
}

/// A clock that also runs while the machine is suspended, in nanoseconds, beside CLOCK_MONOTONIC, which does not
/// (clock_gettime(2)).
#[cfg(target_os = "linux")]
pub fn boot_clock_ns() -> Option<i128> {
    clock_ns(ClockId::CLOCK_BOOTTIME)
}

/// Other systems have no such pair of clocks.
#[cfg(not(target_os = "linux"))]
pub fn boot_clock_ns() -> Option<i128> {
    None
}

/// What a clock shows, in nanoseconds.
pub fn clock_ns(clock: ClockId) -> Option<i128> {
    let now = clock_gettime(clock).ok()?;
    Some(i128::from(now.tv_sec()) * 1_000_000_000 + i128::from(now.tv_nsec()))
}

/// The kernel's part of `cpu_ns`. getrusage(2) gives both parts in whole microseconds, the clock their exact sum.
#[cfg(target_os = "linux")]
fn split_of_this_thread(cpu_ns: u64) -> io::Result<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;

    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let system_ns = usage.system_time().num_microseconds() as u64 * 1_000;
    Ok(system_ns.min(cpu_ns))
}

/// Other systems do not split a thread's CPU time.
#[cfg(not(target_os = "linux"))]
fn split_of_this_thread(_cpu_ns: u64) -> io::Result<u64> {
    Ok(0)
}

/// Lets all other threads go before the calling one.
#[cfg(target_os = "linux")]
pub fn lower_priority_of_this_thread() {
    /// The lowest (setpriority(2)). On Linux it is a thread's, against POSIX.
    const NICE_MAX: i32 = 19;
    // If this fails, it shares the core like the others.
    let _ = rustix::process::setpriority_process(None, NICE_MAX);
}

/// Elsewhere the priority is that of the process.
#[cfg(not(target_os = "linux"))]
pub fn lower_priority_of_this_thread() {}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "VmHWMx:\t1 kB\nVmHWM:\t  2048 kB\nmodel name\t: A: B\n";
        assert_eq!(field(text, "VmHWM"), Some("2048 kB"));
        assert_eq!(field(text, "model name"), Some("A: B"));
        assert_eq!(field(text, "model"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_its_facts() {
        let environment = Environment::of_this_machine("io_uring", vec!["x".to_owned()]);
        assert!(environment.kernel.contains('.') && environment.cores > 0, "{environment:?}");
        assert!(rss_peak_bytes() > 100 * 1024);
    }

    #[test]
    fn work_shows_in_the_threads_own_usage_and_not_in_anothers() {
        let meter = ThreadMeter::of_this_thread();
        let before = meter.read().expect("readable");
        std::thread::spawn(|| burn_cpu_ns(50_000_000)).join().expect("no panic");
        let idle = meter.read().expect("readable");
        burn_cpu_ns(20_000_000);
        let after = meter.read().expect("readable");
        let cpu = |usage: ThreadUsage| usage.user_ns + usage.system_ns;
        assert!(cpu(idle) - cpu(before) < 20_000_000, "{before:?} {idle:?}");
        assert!(cpu(after) - cpu(idle) >= 20_000_000, "{idle:?} {after:?}");
        assert!(after.run_queue_wait_ns >= before.run_queue_wait_ns);
    }

    /// Spins until the thread's CPU clock has advanced by this.
    fn burn_cpu_ns(time_ns: u64) {
        let now_ns = || {
            let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("readable");
            now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
        };
        let end_ns = now_ns() + time_ns;
        while now_ns() < end_ns {}
    }
}
