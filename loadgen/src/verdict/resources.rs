//! Whether the generator ran out of something else than time: descriptors, ports, room in its queues, or a machine that goes on
//! undisturbed.

use std::time::Duration;

use crate::metrics::{Counters, MachineFacts, QueueFacts};
use crate::units::{show_count, show_time_ns};

/// If the hypervisor takes this share of the time of the generator's cores, what it takes is in every figure. It is less than a
/// worker may wait for other threads, as it comes in long pieces.
pub const STEAL_SHARE_MAX: f64 = 0.05;

/// The wall clock may be set by this much. Smaller steps are those of time services; a larger one says that the clock was
/// wrong, or that the machine was stopped for that long.
pub const CLOCK_STEP_MAX_NS: u64 = 10_000_000;

/// How long the machine may have been suspended. The two clocks that tell are not read at the same moment.
pub const SUSPENDED_MAX_NS: u64 = 1_000_000;

/// The send buffers of the generator may be the limit for this share of the time in which it sends,
pub const BUFFER_LIMITED_SHARE_MAX: f64 = 0.25;

/// if its connections have something to send for at least this share of the run.
const SENDING_SHARE_MIN: f64 = 0.1;

/// If the receive queues of this share of the connections are full at the end, they were full for such a share of the time.
pub const RECEIVE_FULL_SHARE_MAX: f64 = 0.1;

/// Fewer full queues may be chance.
const RECEIVE_FULL_MIN: u64 = 3;

pub(super) fn judge_machine(machine: &MachineFacts, reasons: &mut Vec<String>) {
    if let (Some(share), Some(least)) = (machine.steal_share, machine.steal_share_least)
        && least >= STEAL_SHARE_MAX
    {
        reasons.push(format!(
            "the hypervisor gave {:.1} % of the time of the generator's cores to others (steal): run it when the host is \
             quieter, or on a machine with cores of its own",
            share * 100.0
        ));
    }
    if let Some(suspended_ns) = machine.suspended_ns
        && suspended_ns >= SUSPENDED_MAX_NS
    {
        reasons.push(format!(
            "the machine was suspended for {}, which is in no figure: keep it awake and run it again",
            show_time_ns(suspended_ns as f64)
        ));
    }
    if let Some(step_ns) = machine.clock_step_ns
        && step_ns.unsigned_abs() >= CLOCK_STEP_MAX_NS
    {
        reasons.push(format!(
            "the wall clock was set {} by {}: the times of day are wrong, and the machine may have been paused; keep \
             the clock from being set (or the machine from being paused) and run it again",
            if step_ns > 0 { "forward" } else { "back" },
            show_time_ns(step_ns.unsigned_abs() as f64)
        ));
    }
}

pub(super) fn judge_shortages(counters: &Counters, reasons: &mut Vec<String>) {
    if counters.descriptors_ran_out > 0 {
        reasons.push(format!(
            "the generator ran out of file descriptors {} times: raise the limit (ulimit -n)",
            show_count(counters.descriptors_ran_out)
        ));
    }
    if counters.ports_ran_out > 0 {
        reasons.push(format!(
            "the generator ran out of local ports {} times: widen net.ipv4.ip_local_port_range, keep connections \
             open, or connect from several addresses (--bind)",
            show_count(counters.ports_ran_out)
        ));
    }
}

/// `elapsed` is the length of the measured part.
pub(super) fn judge_queues(queues: &QueueFacts, elapsed: Duration, reasons: &mut Vec<String>) {
    if queues.connections == 0 {
        return;
    }
    let limited = queues.buffer_limited_ns as f64;
    let sending_min = SENDING_SHARE_MIN * elapsed.as_nanos() as f64 * queues.connections as f64;
    if queues.sending_ns as f64 >= sending_min
        && limited >= BUFFER_LIMITED_SHARE_MAX * queues.sending_ns as f64
    {
        reasons.push(format!(
            "for {:.0} % of the time in which the generator had something to send, its own send buffers were full, \
             while the server had room: raise net.ipv4.tcp_wmem, or spread the load over more connections (-c)",
            100.0 * limited / (queues.sending_ns as f64).max(1.0)
        ));
    }
    let full = queues.receive_full;
    if full >= RECEIVE_FULL_MIN && full as f64 >= RECEIVE_FULL_SHARE_MAX * queues.connections as f64 {
        reasons.push(format!(
            "the receive queues of {} of {} connections were full at the end: the generator did not read as fast as the \
             server sent; give it more cores (-t), or a lower rate (-R)",
            show_count(full),
            show_count(queues.connections)
        ));
    }
}
