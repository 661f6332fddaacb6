//! A piece of a received body that its reader may keep.

use std::fmt;
use std::ops::Deref;

use bytes::{Buf, Bytes};
use ringtide_driver::Lease;

/// Received bytes of a body: a [`Buf`], and a plain slice.
///
/// Large pieces are the very buffer that the kernel wrote to, small ones a copy. The buffers of a worker are few: a
/// piece is to be used and dropped; what is kept for long is better [copied](Self::into_bytes). It cannot leave its thread.
pub struct Piece(Home);

enum Home {
    Lease(Lease),
    Copy(Bytes),
}

impl Piece {
    pub(super) fn leased(lease: Lease) -> Self {
        Self(Home::Lease(lease))
    }

    pub(super) fn copied(bytes: &[u8]) -> Self {
        Self(Home::Copy(Bytes::copy_from_slice(bytes)))
    }

    /// The bytes in memory of their own, which may be kept and sent to other threads. Copies unless they are a copy already.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Home::Lease(lease) => Bytes::copy_from_slice(&lease),
            Home::Copy(bytes) => bytes,
        }
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Home::Lease(lease) => lease,
            Home::Copy(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    fn advance(&mut self, count: usize) {
        match &mut self.0 {
            Home::Lease(lease) => lease.advance(count),
            Home::Copy(bytes) => bytes.advance(count),
        }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_the_same_wherever_its_bytes_are() {
        for mut piece in [Piece::leased(Lease::copied(b"received")), Piece::copied(b"received")] {
            assert_eq!((piece.as_ref(), piece.remaining()), (&b"received"[..], 8));
            piece.advance(2);
            assert_eq!((piece.chunk(), piece.remaining()), (&b"ceived"[..], 6));
            assert_eq!(piece.into_bytes(), b"ceived"[..]);
        }
    }
}
