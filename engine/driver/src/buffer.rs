//! The memory of I/O: receive buffers that the driver lends to the caller, and send buffers that the caller gives to
//! the driver.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use crate::limits::{RECEIVE_BUFFER_SIZE, RECEIVE_BUFFER_SKEW, RECEIVE_BUFFERS};

/// The receive buffers of one driver.
///
/// All buffers are equal pieces of one allocation, and each has an index. A clone refers to the same pool.
#[derive(Clone)]
pub struct BufferPool {
    memory: Rc<Memory>,
}

struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    count: u16,
    size: u32,
    /// Indexes of buffers whose leases were dropped and that the driver has not taken back yet.
    returned: RefCell<Vec<u16>>,
    /// How many buffers are lent out.
    lent: Cell<u16>,
    /// For each buffer: how many leases hold it beside the first; see [`Lease::split_to`].
    shares: Box<[Cell<u32>]>,
    /// Whether a driver uses this pool.
    claimed: Cell<bool>,
}

impl BufferPool {
    /// Creates a pool of [`RECEIVE_BUFFERS`] buffers of [`RECEIVE_BUFFER_SIZE`] bytes. None of them is lent out.
    pub fn new() -> Self {
        Self::with_sizes(RECEIVE_BUFFERS, RECEIVE_BUFFER_SIZE)
    }

