//! Connections that speak HTTP/2: many requests at once.

mod answers;
mod exchange;
mod link;
mod server;

pub(super) use self::exchange::{Exchange, Responder};
pub(crate) use self::server::{Connection, Late, Next, NextError, StreamTimeouts};
