//! Code that goes on with a connection's stream of bytes in another protocol, once its last response has been sent.

use std::pin::Pin;

use crate::stream::Stream;

/// Boxed twice, because few connections have one.
pub(crate) struct Takeover(Box<Box<dyn FnOnce(Stream) -> Running>>);

type Running = Pin<Box<dyn Future<Output = ()>>>;

impl Takeover {
    pub(super) fn new(take: impl AsyncFnOnce(Stream) + 'static) -> Self {
        Self(Box::new(Box::new(move |stream| Box::pin(async move { take(stream).await }))))
    }

    /// Runs the code to its end.
    pub(crate) async fn run(self, stream: Stream) {
        (self.0)(stream).await;
    }
}
