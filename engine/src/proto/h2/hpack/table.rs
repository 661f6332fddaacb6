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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bolero::check;

    use super::*;

    type Model = VecDeque<(Vec<u8>, Vec<u8>)>;

    fn size_of(model: &Model) -> usize {
        model.iter().map(|(name, value)| name.len() + value.len() + ENTRY_OVERHEAD).sum()
    }

    fn assert_same(table: &Table, model: &Model) {
        assert_eq!((table.len(), table.size()), (model.len(), size_of(model)));
        for (age, (name, value)) in model.iter().rev().enumerate() {
            let (entry, name_size) = table.get(age).unwrap();
            assert_eq!(entry.split_at(name_size), (&name[..], &value[..]));
        }
        assert_eq!(table.get(model.len()), None);
    }

    /// Each pair is an insertion, or with a number a new size.
    #[test]
    fn a_table_is_like_a_queue_of_its_entries() {
        check!().with_type().with_iterations(2_000).for_each(|steps: &Vec<(u8, u16, Option<u16>)>| {
            let mut table = Table::new(600);
            let mut model = Model::new();
            for (count, &(name_size, value_size, resize)) in steps.iter().enumerate() {
                if let Some(size_max) = resize {
                    table.set_size_max(u32::from(size_max) % 1_000);
                } else {
                    // Recognised by their bytes.
                    let name = vec![count as u8; usize::from(name_size)];
                    let value = vec![!(count as u8); usize::from(value_size) % 500];
                    table.insert(&name, &value);
                    model.push_back((name, value));
                }
                while size_of(&model) > table.size_max() as usize {
                    model.pop_front();
                }
                assert_eq!(table.change_count(), count as u64 + 1);
                assert_same(&table, &model);
            }
        });
    }

    #[test]
    fn evicts_at_exact_sizes() {
        let mut table = Table::new(100);
        table.insert(b"a", b"1");
        table.insert(b"b", b"2");
        assert_eq!((table.len(), table.size()), (2, 68));
        // 32 more are exactly 100.
        table.insert(b"", b"");
        assert_eq!((table.len(), table.size()), (3, 100));
        table.insert(b"", b"");
        assert_eq!((table.len(), table.size()), (3, 98));
        // 68 are as large as the table, 69 too large.
        table.insert(&[b'n'; 60], &[b'v'; 8]);
        assert_eq!((table.len(), table.size()), (1, 100));
        table.insert(&[b'n'; 60], &[b'v'; 9]);
        assert_eq!((table.len(), table.size()), (0, 0));
    }

    #[test]
    fn a_table_takes_no_memory_before_it_is_used_and_never_twice_its_size() {
        let mut table = Table::new(4096);
        assert_eq!((table.bytes.capacity(), table.entries.capacity()), (0, 0));
        table.insert(b"name", b"value");
        assert!(table.bytes.capacity() <= 18);
        for round in 0..10_000_usize {
            table.insert(b"name", &vec![b'v'; round * 7 % 700]);
            assert!(table.bytes.capacity() <= 2 * 4096);
        }
        // From now on nothing is allocated.
        let before = (table.bytes.as_ptr(), table.entries.capacity());
        for round in 0..10_000_usize {
            table.insert(b"name", &vec![b'v'; round * 7 % 700]);
        }
        assert_eq!((table.bytes.as_ptr(), table.entries.capacity()), before);
        // The smallest entries.
        for _ in 0..1_000 {
            table.insert(b"", b"");
        }
        assert_eq!((table.len(), table.entries.capacity()), (128, 128));
    }
}
