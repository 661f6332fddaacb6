//! How much one receive delivers in a turn, and the entry that says so to the kernel.

// `sqe->len` and `sqe->optlen` of a multishot receive have no setters in the crate.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};

use super::buffer_ring::BUFFER_GROUP;

/// The feature's name in reports.
pub(super) const RECEIVE_LIMIT: &str = "receive_limit";

/// Where `struct io_uring_sqe` has `len` and `optlen`, counted in u32: offsets 24 and 44 (`io_uring.h`).
const LEN_INDEX: usize = 6;
const OPTLEN_INDEX: usize = 11;

const _: () = assert!(size_of::<squeue::Entry>() == 64);

/// The bound of [`Driver::limit_receives`](crate::Driver::limit_receives), as far as this kernel can keep it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReceiveLimit {
    /// There is none.
    None,
    /// The kernel ends a multishot with the piece that reaches so many bytes, none of which is larger (Linux 6.17).
    Total(u32),
    /// An older kernel: each receive is for one piece of at most so many bytes.
    Piece(u32),
}

impl ReceiveLimit {
    /// The best way here to keep to `size_max`. An older kernel can stop after a piece only, which would cost all connections more
    /// than a bound above a buffer is worth.
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

    /// Whether a receive that has ended with bytes waits for the next turn: it has had its share of this one.
    pub(super) fn ends_turn(self) -> bool {
        !matches!(self, Self::None)
    }

    /// A receive from `socket` into the registered buffers.
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
    // SAFETY: `Entry` is a transparent `struct io_uring_sqe` of 64 bytes, aligned for its u64 fields, for which all bits are
    // valid; both indexes are inside it.
    unsafe {
        let words = (&raw mut entry).cast::<u32>();
        words.add(LEN_INDEX).write(size_max);
        words.add(OPTLEN_INDEX).write(size_max);
    }
    entry
}

/// Whether the kernel can end a multishot after a number of bytes, found out once by asking for it. An older one refuses what it does
/// not know (`EINVAL`).
fn kernel_counts() -> bool {
    use std::sync::OnceLock;
    static COUNTS: OnceLock<bool> = OnceLock::new();
    *COUNTS.get_or_init(|| {
        let (Ok(mut ring), Ok((one, _other))) = (IoUring::new(1), UnixStream::pair()) else { return false };
        let entry = total(opcode::RecvMulti::new(Fd(one.as_raw_fd()), BUFFER_GROUP).build(), 1);
        // SAFETY: there is no buffer group, so the receive has nowhere to write to and fails with ENOBUFS at the latest.
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