    /// Creates a pool of `count` buffers of `size` bytes. None of them is lent out.
    ///
    /// # Panics
    /// If `count` or `size` is 0.
    pub fn with_sizes(count: u16, size: u32) -> Self {
        assert!(count > 0 && size > 0, "the count and the size of a pool's buffers must not be 0");
        let stride = size as usize + RECEIVE_BUFFER_SKEW as usize;
        // Page-aligned and not zeroed: buffers that receive nothing are never touched, so their pages cost no memory.
        let layout =
            Layout::from_size_align(stride * count as usize, 4096).expect("a pool fits the address space");
        // SAFETY: the layout's size is not zero, because `count` and `size` are greater than 0, as asserted above.
        let base = unsafe { alloc(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        let returned = RefCell::new(Vec::with_capacity(count as usize));
        let shares = vec![Cell::new(0); count as usize].into_boxed_slice();
        Self {
            memory: Rc::new(Memory {
                base,
                layout,
                count,
                size,
                returned,
                lent: Cell::new(0),
                shares,
                claimed: Cell::new(false),
            }),
        }
    }

    /// Claims the pool for one driver. From then on, only that driver knows which buffers are free.
    ///
    /// # Panics
    /// If another driver has claimed the pool, or if a buffer is lent out. Two sides would write to the same memory.
    pub fn claim(&self) {
        assert!(!self.memory.claimed.replace(true), "a buffer pool belongs to one driver");
        assert!(self.lent() == 0, "no buffer may be lent out when a driver claims the pool");
        self.memory.returned.borrow_mut().clear();
    }

    /// Returns the number of buffers.
    pub fn count(&self) -> u16 {
        self.memory.count
    }

    /// Returns the size of one buffer in bytes.
    pub fn buffer_size(&self) -> u32 {
        self.memory.size
    }

    /// Returns how many buffers are lent out.
    pub fn lent(&self) -> u16 {
        self.memory.lent.get()
    }

    /// Returns the number of references to the memory, including leases.
    #[cfg(test)]
    pub(crate) fn references(&self) -> usize {
        Rc::strong_count(&self.memory)
    }

    /// Returns the address of the first byte of buffer `index`.
    ///
    /// It is valid for [`buffer_size`](Self::buffer_size) bytes while the pool lives.
    ///
    /// # Panics
    /// If `index` is not less than [`count`](Self::count).
    pub fn address(&self, index: u16) -> NonNull<u8> {
        assert!(index < self.memory.count, "buffer {index} of {}", self.memory.count);
        let stride = self.memory.size as usize + RECEIVE_BUFFER_SKEW as usize;
        // SAFETY: `index` is less than `count`, so the offset is inside the one allocation of `count * stride` bytes.
        unsafe { self.memory.base.add(index as usize * stride) }
    }

    /// Lends out buffer `index`, whose first `len` bytes hold data.
    ///
    /// # Safety
    /// The driver has buffer `index`: no lease holds it, and the kernel no longer uses it. Its first `len` bytes are
    /// initialised.
    ///
    /// # Panics
    /// If `index` or `len` is out of range.
    #[inline]
    pub unsafe fn lend(&self, index: u16, len: u32) -> Lease {
        assert!(len <= self.memory.size);
        let data = self.address(index);
        self.memory.lent.set(self.memory.lent.get() + 1);
        Lease { home: Home::Pool { pool: self.clone(), data, index }, start: 0, end: len }
    }

    /// Passes to `take` the index of each buffer that came back since the last call.
    #[inline]
    pub fn take_returned(&self, take: impl FnMut(u16)) {
        let mut returned = self.memory.returned.borrow_mut();
        returned.drain(..).for_each(take);
    }

    /// Returns whether [`take_returned`](Self::take_returned) would pass on any index.
    #[inline]
    pub fn has_returned(&self) -> bool {
        !self.memory.returned.borrow().is_empty()
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("count", &self.memory.count)
            .field("size", &self.memory.size)
            .field("lent", &self.memory.lent.get())
            .finish()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `with_sizes` allocated this memory with this layout. This drops the last reference, so no lease is
        // left. A driver that cannot confirm that its kernel has finished with the memory leaks a reference, so this
        // does not run.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// Received bytes, in the pool's buffer that they were received into, or in a copy.
///
/// Dropping the lease returns its buffer to the pool. A lease is also a [`Buf`], so it can be read from the front.
///
/// A lease is deliberately not `Send`, because its buffer goes back to the driver of its own thread. To pass the bytes
/// to another thread, copy them with [`Bytes::copy_from_slice`].
pub struct Lease {
    home: Home,
    start: u32,
    end: u32,
}

enum Home {
    Pool { pool: BufferPool, data: NonNull<u8>, index: u16 },
    Heap(Box<[u8]>),
}

impl Lease {
    /// Creates a lease that holds a copy of `bytes`, for use when the pool is short of buffers.
    pub fn copied(bytes: &[u8]) -> Self {
        Self { home: Home::Heap(bytes.into()), start: 0, end: bytes.len() as u32 }
    }

    /// Returns whether this lease holds a buffer of the pool.
    pub fn is_pooled(&self) -> bool {
        matches!(self.home, Home::Pool { .. })
    }

    /// Shortens the lease to its first `len` bytes. Does nothing if it is not longer.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.end = self.start + len as u32;
        }
    }

    /// Splits off the first `len` bytes and returns them. The lease keeps the rest.
    ///
    /// A pooled buffer is shared and returns to the pool with the last of its leases. The bytes of a copy are copied.
    ///
    /// # Panics
    /// If the lease has fewer than `len` bytes.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        assert!(len <= self.len(), "split at {len} of {}", self.len());
        let front = match &self.home {
            Home::Pool { pool, data, index } => {
                let shares = &pool.memory.shares[usize::from(*index)];
                shares.set(shares.get() + 1);
                let home = Home::Pool { pool: pool.clone(), data: *data, index: *index };
                Self { home, start: self.start, end: self.start + len as u32 }
            }
            Home::Heap(_) => Self::copied(&self[..len]),
        };
        self.start += len as u32;
        front
    }

    /// Replaces the content by `bytes`. Returns false, and changes nothing, if the lease shares its buffer or `bytes`
    /// do not fit into it.
    pub fn refill(&mut self, bytes: &[u8]) -> bool {
        match &mut self.home {
            Home::Pool { pool, data, index } => {
                let memory = &pool.memory;
                if memory.shares[usize::from(*index)].get() > 0 || bytes.len() > memory.size as usize {
                    return false;
                }
                // SAFETY: `data` is the start of a buffer of `size` bytes, which only this lease holds: no other lease
                // shares it, and the driver gives it to the kernel again only after this lease was dropped. `bytes` is
                // at most as long, and cannot overlap the buffer, as it is borrowed while the lease is borrowed mutably.
                unsafe { data.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            }
            Home::Heap(memory) => *memory = bytes.into(),
        }
        (self.start, self.end) = (0, bytes.len() as u32);
        true
    }
}

impl From<Vec<u8>> for Lease {
    /// Creates a lease that owns `bytes`.
    fn from(bytes: Vec<u8>) -> Self {
        let end = u32::try_from(bytes.len()).expect("a lease holds less than 4 GiB");
        Self { home: Home::Heap(bytes.into()), start: 0, end }
    }
}

impl Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &self.home {
            // SAFETY: the caller of `lend` promised that the first `len` bytes of the buffer are initialised and that
            // only this lease holds the buffer. `start <= end <= len` holds at construction; `advance`, `truncate` and
            // `split_to` preserve it, and `refill` initialises what it shows. Leases that share a buffer show disjoint
            // ranges of it. The pool keeps the memory allocated.
            Home::Pool { data, .. } => unsafe {
                std::slice::from_raw_parts(data.as_ptr().add(start), end - start)
            },
            Home::Heap(bytes) => &bytes[start..end],
        }
    }
}

