//! The `Date` field (RFC 9110 §6.6.1), formatted once per second on each worker.

use std::cell::RefCell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND_NS: u64 = 1_000_000_000;

/// Size of `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its line end.
const LINE_SIZE: usize = 37;

struct Cache {
    line: [u8; LINE_SIZE],
    /// When the next second begins, on the worker's clock.
    valid_until_ns: u64,
}

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache { line: [0; LINE_SIZE], valid_until_ns: 0 }) };
}

/// Appends the field line of HTTP/1.1. `now_ns` is the time on the worker's clock. It need not be exact.
#[inline]
pub(super) fn push_date(out: &mut Vec<u8>, now_ns: u64) {
    CACHE.with_borrow_mut(|cache| {
        cache.renew_if_over(now_ns);
        out.extend_from_slice(&cache.line);
    });
}

/// Passes the field's value to `take`, and when it is over, on the worker's clock.
#[inline]
pub(super) fn with_date<T>(now_ns: u64, take: impl FnOnce(&[u8], u64) -> T) -> T {
    CACHE.with_borrow_mut(|cache| {
        cache.renew_if_over(now_ns);
        take(&cache.line[b"Date: ".len()..LINE_SIZE - b"\r\n".len()], cache.valid_until_ns)
    })
}

impl Cache {
    #[inline]
    fn renew_if_over(&mut self, now_ns: u64) {
        // The second comparison covers a thread whose next worker has another clock.
        if now_ns >= self.valid_until_ns || now_ns + SECOND_NS < self.valid_until_ns {
            self.renew(now_ns, SystemTime::now());
        }
    }

    #[cold]
    fn renew(&mut self, now_ns: u64, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.valid_until_ns = now_ns + SECOND_NS - u64::from(since.subsec_nanos());
        let date = httpdate::HttpDate::from(UNIX_EPOCH + since);
        write!(&mut self.line[..], "Date: {date}\r\n").expect("a date has a fixed length");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_lasts_until_its_second_is_over() {
        let mut cache = Cache { line: [0; LINE_SIZE], valid_until_ns: 0 };
        // The example of RFC 9110 §5.6.7, plus a quarter of a second.
        let moment = UNIX_EPOCH + Duration::from_millis(784_111_777_250);
        cache.renew(5 * SECOND_NS, moment);
        assert_eq!(&cache.line, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(cache.valid_until_ns, 5_750_000_000);
    }

    #[test]
    fn push_date_appends_a_field_line() {
        let mut out = Vec::new();
        push_date(&mut out, 0);
        push_date(&mut out, 1);
        assert_eq!(out.len(), 2 * LINE_SIZE);
        assert!(out.starts_with(b"Date: ") && out.ends_with(b" GMT\r\n"));
    }

    #[test]
    fn a_worker_with_another_clock_gets_a_date_of_its_own() {
        let valid_until = || CACHE.with_borrow(|cache| cache.valid_until_ns);
        for now_ns in [100 * SECOND_NS, 5 * SECOND_NS, 300 * SECOND_NS] {
            push_date(&mut Vec::new(), now_ns);
            let until_ns = valid_until();
            assert!((now_ns + 1..=now_ns + SECOND_NS).contains(&until_ns), "{now_ns}: {until_ns}");
            // It is made again when it is over, and not before.
            push_date(&mut Vec::new(), until_ns - 1);
            assert_eq!(valid_until(), until_ns);
            push_date(&mut Vec::new(), until_ns);
            assert!(valid_until() > until_ns);
        }
    }
}
