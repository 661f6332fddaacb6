//! Remembers the last response head that was parsed on this thread. A server often sends the same head again and again:
//! with `Date` it changes once a second. Comparing a head with the last one costs a small part of parsing it.
//!
//! This is not a cache of responses: it holds the parsed values of one head, and knows nothing of requests.

use std::cell::RefCell;

use super::framing::Facts;
use super::head::ResponseMeta;
use super::limits::Limits;

/// Larger heads are not remembered.
const SIZE_MAX: usize = 512;

thread_local! {
    // Without a destructor, so that an access costs as little as one to a static variable.
    static LAST: RefCell<Last> = const { RefCell::new(Last { bytes: [0; SIZE_MAX], known: None }) };
}

struct Last {
    bytes: [u8; SIZE_MAX],
    known: Option<Known>,
}

/// What the parser found in the head at the start of `Last::bytes`.
struct Known {
    meta: ResponseMeta,
    facts: Facts,
    /// The only limit that parsing a whole head depends on, apart from its size.
    header_count_max: u16,
}

/// Returns what the parser would return for `input`, and sets `facts` as it would, if `input` begins with the last
/// head.
///
/// The parser does not look at the bytes behind a whole head, so these may differ.
#[inline]
pub(super) fn recall(input: &[u8], limits: &Limits, facts: &mut Facts) -> Option<ResponseMeta> {
    LAST.with_borrow(|Last { bytes, known }| {
        let known = known.as_ref()?;
        let length = known.meta.length();
        let is_same = input.get(..length)? == &bytes[..length]
            && length <= limits.head_size_max as usize
            && known.header_count_max == limits.header_count_max;
        is_same.then(|| {
            *facts = known.facts;
            known.meta
        })
    })
}

/// Remembers what the parser found in the head at the start of `window`. If it unfolded lines, `window` contains the
/// unfolded ones, in which it would find the same.
#[inline]
pub(super) fn remember(window: &[u8], limits: &Limits, meta: ResponseMeta, facts: &Facts) {
    let head = &window[..meta.length()];
    if head.len() <= SIZE_MAX {
        LAST.with_borrow_mut(|last| {
            last.bytes[..head.len()].copy_from_slice(head);
            let header_count_max = limits.header_count_max;
            last.known = Some(Known { meta, facts: *facts, header_count_max });
        });
    }
}
