//! The monoio subjects, on its io_uring driver with timers.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use monoio::{IoUringDriver, RuntimeBuilder, spawn, time};

use super::tasks::{FAR, SLEEP, TIMEOUT, give_up, ping_pong};
use super::{Measurement, Run};

pub(crate) const MEASUREMENTS: [Measurement; 5] = [
    ("wake", "monoio", wake),
    ("spawn and join", "monoio", spawn_and_join),
    ("timer, later", "monoio", timer_later),
    ("timer, given up", "monoio", timer_given_up),
    ("sleep 100 µs", "monoio", sleep),
];

fn wake() -> Run {
    measure(async |count| {
        let (first, second) = ping_pong(count);
        let start = Instant::now();
        let (first, second) = (spawn(first), spawn(second));
        first.await;
        second.await;
        start.elapsed()
    })
}

fn spawn_and_join() -> Run {
    measure(async |count| {
        let start = Instant::now();
        for _ in 0..count {
            spawn(async {}).await;
        }
        start.elapsed()
    })
}

fn timer_later() -> Run {
    measure(async |count| {
        let deadline = time::Instant::now() + FAR;
        let mut timer = Box::pin(time::sleep_until(deadline));
        assert!(poll_fn(|context| Poll::Ready(timer.as_mut().poll(context))).await.is_pending());
        let start = Instant::now();
        for number in 0..count {
            timer.as_mut().reset(deadline + Duration::from_nanos(number));
        }
        start.elapsed()
    })
}

fn timer_given_up() -> Run {
    measure(async |count| {
        let start = Instant::now();
        give_up(count, |pending| time::timeout(TIMEOUT, pending)).await;
        start.elapsed()
    })
}

fn sleep() -> Run {
    measure(async |count| {
        let start = Instant::now();
        for _ in 0..count {
            time::sleep(SLEEP).await;
        }
        start.elapsed()
    })
}

fn measure<B>(body: B) -> Run
where
    B: AsyncFn(u64) -> Duration + Copy + 'static,
{
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .enable_timer()
        .build()
        .expect("monoio's io_uring driver can be set up here");
    Box::new(move |count| runtime.block_on(async move { spawn(async move { body(count).await }).await }))
}
