//! An allocator that counts, so that published figures about memory are measured and not guessed.
//!
//! It counts what the program asks for, not what the system's allocator adds to it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// [`System`], with the live bytes and their peak counted. Put it into a binary with `#[global_allocator]`.
///
/// Each thread that allocates pays three relaxed atomic operations; a data path that does not allocate pays nothing.
#[derive(Debug)]
pub struct CountingAllocator {
    live: AtomicUsize,
    peak: AtomicUsize,
    count: AtomicUsize,
}

impl CountingAllocator {
    /// An allocator that has counted nothing yet.
    pub const fn new() -> Self {
        Self { live: AtomicUsize::new(0), peak: AtomicUsize::new(0), count: AtomicUsize::new(0) }
    }

    /// Bytes allocated and not freed.
    pub fn live_bytes(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// The most that [`live_bytes`](Self::live_bytes) has been since [`reset_peak`](Self::reset_peak).
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// How often memory was asked for, growth of what there was included.
    pub fn allocations(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Starts the peak anew from what is live now.
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

// SAFETY: every call is passed on to `System` unchanged, with the arguments for which the caller vouches; counting
// neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is System's.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            self.add(layout.size());
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is System's, which made `pointer`.
        unsafe { System.dealloc(pointer, layout) };
        self.live.fetch_sub(layout.size(), Relaxed);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is System's.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            self.add(layout.size());
        }
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is System's, which made `pointer`.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        if !moved.is_null() {
            self.live.fetch_sub(layout.size(), Relaxed);
            self.add(size);
        }
        moved
    }
}
