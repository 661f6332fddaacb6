//! A slab whose keys carry a generation, so that a stale key finds nothing instead of a newer value.
//!
//! All tables of the drivers and of the runtime use it. It is not a map: the slab chooses the keys.

use crate::contract::Handle;
use crate::limits::GENERATION_BITS;

const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// A slab of values of type `T`.
///
/// Inserting is O(1) and reuses the slot that was freed last. The key of a removed value stays invalid until its slot
/// has been reused about 2²⁴ times.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts `value` into a free slot and returns its key.
    ///
    /// # Panics
    /// If 2³² slots are in use.
    pub fn insert(&mut self, value: T) -> Handle {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            entry.value = Some(value);
            return Handle::new(slot, entry.generation);
        }
        let length = self.entries.len() + 1;
        reserve_sparingly(&mut self.entries, length);
        let slot = u32::try_from(self.entries.len()).expect("fewer than 2^32 slots");
        self.entries.push(Entry { generation: 1, value: Some(value) });
        Handle::new(slot, 1)
    }

    /// Returns the value behind `handle`, or `None` if it was removed.
    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        match self.entries.get(handle.slot() as usize) {
            Some(entry) if entry.generation == handle.generation() => entry.value.as_ref(),
            _ => None,
        }
    }

    /// Returns the value behind `handle` mutably, or `None` if it was removed.
    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        match self.entries.get_mut(handle.slot() as usize) {
            Some(entry) if entry.generation == handle.generation() => entry.value.as_mut(),
            _ => None,
        }
    }

    /// Removes the value behind `handle` and returns it. `handle` and its copies are stale from then on.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let entry = self.entries.get_mut(handle.slot() as usize)?;
        if entry.generation != handle.generation() {
            return None;
        }
        let value = entry.value.take()?;
        // Generation 0 is never used, so that an all-zero word is not a valid key.
        entry.generation = ((entry.generation + 1) & GENERATION_MASK).max(1);
        self.free.push(handle.slot());
        Some(value)
    }

    /// Returns the number of values in the slab.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Returns whether the slab holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an iterator over all values and their keys, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| {
            entry.value.as_ref().map(|value| (Handle::new(slot as u32, entry.generation), value))
        })
    }

    /// Returns the keys of all values, in slot order.
    pub fn handles(&self) -> Vec<Handle> {
        self.iter().map(|(handle, _)| handle).collect()
    }
}

/// Reserves capacity for `length` elements in total.
///
/// A large table grows by an eighth. A `Vec` would double its capacity, and with tens of thousands of connections the
/// unused half would be a large part of the memory per connection.
pub fn reserve_sparingly<T>(table: &mut Vec<T>, length: usize) {
    const DOUBLING_UP_TO: usize = 256;
    let additional = length.saturating_sub(table.len());
    if length > table.capacity() && table.len() >= DOUBLING_UP_TO {
        table.reserve_exact(additional.max(table.len() / 8));
    } else {
        table.reserve(additional);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.slot(), second.slot(), "the slot is reused");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_stale_key_changes_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert(1);
        slots.remove(first);
        let second = slots.insert(2);
        assert_eq!(slots.get_mut(first), None);
        *slots.get_mut(second).expect("it is there") += 1;
        assert_eq!(slots.remove(second), Some(3));
        assert_eq!(slots.remove(second), None, "removed once");
        assert_eq!(slots.get_mut(second), None);
    }

    #[test]
    fn generations_go_round_and_leave_out_zero() {
        const LAST: u32 = (1 << GENERATION_BITS) - 1;
        let mut slots = Slots::default();
        slots.insert(());
        for (before, after) in [(1, 2), (2, 3), (LAST - 1, LAST), (LAST, 1)] {
            slots.entries[0].generation = before;
            assert_eq!(slots.remove(Handle::new(0, before)), Some(()));
            assert_eq!(slots.insert(()), Handle::new(0, after));
        }
    }

    #[test]
    fn what_is_in_it_is_counted_and_listed() {
        let mut slots = Slots::default();
        assert!(slots.is_empty() && slots.handles().is_empty());
        let handles = ["a", "b", "c", "d"].map(|value| slots.insert(value));
        assert_eq!(slots.handles(), handles);
        slots.remove(handles[1]);
        assert_eq!(slots.len(), 3);
        assert!(!slots.is_empty());
        let there: Vec<_> = slots.iter().collect();
        assert_eq!(there, [(handles[0], &"a"), (handles[2], &"c"), (handles[3], &"d")]);
        for handle in slots.handles() {
            slots.remove(handle);
        }
        assert_eq!((slots.len(), slots.is_empty()), (0, true));
    }

    /// However many there are, few of the elements that have room are not there, and seldom do all of them move.
    #[test]
    fn a_large_table_wastes_little_and_moves_seldom() {
        let mut slots = Slots::default();
        let mut moves = 0;
        for _ in 0..20_000_u32 {
            let before = slots.entries.capacity();
            slots.insert(());
            let (length, capacity) = (slots.entries.len(), slots.entries.capacity());
            moves += u32::from(capacity != before);
            assert!(length <= 512 || capacity <= length + length / 8 + 1, "room for {capacity}, of {length}");
        }
        assert!(moves <= 60, "it has moved {moves} times");
    }

    #[test]
    fn room_is_made_for_what_is_asked() {
        let mut table = vec![0_u8; 800];
        table.shrink_to_fit();
        reserve_sparingly(&mut table, 800);
        assert_eq!(table.capacity(), 800, "there is room");
        reserve_sparingly(&mut table, 2_000);
        assert_eq!(table.capacity(), 2_000, "more than it would grow by");
        reserve_sparingly(&mut table, 1_000);
        assert_eq!(table.capacity(), 2_000, "there is room");
        let mut small = vec![0_u8; 100];
        reserve_sparingly(&mut small, 250);
        assert!(small.capacity() >= 250);
    }
}
