//! The receive buffers that are with the driver, and the one place where bytes are read into them.

// recv(2) writes into the pool's memory by address, and lending a buffer is a promise about that memory.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::slice;

use ringtide_driver::limits::{RECEIVE_BUFFERS, RECEIVE_BUFFERS_RESERVE};
use ringtide_driver::{BufferPool, Lease};
use socket2::Socket;

/// One part in this many of a pool's buffers is its reserve: the share that the default pool has.
const RESERVE_SHARE: u16 = RECEIVE_BUFFERS / RECEIVE_BUFFERS_RESERVE;

/// A pool, and which of its buffers are not lent out.
pub(crate) struct Buffers {
    pool: BufferPool,
    /// The buffer that came back last is the one used next, while it is still in the cache.
    free: Vec<u16>,
    /// With fewer free buffers than this, data is delivered as a copy.
    reserve: usize,
    /// Bytes that were delivered as copies in this turn.
    copied_size: usize,
}

/// What one attempt to receive gave.
pub(crate) enum Received {
    /// Bytes; `full` when they fill the room that was given, so that more may be waiting.
    Data { lease: Lease, full: bool },
    /// The peer has sent its last byte.
    Eof,
    /// Every buffer is lent out, or as much as half of the pool holds was copied in this turn. Nothing was read.
    Starved,
    /// recv(2) failed; `WouldBlock` when there is nothing to read now.
    Failed(io::Error),
}

impl Buffers {
    /// Takes the pool over, with all of its buffers.
    ///
    /// # Panics
    /// When it belongs to another driver.
    pub(crate) fn new(pool: BufferPool) -> Self {
        pool.claim();
        // Reversed, so that the first pages of the pool are the first to be touched.
        let free = (0..pool.count()).rev().collect();
        let reserve = usize::from(pool.count() / RESERVE_SHARE);
        Self { pool, free, reserve, copied_size: 0 }
    }

    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// How many buffers could be received into now, after taking back those that leases have returned.
    pub(crate) fn available(&mut self) -> usize {
        self.take_back();
        self.free.len()
    }

    /// Takes back the buffers that leases have returned.
    #[inline]
    pub(crate) fn take_back(&mut self) {
        let free = &mut self.free;
        self.pool.take_returned(|index| free.push(index));
    }

    /// Begins a turn, in which as much may be copied as half of the pool holds: what all sockets together bring in one is bounded.
    pub(crate) fn begin_turn(&mut self) {
        self.copied_size = 0;
        self.take_back();
    }

    fn has_copied_enough(&self) -> bool {
        self.copied_size >= usize::from(self.pool.count()) * self.pool.buffer_size() as usize / 2
    }

    /// Receives once from a non-blocking socket, at most `size_max` bytes, of which there is one at least. Adds its system call to `syscalls`.
    #[inline]
    pub(crate) fn receive(&mut self, socket: &Socket, size_max: usize, syscalls: &mut u64) -> Received {
        if self.free.len() < self.reserve && self.has_copied_enough() {
            return Received::Starved;
        }
        let Some(index) = self.free.pop() else { return Received::Starved };
        let size = size_max.min(self.pool.buffer_size() as usize);
        let data = self.pool.address(index).as_ptr();
        // SAFETY: `address` is valid for `buffer_size` bytes while the pool lives, and `self.pool` keeps it alive here.
        // The index was on the free list, and leaves it before it is lent: no lease and no other slice shows this
        // buffer. `MaybeUninit` has no validity to uphold for memory that was never written.
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
        // SAFETY: recv(2) wrote the first `length` bytes, and `room` is not used any more. The buffer is off the free
        // list and comes back to it only here below, or by `take_returned` once the lease is gone.
        let lease = unsafe { self.pool.lend(index, length as u32) };
        if self.free.len() < self.reserve {
            // Slow readers who keep their leases must not take the last buffers from everybody else. The buffer
            // comes back by way of the pool when the original is dropped here.
            let copy = Lease::copied(&lease);
            drop(lease);
            self.take_back();
            self.copied_size += length;
            return Received::Data { lease: copy, full };
        }
        Received::Data { lease, full }
    }
}
