//! What is seen of responses while they arrive: what checks and captures need, and nothing where they need nothing.

use ringtide::message::ResponseHead;
use ringtide::{Observe, RequestId};

use super::seen::Seen;
use super::shared::Shared;
use super::tickets::Tickets;

/// The most that is kept of a body. A larger one fails its checks and captures.
const BODY_KEPT_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Looks at the responses of one connection.
pub(super) struct Observer<'c> {
    pub(super) shared: &'c Shared,
    pub(super) tickets: &'c Tickets,
    /// By the slot of the request.
    pub(super) seen: &'c mut Vec<Seen>,
}

impl Observer<'_> {
    fn seen(&mut self, id: RequestId) -> &mut Seen {
        let slot = id.slot();
        if slot >= self.seen.len() {
            self.seen.resize_with(slot + 1, Seen::default);
        }
        &mut self.seen[slot]
    }
}

impl Observe for Observer<'_> {
    fn head(&mut self, id: RequestId, head: ResponseHead<'_>) {
        let Some(ticket) = self.tickets.get(id.slot()) else { return };
        if let Some(walkers) = &self.shared.walkers {
            walkers.borrow_mut().see_head(ticket.due.request, &head);
        }
        let rules = self.shared.judged_by(ticket.due.request).and_then(|step| self.shared.rules.of(step));
        let expect = rules.and_then(|rules| rules.expect.as_ref());
        let failed = expect.and_then(|expect| expect.check_head(&head));
        let seen = self.seen(id);
        // A request that ended without its response may have left something.
        seen.clear();
        seen.failed = failed;
    }

    fn data(&mut self, id: RequestId, data: &[u8]) {
        let Some(ticket) = self.tickets.get(id.slot()) else { return };
        let rules = self.shared.judged_by(ticket.due.request).and_then(|step| self.shared.rules.of(step));
        let needs_body = rules.is_some_and(|rules| rules.needs_body);
        let seen = self.seen(id);
        seen.size += data.len() as u64;
        if needs_body {
            let room = BODY_KEPT_SIZE_MAX.saturating_sub(seen.body.len());
            seen.body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
}
