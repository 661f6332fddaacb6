//! The limit on how much a receive delivers in one turn, and the submission entry that contains it.

// The crate has no setters for `sqe->len` and `sqe->optlen` of a multishot receive.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};

use super::buffer_ring::BUFFER_GROUP;

/// The name of the feature in reports.
pub(super) const RECEIVE_LIMIT: &str = "receive_limit";

/// The positions of `len` and `optlen` in `struct io_uring_sqe`, counted in u32: offsets 24 and 44 (`io_uring.h`).
const LEN_INDEX: usize = 6;
const OPTLEN_INDEX: usize = 11;

const _: () = assert!(size_of::<squeue::Entry>() == 64);

/// The limit of [`Driver::limit_receives`](crate::Driver::limit_receives), as far as this kernel supports it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReceiveLimit {
    /// No limit.
    None,
    /// The kernel ends a multishot receive with the piece that reaches this many bytes in total. No piece is larger
    /// than that (Linux 6.17).
    Total(u32),
    /// For an older kernel: each receive is for one piece of at most this many bytes.
    Piece(u32),
}

impl ReceiveLimit {
    /// Returns the best limit that this kernel supports for `size_max`.
    ///
    /// An older kernel can only stop after each piece. For a limit larger than a buffer, that would cost all
    /// connections more than the limit is worth.
    pub(super) fn new(size_max: u32, buffer_size: u32) -> Self {
        if size_max == u32::MAX {
            Self::None
        } else if kernel_counts() {
            Self::Total(size_max)
        } else if size_max <= buffer_size {
            Self::Piece(size_max)
        } else {
            Self::None
        }
    }

    /// Returns whether a receive that has ended with bytes waits for the next turn, because it used up its share of
    /// this one.
    pub(super) fn ends_turn(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Returns the entry for a receive from `socket` into the registered buffers.
    pub(super) fn entry(self, socket: Fd) -> squeue::Entry {
        match self {
            Self::None => opcode::RecvMulti::new(socket, BUFFER_GROUP).build(),
            Self::Total(size_max) => total(opcode::RecvMulti::new(socket, BUFFER_GROUP).build(), size_max),
            Self::Piece(size_max) => opcode::Recv::new(socket, ptr::null_mut(), size_max)
                .buf_group(BUFFER_GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        }
    }
}

fn total(mut entry: squeue::Entry, size_max: u32) -> squeue::Entry {
    // SAFETY: `Entry` is a transparent wrapper of `struct io_uring_sqe`, which has 64 bytes, is aligned for its u64
    // fields, and for which all bit patterns are valid. Both indexes are inside it.
    unsafe {
        let words = (&raw mut entry).cast::<u32>();
        words.add(LEN_INDEX).write(size_max);
        words.add(OPTLEN_INDEX).write(size_max);
    }
    entry
}

/// Returns whether the kernel can end a multishot receive after a number of bytes.
///
/// The first call tries it. An older kernel rejects the unknown field with `EINVAL`.
fn kernel_counts() -> bool {
    use std::sync::OnceLock;
    static COUNTS: OnceLock<bool> = OnceLock::new();
    *COUNTS.get_or_init(|| {
        let (Ok(mut ring), Ok((one, _other))) = (IoUring::new(1), UnixStream::pair()) else { return false };
        let entry = total(opcode::RecvMulti::new(Fd(one.as_raw_fd()), BUFFER_GROUP).build(), 1);
        // SAFETY: no buffer group is registered, so the receive has nowhere to write. It fails with ENOBUFS at the
        // latest.
        unsafe { ring.submission().push(&entry) }.expect("the queue is empty");
        let submitted = ring.submit().is_ok();
        let refused = ring.completion().any(|entry| entry.result() == -libc::EINVAL);
        submitted && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_is_no_limit() {
        let none = ReceiveLimit::new(u32::MAX, 16 * 1024);
        assert!(matches!(none, ReceiveLimit::None) && !none.ends_turn(), "{none:?}");
        let below = ReceiveLimit::new(1_000, 16 * 1024);
        assert!(matches!(below, ReceiveLimit::Total(1_000) | ReceiveLimit::Piece(1_000)), "{below:?}");
        assert!(below.ends_turn(), "{below:?}");
    }

    /// The other way round nothing is known: older kernels may have been given it.
    #[test]
    fn a_kernel_that_counts_is_known() {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
        if crate::io_uring::probe().is_ok() && (numbers.next(), numbers.next()) >= (Some(6), Some(17)) {
            assert!(kernel_counts(), "{release}");
        }
    }
}
