//! A worker's inbox for other threads: a queue, and a wake-up if the worker is parked.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use ringtide_driver::{Handle, Notifier};

use super::parking::Parking;

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
