//! The streams that take too long.

use http::StatusCode;

use super::state::{Answer, State};
use crate::proto::h2::StreamKey;

/// A stream that took too long.
pub(crate) struct Late {
    pub(crate) stream: StreamKey,
    pub(crate) slot: Option<u32>,
    /// The status that says why; `None` if the peer is not there any more.
    pub(crate) status: Option<StatusCode>,
}

/// The time limits of a stream.
#[derive(Clone, Copy)]
pub(crate) struct StreamTimeouts {
    pub(crate) stall_ns: u64,
    pub(crate) request_ns: u64,
    /// After this time nobody waits for a response, unless its stream has moved since: when the peer ended its side, and the
    /// limit from then on.
    pub(crate) half_close: Option<(u64, u64)>,
}

impl State {
    /// Finds the streams whose data can never leave: the peer has ended its side, and does not open their windows any more. To be
    /// called after a flush that was ready.
    pub(super) fn find_blocked(&self, late: &mut Vec<Late>) {
        let blocked = self.streams.iter().filter_map(|entry| Some((entry.key?, entry.slot)));
        let blocked = blocked.filter(|(stream, _)| self.link.has_queued(*stream));
        late.extend(blocked.map(|(stream, slot)| Late { stream, slot, status: None }));
    }

    pub(super) fn sweep(&self, timeouts: StreamTimeouts, late: &mut Vec<Late>) -> u64 {
        let now_ns = self.link.turn_time_ns();
        let mut next_ns = u64::MAX;
        for entry in &self.streams {
            let Some(stream) = entry.key else { continue };
            let has_queued = self.link.has_queued(stream);
            let waits = entry.reader.is_some() || entry.writer.is_some() || has_queued;
            // While others go first, the wait is not the peer's fault, unless it keeps the window of this stream shut.
            let takes_turns = has_queued && self.link.codec.has_window(stream);
            let moved_ns = if takes_turns { entry.moved_ns.max(self.sent_ns) } else { entry.moved_ns };
            let stall_ns = if waits { moved_ns.saturating_add(timeouts.stall_ns) } else { u64::MAX };
            let request_ns = if entry.received && entry.answer != Answer::None {
                u64::MAX
            } else {
                entry.begun_ns.saturating_add(timeouts.request_ns)
            };
            let gone_ns = match timeouts.half_close {
                Some((ended_ns, limit_ns)) if !waits => ended_ns.max(entry.moved_ns).saturating_add(limit_ns),
                _ => u64::MAX,
            };
            let deadline_ns = stall_ns.min(request_ns).min(gone_ns);
            if deadline_ns > now_ns {
                // A handler may begin to wait at any time.
                next_ns = next_ns.min(deadline_ns).min(now_ns.saturating_add(timeouts.stall_ns));
                continue;
            }
            let status = if gone_ns == deadline_ns {
                None
            } else if entry.received {
                Some(StatusCode::SERVICE_UNAVAILABLE)
            } else {
                Some(StatusCode::REQUEST_TIMEOUT)
            };
            late.push(Late { stream, slot: entry.slot, status });
        }
        next_ns
    }
}
