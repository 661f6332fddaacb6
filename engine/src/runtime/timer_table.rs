//! The timers of a worker: deadlines in nanoseconds, kept in user space. The driver waits until the nearest one.
//!
//! Moving a deadline to a later time costs one store. Each request does so with the timeout of its connection. The old
//! heap entry stays, and when its time comes, the timer gets a new entry for its actual deadline. Only an earlier
//! deadline needs a new entry at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ringtide_driver::Handle;
use ringtide_driver::slots::Slots;

use super::spin::Spin;
use super::waiter::{Waiter, Wakes};

/// Size of the heap below which it is not searched for stale entries.
const HEAP_SIZE_MIN: usize = 64;

/// The deadline of a timer that is not set.
pub(super) const NEVER: u64 = u64::MAX;

/// Maximum of a learnt spin window. A wake-up that is later than this shows an overloaded machine, not its latency.
const SPIN_LEARNT_MAX_NS: u64 = 200_000;

/// Initial value of a learnt spin window, before any wake-up was measured.
const SPIN_LEARNT_START_NS: u64 = 60_000;

/// All timers of a worker.
pub(super) struct Timers {
    states: Slots<State>,
    /// The times at which to look at a timer. A timer may have several entries. Only the one at `State::queued_ns` is
    /// valid.
    heap: BinaryHeap<Reverse<Entry>>,
    /// The size at which stale entries are removed from the heap: twice the size after the last removal.
    heap_size_max: usize,
    /// Precise timers whose spin window has begun, and their deadlines.
    spinning: Vec<(u64, Handle)>,
    spin: Spin,
    learnt_ns: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due_ns: u64,
    timer: Handle,
}

struct State {
    deadline_ns: u64,
    /// The due time of the valid heap entry, or `NEVER`.
    queued_ns: u64,
    waiter: Waiter,
    elapsed: bool,
    precise: bool,
}

impl Timers {
    pub(super) fn new(spin: Spin) -> Self {
        Self {
            states: Slots::default(),
            heap: BinaryHeap::new(),
            heap_size_max: HEAP_SIZE_MIN,
            spinning: Vec::new(),
            spin,
            learnt_ns: SPIN_LEARNT_START_NS,
        }
    }

    pub(super) fn insert(&mut self, precise: bool) -> Handle {
        self.states.insert(State {
            deadline_ns: NEVER,
            queued_ns: NEVER,
            waiter: Waiter::default(),
            elapsed: false,
            precise,
        })
    }

    /// Removes a timer. Returns its waiter, which the caller must drop when the table is no longer borrowed.
    pub(super) fn remove(&mut self, timer: Handle) -> Waiter {
        let state = self.states.remove(timer);
        self.spinning.retain(|(_, other)| *other != timer);
        // The heap entry becomes stale and is dropped when its time comes. If no timer is left, all entries are stale.
        if self.states.is_empty() {
            self.heap.clear();
        }
        state.map(|state| state.waiter).unwrap_or_default()
    }

    #[inline]
    pub(super) fn set(&mut self, timer: Handle, deadline_ns: u64) {
        let Some(state) = self.states.get_mut(timer) else { return };
        state.deadline_ns = deadline_ns;
        state.elapsed = false;
        if state.precise || deadline_ns < state.queued_ns {
            self.queue(timer);
        }
    }

    /// Makes a heap entry for a deadline that needs one.
    #[inline(never)]
    fn queue(&mut self, timer: Handle) {
        let window_ns = self.window_ns();
        let Some(state) = self.states.get_mut(timer) else { return };
        if state.precise && !self.spinning.is_empty() {
            self.spinning.retain(|(_, other)| *other != timer);
        }
        let due_ns = state.due_ns(window_ns);
        if due_ns < state.queued_ns {
            state.queued_ns = due_ns;
            self.heap.push(Reverse(Entry { due_ns, timer }));
            if self.heap.len() >= self.heap_size_max {
                self.drop_stale_entries();
            }
        }
    }

    /// Removes the stale entries. A timer leaves one behind when it is dropped or set to an earlier time. Otherwise
    /// such an entry would stay until it is due.
    #[cold]
    fn drop_stale_entries(&mut self) {
        let states = &self.states;
        self.heap.retain(|Reverse(entry)| {
            states.get(entry.timer).is_some_and(|state| state.queued_ns == entry.due_ns)
        });
        self.heap_size_max = HEAP_SIZE_MIN.max(2 * self.heap.len());
    }