impl DerefMut for Lease {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &mut self.home {
            // SAFETY: as in `deref`. Only this lease shows this range of the buffer, and the lease is borrowed mutably.
            // The driver gives the buffer to the kernel again only after its last lease was dropped.
            Home::Pool { data, .. } => unsafe {
                std::slice::from_raw_parts_mut(data.as_ptr().add(start), end - start)
            },
            Home::Heap(bytes) => &mut bytes[start..end],
        }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Buf for Lease {
    fn remaining(&self) -> usize {
        (self.end - self.start) as usize
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advance by {count} of {}", self.remaining());
        self.start += count as u32;
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        if let Home::Pool { pool, index, .. } = &self.home {
            let shares = &pool.memory.shares[usize::from(*index)];
            if shares.get() > 0 {
                shares.set(shares.get() - 1);
                return;
            }
            pool.memory.lent.set(pool.memory.lent.get() - 1);
            pool.memory.returned.borrow_mut().push(*index);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_pooled() { "pooled" } else { "copied" };
        write!(f, "Lease({} bytes, {kind})", self.len())
    }
}

/// Bytes to send.
///
/// The driver owns the buffer until the send has ended, and returns it in [`Event::Sent`](crate::Event::Sent). The
/// caller can then reuse an owned buffer.
pub enum SendBuffer {
    /// Bytes with a static lifetime, for example a request that is sent many times.
    Static(&'static [u8]),
    /// Bytes that are shared by reference count.
    Shared(Bytes),
    /// Bytes that only this buffer owns.
    Owned(Vec<u8>),
    /// Bytes in several pieces, which are sent in this order without a copy that joins them. Positions in the buffer
    /// count through all of them.
    ///
    /// One call of the kernel takes up to [`SEND_PIECES_MAX`](crate::limits::SEND_PIECES_MAX) pieces. The driver sends
    /// more of them like the rest of a short send, and walks the list each time.
    Pieces(Vec<Bytes>),
}

impl SendBuffer {
    /// Returns the number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Static(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
            Self::Pieces(pieces) => size_of_all(pieces),
        }
    }

    /// Returns whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes, or `None` for [`Pieces`](Self::Pieces).
    #[inline]
    pub fn as_one(&self) -> Option<&[u8]> {
        match self {
            Self::Static(bytes) => Some(bytes),
            Self::Shared(bytes) => Some(bytes),
            Self::Owned(bytes) => Some(bytes),
            Self::Pieces(_) => None,
        }
    }

    /// Returns the bytes from `offset` on, piece by piece. No piece is empty.
    pub fn pieces_from(&self, offset: usize) -> impl Iterator<Item = &[u8]> {
        let pieces = if let Self::Pieces(pieces) = self { &pieces[..] } else { &[] };
        let one = self.as_one().and_then(|bytes| bytes.get(offset..)).filter(|rest| !rest.is_empty());
        one.into_iter().chain(rest_of(pieces, offset))
    }
}

/// Out of the way of the sends of one piece, which are most.
#[cold]
pub(crate) fn size_of_all(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Returns the bytes of `pieces` from `offset` on, without empty pieces.
pub(crate) fn rest_of(pieces: &[Bytes], offset: usize) -> impl Iterator<Item = &[u8]> {
    let mut left = offset;
    pieces.iter().filter_map(move |piece| {
        let skipped = left.min(piece.len());
        left -= skipped;
        (skipped < piece.len()).then_some(&piece[skipped..])
    })
}

impl fmt::Debug for SendBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Static(_) => "static",
            Self::Shared(_) => "shared",
            Self::Owned(_) => "owned",
            Self::Pieces(_) => "in pieces",
        };
        write!(f, "SendBuffer({} bytes, {kind})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_gives_its_buffer_back_even_when_the_pool_handle_is_gone() {
        let pool = BufferPool::with_sizes(2, 64);
        // SAFETY: this block writes the whole buffer before it lends it, and nothing else uses the buffer.
        let lease = unsafe {
            pool.address(1).as_ptr().write_bytes(7, 64);
            pool.lend(1, 5)
        };
        assert_eq!((pool.lent(), lease.len()), (1, 5));
        let other = pool.clone();
        drop(pool);
        assert_eq!(&lease[..], &[7; 5]);
        drop(lease);
        let mut back = Vec::new();
        other.take_returned(|index| back.push(index));
        assert_eq!((back, other.lent()), (vec![1], 0));
    }

