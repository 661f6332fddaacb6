//! Data received before a request was sent cannot be its response (RFC 9112 §9.2).
//!
//! Without pipelining, `start` checks this: at that point no data may be there. With pipelining, data that is there may
//! be the response to an earlier request.

/// Separates data received so far from the requests that are sent next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fence {
    /// Number of received pieces before the fence: the piece that is being read, and the unread ones after it. 0 means
    /// that there is no fence.
    pieces: u16,
    /// Number of requests in flight, from the oldest on, that these pieces may answer.
    requests: u16,
}

impl Fence {
    /// Raises the fence before requests are sent.
    ///
    /// `has_rest` tells whether a part of the current piece is unread. `unread` is the number of pieces behind it.
    /// `begun` is the number of requests in flight. A fence that is already up stays unchanged: it covers the new
    /// requests too.
    pub(super) fn raise(&mut self, has_rest: bool, unread: usize, begun: usize) {
        if self.pieces == 0 && (has_rest || unread > 0) {
            let bounded = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            *self = Self { pieces: bounded(unread + 1), requests: bounded(begun) };
        }
    }

    /// Call this when the next piece is read. No response can begin in the rest of the previous one.
    #[inline]
    pub(super) fn next_piece(&mut self) {
        self.pieces = self.pieces.saturating_sub(1);
    }

    /// Call this when a response has ended.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// Returns whether the current piece may be the response to the oldest request.
    #[inline]
    pub(super) fn admits(self) -> bool {
        self.pieces == 0 || self.requests > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_before_the_fence_answer_only_requests_before_it() {
        let mut fence = Fence::default();
        fence.raise(false, 0, 3);
        assert!(fence.admits(), "nothing has been received");
        // Half of the current piece and two more are unread. One request is in flight.
        fence.raise(true, 2, 1);
        assert!(fence.admits());
        fence.answered();
        assert!(!fence.admits());
        fence.raise(true, 2, 9);
        for _ in 0..2 {
            fence.next_piece();
            assert!(!fence.admits(), "the fence was up before that piece was read");
        }
        fence.next_piece();
        assert!(fence.admits());
    }
}
