//! How much the sockets of a worker hold unread, and when they are held back.
//!
//! Whether a reader keeps up shows when its task has had its turn, so that is when sockets are looked at: right before the
//! driver's next turn. Those with too much have their receive cancelled, and TCP holds their peers back. A socket whose reader asks for
//! more and has nothing is always received from, so nobody waits for what another one holds.

use ringtide_driver::{Driver, Handle, Lease};

use super::driver::AnyDriver;
use crate::limits::{
    RECEIVE_SIZE_MAX, STRAINED_RECEIVE_SIZE_MAX, STRAINED_WORKER_UNREAD_SIZE, UNREAD_BEFORE_TURN_SIZE_MAX,
    UNREAD_CHARGE_MIN, UPSTREAM_UNREAD_SIZE_MAX,
};

/// What is held unread on a worker.
pub(super) struct Unread {
    /// By all sockets.
    total_size: usize,
    /// What a socket may hold when a turn begins: what that turn may add comes on top.
    size_max: u32,
    /// Peers are strangers, as those of a listener's connections are.
    guarded: bool,
    /// More than [`STRAINED_WORKER_UNREAD_SIZE`] is held, or was a moment ago.
    strained: bool,
    /// Sockets that came to hold more than they may, to be looked at before the next turn.
    crowded: Vec<Handle>,
    /// Sockets whose receives have ended because of the strain; some may have begun again since.
    held_back: Vec<Handle>,
}

/// What changes with the coming turn.
pub(super) enum Change {
    /// All receives are to end.
    Strain,
    /// Those of these sockets may go on, so that their peers' ends are noticed again.
    Relief(Vec<Handle>),
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            total_size: 0,
            size_max: UPSTREAM_UNREAD_SIZE_MAX,
            guarded: false,
            strained: false,
            crowded: Vec::new(),
            held_back: Vec::new(),
        }
    }
}

impl Unread {
    /// Has the limits hold that are meant for strangers.
    pub(super) fn guard(&mut self, driver: &mut AnyDriver) {
        if !self.guarded {
            self.guarded = true;
            self.limit(driver);
        }
    }

    /// What a socket may hold unread when a turn begins.
    #[inline]
    pub(super) fn size_max(&self) -> u32 {
        self.size_max
    }

    /// A socket that held `before` holds `after`.
    #[inline]
    pub(super) fn received(&mut self, socket: Handle, before: u32, after: u32) {
        self.total_size += (after - before) as usize;
        if before <= self.size_max && after > self.size_max {
            self.crowded.push(socket);
        }
    }

    /// So much is held beside what sockets have unread.
    pub(super) fn held(&mut self, size: u32) {
        self.total_size += size as usize;
    }

    /// So much is no longer held.
    #[inline]
    pub(super) fn taken(&mut self, size: u32) {
        self.total_size -= size as usize;
    }

    /// Notes that the receive of `socket` has ended although nobody asked for it; whether that is so because of the strain.
    pub(super) fn ended_early(&mut self, socket: Handle) -> bool {
        if self.strained {
            self.held_back.push(socket);
        }
        self.strained
    }

    /// Whether there is nothing to do before the coming turn.
    #[inline]
    pub(super) fn is_easy(&self) -> bool {
        self.crowded.is_empty() && !self.strained && self.total_size <= STRAINED_WORKER_UNREAD_SIZE
    }

    pub(super) fn take_crowded(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.crowded)
    }

    /// Sees whether the worker has come under strain or out of it. The latter at half of what makes it, so that a walk over all
    /// sockets is paid for by what was received meanwhile.
    pub(super) fn change(&mut self, driver: &mut AnyDriver) -> Option<Change> {
        if !self.strained && self.total_size > STRAINED_WORKER_UNREAD_SIZE {
            self.strained = true;
            self.limit(driver);
            return Some(Change::Strain);
        }
        if self.strained && self.total_size <= STRAINED_WORKER_UNREAD_SIZE / 2 {
            self.strained = false;
            self.limit(driver);
            return Some(Change::Relief(std::mem::take(&mut self.held_back)));
        }
        None
    }

    fn limit(&mut self, driver: &mut AnyDriver) {
        let (size_max, receive_size_max) = match (self.guarded, self.strained) {
            (_, true) => (0, STRAINED_RECEIVE_SIZE_MAX),
            (true, false) => (UNREAD_BEFORE_TURN_SIZE_MAX, RECEIVE_SIZE_MAX),
            (false, false) => (UPSTREAM_UNREAD_SIZE_MAX, u32::MAX),
        };
        self.size_max = size_max;
        driver.limit_receives(receive_size_max);
    }
}

/// What an unread lease counts for. Not only its bytes: a peer that sends single ones would otherwise take a buffer with each.
#[inline]
pub(super) fn charge(lease: &Lease) -> u32 {
    (lease.len() as u32).max(UNREAD_CHARGE_MIN)
}
