//! The driver's receive buffers, and the only code that reads bytes into them.

// recv(2) writes to the pool's memory by address, and lending out a buffer is a promise about that memory.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::slice;

use ringtide_driver::limits::{RECEIVE_BUFFERS, RECEIVE_BUFFERS_RESERVE};
use ringtide_driver::{BufferPool, Lease};
use socket2::Socket;

/// The pool's reserve is this fraction of its buffers, the same as in the default pool.
const RESERVE_SHARE: u16 = RECEIVE_BUFFERS / RECEIVE_BUFFERS_RESERVE;

/// A pool, and the list of its buffers that are not lent out.
pub(crate) struct Buffers {
    pool: BufferPool,
    /// The buffer that came back last is used next, because it may still be in the cache.
    free: Vec<u16>,
    /// If fewer buffers than this are free, data is delivered as a copy.
    reserve: usize,
    /// How many bytes were delivered as copies in this turn.
    copied_size: usize,
}

/// The result of one attempt to receive.
pub(crate) enum Received {
    /// Bytes. `full` means that they fill the space available, so more may be waiting.
    Data { lease: Lease, full: bool },
    /// The end of the stream.
    Eof,
    /// Nothing was read. Either all buffers are lent out, or this turn has already copied half of the pool's capacity.
    Starved,
    /// recv(2) failed. The error is `WouldBlock` if there is nothing to read now.
    Failed(io::Error),
}

impl Buffers {
    /// Claims the pool with all its buffers.
    ///
    /// # Panics
    /// If the pool belongs to another driver.
    pub(crate) fn new(pool: BufferPool) -> Self {
        pool.claim();
        // Reversed, so that the first pages of the pool are used first.
        let free = (0..pool.count()).rev().collect();
        let reserve = usize::from(pool.count() / RESERVE_SHARE);
        Self { pool, free, reserve, copied_size: 0 }
    }

    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// Takes back the buffers of dropped leases, and returns how many buffers are free.
    pub(crate) fn available(&mut self) -> usize {
        self.take_back();
        self.free.len()
    }

    /// Takes back the buffers of dropped leases.
    #[inline]
    pub(crate) fn take_back(&mut self) {
        let free = &mut self.free;
        self.pool.take_returned(|index| free.push(index));
    }

    /// Begins a turn.
    ///
    /// Each turn may copy up to half of the pool's capacity. This limits how much all sockets together deliver in one
    /// turn.
    pub(crate) fn begin_turn(&mut self) {
        self.copied_size = 0;
        self.take_back();
    }

    fn has_copied_enough(&self) -> bool {
        self.copied_size >= usize::from(self.pool.count()) * self.pool.buffer_size() as usize / 2
    }

    /// Receives once from a non-blocking socket, at most `size_max` bytes (at least 1). Adds its system call to
    /// `syscalls`.
    #[inline]
    pub(crate) fn receive(&mut self, socket: &Socket, size_max: usize, syscalls: &mut u64) -> Received {
        if self.free.len() < self.reserve && self.has_copied_enough() {
            return Received::Starved;
        }
        let Some(index) = self.free.pop() else { return Received::Starved };
        let size = size_max.min(self.pool.buffer_size() as usize);
        let data = self.pool.address(index).as_ptr();
        // SAFETY: `address` is valid for `buffer_size` bytes while the pool lives, and `self.pool` keeps it alive. The
        // index was on the free list and is removed from it before the buffer is lent, so no lease and no other slice
        // refers to this buffer. `MaybeUninit` allows memory that was never written.
        let room = unsafe { slice::from_raw_parts_mut(data.cast::<MaybeUninit<u8>>(), size) };
        *syscalls += 1;
        let length = match socket.recv(room) {
            Ok(length) if length > 0 => length,
            ended => {
                self.free.push(index);
                return ended.map_or_else(Received::Failed, |_| Received::Eof);
            }
        };
        let full = length == size;
        // SAFETY: recv(2) wrote the first `length` bytes, and `room` is not used any more. The buffer is not on the
        // free list. It returns there only after the lease was dropped, through `take_returned`.
        let lease = unsafe { self.pool.lend(index, length as u32) };
        if self.free.len() < self.reserve {
            // Slow readers that keep their leases must not take the last buffers from other sockets. Dropping the
            // original returns its buffer to the pool.
            let copy = Lease::copied(&lease);
            drop(lease);
            self.take_back();
            self.copied_size += length;
            return Received::Data { lease: copy, full };
        }
        Received::Data { lease, full }
    }
}
