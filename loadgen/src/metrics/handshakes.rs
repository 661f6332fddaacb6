//! What TLS handshakes agreed on.

use std::collections::BTreeSet;

/// What one handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The version, such as `1.3`.
    pub version: &'static str,
    /// The cipher suite, by its name in the IANA registry.
    pub cipher: &'static str,
    /// Whether it resumed an earlier session.
    pub is_resumed: bool,
}

/// What all handshakes of a run agreed on, those before the start included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// How many agreed on everything anew.
    pub full: u64,
    /// How many resumed an earlier session.
    pub resumed: u64,
    /// The versions.
    pub versions: BTreeSet<&'static str>,
    /// The cipher suites.
    pub ciphers: BTreeSet<&'static str>,
}

impl Handshakes {
    pub(super) fn count(&mut self, handshake: Handshake) {
        let Handshake { version, cipher, is_resumed } = handshake;
        if is_resumed {
            self.resumed += 1;
        } else {
            self.full += 1;
        }
        self.versions.insert(version);
        self.ciphers.insert(cipher);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.full += other.full;
        self.resumed += other.resumed;
        self.versions.extend(&other.versions);
        self.ciphers.extend(&other.ciphers);
    }
}
