//! Whoever looks at responses while a connection reads them.

use super::completion::RequestId;
use crate::message::ResponseHead;

/// Sees the responses that [`Connection::poll_completion_with`](crate::Connection::poll_completion_with) reads, as they arrive.
///
/// What is lent is valid during the call only. Over HTTP/2, calls for several requests take turns.
pub trait Observe {
    /// The head of the response to a request has arrived. Interim responses (1xx) are not shown.
    fn head(&mut self, id: RequestId, head: ResponseHead<'_>);

    /// A piece of the body has arrived, without its framing. It may be empty.
    fn data(&mut self, id: RequestId, data: &[u8]);
}

/// Sees nothing.
impl Observe for () {
    #[inline]
    fn head(&mut self, _: RequestId, _: ResponseHead<'_>) {}

    #[inline]
    fn data(&mut self, _: RequestId, _: &[u8]) {}
}
