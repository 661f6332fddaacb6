//! A request body that one task writes while the client sends it, with a bounded buffer between them. Both ends work on
//! any thread and with any executor.

use std::collections::VecDeque;
use std::error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::call::{lock, wake};

/// Number of buffered bytes at which the sender of a [`body_channel`] has to wait.
pub const BODY_CHANNEL_SIZE_MAX: usize = 256 * 1024;

/// Creates a request body that is written while it is sent.
///
/// The [`BodyReceiver`] is the body. It contains the data that is written to the [`BodySender`]. `size` is the length
/// of the body in bytes, if known. The client then sends it as `Content-Length`. If `size` is `None`, the client sends
/// the body in chunks.
///
/// ```no_run
/// use ringtide::client::{ClientHandle, RemoteRequestBody, body_channel};
///
/// # async fn example(client: ClientHandle) -> Result<(), Box<dyn std::error::Error>> {
/// let (mut sender, body) = body_channel(None);
/// let upload = tokio::spawn(client.post("http://127.0.0.1:8080/lines", RemoteRequestBody::stream(body)));
/// for number in 0..1_000_000 {
///     // Waits while the server takes no more data.
///     sender.send(format!("line {number}\n")).await?;
/// }
/// sender.finish();
/// println!("{}", upload.await??.status());
/// # Ok(())
/// # }
/// ```
pub fn body_channel(size: Option<u64>) -> (BodySender, BodyReceiver) {
    let channel = Arc::<Channel>::default();
    (BodySender { channel: Arc::clone(&channel) }, BodyReceiver { channel, size })
}

/// The writing end of a [`body_channel`].
///
/// Dropping it without calling [`finish`](Self::finish) fails the request, so that the peer does not mistake a
/// truncated body for a complete one.
pub struct BodySender {
    channel: Arc<Channel>,
}

/// The end of a [`body_channel`] that is the body.
pub struct BodyReceiver {
    channel: Arc<Channel>,
    size: Option<u64>,
}

/// The request ended without the rest of its body: it failed, was dropped, or received its whole response first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyClosed;

/// The sender was dropped before the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyAborted;

#[derive(Default)]
struct Channel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    size: usize,
    ended: Option<Result<(), BodyAborted>>,
    closed: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

impl BodySender {
    /// Adds `data` to the body, as soon as fewer than [`BODY_CHANNEL_SIZE_MAX`] bytes wait to be sent.
    ///
    /// # Cancel safety
    /// Cancel-safe: `data` is added exactly when the future completes. A dropped future has added nothing.
    ///
    /// # Errors
    /// [`BodyClosed`]. The outcome of the request contains the reason.
    pub async fn send(&mut self, data: impl Into<Bytes>) -> Result<(), BodyClosed> {
        let mut data = data.into();
        poll_fn(|context| self.poll_send(&mut data, context)).await
    }

    /// Ends the body.
    pub fn finish(self) {
        self.end(Ok(()));
    }

    fn poll_send(&self, data: &mut Bytes, context: &Context<'_>) -> Poll<Result<(), BodyClosed>> {
        let mut state = lock(&self.channel.state);
        if state.closed {
            return Poll::Ready(Err(BodyClosed));
        }
        if state.size >= BODY_CHANNEL_SIZE_MAX {
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        let data = std::mem::take(data);
        let receiver = if data.is_empty() {
            None
        } else {
            state.size += data.len();
            state.pieces.push_back(data);
            state.receiver.take()
        };
        drop(state);
        wake(receiver);
        Poll::Ready(Ok(()))
    }

    fn end(&self, outcome: Result<(), BodyAborted>) {
        let receiver = {
            let mut state = lock(&self.channel.state);
            state.ended.get_or_insert(outcome);
            state.receiver.take()
        };
        wake(receiver);
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        // Has no effect after `finish`.
        self.end(Err(BodyAborted));
    }
}

impl http_body::Body for BodyReceiver {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        let mut state = lock(&self.channel.state);
        if let Some(piece) = state.pieces.pop_front() {
            state.size -= piece.len();
            // Do not wake the sender for every piece: it may be on another thread.
            let sender = if state.size <= BODY_CHANNEL_SIZE_MAX / 2 { state.sender.take() } else { None };
            drop(state);
            wake(sender);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match state.ended {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                state.receiver = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for BodyReceiver {
    fn drop(&mut self) {
        let (pieces, sender) = {
            let mut state = lock(&self.channel.state);
            state.closed = true;
            (std::mem::take(&mut state.pieces), state.sender.take())
        };
        drop(pieces);
        wake(sender);
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodySender")
    }
}

impl fmt::Debug for BodyReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReceiver").field("size", &self.size).finish_non_exhaustive()
    }
}

impl fmt::Display for BodyClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request has ended without the rest of its body")
    }
}

impl fmt::Display for BodyAborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its sender was dropped before it was finished")
    }
}

impl error::Error for BodyClosed {}

impl error::Error for BodyAborted {}
