//! The requests in flight on one connection. Each is found by the slot of its id, so completions may come in any order.

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
    #[inline]
    pub(super) fn is_due_when_sent(self, closed: bool) -> bool {
        closed && self.ready_ns <= self.due.scheduled_ns && !self.due.is_again()
    }
}

/// The tickets of the requests in flight. One alone needs no memory of its own.
#[derive(Default)]
pub(super) struct Tickets {
    /// That of slot 0.
    first: Option<Ticket>,
    /// Those of the other slots. Boxed, because most connections have none.
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    /// From slot 1 on.
    slots: Vec<Option<Ticket>>,
    count: usize,
}

impl Tickets {
    /// How many requests are in flight.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.count)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the ticket into a slot, which must be vacant.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, ticket: Ticket) {
        let place = match slot.checked_sub(1) {
            None => &mut self.first,
            Some(index) => self.rest.get_or_insert_default().vacant(index),
        };
        debug_assert!(place.is_none(), "two requests in flight have slot {slot}");
        *place = Some(ticket);
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<Ticket> {
        match slot.checked_sub(1) {
            None => self.first,
            Some(index) => self.rest.as_ref()?.slots.get(index).copied().flatten(),
        }
    }

    /// Takes the ticket out of its slot.
    #[inline]
    pub(super) fn take(&mut self, slot: usize) -> Option<Ticket> {
        match slot.checked_sub(1) {
            None => self.first.take(),
            Some(index) => self.rest.as_mut()?.take(index),
        }
    }

    /// All tickets, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Ticket> {
        let rest = self.rest.iter().flat_map(|rest| rest.slots.iter().copied().flatten());
        self.first.into_iter().chain(rest)
    }
}

impl Rest {
    /// The place of a ticket that is about to be put there.
    #[inline]
    fn vacant(&mut self, index: usize) -> &mut Option<Ticket> {
        if index >= self.slots.len() {
            self.slots.resize(index + 1, None);
        }
        self.count += 1;
        &mut self.slots[index]
    }

    #[inline]
    fn take(&mut self, index: usize) -> Option<Ticket> {
        let ticket = self.slots.get_mut(index)?.take()?;
        self.count -= 1;
        Some(ticket)
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
        assert!(tickets.rest.is_none());
        assert!(size_of::<Tickets>() <= 32, "{}", size_of::<Tickets>());
    }
}
