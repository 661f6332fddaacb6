//! What the driver remembers of one handle, and the steps that concern that handle alone.

use std::io;
use std::os::fd::OwnedFd;

use ringtide_driver::contract::cancelled_send;
use ringtide_driver::{CutSend, SendBuffer};
use socket2::Socket;

/// The longest piece given to one send(2): below every system's limit for one call, so that a call that takes less than
/// it was given means a full socket buffer and nothing else.
const SEND_SIZE_MAX: usize = 1 << 30;

/// The value behind a handle.
pub(crate) enum Entry {
    /// A socket or a listener.
    Socket(StreamSocket),
    /// A poll of a foreign descriptor, by a duplicate of it. The selector knows one registration per descriptor number,
    /// so the duplicate is what lets one descriptor be polled twice at the same time.
    Poll(OwnedFd),
    /// Closed; the slot is kept until `Closed` has been given, so that no new handle shares it before.
    Closing,
}

/// A socket or a listener. One of these per idle connection is all the memory that the driver spends on it.
pub(crate) struct StreamSocket {
    pub(crate) socket: Socket,
    pub(crate) flags: Flags,
    /// What the socket's buffer had no room for. Boxed, as most sends leave nothing.
    unsent: Option<Box<Unsent>>,
}

/// A send that waits for room.
struct Unsent {
    buffer: SendBuffer,
    sent: usize,
}

/// What one attempt to send gave.
pub(crate) enum Sending {
    /// The send has ended.
    Ended { result: Result<(), CutSend>, buffer: SendBuffer },
    /// The rest waits for the next writable edge.
    Waits,
}

/// A set of facts about a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// TCP, not a Unix socket.
    pub(crate) const TCP: Self = Self(1);
    /// Others may hold the same open file, so that closing it does not end its registration (epoll(7)).
    pub(crate) const ADOPTED: Self = Self(1 << 1);
    /// A connect is under way.
    pub(crate) const CONNECTING: Self = Self(1 << 2);
    /// A receive is under way, until its end has been given.
    pub(crate) const RECEIVING: Self = Self(1 << 3);
    /// ... and it was cancelled.
    pub(crate) const RECEIVE_CANCELLED: Self = Self(1 << 4);
    /// Accepting is under way, until its end has been given.
    pub(crate) const ACCEPTING: Self = Self(1 << 5);
    /// ... and it was cancelled.
    pub(crate) const ACCEPT_CANCELLED: Self = Self(1 << 6);
    /// A send is under way, until `Sent` has been given.
    pub(crate) const SENDING: Self = Self(1 << 7);
    /// There may be something to read or accept: an edge came and `EAGAIN` has not followed. Edges are not repeated.
    pub(crate) const READABLE: Self = Self(1 << 8);
    /// The stream's end or an error is in the socket behind the data, and no edge will tell of it again.
    pub(crate) const END_FOLLOWS: Self = Self(1 << 9);
    /// Stands in the driver's list of ready or of starved sockets.
    pub(crate) const LISTED: Self = Self(1 << 10);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is in the set.
    pub(crate) fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Whether a receive is under way and not cancelled.
    pub(crate) fn wants_bytes(self) -> bool {
        self.0 & (Self::RECEIVING.0 | Self::RECEIVE_CANCELLED.0) == Self::RECEIVING.0
    }

    /// Whether accepting is under way and not cancelled.
    pub(crate) fn wants_connections(self) -> bool {
        self.0 & (Self::ACCEPTING.0 | Self::ACCEPT_CANCELLED.0) == Self::ACCEPTING.0
    }
}

impl StreamSocket {
    pub(crate) fn new(socket: Socket, flags: Flags) -> Self {
        Self { socket, flags, unsent: None }
    }

    /// Whether a receive that did not fill its buffer has emptied the socket, so that the call that would say `EAGAIN`
    /// can be spared (epoll(7), question 9). Not so on a Unix socket, where a read also stops at passed descriptors,
    /// nor when the end follows, which is to be read as well. On TCP a read also stops at an urgent mark: a peer that
    /// sends urgent data has what follows it delivered at its next segment only.
    pub(crate) fn is_emptied_by_short_read(&self) -> bool {
        self.flags.any(Flags::TCP) && !self.flags.any(Flags::END_FOLLOWS)
    }

    /// Sends `buffer` as far as there is room for it.
    #[inline]
    pub(crate) fn send(&mut self, buffer: SendBuffer, syscalls: &mut u64) -> Sending {
        let mut sent = 0;
        match self.send_bytes(&buffer, &mut sent, syscalls) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.unsent = Some(Box::new(Unsent { buffer, sent }));
                Sending::Waits
            }
            result => Sending::Ended { result: cut_at(sent, result), buffer },
        }
    }

    /// Goes on with a send that waited; `None` when none did.
    pub(crate) fn continue_send(&mut self, syscalls: &mut u64) -> Option<Sending> {
        let mut unsent = self.unsent.take()?;
        let mut sent = unsent.sent;
        let result = self.send_bytes(&unsent.buffer, &mut sent, syscalls);
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            unsent.sent = sent;
            self.unsent = Some(unsent);
            return Some(Sending::Waits);
        }
        Some(Sending::Ended { result: cut_at(sent, result), buffer: unsent.buffer })
    }

    /// Gives up a send that waits.
    pub(crate) fn cancel_send(&mut self) -> Option<(CutSend, SendBuffer)> {
        let unsent = self.unsent.take()?;
        Some((CutSend { sent_size: unsent.sent, error: cancelled_send() }, unsent.buffer))
    }

    /// Sends `bytes` from `sent` on; `WouldBlock` when the socket's buffer is full before their end.
    #[inline]
    fn send_bytes(&self, bytes: &[u8], sent: &mut usize, syscalls: &mut u64) -> io::Result<()> {
        while *sent < bytes.len() {
            let piece = &bytes[*sent..];
            let piece = &piece[..piece.len().min(SEND_SIZE_MAX)];
            *syscalls += 1;
            // A library cannot count on its program to ignore SIGPIPE. socket2 sets SO_NOSIGPIPE on Apple systems, but
            // passes no flag elsewhere, and adopted sockets were made by others: so the flag goes with each call.
            match self.socket.send_with_flags(piece, libc::MSG_NOSIGNAL) {
                Ok(length) => {
                    *sent += length;
                    // epoll(7): a write that took less than it was given has exhausted the room, and the edge follows.
                    if length < piece.len() {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn cut_at(sent_size: usize, result: io::Result<()>) -> Result<(), CutSend> {
    result.map_err(|error| CutSend { sent_size, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_less_than_a_cache_line() {
        // The slot's generation and a bit for its occupancy come on top.
        assert!(size_of::<Option<Entry>>() + size_of::<u32>() <= 32, "{}", size_of::<Option<Entry>>());
    }
}
