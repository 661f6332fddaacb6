//! Waiting for descriptors that are not the engine's.

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

/// The driver's handle is free once it has reported, and may belong to another before the waiting task gets to see the report.
#[test]
fn a_wait_for_a_descriptor_keeps_its_outcome_when_its_handle_is_used_again() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    worker().block_on(async {
        let mut wait = std::pin::pin!(runtime::writable(theirs.as_fd()));
        assert!(poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_pending())).await);
        // The report comes during this wait, and nobody looks at it.
        runtime::sleep(Duration::from_millis(20)).await;
        let (one, other) = UnixStream::pair().unwrap();
        let _streams = [one, other].map(|socket| Stream::adopt(OwnedFd::from(socket)).unwrap());
        wait.await.unwrap();
    });
}
