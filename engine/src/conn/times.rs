//! Timestamps and sizes that a connection reports for measurement.

use http::StatusCode;

/// The times of one exchange, on the clock of [`runtime::now_ns`](crate::runtime::now_ns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the request was submitted to the kernel.
    pub sent_ns: u64,
    /// When the first byte of the response arrived, including interim responses.
    pub first_byte_ns: u64,
}

/// The outcome of a whole exchange, for measurements that ignore the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedExchange {
    /// The status code of the response.
    pub status: StatusCode,
    /// When the request was sent and when the response began.
    pub timing: Timing,
    /// When the last byte of the response arrived.
    pub end_ns: u64,
}

/// What had been sent of the requests in flight when a connection was [aborted](crate::Connection::abort).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aborted {
    /// When each request was submitted to the kernel, in order. `None` means that the kernel has taken no byte of it.
    pub sent_ns: Vec<Option<u64>>,
    /// Upper bound on the bytes that the kernel has taken of the last request that has a time. `None` means that the
    /// kernel has taken everything that was submitted together with its first byte.
    pub cut_size: Option<usize>,
}
