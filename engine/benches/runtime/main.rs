//! The executor and the timers of a worker by themselves, without a socket.
//!
//! | group | one iteration | against |
//! |---|---|---|
//! | `wake` | one of two tasks wakes the other, which is polled and registers its own waker | tokio (current thread, `LocalSet`), monoio |
//! | `spawn and join` | a task spawns an empty one and waits for its end | the same |
//! | `yield` | a task lets I/O have a turn: the least that a turn of the loop costs | tokio |
//! | `timer, later` | a deadline that is set already moves into the future, as each request does with its connection's | tokio, monoio |
//! | `timer, given up` | a timeout of 10 ms is made, polled once and dropped, as by a request that is answered in time | tokio, monoio |
//! | `timer, elapsed` | one of a batch of timers is set, waited for, and comes up | nobody |
//! | `sleep 100 µs` | a sleep, which is longer by as much as the wake-up is late | tokio, monoio |
//!
//! A fair reading: all subjects run the same futures on one thread, and their bookkeeping is what differs. In `yield` tokio
//! and the fallback ask epoll each time; io_uring shows in shared memory that there is nothing to enter the kernel for, so
//! no call is made, and that is the difference. Monoio has no yield, and a task there that wakes itself runs again before
//! I/O does. Timers of tokio and monoio count in milliseconds: their `sleep 100 µs` shows that and no inefficiency, while
//! their wheels have the easier task in the other groups. In `timer, given up` they forget a timer with its drop, whereas
//! ringtide's heap keeps 16 bytes of it until its time is up: with longer timeouts than this the heap is larger and the
//! figure worse. `timer, elapsed` has no peer, as a deadline in the past is over there before it enters the wheel.

mod on_ringtide;
mod on_tokio;
mod tasks;

#[cfg(target_os = "linux")]
mod on_monoio;

use std::time::Duration;

use criterion::Criterion;

/// Does so many iterations, and says how long they took.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// A group, a subject in it, and how to set it up.
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
            // Set up when it is first run: those that a filter leaves out are not.
            let mut run = None;
            benchmarks.bench_function(*subject, |bencher| bencher.iter_custom(run.get_or_insert_with(start)));
        }
        benchmarks.finish();
    }
    criterion.final_summary();
}
