//! Where the pieces of a message are while a caller looks at them: in the buffer that received them, or in a copy.

use std::ops::Range;

use crate::stream::Reader;

/// Where the bytes of the current head are.
#[derive(Default)]
pub(super) enum HeadPlace {
    #[default]
    Nowhere,
    /// In the input's buffer, from this position.
    Input(u32),
    /// In a copy, because the input has moved on to another buffer. Boxed twice, because this is rare.
    Kept(Box<Box<[u8]>>),
}

impl HeadPlace {
    /// Returns bytes that begin with those of the head.
    ///
    /// # Panics
    /// Panics if there is none.
    #[inline]
    pub(super) fn bytes<'c>(&'c self, input: &'c Reader) -> &'c [u8] {
        match self {
            Self::Input(position) => &input.buffer()[*position as usize..],
            Self::Kept(bytes) => bytes,
            Self::Nowhere => unreachable!("a head is kept as long as its message"),
        }
    }

    /// Copies the head, of `length` bytes, before its buffer is released.
    pub(super) fn keep(&mut self, input: &Reader, length: usize) {
        if let Self::Input(position) = self {
            let bytes = &input.buffer()[*position as usize..][..length];
            *self = Self::Kept(Box::new(bytes.into()));
        }
    }
}

/// Returns the place of `piece` in the input's buffer. It is a part of the unread bytes, which are at `unread` in memory
/// and at `position` in the buffer.
#[inline]
pub(super) fn range_of(piece: &[u8], unread: *const u8, position: usize) -> Range<usize> {
    let start = position + (piece.as_ptr().addr() - unread.addr());
    start..start + piece.len()
}
