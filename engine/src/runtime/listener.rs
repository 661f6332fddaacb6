//! A listening socket, as its task uses it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringtide_driver::{Address, Driver, Handle};

use super::core::{self, Core};
use super::socket::Socket;
use super::socket_table::Resource;

/// A listening socket. Dropping it closes it, together with its connections that were not accepted yet.
pub(crate) struct Listener {
    core: Rc<Core>,
    handle: Handle,
}

impl Listener {
    #[track_caller]
    pub(crate) fn bind(address: &Address, reuse_port: bool) -> io::Result<Self> {
        let core = core::current();
        let handle = {
            let (mut sockets, mut driver) = core.io();
            let handle = driver.listen(address, reuse_port)?;
            sockets.unread.guard(&mut driver);
            sockets.insert(handle, Resource::Listener(Box::default()));
            handle
        };
        Ok(Self { core, handle })
    }

    /// Accepts the next connection. Starts accepting if necessary. After an error such as `EMFILE`, the caller decides
    /// when to try again.
    pub(crate) fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        if let Some(accepted) = self.next_accepted() {
            return Poll::Ready(accepted.map(|accepted| Socket::accepted(Rc::clone(&self.core), accepted)));
        }
        let mut waiter = self.core.waiter(context);
        if let Some(Resource::Listener(state)) = self.core.sockets().get_mut(self.handle) {
            waiter.wait_at(&mut state.waiter);
        }
        Poll::Pending
    }

    /// Takes a connection that was already accepted. Does not start accepting.
    pub(crate) fn poll_accepted(&mut self, context: &mut Context<'_>) -> Poll<Socket> {
        let accepted = match self.core.sockets().get_mut(self.handle) {
            Some(Resource::Listener(state)) => state.accepted.pop_front(),
            _ => None,
        };
        if let Some(accepted) = accepted {
            return Poll::Ready(Socket::accepted(Rc::clone(&self.core), accepted));
        }
        let mut waiter = self.core.waiter(context);
        if let Some(Resource::Listener(state)) = self.core.sockets().get_mut(self.handle) {
            waiter.wait_at(&mut state.waiter);
        }
        Poll::Pending
    }

    /// Returns an accepted connection or an error, or `None` if the caller has to wait.
    fn next_accepted(&self) -> Option<io::Result<Handle>> {
        let (mut sockets, mut driver) = self.core.io();
        let Some(Resource::Listener(state)) = sockets.get_mut(self.handle) else {
            return Some(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(accepted) = state.accepted.pop_front() {
            return Some(Ok(accepted));
        }
        if let Some(error) = state.error.take() {
            return Some(Err(error));
        }
        if !state.accepting {
            if let Err(error) = driver.accept(self.handle) {
                return Some(Err(error));
            }
            state.accepting = true;
        }
        None
    }

    /// Stops accepting until [`poll_accept`](Self::poll_accept) is called and finds no accepted connection. Until then,
    /// further connections stay in the kernel's queue.
    pub(crate) fn pause(&mut self) {
        self.core.io().1.cancel(self.handle);
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.core.io().1.local_address(self.handle)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.handle)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let accepted = {
            let (mut sockets, _) = self.core.io();
            match sockets.get_mut(self.handle) {
                Some(Resource::Listener(state)) => std::mem::take(&mut state.accepted),
                _ => VecDeque::new(),
            }
        };
        for handle in accepted {
            self.core.close(handle);
        }
        self.core.close(self.handle);
    }
}
