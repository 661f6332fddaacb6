//! The end of a worker's run: what was not sent is given up, what is in flight may still be answered for a while, and the
//! rest is cut off.

use std::rc::Rc;
use std::time::Duration;

use ringtide::runtime;

use super::phase::Phase;
use super::shared::Shared;
use crate::progress::PUBLISH_INTERVAL_NS;

/// How long the server may still read pipelined requests after the end. This time is not part of the run.
const LAST_READ_NS: u64 = 100_000_000;

/// Ends the run, whose measured part ended at `ended_ns`. Returns how long answers were waited for after that.
pub(super) async fn end(shared: &Rc<Shared>, phase: &Phase, ended_ns: u64) -> u64 {
    shared.sending_ended.set(true);
    give_up_unsent(shared, ended_ns);
    let drained_ns = if shared.plan.drain_ns > 0 { drain(shared, phase, ended_ns).await } else { 0 };
    shared.ended.set(true);
    shared.source.borrow().wake_connections();
    phase.until(|_| shared.tasks_left.get() == 0).await;
    // What was to be sent again while answers were waited for.
    give_up_unsent(shared, ended_ns);
    // Gives the server a moment to read what was sent before the connections close.
    let patience_ns = runtime::now_ns() + LAST_READ_NS;
    while runtime::sockets_closing() > 0 && shared.plan.parallel > 1 && runtime::now_ns() < patience_ns {
        runtime::sleep(Duration::from_millis(1)).await;
    }
    drained_ns
}

/// Books the requests that were due by `ended_ns` and that no connection has taken.
fn give_up_unsent(shared: &Shared, ended_ns: u64) {
    let mut source = shared.source.borrow_mut();
    source.retract();
    while let Some(due) = source.take_returned() {
        shared.censor_undelivered(due);
    }
    let mut recorder = shared.recorder.borrow_mut();
    let mut parts = shared.names.shares();
    while let Some((scheduled_ns, count)) = source.take_overdue(ended_ns) {
        recorder.overdue(scheduled_ns, ended_ns, count);
        shared.names.overdue(&mut parts, scheduled_ns, ended_ns, count);
    }
}

/// Waits for what is in flight, as long as the plan allows and unless the run is stopped. Returns how long.
async fn drain(shared: &Rc<Shared>, phase: &Phase, ended_ns: u64) -> u64 {
    // Those that wait for a connection give up.
    shared.source.borrow().wake_connections();
    let drained_ns = ended_ns.saturating_add(shared.plan.drain_ns);
    let is_over = |phase: &Phase| shared.in_flight.get() == 0 || phase.stopped.get();
    while runtime::now_ns() < drained_ns && !is_over(phase) {
        shared.publish_drain(runtime::now_ns());
        let look_ns = drained_ns.min(runtime::now_ns() + PUBLISH_INTERVAL_NS);
        let _ = runtime::deadline(look_ns, phase.until(is_over)).await;
    }
    runtime::now_ns().saturating_sub(ended_ns)
}
