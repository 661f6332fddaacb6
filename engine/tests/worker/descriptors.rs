//! Waiting for descriptors that do not belong to the engine.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::time::Duration;

use ringtide::runtime;
use ringtide::stream::Stream;

use super::worker;

#[test]
fn foreign_descriptors_can_be_waited_for() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    worker().block_on(async {
        runtime::writable(theirs.as_fd()).await.unwrap();
        let early = runtime::readable(theirs.as_fd());
        assert!(runtime::timeout(Duration::from_millis(3), early).await.is_none());
        ours.write_all(b"!").unwrap();
        runtime::readable(theirs.as_fd()).await.unwrap();
    });
}

/// After the driver has reported, its handle is free. Another operation may reuse it before the waiting task sees the
/// report.
#[test]
fn a_wait_for_a_descriptor_keeps_its_outcome_when_its_handle_is_used_again() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    worker().block_on(async {
        let mut wait = std::pin::pin!(runtime::writable(theirs.as_fd()));
        assert!(poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_pending())).await);
        // The report arrives during this sleep, and no task takes it.
        runtime::sleep(Duration::from_millis(20)).await;
        let (one, other) = UnixStream::pair().unwrap();
        let _streams = [one, other].map(|socket| Stream::adopt(OwnedFd::from(socket)).unwrap());
        wait.await.unwrap();
    });
}
