//! Connecting without blocking: when a connect has ended, and what to do where no readiness will tell.

use std::io;
use std::os::fd::AsRawFd;

use ringtide_driver::{Completion, Event, Handle, monotonic_ns};
use socket2::{SockAddr, Socket};

use super::{BOTH, Fallback};
use crate::socket::{Entry, Flags, StreamSocket};

/// How long a Unix connect waits before it asks again whether the listener's backlog has room: no readiness tells.
const CONNECT_RETRY_NS: u64 = 1_000_000;

/// Unix connects that are tried again at one time.
const CONNECT_RETRIES_PER_TURN: usize = 64;

impl Fallback {
    /// Asks the kernel to connect, and registers the socket once it is connecting. `None` while the answer is to come.
    pub(super) fn try_connect(&mut self, handle: Handle, address: &SockAddr) -> Option<io::Result<()>> {
        let Ok(StreamSocket { socket, flags, .. }) = self.socket(handle) else {
            return None;
        };
        let (descriptor, is_tcp) = (socket.as_raw_fd(), flags.any(Flags::TCP));
        let attempt = socket.connect(address);
        self.syscalls += 1;
        // The registration comes after connect(2): an unconnected socket counts as hung up.
        match attempt {
            Ok(()) => Some(self.register(handle, descriptor, BOTH)),
            Err(error) if is_in_progress(&error) => self.register(handle, descriptor, BOTH).err().map(Err),
            // unix(7): the backlog is full. On TCP the same error means what it says.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_tcp => {
                if self.refused.is_empty() {
                    self.retry_at_ns = monotonic_ns() + CONNECT_RETRY_NS;
                }
                self.refused.push_back((handle, address.clone()));
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Notes that a connect has ended, and gives its event.
    pub(super) fn connect_ended(&mut self, handle: Handle, result: io::Result<()>) -> Event {
        if let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) {
            socket.flags.clear(Flags::CONNECTING);
            if result.is_err() {
                // No edge may come any more; a receive is to find the error by itself.
                socket.flags.set(Flags::READABLE.with(Flags::END_FOLLOWS));
                if socket.flags.wants_bytes() {
                    self.list_if_readable(handle);
                }
            }
        }
        Event::Connected(result)
    }

    /// Tries Unix connects again that found a full backlog.
    pub(super) fn retry_connects(&mut self, completions: &mut Vec<Completion>) {
        if monotonic_ns() < self.retry_at_ns {
            return;
        }
        for _ in 0..self.refused.len().min(CONNECT_RETRIES_PER_TURN) {
            let Some((handle, address)) = self.refused.pop_front() else { break };
            if let Some(result) = self.try_connect(handle, &address) {
                let event = self.connect_ended(handle, result);
                completions.push(Completion { handle, event });
            }
        }
        self.retry_at_ns = monotonic_ns() + CONNECT_RETRY_NS;
    }
}

/// Whether connect(2) goes on in the background. An interrupted one does so too.
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted
}

/// How a connect has ended, or `None` while it goes on: readiness alone does not say.
pub(super) fn connect_result(socket: &Socket) -> Option<io::Result<()>> {
    match socket.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Some(Err(error)),
    }
    match socket.peer_addr() {
        Ok(_) => Some(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::NotConnected || is_in_progress(&error) => None,
        Err(error) => Some(Err(error)),
    }
}
