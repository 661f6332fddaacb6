//! The named limits of the drivers, in one place, with the relations between them checked at compile time.

/// Buffers in the receive pool of one driver. A power of two, as the kernel's buffer rings demand.
pub const RECEIVE_BUFFERS: u16 = 1024;

/// Bytes in one receive buffer.
pub const RECEIVE_BUFFER_SIZE: u32 = 16 * 1024;

/// Bytes between the ends of neighbouring receive buffers. Buffers at a power-of-two stride would compete for the
/// same few cache sets, as nearly all of the traffic is in their first bytes.
pub const RECEIVE_BUFFER_SKEW: u32 = 320;

/// When fewer receive buffers than this are with the kernel, data is delivered as a copy and the buffer goes back
/// at once, so that leases held by slow readers cannot starve the other sockets.
pub const RECEIVE_BUFFERS_RESERVE: u16 = RECEIVE_BUFFERS / 4;

/// The longest queue of connections that wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Bits of a slot's generation that travel in an operation's user data.
pub const GENERATION_BITS: u32 = 24;

/// The longest constant request that is sent without a completion of its own ([`send_skip_success`]). An empty socket takes
/// this much at once (`net.ipv4.tcp_wmem` starts at 16 KiB by default).
///
/// [`send_skip_success`]: crate::Driver::send_skip_success
pub const SKIP_SUCCESS_SEND_SIZE_MAX: usize = 4 * 1024;

const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two());
const _: () = assert!(RECEIVE_BUFFERS_RESERVE < RECEIVE_BUFFERS);
const _: () =
    assert!(RECEIVE_BUFFERS <= 32 * 1024, "io_uring_register(2): a buffer ring has at most 32768 entries");
