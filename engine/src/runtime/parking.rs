//! The flags that decide whether another thread must wake a worker.
//!
//! ci/loom compiles this file by itself, so it uses nothing of the crate.

#[cfg(ringtide_loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(ringtide_loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// Two flags that keep a worker from sleeping while there is a message.
///
/// The sender sets `announced`, then checks `parked`. The worker sets `parked`, then checks `announced`. All these
/// operations are `SeqCst`, so they have a single total order, and in it at least one of the two sees the flag of the
/// other.
///
/// Every change is a read-modify-write. So the changes of each flag form one chain, and each change sees the one before
/// it. With plain stores, the argument would need more of the memory model than loom checks.
pub(crate) struct Parking {
    announced: AtomicBool,
    parked: AtomicBool,
}

impl Parking {
    pub(crate) fn new() -> Self {
        Self { announced: AtomicBool::new(false), parked: AtomicBool::new(false) }
    }

    /// Announces a message, after it was queued. Returns `true` if the worker is parked and this caller has to wake it.
    pub(crate) fn announce(&self) -> bool {
        self.announced.swap(true, Ordering::SeqCst);
        self.parked.swap(false, Ordering::SeqCst)
    }

    /// Clears the announcement, before the queue is read. Returns `true` if the queue may contain messages.
    #[inline]
    pub(crate) fn take_announcement(&self) -> bool {
        self.announced.load(Ordering::Relaxed) && self.announced.swap(false, Ordering::SeqCst)
    }

    /// Parks the worker. Returns `true` if it may wait.
    #[inline]
    pub(crate) fn park(&self) -> bool {
        self.parked.swap(true, Ordering::SeqCst);
        if self.announced.fetch_or(false, Ordering::SeqCst) {
            self.parked.swap(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    #[inline]
    pub(crate) fn unpark(&self) {
        self.parked.swap(false, Ordering::SeqCst);
    }
}

#[cfg(all(test, ringtide_loom))]
mod loom_tests {
    use super::Parking;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// The wake-up of a driver. Like that of an eventfd, it lasts until the next wait.
    struct Wake {
        woken: Mutex<bool>,
        changed: Condvar,
    }

    #[test]
    fn no_announcement_is_slept_through() {
        loom::model(|| {
            let parking = Arc::new(Parking::new());
            let queue = Arc::new(Mutex::new(0_u32));
            let wake = Arc::new(Wake { woken: Mutex::new(false), changed: Condvar::new() });
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (parking, queue, wake) =
                        (Arc::clone(&parking), Arc::clone(&queue), Arc::clone(&wake));
                    thread::spawn(move || {
                        *queue.lock().unwrap() += 1;
                        if parking.announce() {
                            *wake.woken.lock().unwrap() = true;
                            wake.changed.notify_one();
                        }
                    })
                })
                .collect();
            let mut received = 0;
            while received < 2 {
                if parking.take_announcement() {
                    received += std::mem::take(&mut *queue.lock().unwrap());
                    continue;
                }
                if parking.park() {
                    let mut woken = wake.woken.lock().unwrap();
                    while !*woken {
                        // If this wait never ends, loom reports a deadlock.
                        woken = wake.changed.wait(woken).unwrap();
                    }
                    *woken = false;
                }
                parking.unpark();
            }
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }
}
