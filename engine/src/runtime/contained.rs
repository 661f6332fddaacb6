//! Catching panics: a panic in foreign code ends only that code.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `code`. Returns its result, or the message of its panic, which the panic hook has reported. Nothing may be
/// used again that `code` may have left in a broken state.
#[inline]
pub(super) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(message_of)
}

/// Drops a value whose `Drop` may run foreign code.
pub(super) fn drop_contained<T>(value: T) {
    // The panic hook has reported a panic, and there is no caller to report it to.
    let _ = contained(|| drop(value));
}

#[cold]
fn message_of(panic: Box<dyn Any + Send>) -> String {
    let message = if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "a panic value that is not a string".to_owned()
    };
    // The panic value may itself panic when it is dropped, and so may the value of that panic. Drop the first and leak
    // the second.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(second);
    }
    message
}
