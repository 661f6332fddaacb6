//! The client from outside, against scripted servers. Each test holds with every driver: `RINGTIDE_DRIVER=fallback`.

mod aborted;
mod bodies;
mod cancel;
mod connection;
mod failures;
mod files;
mod home;
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

/// Enough for every body here.
const SIZE_MAX: usize = 64 * 1024 * 1024;

/// Runs `main` on a worker; one that does not end is a failure.
fn run<T>(main: impl Future<Output = T>) -> T {
    let mut worker = Worker::new(&WorkerOptions::default()).expect("a worker can be made");
    worker.block_on(runtime::timeout(Duration::from_mins(1), main)).expect("the test ends in time")
}

/// The status and the whole body.
async fn read(response: Result<Response<Body>, Error>) -> Result<(u16, Bytes), Error> {
    let response = response?;
    Ok((response.status().as_u16(), response.into_body().bytes(SIZE_MAX).await?))
}

/// The default options with these timeouts.
fn with_timeouts(timeouts: Timeouts) -> ClientOptions {
    ClientOptions::default().timeouts(timeouts)
}
