//! Which users of a scenario are ready for their next request.
//!
//! A closed loop has one user for each request that may be in flight. In an open loop, a request that comes due is the next one of
//! the user that has been ready longest; if none is ready, another user begins. So the rate is that of the schedule, however
//! slow the server is and however long users think.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What a user does after a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// It begins another walk, if there may be one.
    pub(super) anew: bool,
    /// It thinks until then; 0 if it does not.
    pub(super) until_ns: u64,
}

/// The users that have no request in flight.
#[derive(Debug)]
pub(super) struct Queue {
    ready: VecDeque<u32>,
    /// Those that think, and until when.
    thinking: BinaryHeap<Reverse<(u64, u32)>>,
    /// How many users there are.
    made: u32,
    /// How many more users there may be, and how many walks may begin.
    users_left: u32,
    walks_left: u64,
}

impl Queue {
    /// At most so many users, and at most so many walks over all of them.
    pub(super) fn new(users_max: u32, walks_max: u64) -> Self {
        Self {
            ready: VecDeque::new(),
            thinking: BinaryHeap::new(),
            made: 0,
            users_left: users_max,
            walks_left: walks_max,
        }
    }

    /// Whether a user is ready at `now_ns`, or could be made.
    #[inline]
    pub(super) fn has_one(&mut self, now_ns: u64) -> bool {
        while let Some(Reverse((until_ns, user))) = self.thinking.peek().copied()
            && until_ns <= now_ns
        {
            self.thinking.pop();
            self.ready.push_back(user);
        }
        !self.ready.is_empty() || (self.users_left > 0 && self.walks_left > 0)
    }

    /// The user for the next request, after [`has_one`](Self::has_one) has returned true.
    #[inline]
    pub(super) fn take(&mut self) -> u32 {
        if let Some(user) = self.ready.pop_front() {
            return user;
        }
        self.users_left -= 1;
        self.walks_left -= 1;
        self.made += 1;
        self.made - 1
    }

    /// A user has its response, or has failed.
    #[inline]
    pub(super) fn put(&mut self, user: u32, next: Next) {
        if next.anew {
            // A user that may not walk again is not needed any more.
            let Some(left) = self.walks_left.checked_sub(1) else { return };
            self.walks_left = left;
        }
        if next.until_ns > 0 {
            self.thinking.push(Reverse((next.until_ns, user)));
        } else {
            self.ready.push_back(user);
        }
    }

    /// When the next user has thought enough.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.thinking.peek().map(|Reverse((until_ns, _))| *until_ns)
    }

    /// Whether a user is ready without having to be waited for.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty() || (self.users_left > 0 && self.walks_left > 0)
    }

    /// Whether only requests in flight can lead to further ones.
    pub(super) fn is_spent(&self) -> bool {
        self.walks_left == 0 && self.ready.is_empty() && self.thinking.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_ready_longest_goes_on_before_another_begins() {
        let mut queue = Queue::new(3, u64::MAX);
        let take = |queue: &mut Queue, now_ns| queue.has_one(now_ns).then(|| queue.take());
        assert_eq!([take(&mut queue, 0), take(&mut queue, 0)], [Some(0), Some(1)]);
        queue.put(1, Next::default());
        queue.put(0, Next { anew: true, until_ns: 0 });
        assert_eq!([take(&mut queue, 0), take(&mut queue, 0)], [Some(1), Some(0)]);
        queue.put(0, Next { anew: false, until_ns: 9 });
        assert_eq!((take(&mut queue, 8), queue.next_ns()), (Some(2), Some(9)));
        assert_eq!(take(&mut queue, 8), None, "there are no more than three");
        assert_eq!((take(&mut queue, 9), take(&mut queue, 9)), (Some(0), None));
    }

    #[test]
    fn walks_run_out() {
        let mut queue = Queue::new(10, 2);
        assert!(queue.has_one(0) && queue.take() == 0 && queue.has_one(0) && queue.take() == 1);
        assert!(!queue.has_one(0) && queue.is_spent());
        queue.put(0, Next::default());
        assert!(!queue.is_spent() && queue.has_one(0) && queue.take() == 0);
        queue.put(0, Next { anew: true, until_ns: 0 });
        assert!(queue.is_spent() && !queue.is_ready(), "its second walk would be the third");
    }
}
