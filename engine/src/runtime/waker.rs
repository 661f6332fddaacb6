//! Wakers without a reference count: the worker, generation and slot of a task, packed into the waker's data word.
//!
//! A `Waker` is `Send + Sync`, even if the task is not, so any thread may wake a task. On the worker's own thread, the
//! wake puts the task into the run queue. From any other thread, it goes through the worker's inbox. A waker that
//! outlives its task or its worker wakes nothing, because the generation no longer matches.

#![allow(unsafe_code)] // A `RawWaker` cannot be made otherwise.

use std::ptr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{RawWaker, RawWakerVTable, Waker};

use ringtide_driver::Handle;
use ringtide_driver::limits::GENERATION_BITS;

use super::inbox::{Inbox, Message};
use super::run_queue::{RunQueue, SLOT_BITS, SLOT_MASK};

static WORKERS: RwLock<Vec<Option<Arc<Inbox>>>> = RwLock::new(Vec::new());

/// Assigns a number to the worker with this inbox. Returns `None` if all 65,535 numbers are in use.
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

/// Frees a worker's number when nothing of the worker is left. An old waker with this number may then wake a task of
/// the next worker by mistake. This is harmless: every future must expect spurious wakes.
pub(super) fn unregister_worker(number: u16) {
    WORKERS.write().unwrap_or_else(PoisonError::into_inner)[number as usize] = None;
}

/// Creates a waker for `task` on worker `worker`.
#[inline]
pub(super) fn task_waker(worker: u16, task: Handle) -> Waker {
    debug_assert!(task.slot() <= SLOT_MASK);
    let word = (worker as usize) << (SLOT_BITS + GENERATION_BITS)
        | (task.generation() as usize) << SLOT_BITS
        | task.slot() as usize;
    // SAFETY: the data word is a number and is never dereferenced. So the functions of the table are sound for every
    // value and on every thread: clone copies the word, drop does nothing, and wake only accesses the queues.
    unsafe { Waker::from_raw(RawWaker::new(word as *const (), &TABLE)) }
}

/// Returns a copy of a task's waker, and the number of its worker. Returns `None` for any other kind of waker.
#[inline]
pub(super) fn copy_of_task_waker(waker: &Waker) -> Option<(u16, Waker)> {
    is_task_waker(waker).then(|| {
        let worker = (waker.data() as usize >> (SLOT_BITS + GENERATION_BITS)) as u16;
        // SAFETY: see `task_waker`.
        (worker, unsafe { Waker::from_raw(RawWaker::new(waker.data(), &TABLE)) })
    })
}

/// Returns whether this is the waker of a task, on any worker.
#[inline]
pub(super) fn is_task_waker(waker: &Waker) -> bool {
    ptr::eq(waker.vtable(), &raw const TABLE)
}

/// Returns the task that a waker wakes, or `None` for any other kind of waker.
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
