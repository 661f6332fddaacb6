//! The requests in flight on one connection. Each is found by the slot of its id, so completions may come in any order.

use smallvec::SmallVec;

use super::source::Due;

/// A request that was drawn from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// What was drawn. A closed loop's request is due when it is sent, or, if it needs a new connection, when the connect
    /// begins.
    pub(super) due: Due,
    /// When it was due and a place was free for it.
    pub(super) ready_ns: u64,
}

impl Ticket {
    /// Whether it is due only when it is sent: in a closed loop, for the first time and over an open connection.
    pub(super) fn is_due_when_sent(self, closed: bool) -> bool {
        closed && self.ready_ns <= self.due.scheduled_ns && !self.due.is_again()
    }
}

/// The tickets of the requests in flight. One alone needs no memory of its own.
#[derive(Default)]
pub(super) struct Tickets {
    slots: SmallVec<[Option<Ticket>; 1]>,
    count: u32,
}

impl Tickets {
    /// How many requests are in flight.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts the ticket into a slot, which must be vacant.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, ticket: Ticket) {
        if slot >= self.slots.len() {
            self.grow(slot);
        }
        debug_assert!(self.slots[slot].is_none(), "two requests in flight have slot {slot}");
        self.slots[slot] = Some(ticket);
        self.count += 1;
    }

    #[cold]
    fn grow(&mut self, slot: usize) {
        self.slots.resize(slot + 1, None);
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<Ticket> {
        self.slots.get(slot).copied().flatten()
    }

    /// Takes the ticket out of its slot.
    #[inline]
    pub(super) fn take(&mut self, slot: usize) -> Option<Ticket> {
        let ticket = self.slots.get_mut(slot)?.take()?;
        self.count -= 1;
        Some(ticket)
    }

    /// All tickets, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Ticket> {
        self.slots.iter().copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(scheduled_ns: u64) -> Ticket {
        Ticket { due: Due::first(scheduled_ns, 0), ready_ns: scheduled_ns }
    }

    #[test]
    fn tickets_come_back_in_any_order() {
        let mut tickets = Tickets::default();
        for slot in [0, 2, 1] {
            tickets.put(slot, ticket(slot as u64));
        }
        assert_eq!((tickets.len(), tickets.iter().count()), (3, 3));
        assert_eq!(tickets.take(2), Some(ticket(2)));
        assert_eq!(tickets.take(2), None, "it is gone");
        assert_eq!(tickets.take(9), None, "it never was");
        tickets.put(2, ticket(7));
        assert_eq!((tickets.get(2), tickets.get(9)), (Some(ticket(7)), None));
        for slot in [0, 1, 2] {
            assert!(tickets.take(slot).is_some());
        }
        assert!(tickets.is_empty() && tickets.iter().next().is_none());
    }

    #[test]
    fn a_ticket_alone_is_in_place() {
        let mut tickets = Tickets::default();
        tickets.put(0, ticket(1));
        assert!(!tickets.slots.spilled());
        assert!(size_of::<Tickets>() <= 56, "{}", size_of::<Tickets>());
    }
}
