//! The streams that are not over yet: a slab, and the way from a stream id to its place in it.

/// A stream of a connection.
///
/// The index is small: it is below the largest number of streams that were open at once, and is used again. So a caller can
/// keep what it knows of a stream in a `Vec`. The id is never used again on its connection; with it the codec knows
/// that a key is of a stream that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub(crate) index: u32,
    pub(crate) id: u32,
}

impl StreamKey {
    /// Returns the place of the stream among those that are open.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Returns the id of the stream in the protocol (RFC 9113 §5.1.1).
    #[inline]
    pub fn id(self) -> u32 {
        self.id
    }
}

/// What the codec knows of a stream.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "five facts that do not depend on each other")]
pub(super) struct Stream {
    /// 0 if the place is free.
    pub(super) id: u32,
    /// This side has sent END_STREAM.
    pub(super) local_ended: bool,
    /// The peer has sent END_STREAM.
    pub(super) remote_ended: bool,
    /// The peer's final head has arrived.
    pub(super) has_head: bool,
    /// The peer's message has no content whatever its head says: a response to HEAD.
    pub(super) has_no_content: bool,
    /// The request is CONNECT.
    pub(super) is_connect: bool,
    /// Interim responses so far.
    pub(super) informational: u8,
    /// Bytes that may be sent. Below zero if the peer has made its windows smaller.
    pub(super) send_window: i64,
    /// Bytes that the peer may send.
    pub(super) receive_window: i64,
    /// Bytes that were read and not yet given back to the peer.
    pub(super) returned: u32,
    /// Bytes of the body that are announced and missing; [`LENGTH_UNKNOWN`] if none are announced.
    pub(super) content_left: u64,
}

pub(super) const LENGTH_UNKNOWN: u64 = u64::MAX;
/// No body is longer.
pub(super) const LENGTH_MAX: u64 = LENGTH_UNKNOWN - 1;

/// The streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slab: Vec<Stream>,
    free: Vec<u32>,
    places: Places,
}

impl Streams {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    #[inline]
    pub(super) fn insert(&mut self, stream: Stream) -> StreamKey {
        let id = stream.id;
        let index = if let Some(index) = self.free.pop() {
            self.slab[index as usize] = stream;
            index
        } else {
            self.slab.push(stream);
            self.places.grow(self.slab.len());
            self.slab.len() as u32 - 1
        };
        let key = StreamKey { index, id };
        self.places.insert(key);
        key
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<StreamKey> {
        self.places.find(id)
    }

    #[inline]
    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.slab.get(key.index as usize).filter(|stream| stream.id == key.id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.slab.get_mut(key.index as usize).filter(|stream| stream.id == key.id)
    }

    #[inline]
    pub(super) fn remove(&mut self, key: StreamKey) {
        if let Some(stream) = self.get_mut(key) {
            stream.id = 0;
            self.places.remove(key.id);
            self.free.push(key.index);
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slab.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Returns the next open stream with an id above `id`, from the index `next` on, which moves behind it.
    pub(super) fn next_above(&self, id: u32, next: &mut usize) -> Option<StreamKey> {
        let index = *next + self.slab[*next..].iter().position(|stream| stream.id > id)?;
        *next = index + 1;
        Some(StreamKey { index: index as u32, id: self.slab[index].id })
    }
}

/// The way from a stream id to its place in the slab: a hash table with linear probing.
///
/// Ids grow evenly, and Fibonacci hashing spreads such numbers so well that a step is rarely needed. Few streams are open at
/// once, so a peer gains little by choosing ids that collide.
#[derive(Debug, Default)]
struct Places {
    /// Empty, or a power of two, at least twice the number of streams. The id is 0 where there is none.
    table: Vec<StreamKey>,
    /// Leaves as many bits of a hash as an index of the table has.
    shift: u32,
}

const PLACES_MIN: usize = 16;
const NO_PLACE: StreamKey = StreamKey { index: 0, id: 0 };

impl Places {
    #[inline]
    fn home(&self, id: u32) -> usize {
        (id.wrapping_mul(0x9e37_79b9) >> self.shift) as usize
    }

    #[inline]
    fn mask(&self) -> usize {
        self.table.len().wrapping_sub(1)
    }

    /// Makes room for `count` streams.
    #[inline]
    fn grow(&mut self, count: usize) {
        if 2 * count > self.table.len() {
            self.rebuild((2 * count).next_power_of_two().max(PLACES_MIN));
        }
    }

    #[cold]
    fn rebuild(&mut self, size: usize) {
        let before = std::mem::replace(&mut self.table, vec![NO_PLACE; size]);
        self.shift = u32::BITS - size.trailing_zeros();
        for key in before.into_iter().filter(|key| key.id != 0) {
            self.insert(key);
        }
    }

    /// Adds a stream that is not there.
    #[inline]
    fn insert(&mut self, key: StreamKey) {
        let mut at = self.home(key.id);
        let mask = self.mask();
        while self.table[at].id != 0 {
            at = (at + 1) & mask;
        }
        self.table[at] = key;
    }

    #[inline]
    fn find(&self, id: u32) -> Option<StreamKey> {
        let mut at = self.home(id);
        loop {
            let key = *self.table.get(at)?;
            if key.id == id {
                return Some(key);
            }
            if key.id == 0 {
                return None;
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Removes a stream that is there, and moves back those that had to step over it.
    #[inline]
    fn remove(&mut self, id: u32) {
        let mask = self.mask();
        let mut gap = self.home(id);
        while self.table[gap].id != id {
            gap = (gap + 1) & mask;
        }
        let mut at = (gap + 1) & mask;
        while self.table[at].id != 0 {
            let home = self.home(self.table[at].id);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.table[gap] = self.table[at];
                gap = at;
            }
            at = (at + 1) & mask;
        }
        self.table[gap] = NO_PLACE;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn places_are_found_however_ids_collide() {
        let mut places = Places::default();
        assert_eq!(places.find(1), None);
        let mut known = BTreeMap::new();
        let mut state = 1u32;
        for index in 0..20_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Few ids, and half of them with the same home in a table of up to 1,024.
            let number = (state >> 24) + 1;
            let id = if number.is_multiple_of(2) {
                number
            } else {
                number.wrapping_mul(0x144c_bc89) & 0x7fff_ffff | 1
            };
            if known.remove(&id).is_some() {
                places.remove(id);
            } else {
                known.insert(id, index);
                places.grow(known.len());
                places.insert(StreamKey { index, id });
            }
            assert_eq!(places.find(id).map(|key| key.index), known.get(&id).copied());
            if index % 64 == 0 {
                for (&id, &index) in &known {
                    assert_eq!(places.find(id), Some(StreamKey { index, id }));
                }
                assert_eq!(places.table.iter().filter(|key| key.id != 0).count(), known.len());
            }
        }
    }
}
