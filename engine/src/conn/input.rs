//! Received bytes in front of a codec: the buffer that they came in, or, for the part of a head that was cut, a copy.

use std::mem;
use std::ops::Range;

use bytes::Buf;
use ringtide_driver::Lease;

/// Bytes that have been received and not consumed, and those before them in the same buffer.
///
/// Positions count from the start of the buffer, so a head can be found again as long as the buffer stays.
#[derive(Default)]
pub(super) struct Input {
    buffer: Buffer,
    position: usize,
}

#[derive(Default)]
enum Buffer {
    #[default]
    None,
    Lease(Lease),
    Copy(Vec<u8>),
}

impl Input {
    /// What has not been consumed.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer()[self.position..]
    }

    /// What has not been consumed, to be changed where it stands.
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = match &mut self.buffer {
            Buffer::None => &mut [],
            Buffer::Lease(lease) => &mut lease[..],
            Buffer::Copy(bytes) => &mut bytes[..],
        };
        &mut bytes[self.position..]
    }

    /// The whole buffer, consumed bytes included.
    #[inline]
    pub(super) fn buffer(&self) -> &[u8] {
        match &self.buffer {
            Buffer::None => &[],
            Buffer::Lease(lease) => lease,
            Buffer::Copy(bytes) => bytes,
        }
    }

    /// Where the first unconsumed byte is.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.position
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.position += count;
        debug_assert!(self.position <= self.buffer().len());
    }

    /// Puts `lease` behind what has not been consumed. Copies only if there is such a rest; positions begin anew.
    #[inline]
    pub(super) fn extend(&mut self, lease: Lease) {
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

    /// The received buffer itself, cut down to `range`, if nothing follows that range in it; nothing is left here then.
    pub(super) fn take(&mut self, range: &Range<usize>) -> Option<Lease> {
        if range.end != self.buffer().len() {
            return None;
        }
        match mem::take(&mut self.buffer) {
            Buffer::Lease(mut lease) => {
                lease.advance(range.start);
                self.position = 0;
                Some(lease)
            }
            other => {
                self.buffer = other;
                None
            }
        }
    }

    /// Gives the buffer back if all of it has been consumed.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.bytes().is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_given_away_only_whole_to_its_end() {
        let mut input = Input::default();
        input.extend(Lease::copied(b"headbody"));
        input.consume(4);
        assert!(input.take(&(4..7)).is_none());
        assert_eq!(input.bytes(), b"body");
        assert_eq!(&*input.take(&(4..8)).unwrap(), b"body");
        assert_eq!((input.bytes(), input.position()), (&b""[..], 0));
    }

    #[test]
    fn a_rest_is_kept_in_front_of_what_follows() {
        let mut input = Input::default();
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
