//! The ringtide subjects. The choice of driver matters only for `yield` and the sleeps, because the others rarely call
//! the driver.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringtide::runtime::{self, DriverChoice, Timer, Worker, WorkerOptions};

use super::tasks::{BATCH, FAR, SLEEP, TIMEOUT, give_up, ping_pong};
use super::{Measurement, Run};

pub(crate) const MEASUREMENTS: [Measurement; 7] = [
    ("wake", "ringtide", wake),
    ("spawn and join", "ringtide", spawn_and_join),
    ("yield", "ringtide on the fallback", || yield_now(DriverChoice::Fallback)),
    ("timer, later", "ringtide", timer_later),
    ("timer, given up", "ringtide", timer_given_up),
    ("timer, elapsed", "ringtide", timer_elapsed),
    ("sleep 100 µs", "ringtide on the fallback", || sleep(DriverChoice::Fallback)),
];

#[cfg(target_os = "linux")]
pub(crate) const ON_IO_URING: [Measurement; 2] = [
    ("yield", "ringtide on io_uring", || yield_now(DriverChoice::IoUring)),
    ("sleep 100 µs", "ringtide on io_uring", || sleep(DriverChoice::IoUring)),
];

fn wake() -> Run {
    measure(DriverChoice::Auto, async |count| {
        let (first, second) = ping_pong(count);
        let start = Instant::now();
        let (first, second) = (runtime::spawn(first), runtime::spawn(second));
        first.await.expect("the task does not panic");
        second.await.expect("the task does not panic");
        start.elapsed()
    })
}

fn spawn_and_join() -> Run {
    measure(DriverChoice::Auto, async |count| {
        let start = Instant::now();
        for _ in 0..count {
            runtime::spawn(async {}).await.expect("the task does not panic");
        }
        start.elapsed()
    })
}

fn yield_now(driver: DriverChoice) -> Run {
    measure(driver, async |count| {
        let start = Instant::now();
        for _ in 0..count {
            runtime::yield_now().await;
        }
        start.elapsed()
    })
}

fn timer_later() -> Run {
    measure(DriverChoice::Auto, async |count| {
        let deadline_ns = runtime::now_ns() + FAR.as_nanos() as u64;
        let mut timer = Timer::new();
        timer.set(deadline_ns);
        assert!(poll_fn(|context| Poll::Ready(timer.poll_elapsed(context))).await.is_pending());
        let start = Instant::now();
        for number in 0..count {
            timer.set(deadline_ns + number);
        }
        start.elapsed()
    })
}

fn timer_given_up() -> Run {
    measure(DriverChoice::Auto, async |count| {
        // A busy worker has other timers. Without any, the heap would have no order to maintain.
        let mut bystander = Timer::new();
        bystander.set(runtime::now_ns() + FAR.as_nanos() as u64);
        let start = Instant::now();
        give_up(count, |pending| runtime::timeout(TIMEOUT, pending)).await;
        start.elapsed()
    })
}

fn timer_elapsed() -> Run {
    measure(DriverChoice::Auto, async |count| {
        let mut timers: Vec<Timer> = (0..BATCH).map(|_| Timer::new()).collect();
        let mut left = count;
        let start = Instant::now();
        while left > 0 {
            let batch = &mut timers[..left.min(BATCH) as usize];
            let now_ns = runtime::now_ns();
            for (number, timer) in batch.iter_mut().enumerate() {
                // In mixed order, and all elapsed by the next turn. An odd factor makes a permutation of the batch.
                timer.set(now_ns + (number as u64 * 389) % BATCH);
            }
            for timer in batch.iter_mut() {
                timer.elapsed().await;
            }
            left -= batch.len() as u64;
        }
        start.elapsed()
    })
}

fn sleep(driver: DriverChoice) -> Run {
    measure(driver, async |count| {
        let start = Instant::now();
        for _ in 0..count {
            runtime::sleep(SLEEP).await;
        }
        start.elapsed()
    })
}

/// Runs `body` in a task. As the future of `block_on` itself, it would be polled once a turn, and the turns would be
/// measured.
fn measure<B>(driver: DriverChoice, body: B) -> Run
where
    B: AsyncFn(u64) -> Duration + Copy + 'static,
{
    let options = WorkerOptions { driver, ..WorkerOptions::default() };
    let mut worker = Worker::new(&options).expect("the driver can be set up here");
    Box::new(move |count| {
        let task = async move { runtime::spawn(async move { body(count).await }).await };
        worker.block_on(task).expect("the task does not panic")
    })
}
