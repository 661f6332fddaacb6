//! What was seen of the responses that are under way, for checks and captures at their end.

/// Bodies up to this size leave their memory to the next response at their place.
const BODY_MEMORY_KEPT_SIZE_MAX: usize = 64 * 1024;

/// What was seen of the response at one place of a connection.
#[derive(Default)]
pub(super) struct Seen {
    /// The check of the head that failed.
    pub(super) failed: Option<usize>,
    /// The body, if it is needed; not all of it if it is too large.
    pub(super) body: Vec<u8>,
    /// Its whole size.
    pub(super) size: u64,
}

impl Seen {
    /// Forgets it, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.failed = None;
        self.size = 0;
        self.body.clear();
        if self.body.capacity() > BODY_MEMORY_KEPT_SIZE_MAX {
            self.body = Vec::new();
        }
    }
}

/// What was seen on all connections of a worker. Kept here, as each connection's own state must be small.
#[derive(Default)]
pub(super) struct AllSeen {
    of_each: Vec<Vec<Seen>>,
}

impl AllSeen {
    /// What was seen on a connection, by the slot of the request.
    pub(super) fn of_connection(&mut self, number: usize) -> &mut Vec<Seen> {
        if number >= self.of_each.len() {
            self.of_each.resize_with(number + 1, Vec::new);
        }
        &mut self.of_each[number]
    }
}
