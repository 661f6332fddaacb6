//! Ringtide: an io_uring-first, thread-per-core HTTP engine.
//!
//! A server, with a thread per core:
//!
//! ```no_run
//! use ringtide::http::StatusCode;
//! use ringtide::server::{Exchange, Server, ServerOptions};
//!
//! let address = "127.0.0.1:8080".parse()?;
//! let server = Server::start(&[address], &ServerOptions::default(), async |exchange: Exchange<'_>| {
//!     match exchange.head().path() {
//!         "/" => exchange.respond(StatusCode::OK, &[], "hello world\n"),
//!         _ => exchange.respond(StatusCode::NOT_FOUND, &[], "no such page\n"),
//!     }
//! })?;
//! server.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! And a client of it:
//!
//! ```no_run
//! use ringtide::Client;
//! use ringtide::runtime::{Worker, WorkerOptions};
//!
//! let page = Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let response = Client::default().get("http://127.0.0.1:8080/").await?;
//!     response.into_body().text(1024 * 1024).await
//! })?;
//! assert_eq!(page, "hello world\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The public layers:
//! - [`server`]: handlers, run on the worker that accepted the connection.
//! - [`Client`]: `http` types, a pool, policies; and [`ClientHandle`](client::ClientHandle) for other threads.
//! - [`Connection`] below it: a [`PreparedRequest`] out, a borrowed head and a body in place back; no allocation per request. It is
//!   what the load generator measures with.
//!
//! Below them [`stream`] gives byte streams, [`runtime`] the worker that everything runs on, and [`proto`] the codec by itself.
//! [`sim`] stands in for the network in tests. [`bytes`], [`http`] and [`http_body`] are the crates whose types stand in signatures. Whole programs are in
//! [`engine/examples`](https://github.com/ringtide/ringtide/tree/main/engine/examples).
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

/// The simulated network, for [`runtime::Worker::simulated`].
pub mod sim {
    pub use ringtide_driver::sim::{Faults, Sim, SimOptions};
    pub use ringtide_driver::{BufferPool, Handle};
}

pub use bytes;
pub use http;
pub use http_body;
pub use ringtide_driver::{Address, AddressError};

pub use self::client::{Client, ClientOptions};
pub use self::conn::{
    Aborted, CompletedExchange, Connection, ConnectionOptions, PreparedRequest, Response, Timing,
};
pub use self::error::Error;
