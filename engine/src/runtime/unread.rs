//! Back-pressure: counts the unread bytes of a worker's sockets, and decides which sockets stop receiving.
//!
//! Only after a task had its turn is it clear whether its reader keeps up. So the worker checks the sockets right
//! before the driver's next turn. It cancels the receives of sockets with too many unread bytes, and TCP slows down
//! their peers. A socket always receives while its reader waits and has nothing unread. So no reader has to wait
//! because of another socket's unread bytes.
//!
//! A reader that passes on what it takes, and so holds unread bytes itself, may stop while all sockets together have too
//! many. It asks for the end of that with `Socket::poll_relief`, and is woken.

use ringtide_driver::{Driver, Handle, Lease};

use super::driver::AnyDriver;
use crate::limits::{
    RECEIVE_SIZE_MAX, STRAINED_RECEIVE_SIZE_MAX, STRAINED_WORKER_UNREAD_SIZE, UNREAD_BEFORE_TURN_SIZE_MAX,
    UNREAD_CHARGE_MIN, UPSTREAM_UNREAD_SIZE_MAX,
};

/// The unread bytes of a worker.
pub(super) struct Unread {
    /// The sum over all sockets.
    total_size: usize,
    /// Maximum for one socket at the beginning of a turn. The turn may add to it.
    size_max: u32,
    /// The worker listens, so its peers are not trusted.
    guarded: bool,
    /// The total exceeds [`STRAINED_WORKER_UNREAD_SIZE`], or did so and has not fallen to half of it yet.
    strained: bool,
    /// Sockets that exceeded their maximum. They are checked before the next turn.
    crowded: Vec<Handle>,
}

/// A change of state before the next turn.
pub(super) enum Change {
    /// The worker comes under strain: all receives have to be cancelled.
    Strain,
    /// The strain is over: receives may resume, so that the ends of streams are noticed again, and readers that wait
    /// for this go on.
    Relief,
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            total_size: 0,
            size_max: UPSTREAM_UNREAD_SIZE_MAX,
            guarded: false,
            strained: false,
            crowded: Vec::new(),
        }
    }
}

impl Unread {
    /// Applies the limits for peers that are not trusted.
    pub(super) fn guard(&mut self, driver: &mut AnyDriver) {
        if !self.guarded {
            self.guarded = true;
            self.limit(driver);
        }
    }

    /// Returns how many unread bytes a socket may have at the beginning of a turn.
    #[inline]
    pub(super) fn size_max(&self) -> u32 {
        self.size_max
    }

    /// Notes that the unread bytes of `socket` have grown from `before` to `after`.
    #[inline]
    pub(super) fn received(&mut self, socket: Handle, before: u32, after: u32) {
        self.total_size += (after - before) as usize;
        if before <= self.size_max && after > self.size_max {
            self.crowded.push(socket);
        }
    }

    /// Adds bytes that a reader holds in addition to the unread ones.
    pub(super) fn held(&mut self, size: u32) {
        self.total_size += size as usize;
    }

    /// Subtracts bytes that are no longer held.
    #[inline]
    pub(super) fn taken(&mut self, size: u32) {
        self.total_size -= size as usize;
    }

    /// Returns whether the sockets together have too many unread bytes, or had, and few of them were read since. A socket
    /// whose receive was cancelled then has to stay paused.
    pub(super) fn is_strained(&self) -> bool {
        self.strained
    }

    /// Returns whether there is nothing to do before the next turn.
    #[inline]
    pub(super) fn is_easy(&self) -> bool {
        self.crowded.is_empty() && !self.strained && self.total_size <= STRAINED_WORKER_UNREAD_SIZE
    }

    pub(super) fn take_crowded(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.crowded)
    }

    /// Returns whether strain begins or ends. It ends at half of the size at which it begins. So each walk over all
    /// sockets is paid for by the many bytes received in between.
    pub(super) fn change(&mut self, driver: &mut AnyDriver) -> Option<Change> {
        if !self.strained && self.total_size > STRAINED_WORKER_UNREAD_SIZE {
            self.strained = true;
            self.limit(driver);
            return Some(Change::Strain);
        }
        if self.strained && self.total_size <= STRAINED_WORKER_UNREAD_SIZE / 2 {
            self.strained = false;
            self.limit(driver);
            return Some(Change::Relief);
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

/// Returns how many bytes an unread lease counts. There is a minimum, because a peer that sends single bytes would
/// otherwise occupy a buffer with each.
#[inline]
pub(super) fn charge(lease: &Lease) -> u32 {
    (lease.len() as u32).max(UNREAD_CHARGE_MIN)
}
