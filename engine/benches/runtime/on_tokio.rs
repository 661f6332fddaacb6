//! The tokio subjects: one thread, and tasks of a `LocalSet`, which do not have to be `Send` either.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local, unconstrained, yield_now};
use tokio::time;

use super::tasks::{FAR, SLEEP, TIMEOUT, give_up, ping_pong};
use super::{Measurement, Run};

pub(crate) const MEASUREMENTS: [Measurement; 6] = [
    ("wake", "tokio", wake),
    ("spawn and join", "tokio", spawn_and_join),
    ("yield", "tokio", yields),
    ("timer, later", "tokio", timer_later),
    ("timer, given up", "tokio", timer_given_up),
    ("sleep 100 µs", "tokio", sleep),
];

fn wake() -> Run {
    measure(async |count| {
        let (first, second) = ping_pong(count);
        let start = Instant::now();
        let (first, second) = (spawn_local(first), spawn_local(second));
        first.await.expect("the task does not panic");
        second.await.expect("the task does not panic");
        start.elapsed()
    })
}

fn spawn_and_join() -> Run {
    measure(async |count| {
        let start = Instant::now();
        for _ in 0..count {
            spawn_local(async {}).await.expect("the task does not panic");
        }
        start.elapsed()
    })
}

fn yields() -> Run {
    measure(async |count| {
        let start = Instant::now();
        for _ in 0..count {
            yield_now().await;
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
        // Unconstrained, because tokio does not even register the timers of a task that has used up its budget.
        unconstrained(give_up(count, |pending| time::timeout(TIMEOUT, pending))).await;
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
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be set up here");
    let local = LocalSet::new();
    Box::new(move |count| {
        let task = async move { spawn_local(async move { body(count).await }).await };
        local.block_on(&runtime, task).expect("the task does not panic")
    })
}
