//! Which sockets are expected to receive soon, so that it may be worth spinning for them.
//!
//! A socket counts from its send until it receives. One that waits for too long counts no more: then the next epoch
//! begins, in which nothing is expected until something is sent.

/// How many sockets are expected to receive. Each of them has a [`Mark`].
pub(super) struct Expected {
    /// Never that of a default mark.
    epoch: u32,
    count: u32,
}

/// The part of a socket: the epoch in which it was last expected to receive, or 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark(u32);

impl Default for Expected {
    fn default() -> Self {
        Self { epoch: 1, count: 0 }
    }
}

impl Expected {
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// From now on the socket is expected to receive.
    #[inline]
    pub(super) fn expect(&mut self, mark: &mut Mark) {
        self.count += u32::from(mark.0 != self.epoch);
        mark.0 = self.epoch;
    }

    /// The socket has received, or is closed.
    #[inline]
    pub(super) fn settle(&mut self, mark: &mut Mark) {
        if mark.0 == self.epoch {
            mark.0 = 0;
            self.count -= 1;
        }
    }

    /// From now on no socket is expected to receive.
    pub(super) fn give_up(&mut self) {
        // After four billion epochs, a socket that has been silent meanwhile might look as if it were expected. An epoch
        // lasts for at least some microseconds.
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_counts_once_from_its_sends_until_it_receives() {
        let (mut expected, mut one, mut other) = (Expected::default(), Mark::default(), Mark::default());
        expected.settle(&mut one);
        assert_eq!(expected.count(), 0, "nothing was expected");
        expected.expect(&mut one);
        expected.expect(&mut one);
        expected.expect(&mut other);
        assert_eq!(expected.count(), 2);
        expected.settle(&mut one);
        expected.settle(&mut one);
        assert_eq!(expected.count(), 1);
    }

    #[test]
    fn what_is_given_up_counts_again_only_after_the_next_send() {
        let (mut expected, mut mark) = (Expected::default(), Mark::default());
        expected.expect(&mut mark);
        expected.give_up();
        assert_eq!(expected.count(), 0);
        expected.settle(&mut mark);
        assert_eq!(expected.count(), 0, "its bytes are late");
        expected.expect(&mut mark);
        assert_eq!(expected.count(), 1);
    }

    #[test]
    fn the_epochs_start_over_without_the_one_of_a_new_socket() {
        let mut expected = Expected { epoch: u32::MAX, count: 0 };
        let mut mark = Mark::default();
        expected.expect(&mut mark);
        expected.give_up();
        let mut new = Mark::default();
        expected.settle(&mut new);
        expected.expect(&mut new);
        assert_eq!(expected.count(), 1);
    }
}
