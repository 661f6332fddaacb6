//! The dynamic table (RFC 7541 §2.3.2 and §4): entries in the order of their insertion, the oldest evicted first.
//!
//! The bytes of all entries lie in one buffer, each entry's name and value behind each other. New ones are appended at
//! its end; when it is full, the bytes of evicted entries are removed at its start. So inserting allocates only while the
//! table grows, and moves each byte about once.

use std::collections::VecDeque;

/// What an entry costs beside its bytes (RFC 7541 §4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// The position of `bytes[0]`, counted from the first byte that was ever inserted.
    base: u64,
    /// The oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    size_max: u32,
    change_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Counted like `Table::base`.
    position: u64,
    name_size: u32,
    /// The name and the value.
    size: u32,
}

impl Table {
    pub(super) fn new(size_max: u32) -> Self {
        Self { bytes: Vec::new(), base: 0, entries: VecDeque::new(), size: 0, size_max, change_count: 0 }
    }

    /// Returns the number of entries.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the size of all entries as RFC 7541 §4.1 counts.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    #[inline]
    pub(super) fn size_max(&self) -> u32 {
        self.size_max
    }

    /// Returns how often `insert` and `set_size_max` were called.
    #[inline]
    pub(super) fn change_count(&self) -> u64 {
        self.change_count
    }

    /// Returns an entry, name and value behind each other, and the size of its name. The newest one has age 0.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<(&[u8], usize)> {
        let entry = self.entries.get(self.entries.len().wrapping_sub(age + 1))?;
        let start = (entry.position - self.base) as usize;
        Some((&self.bytes[start..start + entry.size as usize], entry.name_size as usize))
    }

    /// Adds an entry, after evicting as many as necessary. One that is larger than the table empties it and is not added
    /// (§4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        self.change_count += 1;
        let size = name.len() + value.len();
        let room = (self.size_max as usize).checked_sub(size + ENTRY_OVERHEAD);
        self.evict_to(room.unwrap_or(0));
        if room.is_none() {
            return;
        }
        self.make_room(size);
        let position = self.base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.size += size + ENTRY_OVERHEAD;
        self.entries.push_back(Entry { position, name_size: name.len() as u32, size: size as u32 });
    }

    pub(super) fn set_size_max(&mut self, size_max: u32) {
        self.change_count += 1;
        self.size_max = size_max;
        self.evict_to(size_max as usize);
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size as usize + ENTRY_OVERHEAD;
        }
        if self.entries.is_empty() {
            self.base += self.bytes.len() as u64;
            self.bytes.clear();
        }
    }

    /// Makes room for `size` bytes behind the last entry. Either at least half of the buffer is free at its start, and
    /// what moves is no larger than what was evicted since the last time; or the buffer grows, and stays below twice the
    /// table's size.
    fn make_room(&mut self, size: usize) {
        let needed = self.bytes.len() + size;
        if needed <= self.bytes.capacity() {
            return;
        }
        let evicted = self.entries.front().map_or(0, |oldest| (oldest.position - self.base) as usize);
        let kept = self.bytes.len() - evicted;
        if evicted >= kept && kept + size <= self.bytes.capacity() {
            self.bytes.copy_within(evicted.., 0);
            self.bytes.truncate(kept);
            self.base += evicted as u64;
        } else {
            let capacity = (2 * needed).min(2 * self.size_max as usize).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }
}
