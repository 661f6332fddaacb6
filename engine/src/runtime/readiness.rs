//! Waiting for descriptors that are not the engine's.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::task::Poll;

use ringtide_driver::{Driver, Handle, Interest};

use super::core::{self, Core};
use super::socket_table::{PollState, Resource, wait};

/// Waits until a descriptor that is not the engine's is ready. Cancel-safe: dropping the future ends the wait.
///
/// # Errors
/// When the descriptor cannot be waited for, as a plain file under epoll.
///
/// # Panics
/// Outside a worker's [`block_on`](super::Worker::block_on).
pub async fn ready(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
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
    let _waiting = Wait { core, handle };
    std::future::poll_fn(|context| {
        let mut state = state.borrow_mut();
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => wait(&mut state.waker, context),
        }
    })
    .await
}
