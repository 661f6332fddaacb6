//! Servers: a handler, run for each request on whichever worker accepted its connection.
//!
//! - [`Server`] starts a thread per core, each with a worker and listeners of its own.
//! - [`serve`] is what each of them runs, for those who have a worker already.
//! - [`ServerConnection`] is one connection, for those who accept by themselves.
//!
//! A handler is an async function from an [`Exchange`] to [`Answered`]. It runs on one thread, so it needs no lock and no `Send`; its
//! future is part of the connection's task, so it is not boxed. When the client goes away before the answer has begun, the future is
//! dropped; when it panics, the client is answered with 500 and the worker goes on. What it returns as an error is its
//! own to report: the client sees a 500, or what was wrong with the request if that is what failed.
//!
//! ```
//! use http::StatusCode;
//! use ringtide::server::{Exchange, Server, ServerOptions};
//!
//! let any_port = "127.0.0.1:0".parse()?;
//! let server = Server::start(&[any_port], &ServerOptions::default(), async |exchange: Exchange<'_>| {
//!     match exchange.head().path() {
//!         "/" => exchange.answer(StatusCode::OK, [("Content-Type", "text/plain")], "hello world\n"),
//!         _ => exchange.answer(StatusCode::NOT_FOUND, [], ""),
//!     }
//! })?;
//! println!("listening at {}", server.addresses()[0]);
//! server.shutdown().begin();
//! server.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time limits
//!
//! Each connection has one timer, which is moved. See [`ServiceOptions`].

mod accept;
mod connection;
mod hub;
mod launch;
mod shutdown;

use std::time::Duration;

use crate::proto::h1::Limits;

pub use self::accept::serve;
pub use self::launch::{Server, ServerOptions, StartError};
pub use self::shutdown::Shutdown;
pub use crate::conn::{Answered, DISCARD_SIZE_MAX, Exchange, PreparedResponse, Responder, ServerConnection};

/// What a server allows its clients.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// What a request may be at most.
    pub limits: Limits,
    /// Connections at a time, for each listener. Further ones wait in the kernel's queue. 65,536 by default.
    pub connections_max: usize,
    /// From the accept, and later from the first byte of a request, to the end of its head. 10 s by default. A client that has sent a
    /// part of a head is answered with 408.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request. 75 s by default.
    pub idle_timeout: Duration,
    /// How long a client may take to send the next piece of a body that the handler waits for (it is answered with 408 if the
    /// answer has not begun), or to take what is queued for it. 30 s by default.
    pub stall_timeout: Duration,
    /// From the head of a request until its body has been read and the answer has begun, however well it goes on. The client is answered
    /// with 408 if the body has not been read, and 503 otherwise. 5 minutes by default; `None` is for ever.
    pub request_timeout: Option<Duration>,
    /// How long requests may take to end once a shutdown has begun. 30 s by default.
    pub shutdown_timeout: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections_max: 65_536,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            request_timeout: Some(Duration::from_mins(5)),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}