    #[test]
    fn a_lease_is_read_from_the_front() {
        let mut lease = Lease::copied(b"hello");
        lease.advance(2);
        lease.truncate(2);
        assert_eq!(&lease[..], b"ll");
        assert!(!lease.is_pooled());
    }

    #[test]
    fn buffers_lie_apart_within_one_allocation() {
        for (count, size) in [(1, 1), (8, 500), (16, 4096)] {
            let pool = BufferPool::with_sizes(count, size);
            let stride = size as usize + RECEIVE_BUFFER_SKEW as usize;
            let base = pool.memory.base.addr().get();
            for index in 0..count {
                assert_eq!(pool.address(index).addr().get() - base, usize::from(index) * stride);
            }
            assert_eq!(pool.memory.layout.size(), usize::from(count) * stride, "as large as all of them");
            assert_eq!((pool.count(), pool.buffer_size()), (count, size));
        }
    }

    #[test]
    #[should_panic(expected = "a buffer pool belongs to one driver")]
    fn a_pool_is_claimed_once() {
        let pool = BufferPool::with_sizes(2, 64);
        pool.claim();
        pool.claim();
    }

    #[test]
    #[should_panic(expected = "no buffer may be lent out when a driver claims the pool")]
    fn a_pool_that_has_lent_is_not_claimed() {
        let pool = BufferPool::with_sizes(2, 64);
        // SAFETY: no byte of the buffer is shown, and nothing else uses it.
        let _lease = unsafe { pool.lend(0, 0) };
        pool.claim();
    }

    #[test]
    fn what_came_back_is_given_once() {
        let pool = BufferPool::with_sizes(4, 64);
        // SAFETY: no byte of the buffers is shown, and nothing else uses them.
        let leases = unsafe { [pool.lend(3, 0), pool.lend(1, 0)] };
        assert_eq!((pool.lent(), pool.has_returned()), (2, false));
        drop(leases);
        assert_eq!((pool.lent(), pool.has_returned()), (0, true));
        let mut back = Vec::new();
        pool.take_returned(|index| back.push(index));
        assert_eq!((back, pool.has_returned()), (vec![3, 1], false));
        pool.take_returned(|index| panic!("{index} came back twice"));
    }

