//! The 64 bits of user data in each operation: kind, generation and slot.
//!
//! The driver checks them on every completion, so that a completion for a closed socket has no effect on a newer one.

use crate::contract::Handle;
use crate::limits::GENERATION_BITS;

const KIND_SHIFT: u32 = 32 + GENERATION_BITS;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// The kind of operation that a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A connect.
    Connect = 1,
    /// A multishot accept.
    Accept = 2,
    /// A multishot receive.
    Receive = 3,
    /// An ordinary send.
    Send = 4,
    /// A skip-success send, which completes only if it failed or was short.
    SkipSuccessSend = 5,
    /// A poll of a foreign descriptor.
    Poll = 6,
    /// The poll of the driver's own eventfd.
    Wake = 7,
    /// A cancellation or a close. The driver ignores its completion.
    Ignored = 8,
}

impl Kind {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::Connect,
            2 => Self::Accept,
            3 => Self::Receive,
            4 => Self::Send,
            5 => Self::SkipSuccessSend,
            6 => Self::Poll,
            7 => Self::Wake,
            8 => Self::Ignored,
            _ => return None,
        })
    }
}

/// Packs a kind and a handle into user data.
#[inline]
pub(super) const fn pack(kind: Kind, handle: Handle) -> u64 {
    (kind as u64) << KIND_SHIFT | (handle.generation() as u64 & GENERATION_MASK) << 32 | handle.slot() as u64
}

/// Unpacks user data. Returns `None` for bits that [`pack`] does not produce.
#[inline]
pub(super) const fn unpack(bits: u64) -> Option<(Kind, Handle)> {
    match Kind::from_bits((bits >> KIND_SHIFT) as u8) {
        Some(kind) => Some((kind, Handle::new(bits as u32, (bits >> 32 & GENERATION_MASK) as u32))),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_all_three() {
        for kind in [Kind::Connect, Kind::Receive, Kind::Ignored] {
            for handle in [Handle::new(0, 1), Handle::new(u32::MAX, (1 << GENERATION_BITS) - 1)] {
                assert_eq!(unpack(pack(kind, handle)), Some((kind, handle)));
            }
        }
        assert_eq!(unpack(0), None);
        assert_eq!(unpack(u64::MAX), None);
    }
}
