//! A worker's inbox for other threads: a queue, and the flags that decide whether the worker must be woken.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use ringtide_driver::{Handle, Notifier};

#[cfg(ringtide_loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(ringtide_loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// Sends work to one worker from any thread. It is cheap to clone, and may outlive the worker.
#[derive(Clone)]
pub struct WorkerHandle {
    inbox: Arc<Inbox>,
}

impl WorkerHandle {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox }
    }

    /// Makes the worker call `function` between two tasks. What `function` creates does not have to be `Send`, because
    /// it runs on the worker's thread. A panic in it is caught there.
    ///
    /// # Errors
    /// If the worker has ended; `function` has been dropped. After `Ok` the worker may still end before it makes the
    /// call. It then drops `function` without calling it.
    pub fn call(&self, function: impl FnOnce() + Send + 'static) -> Result<(), WorkerEnded> {
        if self.inbox.post(Message::Call(Box::new(function))) { Ok(()) } else { Err(WorkerEnded) }
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerHandle")
    }
}

/// The worker of a [`WorkerHandle`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerEnded;

impl fmt::Display for WorkerEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the worker has ended")
    }
}

impl std::error::Error for WorkerEnded {}

/// A message from another thread to a worker.
pub(super) enum Message {
    Wake(Handle),
    Call(Box<dyn FnOnce() + Send>),
}

/// The queue of one worker. It has no limit of its own: its length depends on how many wakers and callers exist.
pub(super) struct Inbox {
    queue: Mutex<Option<Vec<Message>>>,
    parking: Parking,
    notifier: Notifier,
}

impl Inbox {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self { queue: Mutex::new(Some(Vec::new())), parking: Parking::new(), notifier }
    }

    /// Queues a message, and wakes the worker if it is parked. Returns `false` if the worker has ended.
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

    /// Takes all queued messages. Costs one load if there are none.
    #[inline]
    pub(super) fn take(&self) -> Vec<Message> {
        if !self.parking.take_announcement() {
            return Vec::new();
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(mem::take).unwrap_or_default()
    }

    /// Returns whether the worker may wait in its driver. If so, it is parked until [`unpark`](Self::unpark).
    #[inline]
    pub(super) fn park(&self) -> bool {
        self.parking.park()
    }

    /// Notes that the worker is awake again.
    #[inline]
    pub(super) fn unpark(&self) {
        self.parking.unpark();
    }

    /// Closes the inbox. It refuses all further messages. Returns the unread ones.
    pub(super) fn close(&self) -> Vec<Message> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// Two flags that keep a worker from sleeping while there is a message.
///
/// The sender sets `announced`, then checks `parked`. The worker sets `parked`, then checks `announced`. All these
/// operations are `SeqCst`, so they have a single total order, and in it at least one of the two sees the flag of the
/// other.
///
/// Every change is a read-modify-write. So the changes of each flag form one chain, and each change sees the one before
/// it. With plain stores, the argument would need more of the memory model than loom checks.
struct Parking {
    announced: AtomicBool,
    parked: AtomicBool,
}

impl Parking {
    fn new() -> Self {
        Self { announced: AtomicBool::new(false), parked: AtomicBool::new(false) }
    }

    /// Announces a message, after it was queued. Returns `true` if the worker is parked and this caller has to wake it.
    fn announce(&self) -> bool {
        self.announced.swap(true, Ordering::SeqCst);
        self.parked.swap(false, Ordering::SeqCst)
    }

    /// Clears the announcement, before the queue is read. Returns `true` if the queue may contain messages.
    #[inline]
    fn take_announcement(&self) -> bool {
        self.announced.load(Ordering::Relaxed) && self.announced.swap(false, Ordering::SeqCst)
    }

    /// Parks the worker. Returns `true` if it may wait.
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
