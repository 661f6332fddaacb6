//! What was received before a request was sent is no response to it (RFC 9112 §9.2).
//!
//! Without pipelining that is seen when a request is started, as nothing may be at hand then. With it, what is at hand may well be the response
//! to a request before.

use crate::limits::PIPELINED_MAX;

/// Parts what has been received so far from the requests that are sent next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fence {
    /// Pieces of received data in front of it: the one that is being read, and those behind it that are unread. 0 when it is down.
    pieces: u16,
    /// Requests in flight, the oldest first, that they may answer.
    requests: u16,
}

const _: () = assert!(PIPELINED_MAX <= u16::MAX as usize);

impl Fence {
    /// Requests are about to be sent, while `begun` are under way, and `unread` pieces wait behind the one that is being read, of which there
    /// is a rest or none. A fence that stands already is left as it is: it holds for these requests as well.
    pub(super) fn raise(&mut self, has_rest: bool, unread: usize, begun: usize) {
        if self.pieces == 0 && (has_rest || unread > 0) {
            let bounded = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            *self = Self { pieces: bounded(unread + 1), requests: bounded(begun) };
        }
    }

    /// The next piece is read; of the one before, nothing is left that a response begins with.
    #[inline]
    pub(super) fn next_piece(&mut self) {
        self.pieces = self.pieces.saturating_sub(1);
    }

    /// A request was answered to the end.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// Whether what is being read may be the response to the oldest request.
    #[inline]
    pub(super) fn admits(self) -> bool {
        self.pieces == 0 || self.requests > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_front_of_it_answer_the_requests_in_front_of_it_alone() {
        let mut fence = Fence::default();
        fence.raise(false, 0, 3);
        assert!(fence.admits(), "nothing is at hand");
        // Half of the piece that is read, and two more; one request is under way.
        fence.raise(true, 2, 1);
        assert!(fence.admits());
        fence.answered();
        assert!(!fence.admits());
        fence.raise(true, 2, 9);
        for _ in 0..2 {
            fence.next_piece();
            assert!(!fence.admits(), "it stood already when that came");
        }
        fence.next_piece();
        assert!(fence.admits());
    }
}
