//! Servers: a handler, run for each request on whichever worker accepted its connection.
//!
//! - [`Server`] starts a thread per core, each with a worker and listeners of its own.
//! - [`serve`] is what each of them runs, for those who have a worker already.
//! - [`ServerConnection`] is one connection, for those who accept by themselves.
//!
//! A handler is an async function from an [`Exchange`] to [`Answered`]. It runs on one thread, so it needs no lock and no `Send`; its
//! future is part of the connection's task, so it is not boxed. When the connection fails before the answer has begun, the future is
//! dropped; a client that has merely ended its sending half is still answered, see [`ServiceOptions::half_close`].
//!
//! ```
//! use http::StatusCode;
//! use ringtide::server::{Server, ServerOptions};
//!
//! let any_port = "127.0.0.1:0".parse()?;
//! let server = Server::start(&[any_port], &ServerOptions::default(), async |exchange| {
//!     match exchange.head().path() {
//!         "/" => exchange.respond(StatusCode::OK, &[("Content-Type", "text/plain")], "hello world\n"),
//!         _ => exchange.respond(StatusCode::NOT_FOUND, &[], ""),
//!     }
//! })?;
//! println!("listening at {}", server.addresses()[0]);
//! server.shutdown().begin();
//! server.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Writing handlers
//!
//! An `async fn` is a handler, and so is an async closure. One that stands in the call needs no types, as above; one that is kept in a
//! variable first is compiled before it is known what for, and has to name the type of its argument (else `E0282: type annotations
//! needed`):
//!
//! ```
//! # use http::StatusCode;
//! # use ringtide::server::{Exchange, Server, ServerOptions};
//! let handler = async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &[], "hello world\n");
//! # let server = Server::start(&["127.0.0.1:0".parse()?], &ServerOptions::default(), handler)?;
//! # server.shutdown().begin();
//! # server.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A closure that returns an async block is not an async closure, and fails: its future has one type, which cannot borrow from an argument
//! that is another one in each call. The compiler says `lifetime may not live long enough: returning this value requires that '1
//! must outlive '2`. Write `async |exchange|` instead of `|exchange| async`:
//!
//! ```compile_fail
//! # use http::StatusCode;
//! # use ringtide::server::{Exchange, Server, ServerOptions};
//! let handler = |exchange: Exchange<'_>| async move {
//!     exchange.respond(StatusCode::OK, &[], "hello world\n")
//! };
//! # let server = Server::start(&["127.0.0.1:0".parse()?], &ServerOptions::default(), handler)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors and panics
//!
//! A handler returns any error that implements `Display`. The client is answered with 500, or with what was wrong with its request if
//! that is what failed, unless an answer had begun; the connection ends either way. A panic is contained: it is treated
//! the same, and the worker goes on. What the error said is told to [`ServiceOptions::on_error`], with the request and the client, as
//! are requests that were refused and limits that were reached. With the crate's feature `tracing`, each is an event too (target
//! `ringtide::server`).
//!
//! # Time limits
//!
//! Each connection has one timer, which is moved. See [`ServiceOptions`].

mod accept;
mod connection;
mod connections;
mod failure;
mod launch;
mod options;
mod shutdown;

pub use self::accept::serve;
pub use self::failure::{Failure, FailureKind, HandlerError};
pub use self::launch::{Server, ServerOptions, StartError};
pub use self::options::ServiceOptions;
pub use self::shutdown::Shutdown;
pub use crate::conn::{
    Answered, Content, DISCARD_SIZE_MAX, Exchange, PreparedResponse, Responder, ServerConnection,
};
