//! The named limits of the engine, in one place.
//!
//! The limits of the drivers are in `ringtide_driver::limits`, those of HTTP in [`proto`](crate::proto).

/// Maximum of unread received bytes on one connection of a worker that listens. Its peers are not trusted. The data
/// that a handler works on (the head, and the piece of the body that it reads) does not count.
///
/// Before Linux 6.17, io_uring has no way to stop a multishot receive at a size. There it delivers up to 32 buffers
/// (`MULTISHOT_MAX_RETRY`) more before the worker can pause the connection.
pub const UNREAD_SIZE_MAX: u32 = 64 * 1024;

/// Received bytes after which one turn stops receiving on a connection. The buffer that crosses this limit is still
/// delivered, so a turn brings at most three full buffers. This is enough for uploads at full speed.
pub const RECEIVE_SIZE_MAX: u32 = 40 * 1024;

/// Maximum of unread bytes at the beginning of a turn, so that the turn stays within [`UNREAD_SIZE_MAX`].
pub const UNREAD_BEFORE_TURN_SIZE_MAX: u32 =
    UNREAD_SIZE_MAX - RECEIVE_SIZE_MAX - ringtide_driver::limits::RECEIVE_BUFFER_SIZE;

const _: () = assert!(UNREAD_BEFORE_TURN_SIZE_MAX >= UNREAD_CHARGE_MIN);

/// Maximum of unread received bytes on all connections of a worker together. When one more turn could exceed it, the
/// worker receives at most [`STRAINED_RECEIVE_SIZE_MAX`] at a time for each connection, and only if that connection has
/// nothing unread. These bytes come on top of the maximum.
pub const WORKER_UNREAD_SIZE_MAX: usize = 64 * 1024 * 1024;

/// Unread bytes of a worker above which it restricts its connections. The difference to [`WORKER_UNREAD_SIZE_MAX`]
/// leaves room for all receive buffers of a driver, which is the most that one turn can bring.
pub const STRAINED_WORKER_UNREAD_SIZE: usize = WORKER_UNREAD_SIZE_MAX - 24 * 1024 * 1024;

/// Received bytes that a connection gets at a time while its worker has too much unread. A typical request fits.
pub const STRAINED_RECEIVE_SIZE_MAX: u32 = 4 * 1024;

/// Maximum of unread received bytes on one connection of a worker that does not listen. A multishot receive delivers up
/// to 32 buffers in a turn, so a reader that keeps up uses at most half of this.
pub const UPSTREAM_UNREAD_SIZE_MAX: u32 = 1024 * 1024;

/// The minimum, in bytes, that each received piece counts in these sums.
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

/// Queued buffers of one connection are copied into one up to this size. A larger one is sent from its own memory.
pub const COALESCED_SEND_SIZE_MAX: usize = 16 * 1024;

/// Size of a send from which on no further queued buffer is added to it, and above which HTTP/2 adds no more data to the
/// queue. Each send costs a turn, in which the peer waits; but a small answer waits for the send before it. Over loopback,
/// bodies of 1 MiB gain up to this size, and lose with twice as much. With TLS, what is queued is copied, so less is.
pub const BULK_SEND_SIZE_MAX: usize = 512 * 1024;

// A full send of HTTP/2 data: a header and 16 KiB for each frame.
const _: () = assert!(2 * (BULK_SEND_SIZE_MAX / (16 * 1024) + 1) < ringtide_driver::limits::SEND_PIECES_MAX);

/// Unsent bytes of a [`Stream`](crate::stream::Stream) above which a write waits, unless the stream has other
/// watermarks.
pub const UNSENT_HIGH_SIZE: usize = 64 * 1024;

/// Unsent bytes at which a write that waits goes on.
pub const UNSENT_LOW_SIZE: usize = 16 * 1024;

const _: () = assert!(UNSENT_LOW_SIZE <= UNSENT_HIGH_SIZE);

/// Plain bytes that are encrypted for one send.
pub const TLS_SEND_SIZE_MAX: usize = 128 * 1024;

/// Decrypted pieces that may wait unread before more is decrypted only to look for the end of the stream.
pub const TLS_PIECES_MAX: usize = 64;

/// Maximum of requests in flight on one connection. The connection walks its records of them on every send, so a larger
/// limit would cost time. It would not gain anything, because one send carries a small part of this number.
pub const PIPELINED_MAX: usize = 1_024;

/// Time that a worker may spin after its last completion before it waits in the kernel. On a busy connection the next
/// completion is often nearer than a wake-up, which costs both this worker and the peer that has to wake it.
pub const PARK_SPIN_NS: u64 = 2_000;

/// The longest time that a worker spins for bytes that it [expects](crate::runtime::Spin), if it learns. Beyond it, a
/// wake-up, which takes 30 to 90 µs on a virtual machine, adds little to what the peer takes.
pub const ANSWER_SPIN_NS_MAX: u64 = 2_000_000;

/// The most connections for which a learning worker spins at a time. With more, their bytes come in batches: one wake-up
/// serves several, and spinning would only make the batches smaller.
pub const ANSWERS_EXPECTED_MAX: usize = 8;

/// The longest time between two looks at the driver that counts as spinning. If more has passed, something else had the
/// core.
pub const SPIN_LOOK_NS_MAX: u64 = 10_000;

/// Time that a worker may spin for the next piece of a large transfer before it waits in the kernel.
pub const BULK_SPIN_NS: u64 = 50_000;

/// Mean time between two pieces of a large transfer above which a worker no longer spins [`BULK_SPIN_NS`] for the next:
/// the peer needs the time for itself, so that being spared a wake-up does not make it faster.
pub const BULK_SPIN_MEAN_NS_MAX: u64 = 2_000;

/// Pieces of large transfers after which a worker that does not spin for them tries it again.
pub const BULK_SPIN_RETRY_PIECES: u32 = 512;

/// Time that a worker waits for the peer to close a connection before it closes the connection itself.
pub const CLOSE_AFTER_PEER_NS: u64 = 1_000_000_000;

/// Maximum of connections on a worker that wait for their peers to close. A peer that closes as announced needs only a
/// moment. The limit keeps other peers from using up descriptors.
pub const CLOSE_AFTER_PEER_MAX: usize = 16;
