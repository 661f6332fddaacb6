//! Whether the figures of a run describe the server or the generator.
//!
//! The verdict uses what the generator measured about itself (`time`), and about its machine (`resources`). A slow server alone never makes a run invalid: response
//! times matter only to tell which part of them was the generator's.

mod resources;
mod time;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::resources::{
    BUFFER_LIMITED_SHARE_MAX, CLOCK_STEP_MAX_NS, RECEIVE_FULL_SHARE_MAX, STEAL_SHARE_MAX, SUSPENDED_MAX_NS,
};
pub use self::time::{
    BUSY_SHARE_MAX, LAG_BUNCHED_MIN_NS, LAG_INTERVALS_MAX, LAG_P50_UNJUDGED_NS, LAG_P99_UNJUDGED_NS,
    LAG_PART_OF_RESPONSE_MAX, RUN_QUEUE_PART_OF_RESPONSE_MAX, RUN_QUEUE_REQUESTS_MIN, RUN_QUEUE_SHARE_MAX,
};
use crate::metrics::{GeneratorFacts, Totals};
use crate::units::show_time_ns;

/// A run that measured for less than this is not judged: start-up and other processes take too large a part of it.
pub const MEASURED_MIN: Duration = Duration::from_millis(200);

/// Whether the figures are the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether they are, as far as the generator can tell; `None` (null in JSON) if the run was too short to judge.
    pub valid: Option<bool>,
    /// Why they are not, or why the run was not judged; empty if valid. Each is a sentence without a full stop.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Judges a run that measured for `elapsed` by its `totals` and by what the generator cost. `rate_mean` is the
    /// scheduled rate of an open loop, per second over all workers; `None` for a closed loop.
    pub fn judge(
        totals: &Totals,
        generator: &GeneratorFacts,
        rate_mean: Option<f64>,
        elapsed: Duration,
    ) -> Self {
        let nothing = totals.counters.scheduled() == 0;
        if elapsed < MEASURED_MIN {
            let reason = if nothing {
                "nothing was measured".to_owned()
            } else {
                format!(
                    "too short to judge: {} were measured, {} are needed",
                    show_time_ns(elapsed.as_nanos() as f64),
                    show_time_ns(MEASURED_MIN.as_nanos() as f64)
                )
            };
            return Self { valid: None, reasons: vec![reason] };
        }
        if nothing {
            return Self { valid: Some(false), reasons: vec!["nothing was measured".to_owned()] };
        }
        let mut reasons = Vec::new();
        time::judge_busy(totals, generator, &mut reasons);
        time::judge_run_queue(totals, generator, &mut reasons);
        resources::judge_machine(&generator.machine, &mut reasons);
        if totals.open_loop {
            time::judge_lag(totals, rate_mean, &mut reasons);
        }
        resources::judge_shortages(&totals.counters, &mut reasons);
        resources::judge_queues(&generator.queues(), elapsed, &mut reasons);
        Self { valid: Some(reasons.is_empty()), reasons }
    }
}

#[cfg(test)]
mod tests;
