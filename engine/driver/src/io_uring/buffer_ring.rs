//! The ring that gives receive buffers to the kernel (`io_uring_setup_buf_ring(3)`, Linux 5.19).
//!
//! It holds only addresses. The [`BufferPool`] owns the memory.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::buffer::BufferPool;

/// The buffer group that receive operations name. Each driver has one group.
pub(super) const BUFFER_GROUP: u16 = 0;

/// The shared ring of buffer addresses, registered with an io_uring ring.
///
/// The io_uring ring must not outlive it: the owner unregisters the buffer ring before it drops it, or leaks it.
pub(super) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    mask: u16,
    /// The last value that this side wrote to the shared tail. Only this side writes it.
    tail: u16,
    /// The number of buffers that the kernel has: those pushed, minus those that completions named.
    available: u16,
}

impl BufferRing {
    /// Registers a buffer ring for `pool` and gives all buffers of the pool to the kernel.
    pub(super) fn register(submitter: &Submitter<'_>, pool: &BufferPool) -> io::Result<Self> {
        let count = pool.count();
        assert!(count.is_power_of_two(), "io_uring_register(2) requires a power of two");
        let layout = Layout::array::<BufRingEntry>(count as usize)
            .and_then(|layout| layout.align_to(4096))
            .expect("a buffer ring fits the address space");
        #[expect(clippy::cast_ptr_alignment, reason = "the layout is aligned to 4096")]
        // SAFETY: the layout's size is not zero, because `count` is a power of two and therefore at least 1.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        let Some(entries) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let mut ring = Self { entries, layout, mask: count - 1, tail: 0, available: 0 };
        // SAFETY: the memory is page-aligned and has room for `count` entries. It is zeroed, so all entries are valid.
        // It stays allocated until the ring is unregistered, or it is leaked: see `IoUring::drop`.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, BUFFER_GROUP, 0)?;
        }
        for index in 0..count {
            ring.push(pool, index);
        }
        ring.publish();
        Ok(ring)
    }

    /// Returns how many buffers the kernel can still fill.
    pub(super) fn available(&self) -> u16 {
        self.available
    }

    /// Records that the kernel has taken one buffer out of the ring.
    #[inline]
    pub(super) fn taken(&mut self) {
        self.available -= 1;
    }

    /// Writes buffer `index` into the next entry. The kernel sees it only after [`publish`](Self::publish).
    #[inline]
    pub(super) fn push(&mut self, pool: &BufferPool, index: u16) {
        debug_assert!(self.available <= self.mask, "more buffers in the ring than in the pool");
        // SAFETY: the masked tail is less than the number of entries, so the pointer is in bounds. Nothing else
        // accesses this entry: the kernel reads entries only between its head and the published tail, and this entry is
        // at or beyond the published tail, because at most `count` buffers exist and each is in the ring at most once.
        // The three setters do not touch the field `resv` of entry 0, which is the tail.
        let entry = unsafe { &mut *self.entries.as_ptr().add((self.tail & self.mask) as usize) };
        entry.set_addr(pool.address(index).as_ptr() as u64);
        entry.set_len(pool.buffer_size());
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
        self.available += 1;
    }

    /// Makes everything pushed so far visible to the kernel.
    #[inline]
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail is a field of entry 0 of the ring, which is allocated, initialised and 2-byte aligned. On
        // this side only this thread writes the tail. The kernel reads it with acquire ordering.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: `register` allocated this memory with this layout. `IoUring::drop` unregisters the ring before it
        // drops this value, or leaks it.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}
