//! Ringtide: an io_uring-first, thread-per-core HTTP engine.
//!
//! A server with one thread per core:
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
//! A client that sends a request to it:
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
//! The public layers, from the top:
//!
//! - [`server`]: calls your handler on the worker that accepted the connection.
//! - [`Client`]: takes and returns `http` types, pools connections and applies time limits. Other threads use it
//!   through a [`ClientHandle`](client::ClientHandle).
//! - [`Connection`]: sends a [`PreparedRequest`] and returns a response whose head and body borrow from the receive
//!   buffer. It does not allocate per request. The load generator measures with it.
//! - [`stream`]: byte streams and listeners, plain and with TLS, for protocols of your own: exact reads, lines, writes with
//!   back-pressure, halves for two tasks. The features `futures-io` and `tokio` add the traits of these crates.
//! - [`tls`]: certificates, and what clients trust and servers demand.
//! - [`runtime`]: the worker that runs everything else.
//! - [`message`]: heads and fields of what was received.
//! - [`proto`]: the codecs of HTTP/1.1 and HTTP/2, without I/O.
//! - [`driver`]: what the runtime stands on, for programs with a loop of their own.
//!
//! For tests, [`sim`] replaces the network by a simulation, and [`testing`] scripts the other side of a connection on it.
//! [`bytes`], [`http`] and [`http_body`] re-export the crates
//! whose types appear in public signatures. For complete programs, see
//! [`engine/examples`](https://github.com/ringtide/ringtide/tree/main/engine/examples).
//!
//! The path of a request: [`Connection::start`] passes a prepared buffer to the stream. On its next turn, the worker
//! submits the sends of all connections to the kernel in one call. The response arrives in a buffer of the worker's
//! shared pool, and the codec parses it there without copying it.

pub mod client;
pub mod conn;
pub mod driver;
pub mod error;
pub mod limits;
pub mod message;
mod pool;
pub mod proto;
pub mod resolve;
pub mod runtime;
pub mod server;
pub mod stream;
pub mod testing;
pub mod tls;

/// The simulated network, for [`runtime::Worker::simulated`].
pub mod sim {
    pub use ringtide_driver::sim::{Faults, Sim, SimOptions};
    pub use ringtide_driver::{BufferPool, Handle};
}

pub use bytes;
pub use http;
pub use http_body;
pub use ringtide_driver::{Address, AddressError, TcpQueues};

pub use self::client::{Client, ClientOptions};
pub use self::conn::{
    Aborted, CompletedExchange, Completion, Connection, ConnectionOptions, Observe, PreparedRequest,
    RequestId, Response, Timing,
};
pub use self::error::Error;
