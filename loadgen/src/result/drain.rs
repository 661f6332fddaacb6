//! What came after the end of the measured part, as in a result.

use serde::{Deserialize, Serialize};

use super::numbers::seconds;
use crate::metrics::AfterEnd;

/// What came of the requests in flight at the end, if they were waited for. They are in all counts and latencies, and in
/// no rate: `requests_per_second` has the responses of the measured part alone, in which requests were sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainSummary {
    /// How long they were waited for.
    pub took_s: f64,
    /// Requests that were completed in this time.
    pub completed: u64,
    /// Requests that failed in it.
    pub failed: u64,
}

impl DrainSummary {
    pub(super) fn of(took_ns: u64, after_end: AfterEnd) -> Self {
        let AfterEnd { completed, failed, bytes_received: _ } = after_end;
        Self { took_s: seconds(took_ns), completed, failed }
    }
}
