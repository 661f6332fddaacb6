//! What a connection reports of its requests: which one, how it ended, and when.

use http::StatusCode;

use crate::error::Error;

/// Names a request of a connection, from its start to its [`Completion`].
///
/// No other request of the connection has the same id, and none of another connection is meant by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    pub(super) slot: u32,
    /// Another one for each request of the connection.
    pub(super) number: u32,
}

impl RequestId {
    /// Returns a number that no other request in flight on the connection has. It is below the largest number of requests
    /// that were in flight at once, so a `Vec` has room for what the caller keeps of each.
    ///
    /// After the request's completion, a later one has this number.
    #[inline]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The end of one request.
#[derive(Debug)]
pub struct Completion {
    /// The request.
    pub id: RequestId,
    /// Its response, or why it has none. An error here is one of this request: the connection goes on with the others.
    pub result: Result<CompletedExchange, Error>,
}

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
    /// When each request was submitted to the kernel, in the order of their starts. `None` means that the kernel has taken
    /// no byte of it.
    pub sent_ns: Vec<(RequestId, Option<u64>)>,
    /// Upper bound on the bytes that the kernel has taken of the last request that has a time. `None` means that the
    /// kernel has taken everything that was submitted together with its first byte.
    pub cut_size: Option<usize>,
}
