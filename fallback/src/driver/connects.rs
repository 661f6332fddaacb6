//! Non-blocking connects: how they end, and retries where no readiness event comes.

use std::io;
use std::os::fd::AsRawFd;

use ringtide_driver::{Completion, Event, Handle, monotonic_ns};
use socket2::{SockAddr, Socket};

use super::{BOTH, Fallback};
use crate::socket::{Entry, Flags, StreamSocket};

/// How long a Unix connect waits before it tries again to find room in the listener's backlog. No event reports that.
const CONNECT_RETRY_NS: u64 = 1_000_000;

/// How many Unix connects are retried in one turn.
const CONNECT_RETRIES_PER_TURN: usize = 64;

impl Fallback {
    /// Asks the kernel to connect, and registers the socket. Returns `None` if the connect has not ended yet.
    pub(super) fn try_connect(&mut self, handle: Handle, address: &SockAddr) -> Option<io::Result<()>> {
        let Ok(StreamSocket { socket, flags, .. }) = self.socket(handle) else {
            return None;
        };
        let (descriptor, is_tcp) = (socket.as_raw_fd(), flags.any(Flags::TCP));
        let attempt = socket.connect(address);
        self.syscalls += 1;
        // The socket is registered after connect(2), because an unconnected socket is reported as hung up.
        match attempt {
            Ok(()) => Some(self.register(handle, descriptor, BOTH)),
            Err(error) if is_in_progress(&error) => self.register(handle, descriptor, BOTH).err().map(Err),
            // unix(7): the backlog is full. On TCP the same error is an actual failure.
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

    /// Records that a connect has ended, and returns its event.
    pub(super) fn connect_ended(&mut self, handle: Handle, result: io::Result<()>) -> Event {
        if let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) {
            socket.flags.clear(Flags::CONNECTING);
            if result.is_err() {
                // No further edge may come, so a receive must find the error without one.
                socket.flags.set(Flags::READABLE.with(Flags::END_FOLLOWS));
                if socket.flags.wants_bytes() {
                    self.list_if_readable(handle);
                }
            }
        }
        Event::Connected(result)
    }

    /// Retries the Unix connects that found the backlog full.
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

/// Returns whether connect(2) continues in the background. An interrupted one does so too.
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted
}

/// Returns how a connect has ended, or `None` while it is still under way. Readiness alone does not show that.
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
