//! The named limits of the drivers. Relations between them are checked at compile time.

/// The number of buffers in the default receive pool of a driver. The kernel's buffer rings require a power of two.
pub const RECEIVE_BUFFERS: u16 = 1024;

/// The size of one receive buffer in bytes.
pub const RECEIVE_BUFFER_SIZE: u32 = 16 * 1024;

/// The gap in bytes between neighbouring receive buffers.
///
/// Nearly all traffic is in the first bytes of the buffers. Without the gap the buffers would start at multiples of a
/// power of two, and their first bytes would compete for the same few cache sets.
pub const RECEIVE_BUFFER_SKEW: u32 = 320;

/// The least number of free receive buffers at which data is still lent out.
///
/// If fewer are free, the driver delivers a copy and reuses the buffer at once. So a slow reader that keeps its leases
/// cannot starve other sockets.
pub const RECEIVE_BUFFERS_RESERVE: u16 = RECEIVE_BUFFERS / 4;

/// The backlog of a listener: the most connections that wait to be accepted. The kernel lowers it to
/// `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// The number of bits of a slot's generation in an operation's user data.
pub const GENERATION_BITS: u32 = 24;

/// The most bytes that [`send_skip_success`] accepts.
///
/// An empty socket takes this much at once (`net.ipv4.tcp_wmem` starts at 16 KiB by default).
///
/// [`send_skip_success`]: crate::Driver::send_skip_success
pub const SKIP_SUCCESS_SEND_SIZE_MAX: usize = 4 * 1024;

/// The most pieces of a [`SendBuffer::Pieces`](crate::SendBuffer::Pieces) that one call of the kernel takes.
pub const SEND_PIECES_MAX: usize = 80;

const _: () = assert!(SEND_PIECES_MAX <= 1024, "sendmsg(2): IOV_MAX");
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two());
const _: () = assert!(RECEIVE_BUFFERS_RESERVE < RECEIVE_BUFFERS);
const _: () =
    assert!(RECEIVE_BUFFERS <= 32 * 1024, "io_uring_register(2): a buffer ring has at most 32768 entries");
