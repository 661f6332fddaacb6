//! The ring through which the kernel is given receive buffers (`io_uring_setup_buf_ring(3)`, Linux 5.19).
//!
//! It holds addresses only; the memory behind them is the [`BufferPool`]'s.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::buffer::BufferPool;

/// The group that receive operations name. Each driver has one group.
pub(super) const BUFFER_GROUP: u16 = 0;

/// The shared ring, registered with a ring that must not outlive it. The owner unregisters before dropping, or leaks.
pub(super) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    mask: u16,
    /// What we wrote last to the shared tail; only we write it.
    tail: u16,
    /// Buffers that are with the kernel: those given minus those that completions named.
    available: u16,
}

impl BufferRing {
    /// Registers a ring for the buffers of `pool` and gives the kernel all of them.
    pub(super) fn register(submitter: &Submitter<'_>, pool: &BufferPool) -> io::Result<Self> {
        let count = pool.count();
        assert!(count.is_power_of_two(), "io_uring_register(2) demands a power of two");
        let layout = Layout::array::<BufRingEntry>(count as usize)
            .and_then(|layout| layout.align_to(4096))
            .expect("a buffer ring fits the address space");
        #[expect(clippy::cast_ptr_alignment, reason = "the layout asks for 4096")]
        // SAFETY: the layout's size is not zero, as count is a power of two and so at least 1.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        let Some(entries) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let mut ring = Self { entries, layout, mask: count - 1, tail: 0, available: 0 };
        // SAFETY: the memory is page-aligned, as large as `count` entries, zeroed (so all entries are valid), and stays
        // allocated until it is unregistered or leaked: see `IoUring::drop`.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, BUFFER_GROUP, 0)?;
        }
        for index in 0..count {
            ring.push(pool, index);
        }
        ring.publish();
        Ok(ring)
    }

    /// Buffers that the kernel can still fill.
    pub(super) fn available(&self) -> u16 {
        self.available
    }

    /// Notes that the kernel has taken a buffer out.
    #[inline]
    pub(super) fn taken(&mut self) {
        self.available -= 1;
    }

    /// Writes buffer `index` into the next entry. The kernel does not see it before [`publish`](Self::publish).
    #[inline]
    pub(super) fn push(&mut self, pool: &BufferPool, index: u16) {
        debug_assert!(self.available <= self.mask, "more buffers given than there are");
        // SAFETY: the masked tail is below the number of entries. The kernel reads an entry only between its head and
        // the published tail; this one lies at or beyond the tail, as at most `count` buffers exist and each is in the
        // ring at most once, so nobody else touches it. The three setters leave the `resv` of entry 0, the tail, alone.
        let entry = unsafe { &mut *self.entries.as_ptr().add((self.tail & self.mask) as usize) };
        entry.set_addr(pool.address(index).as_ptr() as u64);
        entry.set_len(pool.buffer_size());
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
        self.available += 1;
    }

    /// Shows the kernel everything pushed so far.
    #[inline]
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lives in entry 0 of the ring, which is allocated and initialised; it is 2-byte aligned, and
        // on our side only this thread writes it, while the kernel reads it with acquire ordering.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with this layout. `IoUring::drop` unregisters the ring first, or forgets this.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}
