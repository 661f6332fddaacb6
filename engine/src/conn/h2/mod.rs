//! Connections that speak HTTP/2: many requests at once.

mod answers;
mod block;
mod client;
mod exchange;
mod heads;
mod link;
mod server;
mod shared;

pub(super) use self::client::ClientConnection;
pub(crate) use self::exchange::Exchange;
pub(super) use self::exchange::Responder;
pub(crate) use self::server::{Connection, Late, Next, NextError, Request, StreamTimeouts};
pub(crate) use self::shared::{Exchange as SharedExchange, KeepAlive, Place, SharedConnection};
