//! A send of several pieces as `IORING_OP_SENDMSG` takes it: an `msghdr` and its `iovec`s, with the pieces that they
//! refer to.
//!
//! A message is boxed, so its address stays the same, and its slot keeps it until the send has completed. The kernel
//! needs the pieces until then, but reads the header and the `iovec`s only while the entry is submitted
//! (io_uring_prep_sendmsg(3)); it continues a short send (`MSG_WAITALL`) with its own copy.

use std::mem;
use std::ptr;

use bytes::Bytes;

use crate::buffer::{rest_of, size_of_all};
use crate::limits::SEND_PIECES_MAX;

pub(super) struct Message {
    pieces: Vec<Bytes>,
    header: libc::msghdr,
    places: [libc::iovec; SEND_PIECES_MAX],
}

impl Message {
    pub(super) fn new(pieces: Vec<Bytes>) -> Box<Self> {
        // SAFETY: all fields of an `msghdr` are integers and pointers, for which zeros are valid: no address, no
        // pieces, no control data.
        let header = unsafe { mem::zeroed() };
        let none = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Box::new(Self { pieces, header, places: [none; SEND_PIECES_MAX] })
    }

    pub(super) fn size(&self) -> usize {
        size_of_all(&self.pieces)
    }

    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// Describes to the kernel the bytes from `offset` on, up to [`SEND_PIECES_MAX`] pieces. No send may be using the
    /// message. What is returned is valid until the next call, or until the message is dropped.
    pub(super) fn describe_from(&mut self, offset: usize) -> *const libc::msghdr {
        let Self { pieces, header, places } = self;
        let mut count = 0;
        for (place, piece) in places.iter_mut().zip(rest_of(pieces, offset)) {
            *place = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
            count += 1;
        }
        header.msg_iov = places.as_mut_ptr();
        // The type of the count differs between C libraries.
        header.msg_iovlen = count as _;
        header
    }

    /// Returns the bytes that [`describe_from`](Self::describe_from) describes.
    #[cfg(test)]
    pub(super) fn bytes_from(&self, offset: usize) -> Vec<u8> {
        rest_of(&self.pieces, offset).take(SEND_PIECES_MAX).collect::<Vec<_>>().concat()
    }
}
