//! What a read of a certain shape can lack: bytes before the end of the stream, or a delimiter within a limit.

use std::error::Error;
use std::fmt;
use std::io;

/// The stream has ended in the middle of what was to be read.
///
/// It is the inner error of an [`io::Error`] of kind [`UnexpectedEof`](io::ErrorKind::UnexpectedEof). The partial bytes
/// are no longer in the stream's buffer. Further reads find the end of the stream.
///
/// If TLS has ended without close_notify, the error is [`tls::Error::Truncated`](crate::tls::Error::Truncated) instead.
/// The partial bytes then stay in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncompleteRead {
    /// What arrived before the end. Empty if the stream has ended between two messages.
    pub partial: Vec<u8>,
    /// How many bytes were to be read, or `None` if a delimiter was to end them.
    pub expected: Option<usize>,
}

impl IncompleteRead {
    /// Returns this error inside an I/O error, as the methods of a stream return it.
    pub fn of_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn error(partial: &[u8], expected: Option<usize>) -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, Self { partial: partial.to_vec(), expected })
    }
}

impl fmt::Display for IncompleteRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.partial.len();
        match self.expected {
            Some(expected) => write!(f, "the stream has ended after {size} of {expected} bytes"),
            None => write!(f, "the stream has ended after {size} bytes without a delimiter"),
        }
    }
}

impl Error for IncompleteRead {}

/// What was to be read is longer than the caller allows.
///
/// It is the inner error of an [`io::Error`] of kind [`InvalidData`](io::ErrorKind::InvalidData). All bytes stay in the
/// stream's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitExceeded {
    /// The limit, in bytes.
    pub size_max: usize,
}

impl LimitExceeded {
    /// Returns this error inside an I/O error, as the methods of a stream return it.
    pub fn of_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn error(size_max: usize) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { size_max })
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no delimiter within {} bytes", self.size_max)
    }
}

impl Error for LimitExceeded {}
