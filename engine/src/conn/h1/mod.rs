//! Connections that speak HTTP/1.1: where its codec meets a stream.

mod client;
mod fence;
mod head_place;
mod pipeline;

pub(super) use self::client::ClientConnection;
