//! From readiness to completions: the steps after an edge, each with its limit per turn.

use std::io;

use mio::event::Event as Readiness;
use ringtide_driver::{Completion, Event, Handle, ReceiveEnd};

use super::{Fallback, handle};
use crate::buffers::Received;
use crate::driver::connects::connect_result;
use crate::socket::{Entry, Flags, Sending};

/// The most buffers that one socket fills in one turn, so that the others get theirs.
const RECEIVES_PER_TURN: usize = 16;

/// The most connections that one listener accepts in one turn, so that the others get theirs.
const ACCEPTS_PER_TURN: usize = 64;

impl Fallback {
    /// Handles one readiness event.
    pub(super) fn on_readiness(&mut self, readiness: &Readiness, completions: &mut Vec<Completion>) {
        let handle = handle(readiness.token());
        let socket = match self.entries.get_mut(handle) {
            Some(Entry::Socket(socket)) => socket,
            Some(Entry::Poll(_)) => {
                self.end_poll(handle);
                self.entries.remove(handle);
                completions.push(Completion { handle, event: Event::Polled(Ok(())) });
                return;
            }
            // A stale token: that of the waker, or of an event for a handle that was closed meanwhile.
            Some(Entry::Closing) | None => return,
        };
        let ended = readiness.is_read_closed() || readiness.is_error();
        if readiness.is_readable() || ended {
            socket.flags.set(Flags::READABLE);
        }
        if ended {
            socket.flags.set(Flags::END_FOLLOWS);
        }
        if socket.flags.any(Flags::CONNECTING) {
            let Some(result) = connect_result(&socket.socket) else { return };
            let event = self.connect_ended(handle, result);
            completions.push(Completion { handle, event });
        }
        if readiness.is_writable() || readiness.is_write_closed() || ended {
            self.continue_send(handle, completions);
        }
        self.use_readiness(handle, completions);
    }

    fn continue_send(&mut self, handle: Handle, completions: &mut Vec<Completion>) {
        let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) else { return };
        if let Some(Sending::Ended { result, buffer }) = socket.continue_send(&mut self.syscalls) {
            socket.flags.clear(Flags::SENDING);
            completions.push(Completion { handle, event: Event::Sent(result, buffer) });
        }
    }

    /// Receives from a readable socket or accepts on a readable listener, if such an operation is under way and the
    /// socket is not listed for later.
    #[inline]
    pub(super) fn use_readiness(&mut self, handle: Handle, completions: &mut Vec<Completion>) {
        let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) else { return };
        if !socket.flags.any(Flags::READABLE) || socket.flags.any(Flags::LISTED) {
            return;
        }
        if socket.flags.wants_bytes() {
            self.receive_ready(handle, completions);
        } else if socket.flags.wants_connections() {
            self.accept_ready(handle, completions);
        }
    }

    fn receive_ready(&mut self, handle: Handle, completions: &mut Vec<Completion>) {
        let Some(Entry::Socket(socket)) = self.entries.get_mut(handle) else { return };
        let mut left = self.receive_size_max;
        for _ in 0..RECEIVES_PER_TURN {
            if left == 0 {
                break;
            }
            let end = match self.buffers.receive(&socket.socket, left, &mut self.syscalls) {
                Received::Data { lease, full } => {
                    left -= lease.len();
                    completions.push(Completion { handle, event: Event::Received(lease) });
                    if !full && socket.is_emptied_by_short_read() {
                        socket.flags.clear(Flags::READABLE);
                        return;
                    }
                    continue;
                }
                Received::Starved => {
                    socket.flags.set(Flags::LISTED);
                    self.starved.push_back(handle);
                    return;
                }
                Received::Failed(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.flags.clear(Flags::READABLE);
                    return;
                }
                Received::Failed(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Received::Failed(error) => ReceiveEnd::Error(error),
                Received::Eof => ReceiveEnd::Eof,
            };
            // `READABLE` stays set, so a later receive gets the same result again.
            socket.flags.clear(Flags::RECEIVING);
            completions.push(Completion { handle, event: Event::ReceiveEnded(end) });
            return;
        }
        self.list_if_readable(handle);
    }

    fn accept_ready(&mut self, handle: Handle, completions: &mut Vec<Completion>) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Entry::Socket(listener)) = self.entries.get_mut(handle) else { return };
            let kind = if listener.flags.any(Flags::TCP) { Flags::TCP } else { Flags::NONE };
            self.syscalls += 1;
            let accepted = match listener.socket.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.flags.clear(Flags::READABLE);
                    return;
                }
                Err(error) if concerns_one_connection(&error) => continue,
                Err(error) => Err(error),
                Ok((socket, _)) => socket.set_nonblocking(true).and_then(|()| {
                    if kind == Flags::TCP {
                        // This fails if the peer has already reset the connection (BSD). The first receive reports
                        // that.
                        let _ = socket.set_tcp_nodelay(true);
                    }
                    self.insert(socket, kind)
                }),
            };
            match accepted {
                Ok(socket) => completions.push(Completion { handle, event: Event::Accepted(socket) }),
                Err(error) => {
                    if let Some(Entry::Socket(listener)) = self.entries.get_mut(handle) {
                        listener.flags.clear(Flags::ACCEPTING);
                    }
                    completions.push(Completion { handle, event: Event::AcceptEnded(Some(error)) });
                    return;
                }
            }
        }
        self.list_if_readable(handle);
    }
}

/// Returns whether accept(2) failed only for the first connection of the queue.
///
/// That connection is then gone. It was aborted, or it had a pending network error of its own (accept(2), "Error
/// handling").
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}
