//! How the kernel is asked to send: the flags of an ordinary send, and the entry of one that skips its success.

use io_uring::{opcode, squeue};

pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// A send that completes only if it fails or is short, and which has ended in any case when the call that submits it returns:
/// `MSG_DONTWAIT` forbids the kernel to keep it until there is room (`REQ_F_NOWAIT`). With `MSG_WAITALL` anything short of all of it counts
/// as a failure, which is told in spite of `IOSQE_CQE_SKIP_SUCCESS`: with the number of bytes taken, or `EAGAIN` when that is none.
pub(super) fn skip_success(send: opcode::Send) -> squeue::Entry {
    send.flags(SEND_FLAGS | libc::MSG_DONTWAIT).build().flags(squeue::Flags::SKIP_SUCCESS)
}
