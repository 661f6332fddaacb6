//! TLS handshakes of the embedded server that failed: all are counted, and the first of each kind is printed. Other
//! failures are what its clients ask for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ringtide::server::{Failure, FailureKind};

/// The TLS handshakes that failed so far.
#[derive(Debug, Default)]
pub struct FailedHandshakes {
    count: AtomicU64,
    printed: Mutex<BTreeSet<&'static str>>,
}

impl FailedHandshakes {
    pub(super) fn note(&self, failure: &Failure<'_>) {
        let FailureKind::Tls(error) = &failure.kind else { return };
        self.count.fetch_add(1, Ordering::Relaxed);
        // Under load there may be thousands a second.
        if self.printed.lock().unwrap_or_else(PoisonError::into_inner).insert(error.kind()) {
            eprintln!("ringtide: {failure} (further ones like this are only counted)");
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
