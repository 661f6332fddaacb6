//! What a connection tells of its exchanges to those who measure.

use http::StatusCode;

/// The times of one exchange, on the clock of [`runtime::now_ns`](crate::runtime::now_ns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the request was handed to the kernel.
    pub sent_ns: u64,
    /// When the first byte of the response (an interim one included) arrived.
    pub first_byte_ns: u64,
}

/// A whole exchange, for those who measure and do not look at bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedExchange {
    /// The status code of the response.
    pub status: StatusCode,
    /// When it was sent and when the response began.
    pub timing: Timing,
    /// When the last byte of the response arrived.
    pub end_ns: u64,
}

/// What a connection has sent of the requests that were in flight when it was [aborted](crate::Connection::abort).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aborted {
    /// When each was handed to the kernel, in order; `None` for those of which it has not taken a byte.
    pub sent_ns: Vec<Option<u64>>,
    /// Of the last one that has a time, the kernel has taken so many bytes at most. `None` when it has taken all that was handed to it along
    /// with the first byte.
    pub cut_size: Option<usize>,
}
