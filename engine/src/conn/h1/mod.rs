//! Connections that speak HTTP/1.1: one request after the other.

mod exchange;
mod server;
mod wire;

pub(super) use self::exchange::{Exchange, Responder};
pub use self::server::{DISCARD_SIZE_MAX, ServerConnection};
pub(crate) use self::server::{Found, Waiting};
pub(crate) use self::wire::Wire;
