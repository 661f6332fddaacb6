//! Descriptors that belong to others, for [`poll`](ringtide_driver::Driver::poll).

// A bare descriptor number is borrowed, which nothing but the contract makes sound.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// A close-on-exec duplicate of `descriptor`, which must be open during the call.
///
/// # Errors
/// `EBADF` when it is not open, `EMFILE` when no further one can be.
pub(crate) fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: not -1, as seen above. The borrow ends with this expression, and `poll` has its caller keep the descriptor
    // open for longer than that. The number is only handed to fcntl(2), which answers EBADF if nothing is open there.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
