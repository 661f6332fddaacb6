//! Connections: the only place where a codec meets a stream.
//!
//! [`Connection`] is the client's, HTTP/1.1 for now; the server's is driven by [`crate::server`].

mod client;
mod input;
mod piece;
mod request;

pub use self::client::{Connection, ConnectionOptions, Exchange, Response, Timing};
pub use self::piece::Piece;
pub use self::request::PreparedRequest;
