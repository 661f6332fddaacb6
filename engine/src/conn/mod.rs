//! Connections: the only place where a codec meets a stream.
//!
//! [`Connection`] is the client's connection. [`ServerConnection`] is the server's; [`crate::server`] drives it.

mod client;
mod completion;
mod content;
mod date;
mod exchange;
mod h1;
mod h2;
mod observe;
mod piece;
mod request;
mod response;
mod takeover;

pub use self::client::{Connection, ConnectionOptions, HttpVersion, Response};
pub use self::completion::{Aborted, CompletedExchange, Completion, RequestId, Timing};
pub use self::content::Content;
pub use self::exchange::{Answered, Exchange, Responder};
pub use self::h1::{DISCARD_SIZE_MAX, ServerConnection};
pub(crate) use self::h1::{Found, Waiting, Wire};
pub use self::observe::Observe;
pub use self::piece::Piece;
pub use self::request::PreparedRequest;
pub use self::response::PreparedResponse;
pub(crate) use self::takeover::Takeover;

/// The server's side of HTTP/2, and the connections that the requests of a client share.
pub(crate) mod http2 {
    pub(crate) use super::h2::{Connection, Exchange, Late, Next, NextError, Request, StreamTimeouts};
    pub(crate) use super::h2::{KeepAlive, Place, SharedConnection, SharedExchange};
}
