//! An allocator that counts, so that published memory figures are measured, not estimated.
//!
//! It counts the bytes that the program requests. The overhead of the system's allocator is not included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The [`System`] allocator with counters for live bytes, their peak, and allocations.
///
/// Install it in a binary with `#[global_allocator]`. Each allocation costs a few relaxed atomic operations. Code that
/// does not allocate pays nothing.
#[derive(Debug)]
pub struct CountingAllocator {
    live: AtomicUsize,
    peak: AtomicUsize,
    count: AtomicUsize,
}

impl CountingAllocator {
    /// Creates an allocator with all counters at zero.
    pub const fn new() -> Self {
        Self { live: AtomicUsize::new(0), peak: AtomicUsize::new(0), count: AtomicUsize::new(0) }
    }

    /// Returns how many bytes are allocated and not freed.
    pub fn live_bytes(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// Returns the peak of [`live_bytes`](Self::live_bytes) since [`reset_peak`](Self::reset_peak).
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// Returns how many allocations were made. A reallocation counts as one.
    pub fn allocations(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Resets the peak to the bytes that are live now.
    pub fn reset_peak(&self) {
        self.peak.store(self.live_bytes(), Relaxed);
    }

    fn add(&self, size: usize) {
        self.count.fetch_add(1, Relaxed);
        let live = self.live.fetch_add(size, Relaxed) + size;
        if live > self.peak.load(Relaxed) {
            self.peak.fetch_max(live, Relaxed);
        }
    }
}

impl Default for CountingAllocator {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: each method forwards its arguments unchanged to `System`. The caller guarantees what `System` requires of
// them. The counting neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `System.alloc`, which is the same.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            self.add(layout.size());
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `System.dealloc`, and `System` allocated `pointer`.
        unsafe { System.dealloc(pointer, layout) };
        self.live.fetch_sub(layout.size(), Relaxed);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `System.alloc_zeroed`, which is the same.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            self.add(layout.size());
        }
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `System.realloc`, and `System` allocated `pointer`.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        if !moved.is_null() {
            self.live.fetch_sub(layout.size(), Relaxed);
            self.add(size);
        }
        moved
    }
}
