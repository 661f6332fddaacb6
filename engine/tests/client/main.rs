//! Tests of the client's public API against scripted servers: on std sockets, where they hold on every driver
//! (`RINGTIDE_DRIVER=fallback`), or on the simulated network, where what they test depends on times and pieces.

mod aborted;
mod bodies;
mod cancel;
mod connection;
mod failures;
mod files;
mod home;
mod http2;
mod like;
mod pool;
mod remote;
mod server;
mod simulated;
mod skip_success;
mod streams;
mod wakes;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use ringtide::client::{Body, Timeouts};
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::{ClientOptions, Error};

/// Larger than every body in these tests.
const SIZE_MAX: usize = 64 * 1024 * 1024;

/// Where servers listen on the simulated network.
const SIMULATED: &str = "10.0.0.1:80";

/// The URL of [`SIMULATED`].
const URL: &str = "http://10.0.0.1/";

/// Runs `main` on a worker. Fails if it does not end in time.
fn run<T>(main: impl Future<Output = T>) -> T {
    let mut worker = Worker::new(&WorkerOptions::default()).expect("a worker starts");
    worker.block_on(runtime::timeout(Duration::from_mins(1), main)).expect("the test ends in time")
}

/// Returns the status and the whole body.
async fn read(response: Result<Response<Body>, Error>) -> Result<(u16, Bytes), Error> {
    let response = response?;
    Ok((response.status().as_u16(), response.into_body().bytes(SIZE_MAX).await?))
}

/// Returns the default options with `timeouts`.
fn with_timeouts(timeouts: Timeouts) -> ClientOptions {
    ClientOptions::default().timeouts(timeouts)
}
