//! Handshakes in memory, for each setting and each error.
