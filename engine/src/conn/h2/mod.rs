//! Connections that speak HTTP/2: many requests at once.

mod client;
mod link;

pub(super) use self::client::ClientConnection;
