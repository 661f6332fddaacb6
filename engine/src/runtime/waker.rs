//! Wakers without a reference count: a task's worker, generation and slot packed into the waker's one word.
//!
//! `Waker` is `Send + Sync` by contract even when tasks are not, so a wake may come from any thread. One from the worker's own
//! thread puts the task into its queue; any other goes through the worker's inbox. A waker that outlives its task, or its
//! worker, wakes nobody: the generation tells.

#![allow(unsafe_code)] // A `RawWaker` cannot be made otherwise.

use std::ptr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{RawWaker, RawWakerVTable, Waker};

use ringtide_driver::Handle;
use ringtide_driver::limits::GENERATION_BITS;

use super::inbox::{Inbox, Message};
use super::run_queue::{RunQueue, SLOT_BITS, SLOT_MASK};

static WORKERS: RwLock<Vec<Option<Arc<Inbox>>>> = RwLock::new(Vec::new());

/// Takes a number for a worker with this inbox, or `None` when all 65,535 are taken.
pub(super) fn register_worker(inbox: Arc<Inbox>) -> Option<u16> {
    let mut workers = WORKERS.write().unwrap_or_else(PoisonError::into_inner);
    let free = workers.iter().position(Option::is_none).unwrap_or(workers.len());
    let number = u16::try_from(free).ok().filter(|number| *number < u16::MAX)?;
    if free == workers.len() {
        workers.push(None);
    }
    workers[free] = Some(inbox);
    Some(number)
}

/// Gives the number back, once nothing of its worker is left. Wakers that still carry it may wake a task of the number's next
/// worker once too often, which every future must bear anyway.
pub(super) fn unregister_worker(number: u16) {
    WORKERS.write().unwrap_or_else(PoisonError::into_inner)[number as usize] = None;
}

/// A waker for the task behind `task` on worker `worker`.
#[inline]
pub(super) fn task_waker(worker: u16, task: Handle) -> Waker {
    debug_assert!(task.slot() <= SLOT_MASK);
    let word = (worker as usize) << (SLOT_BITS + GENERATION_BITS)
        | (task.generation() as usize) << SLOT_BITS
        | task.slot() as usize;
    // SAFETY: the data word is a plain number, never dereferenced, so the functions of the table are sound for any value and on any thread;
    // clone copies it, drop has nothing to do, and wake only touches the queues.
    unsafe { Waker::from_raw(RawWaker::new(word as *const (), &TABLE)) }
}

/// A copy of a task's waker, with the number of its worker; `None` when it is anybody else's.
#[inline]
pub(super) fn copy_of_task_waker(waker: &Waker) -> Option<(u16, Waker)> {
    is_task_waker(waker).then(|| {
        let worker = (waker.data() as usize >> (SLOT_BITS + GENERATION_BITS)) as u16;
        // SAFETY: as in `task_waker`.
        (worker, unsafe { Waker::from_raw(RawWaker::new(waker.data(), &TABLE)) })
    })
}

/// Whether it is a task's, of any worker.
#[inline]
pub(super) fn is_task_waker(waker: &Waker) -> bool {
    ptr::eq(waker.vtable(), &raw const TABLE)
}

/// The task that a waker wakes; `None` when it is not a task's.
#[inline]
pub(super) fn task_of(waker: &Waker) -> Option<Handle> {
    is_task_waker(waker).then(|| task_in(waker.data() as usize))
}

#[inline]
fn task_in(word: usize) -> Handle {
    Handle::new(word as u32 & SLOT_MASK, (word >> SLOT_BITS) as u32 & ((1 << GENERATION_BITS) - 1))
}

static TABLE: RawWakerVTable = RawWakerVTable::new(|word| RawWaker::new(word, &TABLE), wake, wake, |_| ());

#[inline]
fn wake(word: *const ()) {
    let word = word as usize;
    let worker = (word >> (SLOT_BITS + GENERATION_BITS)) as u16;
    let task = task_in(word);
    if !RunQueue::wake_if_local(worker, task) {
        wake_from_elsewhere(worker, task);
    }
}

#[cold]
fn wake_from_elsewhere(worker: u16, task: Handle) {
    let workers = WORKERS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(Some(inbox)) = workers.get(worker as usize) {
        inbox.post(Message::Wake(task));
    }
}
