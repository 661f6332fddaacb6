//! TLS in the result of a run.

use serde::{Deserialize, Serialize};

use crate::metrics::Handshakes;

/// What the TLS handshakes agreed on, those before the start included, those of the warm-up left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSummary {
    /// `1.2` or `1.3`, or both with `and` between them; null if no handshake ended well.
    pub version: Option<String>,
    /// The cipher suite by its name in the IANA registry, or several; null if no handshake ended well.
    pub cipher: Option<String>,
    /// Handshakes that agreed on everything anew.
    pub handshakes_full: u64,
    /// Handshakes that resumed an earlier session.
    pub handshakes_resumed: u64,
}

impl TlsSummary {
    pub(super) fn of(handshakes: &Handshakes) -> Self {
        let joined = |names: Vec<&str>| (!names.is_empty()).then(|| names.join(" and "));
        Self {
            version: joined(handshakes.versions.iter().copied().collect()),
            cipher: joined(handshakes.ciphers.iter().copied().collect()),
            handshakes_full: handshakes.full,
            handshakes_resumed: handshakes.resumed,
        }
    }
}
