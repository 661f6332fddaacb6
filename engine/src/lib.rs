//! Ringtide: an io_uring-first, thread-per-core HTTP engine.
//!
//! Two public layers:
//! - [`Connection`]: a [`PreparedRequest`] out, a borrowed head and a body in place back; no allocation per request. It is what
//!   the load generator measures with.
//! - [`Client`] above it: `http` types, a pool, policies; and [`ClientHandle`](client::ClientHandle) for other threads.
//!
//! Below them [`stream`] gives byte streams, [`runtime`] the worker that everything runs on, and [`proto`] the codec by itself.
//!
//! The path of a request: [`Connection::start`] hands a prepared buffer to the stream; the worker's next turn hands it, and those of
//! all other connections, to the kernel in one call; the answer arrives in a buffer of the worker's shared pool, and is parsed where
//! it lies.

pub mod client;
pub mod conn;
pub mod error;
pub mod limits;
mod pool;
pub mod proto;
pub mod resolve;
pub mod runtime;
pub mod server;
pub mod stream;

pub use ringtide_driver::{Address, AddressError};

pub use self::client::{Client, ClientOptions};
pub use self::conn::{
    CompletedExchange, Connection, ConnectionOptions, GivenUp, PreparedRequest, Response, Timing,
};
pub use self::error::Error;
