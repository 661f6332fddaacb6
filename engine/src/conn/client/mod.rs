//! The client's side of a connection, whatever version of HTTP it speaks.

mod connection;
mod options;
mod response;

pub use self::connection::Connection;
pub use self::options::{ConnectionOptions, HttpVersion};
pub use self::response::Response;
