//! HTTP/1.1 connections: the only place where a codec meets a stream.
//!
//! [`Connection`] is the client's connection. [`ServerConnection`] is the server's; [`crate::server`] drives it.

mod client;
mod content;
mod date;
mod exchange;
mod fence;
mod piece;
mod request;
mod response;
mod server;
mod times;
mod wire;

pub use self::client::{Connection, ConnectionOptions, Response};
pub use self::content::Content;
pub use self::exchange::{Answered, Exchange, Responder};
pub use self::piece::Piece;
pub use self::request::PreparedRequest;
pub use self::response::PreparedResponse;
pub(crate) use self::server::Waiting;
pub use self::server::{DISCARD_SIZE_MAX, ServerConnection};
pub use self::times::{Aborted, CompletedExchange, Timing};
pub(crate) use self::wire::Wire;
