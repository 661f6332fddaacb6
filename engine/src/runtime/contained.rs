//! The bounds of a panic: code that is not the worker's own ends by itself, and nothing else does.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `code` gives, or the message of its panic, which the hook has reported. What `code` has left half-done must be nothing
/// that is used again.
#[inline]
pub(super) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(message_of)
}

/// Drops a value whose `Drop` may be anybody's code.
pub(super) fn drop_contained<T>(value: T) {
    // The hook has reported a panic in it, and there is nobody else to tell.
    let _ = contained(|| drop(value));
}

#[cold]
fn message_of(panic: Box<dyn Any + Send>) -> String {
    let message = if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "a value that is no message".to_owned()
    };
    // A value that somebody panics with may panic in turn when it is dropped, and so on; two are enough.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(second);
    }
    message
}
