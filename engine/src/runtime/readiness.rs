//! Readiness of descriptors that do not belong to the engine.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::task::Poll;

use ringtide_driver::{Driver, Handle, Interest};

use super::core::{self, Core};
use super::socket_table::{PollState, Resource};

/// Waits until a read from `descriptor` would not block. The descriptor must not belong to the engine.
///
/// A descriptor in an error state counts as ready. The next call on it returns the error.
///
/// # Cancel safety
/// Cancel-safe. Dropping the future ends the wait.
///
/// # Errors
/// If the system cannot wait for this descriptor. An example is a regular file under epoll.
///
/// # Panics
/// Outside a worker's [`block_on`](super::Worker::block_on).
pub async fn readable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    ready(descriptor, Interest::Readable).await
}

/// Waits until a write to `descriptor` would not block. Otherwise like [`readable`].
///
/// # Errors
/// See [`readable`].
///
/// # Panics
/// See [`readable`].
pub async fn writable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    ready(descriptor, Interest::Writable).await
}

async fn ready(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    struct Wait {
        core: Rc<Core>,
        handle: Handle,
    }
    impl Drop for Wait {
        fn drop(&mut self) {
            self.core.close(self.handle);
        }
    }
    let core = core::current();
    let state = Rc::new(RefCell::new(PollState::default()));
    let handle = {
        let (mut sockets, mut driver) = core.io();
        let handle = driver.poll(descriptor.as_raw_fd(), interest)?;
        sockets.insert(handle, Resource::Descriptor(Rc::clone(&state)));
        handle
    };
    let waiting = Wait { core, handle };
    poll_fn(|context| {
        if let Some(outcome) = state.borrow_mut().outcome.take() {
            return Poll::Ready(outcome);
        }
        let mut waiter = waiting.core.waiter(context);
        waiter.wait_at(&mut state.borrow_mut().waiter);
        Poll::Pending
    })
    .await
}
