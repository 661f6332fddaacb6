//! HTTP/1.1 and HTTP/2 servers: run a handler for each request, on the worker that accepted the connection.
//!
//! - [`Server`] starts one thread per core. Each thread has its own worker and its own listeners.
//! - [`serve`] is the accept loop that each of these threads runs. Call it directly if you already have a worker.
//! - [`ServerConnection`] is a single connection. Use it if you accept connections yourself.
//!
//! A handler is an async function that takes an [`Exchange`] and returns [`Answered`]. It runs on one thread, so it
//! needs no locks and need not be `Send`. Its future is not boxed: it is part of the connection's task. If the
//! connection fails before the response has begun, the server drops the future. A client that has only closed its
//! sending half still gets its response, by default with no time limit of its own; see
//! [`ServiceOptions::half_close_timeout`].
//!
//! ```
//! use ringtide::http::StatusCode;
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
//! A handler is an `async fn` or an async closure. A closure that you pass directly needs no types, as above. A closure
//! that you first store in a variable must name the type of its argument. Otherwise the compiler reports `E0282: type
//! annotations needed`, because it compiles the closure before it knows how the closure is used:
//!
//! ```
//! # use ringtide::http::StatusCode;
//! # use ringtide::server::{Exchange, Server, ServerOptions};
//! let handler = async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &[], "hello world\n");
//! # let server = Server::start(&["127.0.0.1:0".parse()?], &ServerOptions::default(), handler)?;
//! # server.shutdown().begin();
//! # server.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Do not use a closure that returns an async block. Such a closure returns the same future type in every call, and
//! that type cannot borrow from an argument whose lifetime differs between calls. The compiler reports `lifetime may
//! not live long enough: returning this value requires that '1 must outlive '2`. Write `async |exchange|` instead of
//! `|exchange| async`:
//!
//! ```compile_fail
//! # use ringtide::http::StatusCode;
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
//! A handler may return any error that implements `Display`. If the response has not begun, the server responds with
//! 500, or, if the request itself was invalid, with the status for that fault. In either case it then closes the
//! connection. The server catches a panic in a handler and treats it like an error; the worker continues.
//!
//! The server passes each error to [`ServiceOptions::on_error`], together with the request and the client's address. It
//! also reports refused requests and reached limits there. With the crate's feature `tracing`, each report is also an
//! event (target `ringtide::server`).
//!
//! # Versions
//!
//! One port serves both versions: HTTP/2 where ALPN agrees on it, and without TLS to clients that begin with its preface.
//! An HTTP/2 connection runs the handlers of its requests side by side. What ends the connection of an HTTP/1.1 request
//! ends only the stream of an HTTP/2 request: an error after the response has begun, or an exchange that is dropped, resets
//! it with `INTERNAL_ERROR`; [`Exchange::disconnect`] does so with `CANCEL`.
//!
//! # Time limits
//!
//! Each connection has a single timer, and each time limit moves it. [`ServiceOptions`] lists the limits.

mod accept;
mod connection;
mod connections;
mod failure;
mod http2;
mod launch;
mod options;
mod service;
mod shutdown;

pub use self::accept::serve;
pub use self::failure::{Failure, FailureKind, HandlerError};
pub use self::launch::{Server, ServerOptions, StartError};
pub use self::options::ServiceOptions;
pub use self::shutdown::Shutdown;
pub use crate::conn::{
    Answered, Content, DISCARD_SIZE_MAX, Exchange, PreparedResponse, Responder, ServerConnection,
};
