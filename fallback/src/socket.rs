//! The state of one handle, and the steps that affect only that handle.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use ringtide_driver::contract::cancelled_send;
use ringtide_driver::limits::SEND_PIECES_MAX;
use ringtide_driver::{CutSend, SendBuffer};
use socket2::Socket;

/// The longest piece that is passed to one send(2).
///
/// It is less than every system's limit for one call. So if a call takes less than that, the socket's buffer is full.
const SEND_SIZE_MAX: usize = 1 << 30;

/// The value behind a handle.
pub(crate) enum Entry {
    /// A socket or a listener.
    Socket(StreamSocket),
    /// A poll of a foreign descriptor, with a duplicate of it. The selector allows one registration per descriptor
    /// number, so the duplicate makes it possible to poll a descriptor twice at the same time.
    Poll(OwnedFd),
    /// A closed handle. The slot is kept until `Closed` is delivered, so that no new handle uses it before.
    Closing,
}

/// A socket or a listener. This is all the memory that the driver needs for an idle connection.
pub(crate) struct StreamSocket {
    pub(crate) socket: Socket,
    pub(crate) flags: Flags,
    /// The rest of a send that did not fit into the socket's buffer. Boxed, because most sends have no rest.
    unsent: Option<Box<Unsent>>,
}

/// A send that waits for room.
struct Unsent {
    buffer: SendBuffer,
    sent: usize,
}

/// The result of one attempt to send.
pub(crate) enum Sending {
    /// The send has ended.
    Ended { result: Result<(), CutSend>, buffer: SendBuffer },
    /// The rest waits for the next writable edge.
    Waits,
}

/// A set of flags of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// TCP, not a Unix socket.
    pub(crate) const TCP: Self = Self(1);
    /// Others may share the open file, so that closing this descriptor does not remove its registration (epoll(7)).
    pub(crate) const ADOPTED: Self = Self(1 << 1);
    /// A connect is under way.
    pub(crate) const CONNECTING: Self = Self(1 << 2);
    /// A receive is under way: its end has not been delivered.
    pub(crate) const RECEIVING: Self = Self(1 << 3);
    /// The receive under way was cancelled.
    pub(crate) const RECEIVE_CANCELLED: Self = Self(1 << 4);
    /// An accept is under way: its end has not been delivered.
    pub(crate) const ACCEPTING: Self = Self(1 << 5);
    /// The accept under way was cancelled.
    pub(crate) const ACCEPT_CANCELLED: Self = Self(1 << 6);
    /// A send is under way: `Sent` has not been delivered.
    pub(crate) const SENDING: Self = Self(1 << 7);
    /// There may be something to read or accept: an edge came, and no `EAGAIN` since. Edges are not repeated.
    pub(crate) const READABLE: Self = Self(1 << 8);
    /// The end of the stream or an error follows the data in the socket. No further edge will report it.
    pub(crate) const END_FOLLOWS: Self = Self(1 << 9);
    /// The socket is in the driver's list of ready or of starved sockets.
    pub(crate) const LISTED: Self = Self(1 << 10);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether any flag of `other` is in the set.
    pub(crate) fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Returns whether a receive is under way and not cancelled.
    pub(crate) fn wants_bytes(self) -> bool {
        self.0 & (Self::RECEIVING.0 | Self::RECEIVE_CANCELLED.0) == Self::RECEIVING.0
    }

    /// Returns whether an accept is under way and not cancelled.
    pub(crate) fn wants_connections(self) -> bool {
        self.0 & (Self::ACCEPTING.0 | Self::ACCEPT_CANCELLED.0) == Self::ACCEPTING.0
    }
}

impl StreamSocket {
    pub(crate) fn new(socket: Socket, flags: Flags) -> Self {
        Self { socket, flags, unsent: None }
    }

    /// Returns whether a receive that did not fill its buffer has emptied the socket.
    ///
    /// If so, the driver saves the call that would return `EAGAIN` (epoll(7), question 9). This is not so on a Unix
    /// socket, where a read also stops at passed descriptors. Nor is it so if the end follows, because the end must be
    /// read too. On TCP, a read also stops at an urgent mark: if a peer sends urgent data, the bytes after it are only
    /// delivered when its next segment arrives.
    pub(crate) fn is_emptied_by_short_read(&self) -> bool {
        self.flags.any(Flags::TCP) && !self.flags.any(Flags::END_FOLLOWS)
    }

    /// Sends as much of `buffer` as there is room for.
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

    /// Continues a send that waits. Returns `None` if there is none.
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

    /// Ends a send that waits, and returns its buffer. Returns `None` if there is none.
    pub(crate) fn cancel_send(&mut self) -> Option<(CutSend, SendBuffer)> {
        let unsent = self.unsent.take()?;
        Some((CutSend { sent_size: unsent.sent, error: cancelled_send() }, unsent.buffer))
    }

    /// Sends `buffer` from offset `sent`. Fails with `WouldBlock` if the socket's buffer is full before the end.
    #[inline]
    fn send_bytes(&self, buffer: &SendBuffer, sent: &mut usize, syscalls: &mut u64) -> io::Result<()> {
        // A library cannot expect its program to ignore SIGPIPE. socket2 sets SO_NOSIGPIPE on Apple systems but
        // passes no flag elsewhere, and adopted sockets were created by others. So each call passes the flag.
        match buffer.as_one() {
            Some(bytes) => send_all(bytes.len(), sent, syscalls, |from| {
                let given = &bytes[from..];
                let given = &given[..given.len().min(SEND_SIZE_MAX)];
                (given.len(), self.socket.send_with_flags(given, libc::MSG_NOSIGNAL))
            }),
            None => self.send_pieces(buffer, sent, syscalls),
        }
    }

    /// The same for a buffer of several pieces.
    #[cold]
    fn send_pieces(&self, buffer: &SendBuffer, sent: &mut usize, syscalls: &mut u64) -> io::Result<()> {
        send_all(buffer.len(), sent, syscalls, |from| {
            let mut pieces = [IoSlice::new(&[]); SEND_PIECES_MAX];
            let (mut count, mut given) = (0, 0);
            for (place, piece) in pieces.iter_mut().zip(buffer.pieces_from(from)) {
                let piece = &piece[..piece.len().min(SEND_SIZE_MAX - given)];
                *place = IoSlice::new(piece);
                count += 1;
                given += piece.len();
            }
            (given, self.socket.send_vectored_with_flags(&pieces[..count], libc::MSG_NOSIGNAL))
        })
    }
}

/// Makes `call` until all of `size` bytes are sent or there is no room. `call` gets the offset of the first unsent byte,
/// and returns how many bytes it gave to the kernel, and the result.
#[inline]
fn send_all(
    size: usize,
    sent: &mut usize,
    syscalls: &mut u64,
    call: impl Fn(usize) -> (usize, io::Result<usize>),
) -> io::Result<()> {
    while *sent < size {
        *syscalls += 1;
        let (given, result) = call(*sent);
        match result {
            Ok(length) => {
                *sent += length;
                // epoll(7): a write that takes less than it was given has used up the room, and an edge will follow.
                if length < given {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cut_at(sent_size: usize, result: io::Result<()>) -> Result<(), CutSend> {
    result.map_err(|error| CutSend { sent_size, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_less_than_a_cache_line() {
        // The slot's generation and a bit for its occupancy are added to this size.
        assert!(size_of::<Option<Entry>>() + size_of::<u32>() <= 32, "{}", size_of::<Option<Entry>>());
    }
}
