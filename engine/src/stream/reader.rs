//! Received bytes that wait to be read: in the buffer in which they arrived, or in a copy if a message arrived in
//! several buffers.

use std::mem;
use std::ops::Range;

use bytes::Buf;
use ringtide_driver::Lease;

/// Bytes that have been received and not consumed, and the bytes before them in the same buffer.
///
/// Positions count from the start of the buffer, so that a head can be found again while its buffer is kept.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: Buffer,
    /// Of the first byte that has not been consumed. 32 bits are enough for a buffer, and there is one per connection.
    position: u32,
    /// The number of bytes behind it that the owner's caller still uses; see [`give`](Reader::give).
    given: u32,
}

#[derive(Debug, Default)]
enum Buffer {
    #[default]
    None,
    Lease(Lease),
    Copy(Vec<u8>),
}

impl Reader {
    /// Returns the bytes that have not been consumed.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer()[self.position()..]
    }

    /// Returns the bytes that have not been consumed, to be changed in place.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = match &mut self.buffer {
            Buffer::None => &mut [],
            Buffer::Lease(lease) => &mut lease[..],
            Buffer::Copy(bytes) => &mut bytes[..],
        };
        &mut bytes[self.position as usize..]
    }

    /// Returns the whole buffer, including consumed bytes.
    #[inline]
    pub(crate) fn buffer(&self) -> &[u8] {
        match &self.buffer {
            Buffer::None => &[],
            Buffer::Lease(lease) => lease,
            Buffer::Copy(bytes) => bytes,
        }
    }

    /// Returns the position of the first byte that has not been consumed.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position as usize
    }

    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.position += count as u32;
        debug_assert!(self.position() <= self.buffer().len());
    }

    /// Notes that a caller uses the next `count` bytes. They stay until [`consume_given`](Self::consume_given).
    #[inline]
    pub(crate) fn give(&mut self, count: usize) {
        self.given = count as u32;
    }

    /// Returns how many bytes a caller uses.
    #[inline]
    pub(crate) fn given(&self) -> usize {
        self.given as usize
    }

    /// Consumes the bytes that a caller has used.
    #[inline]
    pub(crate) fn consume_given(&mut self) {
        let given = mem::take(&mut self.given);
        self.consume(given as usize);
    }

    /// Appends `lease` after the bytes that have not been consumed. Copies only if there are such bytes. Positions
    /// start again at 0.
    #[inline]
    pub(crate) fn extend(&mut self, lease: Lease) {
        if self.bytes().is_empty() {
            self.buffer = Buffer::Lease(lease);
        } else if let (Buffer::Copy(bytes), 0) = (&mut self.buffer, self.position) {
            bytes.extend_from_slice(&lease);
        } else {
            let rest = self.bytes();
            let mut bytes = Vec::with_capacity(rest.len() + lease.len());
            bytes.extend_from_slice(rest);
            bytes.extend_from_slice(&lease);
            self.buffer = Buffer::Copy(bytes);
        }
        self.position = 0;
    }

    /// Takes `range` out of the receive buffer without a copy, and drops what is before it. Returns `None`, and changes
    /// nothing, if the buffer is a copy. Positions start again at 0.
    pub(crate) fn take(&mut self, range: &Range<usize>) -> Option<Lease> {
        let Buffer::Lease(lease) = &mut self.buffer else { return None };
        lease.advance(range.start);
        self.position = 0;
        if range.len() < lease.len() {
            return Some(lease.split_to(range.len()));
        }
        match mem::take(&mut self.buffer) {
            Buffer::Lease(lease) => Some(lease),
            Buffer::None | Buffer::Copy(_) => None,
        }
    }

    /// Releases the buffer if all of it has been consumed.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.bytes().is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_buffer_is_taken_without_the_rest() {
        let mut input = Reader::default();
        input.extend(Lease::copied(b"headbodynext"));
        input.consume(4);
        assert_eq!(&*input.take(&(4..8)).unwrap(), b"body");
        assert_eq!((input.bytes(), input.position()), (&b"next"[..], 0));
        assert_eq!(&*input.take(&(0..4)).unwrap(), b"next");
        assert!(input.bytes().is_empty() && input.buffer().is_empty());
        input.extend(Lease::copied(b"a"));
        input.extend(Lease::copied(b"b"));
        assert!(input.take(&(0..1)).is_none(), "a copy");
        assert_eq!(input.bytes(), b"ab");
    }

    #[test]
    fn unconsumed_bytes_stay_before_new_ones() {
        let mut input = Reader::default();
        input.extend(Lease::copied(b"HTTP/1.1 200 OK\r\nHTT"));
        input.consume(17);
        assert_eq!((input.bytes(), input.position()), (&b"HTT"[..], 17));
        input.release();
        input.extend(Lease::copied(b"P/1.1"));
        input.extend(Lease::copied(b" 204"));
        assert_eq!((input.bytes(), input.position()), (&b"HTTP/1.1 204"[..], 0));
        input.consume(12);
        input.release();
        assert!(input.buffer().is_empty());
    }
}
