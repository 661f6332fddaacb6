//! Connections that speak HTTP/1.1: where its codec meets a stream.

mod client;
mod exchange;
mod fence;
mod head_place;
mod pipeline;
mod server;
mod wire;

pub(super) use self::client::ClientConnection;
pub(super) use self::exchange::{Exchange, Responder};
pub use self::server::{DISCARD_SIZE_MAX, ServerConnection};
pub(crate) use self::server::{Found, Waiting};
pub(crate) use self::wire::Wire;
