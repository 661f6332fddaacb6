//! For tests of network code: a scripted other side on a simulated network.
//!
//! [`run`] runs a test on a [`Network`] in memory and in virtual time: an hour's delay costs nothing, and each run is
//! the same. The test scripts the other side of each connection with a [`Script`], as a server or as a client. The code
//! under test is anything that uses [`Stream`](crate::stream::Stream)s: a [`Client`](crate::Client), a
//! [`Connection`](crate::Connection), [`serve`](crate::server::serve), or a protocol of your own.
//!
//! The test fails with the first deviation from a script. The message says what was expected, what came, and at which
//! step of which script:
//!
//! ```text
//! the scripted server at 10.0.0.1:80: at step 1 of 2, `expect` (tests/greeting.rs:14:14)
//!   expected: "GET / HTTP/1.1\r\nhost: 10.0.0.1\r\n\r\n"
//!   came:     "GET /index HTTP/1.1\r\nhost: 10.0.0.1\r\n\r\n"
//!   they differ from byte 5 on
//! ```
//!
//! A test also fails if it ends before one of its scripts, if a connection has no script, if bytes come behind the last
//! step, and if it takes an hour of virtual time.
//!
//! # Testing a client
//!
//! ```
//! use std::time::Duration;
//!
//! use ringtide::client::{Client, ClientOptions, Timeouts};
//! use ringtide::testing::{self, Script};
//!
//! testing::run(async |network| {
//!     let server = "10.0.0.1:80";
//!     // The first connection closes instead of answering the second request.
//!     let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
//!     network.serve(server, Script::new().expect_until("\r\n\r\n").send(ok).expect_until("\r\n\r\n").close());
//!     // So the client sends it again. This server is too slow.
//!     let request = "GET /again HTTP/1.1\r\nhost: 10.0.0.1\r\n\r\n";
//!     network.serve(server, Script::new().expect(request).delay(Duration::from_secs(40)).ignore_rest());
//!
//!     let timeouts = Timeouts::default().head(Duration::from_secs(30));
//!     let client = Client::new(ClientOptions::default().timeouts(timeouts));
//!     let response = client.get("http://10.0.0.1/").await.unwrap();
//!     assert_eq!(response.into_body().text(10).await.unwrap(), "ok");
//!     let error = client.get("http://10.0.0.1/again").await.unwrap_err();
//!     assert_eq!(error.to_string(), "timed out waiting for the response head");
//! });
//! ```
//!
//! # Testing a server, with its input cut everywhere
//!
//! ```
//! use ringtide::http::StatusCode;
//! use ringtide::runtime;
//! use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
//! use ringtide::stream::Listener;
//! use ringtide::testing::{self, Script};
//!
//! let request = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
//! testing::every_split(request, async |network, pieces| {
//!     let listener = Listener::bind(&"10.0.0.1:80".parse().unwrap(), false).unwrap();
//!     let handler = async |mut exchange: Exchange<'_>| {
//!         let body = exchange.body(100).await?.unwrap_or_default().to_vec();
//!         exchange.respond(StatusCode::OK, &[], body)
//!     };
//!     runtime::spawn(serve(listener, ServiceOptions::default(), Shutdown::new(), handler));
//!
//!     let client = network.connect("10.0.0.1:80", Script::new().send(pieces).expect_rest());
//!     let response = String::from_utf8(client.played().await).unwrap();
//!     assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nbody"));
//! });
//! ```
//!
//! # Faults
//!
//! [`run_with`] takes the options of the simulation: a seed, small socket buffers, and [`Faults`](crate::sim::Faults)
//! such as refused connects, connects without an answer, and all that a network may do but seldom does. An address where
//! nobody listens refuses connections, too.
//!
//! # What does not work
//!
//! Virtual time does not wait for other threads. So a test cannot look up host names, use files, call
//! [`spawn_blocking`](crate::runtime::spawn_blocking), or start a [`Server`](crate::server::Server) or a
//! [`ClientHandle`](crate::client::ClientHandle) with its own threads. Real sockets do not work either. Scripts speak
//! over TCP only. With TLS, the encrypted bytes differ in each run.

mod excerpt;
mod network;
mod pieces;
mod player;
mod progress;
mod script;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use ringtide_driver::sim::{Sim, SimOptions};

pub use self::network::{Network, Peer};
pub use self::pieces::Pieces;
pub use self::script::Script;
use crate::runtime::Worker;

/// A test that takes longer has failed, in virtual time.
const TEST_TIME_MAX: Duration = Duration::from_hours(1);

/// How long the scripts may go on after the test's own code has ended.
const FINISH_TIME_MAX: Duration = Duration::from_mins(10);

/// How long unexpected bytes may be under way when everything has ended. Longer than the slowest link needs.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Runs a test on a network without faults. Returns what `main` returns.
///
/// `main` runs on a worker of its own: it may spawn tasks and use everything in [`runtime`](crate::runtime) and
/// [`stream`](crate::stream). When it has ended, and has dropped what it owns, the scripts are played to their ends.
///
/// # Panics
/// With what `main` panics with; or if the code under test deviates from a script, see the [module](self).
#[track_caller]
pub fn run<T>(main: impl AsyncFnOnce(Network) -> T) -> T {
    run_with(SimOptions::default(), main)
}

/// Runs a test as [`run`] does, on a network with `options`.
///
/// # Panics
/// See [`run`].
#[track_caller]
pub fn run_with<T>(options: SimOptions, main: impl AsyncFnOnce(Network) -> T) -> T {
    let mut worker = Worker::simulated(Sim::new(options)).expect("a simulation only needs memory");
    let outcome = worker.block_on(async {
        let network = Network::default();
        let output = network.watch(TEST_TIME_MAX, main(network.clone())).await?;
        network.finish(FINISH_TIME_MAX, SETTLE_TIME).await?;
        Ok::<_, String>(output)
    });
    match outcome {
        Ok(output) => output,
        Err(message) => panic!("{message}"),
    }
}

/// Runs a test once for each position inside `bytes`, with the bytes cut there, and once with each byte by itself. Each
/// run has its own network without faults.
///
/// # Panics
/// See [`run`]. The pieces of the run that failed are printed on standard error.
#[track_caller]
pub fn every_split(bytes: impl AsRef<[u8]>, main: impl AsyncFn(Network, Pieces)) {
    let bytes = bytes.as_ref();
    let cuts = (1..bytes.len()).map(|position| Pieces::cut_at(bytes, [position]));
    for pieces in cuts.chain([Pieces::of_size(1, bytes)]) {
        let run = AssertUnwindSafe(|| run(async |network| main(network, pieces.clone()).await));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("the bytes were cut like this: {pieces:?}");
            resume_unwind(panic);
        }
    }
}
