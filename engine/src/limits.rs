//! The named limits of the engine, in one place; those of the drivers are in `ringtide_driver::limits`, those of HTTP
//! in [`proto`](crate::proto).

/// Received bytes that a connection may hold unread on a worker that listens: its peers are strangers. What a handler holds while
/// it works (the head, and the piece of the body that it reads) is not in it.
///
/// io_uring before Linux 6.17 cannot be told where to stop: a multishot receive there delivers up to 32 buffers (`MULTISHOT_MAX_RETRY`) on
/// top before the connection is held back.
pub const UNREAD_SIZE_MAX: u32 = 64 * 1024;

/// What one turn may bring of it, after which up to a buffer may come on top: three buffers where they are full. Large enough for uploads
/// to go on at full speed.
pub const RECEIVE_SIZE_MAX: u32 = 40 * 1024;

/// What may be unread when a turn begins, for that to fit.
pub const UNREAD_BEFORE_TURN_SIZE_MAX: u32 =
    UNREAD_SIZE_MAX - RECEIVE_SIZE_MAX - ringtide_driver::limits::RECEIVE_BUFFER_SIZE;

const _: () = assert!(UNREAD_BEFORE_TURN_SIZE_MAX >= UNREAD_CHARGE_MIN);

/// Received bytes that the connections of a worker may hold unread together. When as much is held that one more turn could exceed it, each
/// connection is given [`STRAINED_RECEIVE_SIZE_MAX`] at a time, and only when it has nothing unread. That much of each comes
/// on top.
pub const WORKER_UNREAD_SIZE_MAX: usize = 64 * 1024 * 1024;

/// Where that begins: what one turn can bring at most, by the buffers that drivers have for it, is left free.
pub const STRAINED_WORKER_UNREAD_SIZE: usize = WORKER_UNREAD_SIZE_MAX - 24 * 1024 * 1024;

/// What one connection is given at a time on a worker that holds too much: a usual request.
pub const STRAINED_RECEIVE_SIZE_MAX: u32 = 4 * 1024;

/// Received bytes that a connection may hold unread on a worker that does not listen. A multishot receive delivers up to 32 buffers in
/// a turn, so a reader that keeps up sees at most half of this.
pub const UPSTREAM_UNREAD_SIZE_MAX: u32 = 1024 * 1024;

/// What each received piece counts for at least in these sums, in bytes.
pub const UNREAD_CHARGE_MIN: u32 = 4 * 1024;

const _: () = assert!(
    UPSTREAM_UNREAD_SIZE_MAX / UNREAD_CHARGE_MIN <= ringtide_driver::limits::RECEIVE_BUFFERS as u32 / 2
);
const _: () = assert!(UPSTREAM_UNREAD_SIZE_MAX >= 2 * 32 * ringtide_driver::limits::RECEIVE_BUFFER_SIZE);
const _: () = assert!(
    WORKER_UNREAD_SIZE_MAX - STRAINED_WORKER_UNREAD_SIZE
        >= ringtide_driver::limits::RECEIVE_BUFFERS as usize
            * ringtide_driver::limits::RECEIVE_BUFFER_SIZE as usize
            * 3
            / 2
);

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
