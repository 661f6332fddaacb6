//! Descriptors that belong to others, for [`poll`](ringtide_driver::Driver::poll).

// This borrows a raw descriptor number. Only the contract of `poll` makes that sound.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Returns a close-on-exec duplicate of `descriptor`, which must be open during the call.
///
/// # Errors
/// `EBADF` if it is not open, `EMFILE` if no descriptor is free.
pub(crate) fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not -1, as checked above. The borrow ends with this expression, and the caller of `poll`
    // keeps the descriptor open for longer than that. The number is only passed to fcntl(2), which fails with EBADF if
    // it is not open.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
