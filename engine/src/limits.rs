//! The named limits of the engine, in one place; those of the drivers are in `ringtide_driver::limits`, those of HTTP
//! in [`proto`](crate::proto).

/// Received bytes that a connection may hold unread before its receive is cancelled until half of them are read.
///
/// The kernel may complete a multishot receive 32 times in a row (`MULTISHOT_MAX_RETRY`), so a reader that keeps up sees at most half of
/// this in one turn.
pub const UNREAD_SIZE_MAX: u32 = 1024 * 1024;

/// What each received piece counts for at least in that sum, in bytes.
pub const UNREAD_CHARGE_MIN: u32 = 4 * 1024;

const _: () =
    assert!(UNREAD_SIZE_MAX / UNREAD_CHARGE_MIN <= ringtide_driver::limits::RECEIVE_BUFFERS as u32 / 2);
const _: () = assert!(UNREAD_SIZE_MAX >= 2 * 32 * ringtide_driver::limits::RECEIVE_BUFFER_SIZE);

/// Buffers that wait to be sent on one connection are sent together up to this size; a larger one goes by itself, uncopied.
pub const COALESCED_SEND_SIZE_MAX: usize = 16 * 1024;

/// Requests that one connection may have in flight. Each answer is matched with the oldest of them, and what a connection keeps for them is
/// walked with every send, so that more would cost more and gain nothing: it is the batch of one send many times over.
pub const PIPELINED_MAX: usize = 1_024;

/// How long a worker that may spin looks for the next piece of a large transfer before it waits in the kernel. About what a wake-up takes: the sender, who
/// would have to cause it, is spared its cost.
pub const BULK_SPIN_NS: u64 = 50_000;

/// How long a connection that the peer is to close is kept for that.
pub const CLOSE_AFTER_PEER_NS: u64 = 1_000_000_000;

/// How many connections of a worker are kept for their peers to close. Peers that do as they say need a moment for it; those
/// that do not shall not take up descriptors.
pub const CLOSE_AFTER_PEER_MAX: usize = 16;
