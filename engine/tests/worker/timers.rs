//! Timers: order, moves, precision.

use std::sync::mpsc;
use std::time::Duration;

use ringtide::runtime::{self, Spin, Timer, Worker, WorkerOptions};
use ringtide_driver::sim::{Sim, SimOptions};

use super::worker;

#[test]
fn timers_fire_in_order_and_never_early() {
    worker().block_on(async {
        let (sender, receiver) = mpsc::channel();
        let start_ns = runtime::now_ns();
        let tasks: Vec<_> = [210_u64, 30, 120]
            .map(|delay_ms| {
                let sender = sender.clone();
                runtime::spawn(async move {
                    runtime::sleep(Duration::from_millis(delay_ms)).await;
                    assert!(runtime::now_ns() >= start_ns + delay_ms * 1_000_000);
                    sender.send(delay_ms).unwrap();
                })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [30, 120, 210]);
    });
}

#[test]
fn a_timer_can_be_moved_both_ways_and_unset() {
    worker().block_on(async {
        let mut timer = Timer::new();
        let start_ns = runtime::now_ns();
        timer.set(start_ns + 60_000_000_000);
        timer.set(start_ns + 3_000_000);
        timer.elapsed().await;
        timer.elapsed().await;
        timer.set(runtime::now_ns() + 1_000_000);
        let moved_ns = runtime::now_ns() + 5_000_000;
        timer.set(moved_ns);
        timer.elapsed().await;
        assert!(runtime::now_ns() >= moved_ns);
        timer.set(runtime::now_ns() + 1_000_000);
        timer.unset();
        assert!(runtime::timeout(Duration::from_millis(5), timer.elapsed()).await.is_none());
    });
}

#[test]
fn precise_timers_do_not_fire_early_while_spinning() {
    for spin in [Spin::For(2_000_000), Spin::Learnt, Spin::Off] {
        let mut worker = Worker::new(&WorkerOptions { spin, ..WorkerOptions::default() }).unwrap();
        worker.block_on(async {
            let mut timer = Timer::precise();
            for _ in 0..20 {
                let deadline_ns = runtime::now_ns() + 500_000;
                timer.set(deadline_ns);
                timer.elapsed().await;
                assert!(runtime::now_ns() >= deadline_ns, "{spin:?}");
            }
        });
    }
}

#[test]
fn a_deadline_limits_several_steps_in_virtual_time() {
    Worker::simulated(Sim::new(SimOptions::default())).unwrap().block_on(async {
        // Nobody waits for these hours.
        let hour = Duration::from_hours(1);
        let start_ns = runtime::now_ns();
        let at_ns = start_ns + 3 * 3_600_000_000_000;
        assert_eq!(runtime::deadline(at_ns, runtime::sleep(2 * hour)).await, Some(()));
        assert_eq!(runtime::deadline(at_ns, runtime::sleep(2 * hour)).await, None);
        let passed_ns = runtime::now_ns() - start_ns;
        assert!((3 * 3_600_000_000_000..4 * 3_600_000_000_000).contains(&passed_ns), "{passed_ns}");
        // What is ready at once is never too late.
        assert_eq!(runtime::deadline(at_ns, async { 1 }).await, Some(1));
        assert_eq!(runtime::deadline(at_ns, std::future::pending::<()>()).await, None);
        assert_eq!(runtime::deadline(u64::MAX, runtime::sleep(hour)).await, Some(()));
    });
}
