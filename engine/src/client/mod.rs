//! An HTTP client with a connection pool, time limits and automatic replay, for HTTP/1.1 and HTTP/2.
//!
//! A [`Client`] takes and returns the types of the [`http`] crate. It lives on one worker, together with its
//! connections, so that sharing it on that worker costs nothing. A [`ClientHandle`] sends requests to it from other
//! threads and from other runtimes such as tokio.
//!
//! The client has no redirects, cookies, decompression or proxies yet.
//!
//! # A request and its response
//!
//! ```no_run
//! use ringtide::Client;
//! use ringtide::runtime::{Worker, WorkerOptions};
//!
//! Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let client = Client::default();
//!     let response = client.get("http://127.0.0.1:8080/").await?;
//!     println!("{} {:?}", response.status(), response.headers());
//!     // At most 1 MiB of it.
//!     println!("{}", response.into_body().text(1024 * 1024).await?);
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A status such as 404 is not an error: it is a response. The examples below run inside such a `block_on`.
//!
//! # Methods, header fields and JSON
//!
//! To set anything else, build an [`http::Request`]. To send JSON, encode it with the crate of your choice and pass the
//! bytes as the body.
//!
//! ```no_run
//! use ringtide::http::Request;
//!
//! # async fn example(client: ringtide::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let json = br#"{"title": "tea"}"#.to_vec(); // serde_json::to_vec(&note)?
//! let request = Request::post("http://127.0.0.1:8080/notes").header("content-type", "application/json").body(json)?;
//! let response = client.request(request).await?;
//! assert!(response.status().is_success());
//! let bytes = response.into_body().bytes(1024 * 1024).await?; // serde_json::from_slice(&bytes)?
//! # Ok(())
//! # }
//! ```
//!
//! # Time limits and errors
//!
//! Each part of a request has its own time limit, see [`Timeouts`]. [`Error::culprit`](crate::Error::culprit) returns
//! who caused a failure.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use ringtide::client::Timeouts;
//! use ringtide::error::{Error, Phase};
//! use ringtide::{Client, ClientOptions};
//!
//! # async fn example() {
//! let timeouts = Timeouts::default().connect(Duration::from_secs(1)).head(Duration::from_secs(5));
//! let client = Client::new(ClientOptions::default().timeouts(timeouts));
//! match client.get("http://127.0.0.1:8080/").await {
//!     Ok(response) => println!("{}", response.status()),
//!     Err(Error::Timeout(Phase::Head)) => println!("no response within 5 seconds"),
//!     Err(error) => println!("{error}, by {:?}", error.culprit()),
//! }
//! # }
//! ```
//!
//! # Concurrent requests
//!
//! Spawn a task for each request; the tasks share one client. [`PoolOptions`] limits how many connections they may
//! open. Requests beyond that limit wait. Over HTTP/2 the requests to one host share a connection, see
//! [`ClientOptions::http_version`].
//!
//! ```no_run
//! use ringtide::runtime;
//!
//! # async fn example(client: ringtide::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let fetches = (1..=100).map(|number| {
//!     let client = client.clone();
//!     runtime::spawn(async move {
//!         let response = client.get(&format!("http://127.0.0.1:8080/notes/{number}")).await?;
//!         response.into_body().text(1024 * 1024).await
//!     })
//! });
//! // `collect` starts all of them before the loop awaits the first.
//! for fetch in fetches.collect::<Vec<_>>() {
//!     println!("{}", fetch.await??);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Large bodies
//!
//! The client receives a response's body while you read it, and sends a request's body while it is produced. Such
//! bodies are never whole in memory.
//!
//! ```no_run
//! use ringtide::client::RequestBody;
//!
//! # async fn example(client: ringtide::Client) -> Result<(), Box<dyn std::error::Error>> {
//! // Download piece by piece …
//! let mut body = client.get("http://127.0.0.1:8080/events").await?.into_body();
//! while let Some(piece) = body.data().await? {
//!     println!("{} bytes", piece.len());
//! }
//! // … or into a file.
//! client.get("http://127.0.0.1:8080/large.iso").await?.into_body().save("large.iso").await?;
//! // Upload from a file.
//! client.post("http://127.0.0.1:8080/photos", RequestBody::file("beach.jpg")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! To produce a body while it is sent, pass an [`http_body::Body`] to [`RequestBody::stream`], or write into a
//! [`body_channel`].
//!
//! # From tokio, and from any other thread
//!
//! [`ClientHandle::spawn`] starts a client on a new thread. The handle's futures are `Send`, and any executor can await
//! them.
//!
//! ```no_run
//! use ringtide::ClientOptions;
//! use ringtide::client::{ClientHandle, RemoteRequestBody, body_channel};
//! use ringtide::runtime::WorkerOptions;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = ClientHandle::spawn(ClientOptions::default(), WorkerOptions::default())?;
//!     let response = client.get("http://127.0.0.1:8080/").await?;
//!     println!("{:?}", response.into_body().bytes(1024 * 1024).await?);
//!
//!     let (mut sender, body) = body_channel(None);
//!     let upload = tokio::spawn(client.post("http://127.0.0.1:8080/lines", RemoteRequestBody::stream(body)));
//!     for number in 0..1_000_000 {
//!         sender.send(format!("line {number}\n")).await?;
//!     }
//!     sender.finish();
//!     println!("{}", upload.await??.status());
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

mod body;
mod call;
mod channel;
mod connect;
mod desk;
mod file;
mod handle;
mod heading;
mod local;
mod options;
mod outbound;
mod request_body;
mod round_trip;

pub use self::body::{Body, DRAIN_SIZE_MAX};
pub use self::call::REMOTE_UNREAD_SIZE_MAX;
pub use self::channel::{
    BODY_CHANNEL_SIZE_MAX, BodyAborted, BodyClosed, BodyReceiver, BodySender, body_channel,
};
pub use self::handle::{ClientHandle, RemoteBody, RemoteRequest};
pub use self::local::Client;
pub use self::options::{ClientOptions, Timeouts};
pub use self::request_body::{RemoteRequestBody, RequestBody};
pub use crate::conn::{HttpVersion, Piece};
pub use crate::pool::PoolOptions;
