//! The executor and the timers of a worker alone, without sockets.
//!
//! | group | one iteration | compared with |
//! |---|---|---|
//! | `wake` | one of two tasks wakes the other, which is polled and registers its own waker | tokio (current thread, `LocalSet`), monoio |
//! | `spawn and join` | a task spawns an empty one and waits for its end | the same |
//! | `yield` | a task yields to I/O: the minimum cost of a turn of the loop | tokio |
//! | `timer, later` | a deadline moves to a later time, as each request moves the deadline of its connection | tokio, monoio |
//! | `timer, given up` | a 10 ms timeout is created, polled once and dropped, as for a request with a response in time | tokio, monoio |
//! | `timer, elapsed` | one of a batch of timers is set, waited for, and elapses | none |
//! | `sleep 100 µs` | a sleep, which is longer by the delay of the wake-up | tokio, monoio |
//!
//! How to read the figures: all subjects run the same futures on one thread, so the figures differ by the bookkeeping
//! of the runtimes.
//!
//! - `yield`: tokio and the fallback call epoll each time. io_uring shows in shared memory that there is nothing to do
//!   in the kernel, so ringtide makes no system call. This is the difference. Monoio has no yield: a task that wakes
//!   itself runs again before I/O.
//! - `sleep 100 µs`: the timers of tokio and monoio have a resolution of one millisecond. The figure shows this, and no
//!   inefficiency. In the other groups, the coarse resolution makes the work of their timer wheels easier.
//! - `timer, given up`: tokio and monoio remove a timer when it is dropped. Ringtide's heap keeps 16 bytes of it until
//!   its deadline. With longer timeouts, the heap is larger and the figure is worse.
//! - `timer, elapsed`: there is no comparison, because the other runtimes complete a deadline in the past before it
//!   enters their wheel.

mod on_ringtide;
mod on_tokio;
mod tasks;

#[cfg(target_os = "linux")]
mod on_monoio;

use std::time::Duration;

use criterion::Criterion;

/// Runs the given number of iterations. Returns how long they took.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// A group, a subject in it, and the subject's setup function.
type Measurement = (&'static str, &'static str, fn() -> Run);

const GROUPS: [&str; 7] =
    ["wake", "spawn and join", "yield", "timer, later", "timer, given up", "timer, elapsed", "sleep 100 µs"];

#[cfg(target_os = "linux")]
const SUBJECTS: [&[Measurement]; 4] = [
    &on_ringtide::ON_IO_URING,
    &on_ringtide::MEASUREMENTS,
    &on_tokio::MEASUREMENTS,
    &on_monoio::MEASUREMENTS,
];

#[cfg(not(target_os = "linux"))]
const SUBJECTS: [&[Measurement]; 2] = [&on_ringtide::MEASUREMENTS, &on_tokio::MEASUREMENTS];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for group in GROUPS {
        let mut benchmarks = criterion.benchmark_group(group);
        for (_, subject, start) in SUBJECTS.iter().copied().flatten().filter(|(of, ..)| *of == group) {
            // Each subject is set up at its first run, so those that a filter skips are not set up.
            let mut run = None;
            benchmarks.bench_function(*subject, |bencher| bencher.iter_custom(run.get_or_insert_with(start)));
        }
        benchmarks.finish();
    }
    criterion.final_summary();
}
