//! The streams that are not over yet: a slab, and the way from a stream id to its place in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not depend on each other")]
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
    places: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
    /// The stream that was looked up last: frames of one stream often come one after the other.
    last: Option<StreamKey>,
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
            self.slab.len() as u32 - 1
        };
        self.places.insert(id, index);
        StreamKey { index, id }
    }

    #[inline]
    pub(super) fn find(&mut self, id: u32) -> Option<StreamKey> {
        if let Some(last) = self.last
            && last.id == id
        {
            return Some(last);
        }
        let index = *self.places.get(&id)?;
        let key = StreamKey { index, id };
        self.last = Some(key);
        Some(key)
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
            self.places.remove(&key.id);
            self.free.push(key.index);
            self.last = None;
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

/// A hash for stream ids. Few streams are open at once, so a peer gains little by choosing ids that collide.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        // Fibonacci hashing: the table takes its index from the low bits and a tag from the high ones.
        let product = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}
