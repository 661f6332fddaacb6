//! The futures that all subjects run. They depend on no runtime, only on the waker with which they are polled.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The number of timers in a batch.
pub(crate) const BATCH: u64 = 1024;

/// The timeout of the group `timer, given up`. It is short, so that the timers that a runtime keeps until their
/// deadline are few.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(10);

/// Later than the end of any measurement.
pub(crate) const FAR: Duration = Duration::from_hours(1);

/// The requested duration of a sleep.
pub(crate) const SLEEP: Duration = Duration::from_micros(100);

/// Returns two futures, one for each of two tasks. They wake each other in turn, `count` times in total.
pub(crate) fn ping_pong(count: u64) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
    let table = Rc::new(RefCell::new(Table { left: count, turn: 0, wakers: [None, None] }));
    (play(Rc::clone(&table), 0), play(table, 1))
}

struct Table {
    left: u64,
    turn: usize,
    wakers: [Option<Waker>; 2],
}

async fn play(table: Rc<RefCell<Table>>, player: usize) {
    let other = 1 - player;
    poll_fn(|context| {
        let mut table = table.borrow_mut();
        if table.left > 0 && table.turn != player {
            table.wakers[player] = Some(context.waker().clone());
            return Poll::Pending;
        }
        let over = table.left == 0;
        if !over {
            table.left -= 1;
            table.turn = other;
            table.wakers[player] = Some(context.waker().clone());
        }
        let waker = table.wakers[other].take();
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Creates `count` timeouts, polls each once and drops it. Yields to other tasks and I/O after each batch.
pub(crate) async fn give_up<F: Future>(count: u64, timeout: impl Fn(std::future::Pending<()>) -> F) {
    for number in 0..count {
        let mut waiting = pin!(timeout(pending()));
        let over = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready())).await;
        assert!(!over, "a timeout is not over at once");
        if number % BATCH == BATCH - 1 {
            pass().await;
        }
    }
}

/// Returns `Pending` once.
async fn pass() {
    let mut passed = false;
    poll_fn(|context| {
        if passed {
            return Poll::Ready(());
        }
        passed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
