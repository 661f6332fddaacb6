//! HTTP/2 in the result of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::Http2;

/// What happened in HTTP/2 beside the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2Summary {
    /// How often a request was sent again because the server had announced not to process it (GOAWAY, REFUSED_STREAM).
    /// Its latency counts from when it was first due.
    pub replayed: u64,
    /// Streams that the server reset before the response was complete, by error code, `REFUSED_STREAM` included.
    pub resets: BTreeMap<String, u64>,
    /// Shutdowns that the server announced (GOAWAY), by error code.
    pub goaways: BTreeMap<String, u64>,
    /// How many concurrent streams the server allows on a connection, the least if they differ; null if it named no
    /// limit.
    pub streams_max_peer: Option<u32>,
}

impl Http2Summary {
    pub(super) fn of(http2: &Http2) -> Self {
        let Http2 { replayed, resets, goaways, streams_max_peer } = http2.clone();
        Self { replayed, resets, goaways, streams_max_peer }
    }
}