    /// Returns the place to wait for the deadline, or `None` if the deadline has passed since it was set.
    #[inline]
    pub(super) fn place_to_wait(&mut self, timer: Handle) -> Option<&mut Waiter> {
        let state = self.states.get_mut(timer).expect("a timer's state lasts as long as the timer");
        if state.elapsed { None } else { Some(&mut state.waiter) }
    }

    fn window_ns(&self) -> u64 {
        match self.spin {
            Spin::Off => 0,
            Spin::For(window_ns) => window_ns,
            Spin::Learnt => self.learnt_ns,
        }
    }

    /// Returns when the worker has to be awake: a time in the past while it spins, `None` if no timer is set.
    #[inline]
    pub(super) fn next_ns(&self) -> Option<u64> {
        if !self.spinning.is_empty() {
            return Some(0);
        }
        self.heap.peek().map(|Reverse(entry)| entry.due_ns)
    }

    /// Returns whether the spin window of a precise timer has begun.
    pub(super) fn is_spinning(&self) -> bool {
        !self.spinning.is_empty()
    }

    /// Learns from a wait that its deadline `due_ns` ended, and that returned at `now_ns`. The window grows at once and
    /// shrinks slowly, so that it covers nearly all wake-ups.
    #[inline]
    pub(super) fn woken(&mut self, due_ns: u64, now_ns: u64) {
        if self.spin == Spin::Learnt && now_ns > due_ns {
            let late_ns = ((now_ns - due_ns) * 5 / 4).min(SPIN_LEARNT_MAX_NS);
            self.learnt_ns = late_ns.max(self.learnt_ns - self.learnt_ns / 64);
        }
    }

    /// Wakes the tasks whose deadlines have passed.
    #[inline]
    pub(super) fn expire(&mut self, now_ns: u64, wakes: &mut Wakes) {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if entry.due_ns > now_ns {
                break;
            }
            let Some(Reverse(entry)) = self.heap.pop() else { break };
            self.come_up(&entry, now_ns, wakes);
        }
        let mut index = 0;
        while let Some((deadline_ns, timer)) = self.spinning.get(index).copied() {
            if deadline_ns > now_ns {
                index += 1;
                continue;
            }
            self.spinning.swap_remove(index);
            if let Some(state) = self.states.get_mut(timer) {
                state.fire(wakes);
            }
        }
    }

    fn come_up(&mut self, entry: &Entry, now_ns: u64, wakes: &mut Wakes) {
        let window_ns = self.window_ns();
        let Some(state) = self.states.get_mut(entry.timer) else { return };
        if state.queued_ns != entry.due_ns {
            return;
        }
        state.queued_ns = NEVER;
        if state.deadline_ns <= now_ns {
            state.fire(wakes);
            return;
        }
        let due_ns = state.due_ns(window_ns);
        if due_ns <= now_ns {
            self.spinning.push((state.deadline_ns, entry.timer));
        } else if due_ns != NEVER {
            state.queued_ns = due_ns;
            self.heap.push(Reverse(Entry { due_ns, timer: entry.timer }));
        }
    }
}

impl State {
    fn due_ns(&self, window_ns: u64) -> u64 {
        match self.deadline_ns {
            NEVER => NEVER,
            deadline_ns if self.precise => deadline_ns.saturating_sub(window_ns),
            deadline_ns => deadline_ns,
        }
    }

    fn fire(&mut self, wakes: &mut Wakes) {
        self.deadline_ns = NEVER;
        self.elapsed = true;
        wakes.wake(&mut self.waiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_timers_that_are_gone_or_moved_do_not_pile_up() {
        let mut timers = Timers::new(Spin::Off);
        let moved = timers.insert(false);
        for round in 0..10_000 {
            timers.set(moved, 1_000_000 - round);
            let short_lived = timers.insert(false);
            timers.set(short_lived, 2_000_000);
            drop(timers.remove(short_lived));
        }
        assert!(timers.heap.len() <= HEAP_SIZE_MIN, "{} entries for one timer", timers.heap.len());
        assert_eq!(timers.next_ns(), Some(1_000_000 - 9_999));
    }
}
