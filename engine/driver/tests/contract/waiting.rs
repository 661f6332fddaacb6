//! Deadlines and notifiers.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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

/// What the driver has found out by itself, or while it did something else, waits for no completion.
pub(crate) fn a_turn_that_has_something_to_tell_does_not_wait<S: Subject>() {
    let mut pump = S::pump();
    let (idle, other) = pump.pair();
    pump.expect_nothing();
    // Of the close of an idle socket there is nothing that the kernel could complete.
    pump.close(idle);
    let deadline_ns = pump.driver.now_ns() + 10_000_000_000;
    pump.turn(Some(deadline_ns));
    assert!(pump.driver.now_ns() < deadline_ns, "it waited with Closed at hand");
    pump.closed(idle);
    pump.finish(&[other]);
    if !S::REAL {
        return; // The rest needs a socket that is full or written to behind the driver's back.
    }
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    let (quiet, _peer) = UnixStream::pair().expect("a pair can be made");
    let [receiving, sending] =
        [ours, quiet].map(|socket| pump.driver.adopt(socket.into()).expect("a connected socket"));
    pump.own(receiving);
    pump.own(sending);
    pump.receive(receiving);
    pump.expect_nothing();
    theirs.write_all(b"arrived").expect("there is room");
    pump.send_skip_success(sending, b"at once");
    // Looks for the end of that send, and may find what has arrived.
    pump.driver.shutdown(sending).expect("the send has ended");
    let deadline_ns = pump.driver.now_ns() + 10_000_000_000;
    let bytes = pump.received(receiving, 7);
    assert!(bytes == b"arrived" && pump.driver.now_ns() < deadline_ns, "it waited with bytes at hand");
    pump.finish(&[receiving, sending]);
}

pub(crate) fn a_turn_without_a_deadline_waits<S: Subject>() {
    let mut pump = S::pump();
    let (listener, _) = pump.server();
    pump.expect_nothing();
    let (notifier, rung) = (pump.driver.notifier(), Arc::new(AtomicBool::new(false)));
    let thread = thread::spawn({
        let rung = Arc::clone(&rung);
        move || {
            // Until then nothing happens.
            thread::sleep(Duration::from_millis(30));
            rung.store(true, Ordering::Release);
            notifier.notify();
        }
    });
    let mut turns = 0;
    while !rung.load(Ordering::Acquire) {
        pump.turn(None);
        turns += 1;
    }
    thread.join().expect("it only notifies");
    assert!(turns <= 50, "{turns} turns with nothing to do");
    pump.finish(&[listener]);
}
