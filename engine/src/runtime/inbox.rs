//! The way into a worker from other threads: a queue, and the question whether the worker must be woken to look at it.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use ringtide_driver::{Handle, Notifier};

#[cfg(ringtide_loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(ringtide_loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// Sends work to one worker from any thread. Cheap to clone; outlives the worker without harm.
#[derive(Clone)]
pub struct WorkerHandle {
    inbox: Arc<Inbox>,
}

impl WorkerHandle {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox }
    }

    /// Has the worker call `function` between two tasks. What it makes need not be `Send`: it is called over there. A panic in
    /// it ends it alone.
    ///
    /// # Errors
    /// When the worker is gone; `function` has been dropped. `Ok` means that the worker had not gone yet: should it go before
    /// it gets there, `function` is dropped uncalled.
    pub fn call(&self, function: impl FnOnce() + Send + 'static) -> Result<(), WorkerEnded> {
        if self.inbox.post(Message::Call(Box::new(function))) { Ok(()) } else { Err(WorkerEnded) }
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerHandle")
    }
}

/// The worker that a [`WorkerHandle`] leads to is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerEnded;

impl fmt::Display for WorkerEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the worker has ended")
    }
}

impl std::error::Error for WorkerEnded {}

/// What other threads can ask of a worker.
pub(super) enum Message {
    Wake(Handle),
    Call(Box<dyn FnOnce() + Send>),
}

/// The queue of one worker. It is bounded by its senders: a wake is posted by whoever was given a waker, a call by a caller.
pub(super) struct Inbox {
    queue: Mutex<Option<Vec<Message>>>,
    parking: Parking,
    notifier: Notifier,
}

impl Inbox {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self { queue: Mutex::new(Some(Vec::new())), parking: Parking::new(), notifier }
    }

    /// Queues a message, and wakes the worker if it is parked; false when the worker is gone.
    pub(super) fn post(&self, message: Message) -> bool {
        match self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(queue) => queue.push(message),
            None => return false,
        }
        if self.parking.announce() {
            self.notifier.notify();
        }
        true
    }

    /// Takes what has been queued. Costs one load when there is nothing.
    #[inline]
    pub(super) fn take(&self) -> Vec<Message> {
        if !self.parking.take_announcement() {
            return Vec::new();
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(mem::take).unwrap_or_default()
    }

    /// Whether the worker may wait in its driver; if so it is parked until [`unpark`](Self::unpark).
    #[inline]
    pub(super) fn park(&self) -> bool {
        self.parking.park()
    }

    /// The worker is awake again.
    #[inline]
    pub(super) fn unpark(&self) {
        self.parking.unpark();
    }

    /// Refuses all messages from now on, and gives those that nobody has read.
    pub(super) fn close(&self) -> Vec<Message> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// Two flags that see to it that no announcement is slept through: the sender announces, then looks whether the worker is
/// parked; the worker parks, then looks whether something was announced. In a single total order one of them sees the other.
///
/// Every change is a read-modify-write, so that each flag's changes form one chain which the later one always sees the end of; with
/// plain stores the argument would need more of the memory model than loom checks.
struct Parking {
    announced: AtomicBool,
    parked: AtomicBool,
}

impl Parking {
    fn new() -> Self {
        Self { announced: AtomicBool::new(false), parked: AtomicBool::new(false) }
    }

    /// After queueing; true when the worker is parked and this caller has to wake it.
    fn announce(&self) -> bool {
        self.announced.swap(true, Ordering::SeqCst);
        self.parked.swap(false, Ordering::SeqCst)
    }

    /// Before reading the queue; true when there may be something in it.
    #[inline]
    fn take_announcement(&self) -> bool {
        self.announced.load(Ordering::Relaxed) && self.announced.swap(false, Ordering::SeqCst)
    }

    /// True when the worker may wait.
    #[inline]
    fn park(&self) -> bool {
        self.parked.swap(true, Ordering::SeqCst);
        if self.announced.fetch_or(false, Ordering::SeqCst) {
            self.parked.swap(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    #[inline]
    fn unpark(&self) {
        self.parked.swap(false, Ordering::SeqCst);
    }
}

#[cfg(all(test, ringtide_loom))]
mod loom_tests {
    use super::Parking;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A driver's wake-up: it lasts until the next wait, as an eventfd's does.
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
                        // Waiting here for ever is what loom reports as a deadlock.
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
