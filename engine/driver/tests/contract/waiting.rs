//! Deadlines and notifiers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringtide_driver::Driver;

use crate::pump::Pump;
use crate::subject::Subject;

/// How late a wait may end after its deadline, on a busy machine.
const LATE_NS_MAX: u64 = 1_000_000_000;

pub(crate) fn a_wait_ends_at_its_deadline<S: Subject>() {
    let mut pump = S::pump();
    let (listener, _) = pump.server();
    // Waits for everything that opening the listener has started.
    pump.expect_nothing();
    for wait_ns in [1_000, 300_000, 2_000_000, 40_000_000] {
        let deadline_ns = pump.driver.now_ns() + wait_ns;
        let mut turns = 0;
        while pump.driver.now_ns() < deadline_ns {
            pump.turn(Some(deadline_ns));
            turns += 1;
        }
        // A turn may return early, but a driver that always does so spins.
        assert!(turns <= 50, "{turns} turns for a wait of {wait_ns} ns");
        let late_ns = pump.driver.now_ns() - deadline_ns;
        assert!(late_ns < LATE_NS_MAX, "{late_ns} ns late");
    }
    pump.finish(&[listener]);
}

pub(crate) fn a_deadline_in_the_past_does_not_wait<S: Subject>() {
    let mut pump = S::pump();
    let (listener, _) = pump.server();
    let start_ns = pump.driver.now_ns();
    for turn in 0..100 {
        let deadline_ns = if turn % 2 == 0 { 0 } else { pump.driver.now_ns() };
        pump.turn(Some(deadline_ns));
    }
    assert!(pump.driver.now_ns() - start_ns < LATE_NS_MAX);
    pump.finish(&[listener]);
}

/// Waits until a notifier ends the wait.
///
/// With a real driver there is a late deadline, so that a lost wake is a failure and not a hang. The simulated driver
/// has its own limit, and its clock would jump to any deadline at once.
fn wait_for_notifier<S: Subject>(pump: &mut Pump<S::Driver>) {
    let deadline_ns = S::REAL.then(|| pump.driver.now_ns() + 20_000_000_000);
    pump.turn(deadline_ns);
    if let Some(deadline_ns) = deadline_ns {
        assert!(pump.driver.now_ns() < deadline_ns, "the wake was lost");
    }
}

pub(crate) fn a_notifier_ends_the_wait<S: Subject>() {
    let mut pump = S::pump();
    let (listener, _) = pump.server();
    pump.expect_nothing();
    for _ in 0..50 {
        let (notifier, rung) = (pump.driver.notifier(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let rung = Arc::clone(&rung);
            move || {
                rung.store(true, Ordering::Release);
                notifier.notify();
            }
        });
        // A turn may return early, so it may take more than one turn until the notifier was rung.
        while !rung.load(Ordering::Acquire) {
            wait_for_notifier::<S>(&mut pump);
        }
        thread.join().expect("it only notifies");
        // Consumes a wake that may be left, so that the next round begins without one.
        pump.turn(Some(0));
    }
    pump.finish(&[listener]);
}

pub(crate) fn a_notify_before_the_turn_is_not_lost<S: Subject>() {
    let mut pump = S::pump();
    let notifier = pump.driver.notifier();
    for _ in 0..20 {
        notifier.clone().notify();
        notifier.notify();
        wait_for_notifier::<S>(&mut pump);
        pump.turn(Some(0));
    }
    drop(pump);
    // Using the notifier after the driver was dropped is harmless.
    notifier.notify();
}
