//! A piece of a received body that its reader may keep.

use std::fmt;
use std::ops::Deref;

use bytes::{Buf, Bytes};
use ringtide_driver::Lease;

/// Received bytes of a body. A piece is a [`Buf`] and dereferences to a slice.
///
/// A large piece is the buffer to which the kernel wrote; a small piece is a copy. A worker has few buffers, so drop
/// pieces soon. To keep data for long, [copy it](Self::into_bytes). A piece cannot leave its thread.
pub struct Piece(Home);

enum Home {
    Lease(Lease),
    Copy(Bytes),
}

impl Piece {
    pub(in crate::conn) fn leased(lease: Lease) -> Self {
        Self(Home::Lease(lease))
    }

    pub(in crate::conn) fn copied(bytes: &[u8]) -> Self {
        Self::copy(Bytes::copy_from_slice(bytes))
    }

    /// `bytes` are a copy of what was received.
    pub(in crate::conn) fn copy(bytes: Bytes) -> Self {
        Self(Home::Copy(bytes))
    }

    /// Returns the bytes in their own memory, which can be kept and sent to other threads. Copies them unless the piece
    /// is already a copy.
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
