//! What happened in HTTP/2 beside the requests: resets, shutdowns, and requests that were sent again.

use std::collections::BTreeMap;

/// Counts of HTTP/2, and what its peers allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2 {
    /// Requests that were sent again because the server had announced not to process them.
    pub replayed: u64,
    /// Streams that the server reset before the response was complete, by the name of the error code.
    pub resets: BTreeMap<String, u64>,
    /// Shutdowns that the server announced (GOAWAY), by the name of the error code.
    pub goaways: BTreeMap<String, u64>,
    /// The lowest limit on concurrent streams that a server has announced; `None` if none has.
    pub streams_max_peer: Option<u32>,
}

impl Http2 {
    pub(super) fn add(&mut self, other: &Self) {
        self.replayed += other.replayed;
        for (mine, others) in [(&mut self.resets, &other.resets), (&mut self.goaways, &other.goaways)] {
            for (code, count) in others {
                *mine.entry(code.clone()).or_default() += count;
            }
        }
        if let Some(max) = other.streams_max_peer {
            self.allows_streams(max);
        }
    }

    pub(super) fn allows_streams(&mut self, max: u32) {
        self.streams_max_peer = Some(self.streams_max_peer.map_or(max, |least| least.min(max)));
    }

    /// Forgets what happened. What the peers allow stays, as their connections do.
    pub(super) fn reset(&mut self) {
        *self = Self { streams_max_peer: self.streams_max_peer, ..Self::default() };
    }
}