    /// Whether the bytes are in the pool or a copy makes no difference to who reads or changes them.
    #[test]
    fn a_lease_can_be_read_cut_and_changed_wherever_it_is() {
        let pool = BufferPool::with_sizes(2, 64);
        // SAFETY: the buffer's bytes are written here, and nothing else uses it.
        let pooled = unsafe {
            pool.address(1).as_ptr().copy_from_nonoverlapping(b"0123456789".as_ptr(), 10);
            pool.lend(1, 10)
        };
        assert!(pooled.is_pooled());
        for mut lease in [pooled, Lease::copied(b"0123456789")] {
            assert_eq!((lease.remaining(), lease.chunk()), (10, &b"0123456789"[..]));
            lease.advance(2);
            lease.advance(1);
            assert_eq!((lease.remaining(), lease.chunk()), (7, &b"3456789"[..]));
            lease.truncate(7);
            lease.truncate(8);
            assert_eq!(lease.as_ref(), b"3456789", "there are not more");
            lease.truncate(5);
            assert_eq!(&lease[..], b"34567");
            lease[0] = b'x';
            lease.last_mut().expect("five bytes").clone_from(&b'y');
            assert_eq!((&lease[..], lease.len()), (&b"x456y"[..], 5));
            lease.advance(5);
            assert!(!lease.has_remaining() && lease.is_empty());
        }
    }

    #[test]
    fn a_split_buffer_comes_back_with_its_last_lease() {
        let pool = BufferPool::with_sizes(2, 64);
        // SAFETY: the buffer's bytes are written here, and nothing else uses it.
        let pooled = unsafe {
            pool.address(1).as_ptr().copy_from_nonoverlapping(b"0123456789".as_ptr(), 10);
            pool.lend(1, 10)
        };
        for mut rest in [pooled, Lease::copied(b"0123456789")] {
            let is_pooled = rest.is_pooled();
            let mut front = rest.split_to(4);
            let middle = rest.split_to(3);
            front[3] = b'x';
            assert_eq!((&front[..], &middle[..], &rest[..]), (&b"012x"[..], &b"456"[..], &b"789"[..]));
            assert_eq!(pool.lent(), u16::from(is_pooled));
            drop(rest);
            drop(front);
            assert!(!pool.has_returned());
            assert_eq!(&middle[..], b"456");
            drop(middle);
            assert_eq!((pool.has_returned(), pool.lent()), (is_pooled, 0));
            let mut back = Vec::new();
            pool.take_returned(|index| back.push(index));
            assert_eq!(back, vec![1; usize::from(is_pooled)], "once");
        }
    }

    #[test]
    fn a_lease_is_refilled_unless_it_shares_its_buffer() {
        let pool = BufferPool::with_sizes(1, 64);
        // SAFETY: no byte of the buffer is shown before it is written, and nothing else uses it.
        let mut lease = unsafe { pool.lend(0, 0) };
        assert!(lease.refill(&[7; 64]) && lease[..] == [7; 64]);
        assert!(!lease.refill(&[8; 65]) && lease[..] == [7; 64]);
        let front = lease.split_to(60);
        assert!(!lease.refill(b"other") && lease[..] == [7; 4]);
        drop(front);
        assert!(lease.refill(b"other") && lease[..] == *b"other");
        let mut copy = Lease::copied(b"copy");
        assert!(copy.refill(&[1; 100]) && copy[..] == [1; 100]);
    }

    #[test]
    fn a_send_buffer_is_its_bytes() {
        let pieces = [&b""[..], b"by", b"", b"t", b"es", b""].map(Bytes::from_static);
        for buffer in [
            SendBuffer::Static(b"bytes"),
            SendBuffer::Shared(Bytes::from_static(b"bytes")),
            SendBuffer::Owned(b"bytes".to_vec()),
            SendBuffer::Pieces(pieces.to_vec()),
        ] {
            assert_eq!((buffer.len(), buffer.is_empty()), (5, false));
            assert!(buffer.as_one().is_none_or(|bytes| bytes == b"bytes"));
            for offset in 0..=6 {
                let rest: Vec<_> = buffer.pieces_from(offset).collect();
                assert!(rest.iter().all(|piece| !piece.is_empty()), "{rest:?}");
                assert_eq!(rest.concat(), b"bytes"[offset.min(5)..]);
            }
        }
        assert!(SendBuffer::Pieces(vec![Bytes::new(); 2]).is_empty());
    }
}
