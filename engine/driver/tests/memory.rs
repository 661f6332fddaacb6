//! What memory costs: the allocator that counts it, and that pools and drivers give back all of theirs. One test, as everything
//! else in the process would be counted as well.

use std::hint::black_box;

use ringtide_driver::BufferPool;
use ringtide_driver::allocator::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// What the test harness may use meanwhile.
const NOISE: usize = 4 * 1024;

const SIZE: usize = 1024 * 1024;

#[test]
fn memory_is_counted_and_given_back() {
    the_allocator_counts();
    let of_a_pool = || drop(black_box(BufferPool::new()));
    gives_everything_back("a pool", of_a_pool);
    #[cfg(target_os = "linux")]
    if ringtide_driver::io_uring::probe().is_ok() {
        gives_everything_back("a driver", || {
            drop(ringtide_driver::io_uring::IoUring::new().expect("the probe said that it can be used"));
        });
    }
}

fn the_allocator_counts() {
    ALLOCATOR.reset_peak();
    let (live, count) = (ALLOCATOR.live_bytes(), ALLOCATOR.allocations());
    near(ALLOCATOR.peak_bytes(), live, "the peak starts from what is live");
    let mut bytes = black_box(vec![1_u8; SIZE]);
    near(ALLOCATOR.live_bytes(), live + SIZE, "an allocation");
    bytes.reserve_exact(2 * SIZE);
    near(ALLOCATOR.live_bytes(), live + 3 * SIZE, "a larger one in its place");
    let zeroed = black_box(vec![0_u8; SIZE]);
    near(ALLOCATOR.live_bytes(), live + 4 * SIZE, "one of zeros");
    near(ALLOCATOR.peak_bytes(), live + 4 * SIZE, "the peak is now");
    drop((bytes, zeroed));
    near(ALLOCATOR.live_bytes(), live, "all of it is freed");
    near(ALLOCATOR.peak_bytes(), live + 4 * SIZE, "the peak stays");
    let counted = ALLOCATOR.allocations() - count;
    assert!((3..30).contains(&counted), "{counted} allocations");
    ALLOCATOR.reset_peak();
    near(ALLOCATOR.peak_bytes(), live, "the peak starts anew");
}

fn near(counted: usize, expected: usize, what: &str) {
    assert!(counted.abs_diff(expected) < NOISE, "{what}: {counted} bytes, and not {expected}");
}

fn gives_everything_back(what: &str, round: impl Fn()) {
    // What is made once and kept.
    round();
    let before = ALLOCATOR.live_bytes();
    for _ in 0..10 {
        round();
    }
    near(ALLOCATOR.live_bytes(), before, what);
}
