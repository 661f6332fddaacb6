//! Submission entries for sends: the flags of an ordinary send, and the entry of a skip-success send.

use io_uring::{opcode, squeue};

pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Returns the entry of a send that completes only if it fails or is short.
///
/// In any case the send has ended when the call that submits it returns, because `MSG_DONTWAIT` forbids the kernel to
/// keep it until there is room (`REQ_F_NOWAIT`). With `MSG_WAITALL`, a short send counts as a failure, and a failure
/// completes in spite of `IOSQE_CQE_SKIP_SUCCESS`. Its result is the number of bytes taken, or `EAGAIN` if there were
/// none.
pub(super) fn skip_success(send: opcode::Send) -> squeue::Entry {
    send.flags(SEND_FLAGS | libc::MSG_DONTWAIT).build().flags(squeue::Flags::SKIP_SUCCESS)
}
