//! What the sockets of a worker have received and nobody has read yet: one table for all, and a queue per socket, which is two
//! numbers.
//!
//! Nearly all sockets have nothing to be read, so a place for a lease in each would be most of their memory.

use ringtide_driver::Lease;

/// The pieces of all sockets.
#[derive(Default)]
pub(super) struct Pieces {
    nodes: Vec<Node>,
    /// The first of the free nodes.
    free: Place,
}

/// A node's index and 1; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place(u32);

struct Node {
    /// `None` if it is free.
    lease: Option<Lease>,
    next: Place,
}

/// The pieces of one socket, in the order of their arrival. They stay in the table until they are taken or
/// [cleared](Pieces::clear).
#[derive(Debug, Default)]
pub(super) struct Received {
    first: Place,
    last: Place,
}

impl Received {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first == Place::NONE
    }
}

impl Place {
    const NONE: Self = Self(0);

    /// The index of the node. There is none for `NONE`, whose index is out of range.
    #[inline]
    fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }
}

impl Pieces {
    /// Appends to a socket's queue.
    #[inline]
    pub(super) fn push_back(&mut self, queue: &mut Received, lease: Lease) {
        let place = self.free;
        let place = if let Some(node) = self.nodes.get_mut(place.index()) {
            self.free = node.next;
            *node = Node { lease: Some(lease), next: Place::NONE };
            place
        } else {
            self.nodes.push(Node { lease: Some(lease), next: Place::NONE });
            // There are fewer buffers than that.
            Place(self.nodes.len() as u32)
        };
        match self.nodes.get_mut(queue.last.index()) {
            Some(last) => last.next = place,
            None => queue.first = place,
        }
        queue.last = place;
    }

    /// Takes the first piece out of a socket's queue.
    #[inline]
    pub(super) fn pop_front(&mut self, queue: &mut Received) -> Option<Lease> {
        let place = queue.first;
        let node = self.nodes.get_mut(place.index())?;
        queue.first = node.next;
        if queue.first == Place::NONE {
            queue.last = Place::NONE;
        }
        node.next = self.free;
        self.free = place;
        node.lease.take()
    }

    /// Drops all pieces of a socket.
    pub(super) fn clear(&mut self, queue: &mut Received) {
        while self.pop_front(queue).is_some() {}
    }

    /// Returns how many pieces a socket has.
    pub(super) fn count(&self, queue: &Received) -> usize {
        let first = self.nodes.get(queue.first.index());
        std::iter::successors(first, |node| self.nodes.get(node.next.index())).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As with a queue per socket, and a node is used again.
        #[test]
        fn each_socket_gets_its_own_pieces_in_order(steps in prop::collection::vec((0..3_usize, 0..5_u8), 1..200)) {
            let mut pieces = Pieces::default();
            let mut queues: [Received; 3] = Default::default();
            let mut model: [VecDeque<u8>; 3] = Default::default();
            let mut held_max = 0;
            for (number, (socket, action)) in steps.into_iter().enumerate() {
                let (queue, model_queue) = (&mut queues[socket], &mut model[socket]);
                match action {
                    0..=2 => {
                        pieces.push_back(queue, Lease::copied(&[number as u8]));
                        model_queue.push_back(number as u8);
                    }
                    3 => {
                        let taken = pieces.pop_front(queue).map(|lease| lease[0]);
                        prop_assert_eq!(taken, model_queue.pop_front());
                    }
                    _ => {
                        pieces.clear(queue);
                        model_queue.clear();
                    }
                }
                for (queue, model) in queues.iter().zip(&model) {
                    prop_assert_eq!(pieces.count(queue), model.len());
                    prop_assert_eq!(queue.is_empty(), model.is_empty());
                }
                held_max = held_max.max(model.iter().map(VecDeque::len).sum());
                let held = pieces.nodes.iter().filter(|node| node.lease.is_some()).count();
                prop_assert_eq!(held, model.iter().map(VecDeque::len).sum::<usize>());
            }
            prop_assert_eq!(pieces.nodes.len(), held_max);
        }
    }
}
