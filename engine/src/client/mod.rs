//! The client: `http` types in and out, connections kept and shared, policies for what may go wrong.
//!
//! [`Client`] lives on one worker, with its connections, and costs nothing to share there. [`ClientHandle`] is the way to it
//! from other threads and other executors.
//!
//! Not here, yet: TLS, HTTP/2, redirects, cookies, decompression, proxies.
//!
//! ```no_run
//! use ringtide::Client;
//! use ringtide::runtime::{Worker, WorkerOptions};
//!
//! Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let client = Client::default();
//!     let response = client.get("http://127.0.0.1:8080/").await?;
//!     println!("{} {:?}", response.status(), response.headers());
//!     println!("{}", response.into_body().text(1024 * 1024).await?);
//!
//!     let request = http::Request::put("http://127.0.0.1:8080/notes/1").header("content-type", "text/plain").body("tea, milk")?;
//!     assert!(client.request(request).await?.status().is_success());
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Several requests at a time are tasks that share a client. How many connections they may open is [`PoolOptions`]'; the others wait.
//!
//! ```no_run
//! use ringtide::Client;
//! use ringtide::runtime::{self, Worker, WorkerOptions};
//!
//! Worker::new(&WorkerOptions::default())?.block_on(async {
//!     let client = Client::default();
//!     let fetches = (1..=100).map(|number| {
//!         let client = client.clone();
//!         runtime::spawn(async move {
//!             let response = client.get(&format!("http://127.0.0.1:8080/notes/{number}")).await?;
//!             response.into_body().text(1024 * 1024).await
//!         })
//!     });
//!     // All of them begin before the first is waited for.
//!     for fetch in fetches.collect::<Vec<_>>() {
//!         println!("{}", fetch.await??);
//!     }
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod body;
mod call;
mod connect;
mod desk;
mod exchange;
mod handle;
mod request_body;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::InvalidUri;
use http::{Request, Response, Uri};
use ringtide_driver::Address;

use self::exchange::{Exchange, Upload};
use self::request_body::{Content, StreamedBody};
use crate::conn::{Connection, ConnectionOptions, PreparedRequest};
use crate::error::{Error, Phase, RequestError};
use crate::limits::COALESCED_SEND_SIZE_MAX;
use crate::pool::{Authority, Pool};
use crate::proto::h1::Limits;
use crate::{resolve, runtime};

pub use self::body::{Body, DRAIN_SIZE_MAX};
pub use self::handle::{ClientHandle, REMOTE_UNREAD_SIZE_MAX, RemoteBody, RemoteRequest};
pub use self::request_body::RequestBody;
pub use crate::conn::Piece;
pub use crate::pool::PoolOptions;

/// How a [`Client`] is to be.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Which connections are kept.
    pub pool: PoolOptions,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often a request is sent again, on a fresh connection, when a connection that was idle turns out to be closed; 0 is never.
    ///
    /// A server may close an idle connection at any time, and a request that crosses with that fails through nobody's fault. It is sent
    /// again only if that can do no harm (RFC 9110 §9.2.2): its method is idempotent, its body is at hand or has not been begun,
    /// and no byte of a response has been seen. A connection that is known to be closed is never used, whatever this says.
    pub replays_max: u32,
    /// Where to connect, whatever the host of the URI is: a Unix socket, or a fixed address. The request still names the host of its URI.
    pub connect_to: Option<Address>,
    /// What a response may be at most.
    pub limits: Limits,
}

impl Default for ClientOptions {
    /// The defaults of the parts, one replay, and connections to where URIs point.
    fn default() -> Self {
        Self {
            pool: PoolOptions::default(),
            timeouts: Timeouts::default(),
            replays_max: 1,
            connect_to: None,
            limits: Limits::default(),
        }
    }
}

/// How long the parts of a request may take; `None` is for ever. The error is [`Error::Timeout`] with the phase that it was in.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For looking up the host and connecting to it.
    pub connect: Option<Duration>,
    /// From the call to the head of the response: waiting for a connection, connecting, sending the request with its body up to
    /// where the server answers, replays.
    pub head: Option<Duration>,
    /// For each wait for a piece of the response's body, as long as the request's body does not move on either.
    pub body_idle: Option<Duration>,
    /// From the head of the response to the end of its body.
    pub body: Option<Duration>,
}

impl Default for Timeouts {
    /// 10 seconds to connect, 30 to the head, 30 between pieces of the body, and no limit for the body as a whole.
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            head: Some(Duration::from_secs(30)),
            body_idle: Some(Duration::from_secs(30)),
            body: None,
        }
    }
}

/// An HTTP client on one worker. Clones share its connections.
///
/// Dropping the last clone closes idle connections; responses under way can be read to their end.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    pool: Pool,
}

impl Client {
    /// A client on the worker of this thread.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn new(options: ClientOptions) -> Self {
        let pool = Pool::new(options.pool);
        Self { inner: Rc::new(Inner { options, pool }) }
    }

    /// Sends `GET uri`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As [`request`](Self::request); [`RequestError::Uri`] also when `uri` cannot be parsed.
    pub async fn get(&self, uri: &str) -> Result<Response<Body>, Error> {
        let mut request = Request::new(());
        *request.uri_mut() = parse(uri)?;
        self.request(request).await
    }

    /// Sends `POST uri` with `body`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&self, uri: &str, body: impl Into<RequestBody>) -> Result<Response<Body>, Error> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = parse(uri)?;
        self.request(request).await
    }

    /// Sends `request`, and returns the final response when its head is there. The URI is absolute, as `http://host:port/path`.
    ///
    /// `Host` and the framing of the body are set here, and whatever the request says about the latter is not sent.
    /// The body is sent at the same time as the response is received, and goes on while the response's [`Body`] is read.
    /// `Expect: 100-continue` does not hold it back (RFC 9110 §10.1.1 lets a client not wait). After a connection is closed by a
    /// server the request may be sent again: see [`ClientOptions::replays_max`].
    ///
    /// Dropping the future ends everything: a connection on which anything was sent is closed, one that waits in the queue leaves it, and a
    /// request that was sent may have been acted on.
    ///
    /// # Errors
    /// No response can be had, and the connection of the request has been closed.
    /// - [`Error::Request`]: the request cannot be sent as it is, or its body failed.
    /// - [`Error::Resolve`], [`Error::Connect`]: nothing was sent.
    /// - [`Error::Timeout`]: see [`Timeouts`]; in the phases before [`Phase::Head`] nothing was sent.
    /// - [`Error::Closed`], [`Error::Network`], [`Error::Incomplete`], [`Error::Protocol`]: the request may have been acted on.
    pub async fn request<B: Into<RequestBody>>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        let phase = Cell::new(Phase::Queue);
        within(self.inner.options.timeouts.head, &phase, self.attempt(request.map(Into::into), &phase)).await
    }

    async fn attempt(
        &self,
        request: Request<RequestBody>,
        phase: &Cell<Phase>,
    ) -> Result<Response<Body>, Error> {
        let options = &self.inner.options;
        let authority = Rc::new(Authority::of(request.uri())?);
        let mut outbound = Outbound::new(request)?;
        let mut acquired = self.inner.pool.acquire(&authority).await;
        if acquired.connection.is_some() && !outbound.is_replayable() {
            // What cannot be sent twice is worth a look at the driver: the peer may have closed since the worker's last turn.
            runtime::yield_now().await;
        }
        let mut replays_left = options.replays_max;
        let mut permit = acquired.permit;
        let mut idle = acquired.connection.take().filter(Connection::is_reusable);
        // Only a connection that was idle can have been closed by a server that has no objection to the request.
        let may_replay = idle.is_some();
        loop {
            let connection = match idle.take() {
                Some(connection) => connection,
                None => self.connect(&authority, phase).await?,
            };
            phase.set(Phase::Head);
            let mut exchange = outbound.start(connection, permit)?;
            let error = match poll_fn(|context| exchange.poll_head(context)).await {
                Ok(()) => {
                    let (head, length) = exchange.response()?;
                    return Ok(head.map(|()| Body::new(exchange, length, &options.timeouts)));
                }
                Err(error) => error,
            };
            let unanswered = exchange.is_unanswered(&error);
            let upload;
            (permit, upload) = exchange.abandon();
            outbound.take_back(upload);
            if !(may_replay && unanswered && replays_left > 0 && outbound.is_replayable()) {
                return Err(error);
            }
            replays_left -= 1;
        }
    }

    async fn connect(&self, authority: &Authority, phase: &Cell<Phase>) -> Result<Connection, Error> {
        let options = &self.inner.options;
        let connecting = async {
            let addresses = if let Some(address) = &options.connect_to {
                vec![address.clone()]
            } else {
                phase.set(Phase::Resolve);
                let addresses = resolve::lookup(&authority.host, authority.port).await?;
                addresses.into_iter().map(Address::Tcp).collect()
            };
            phase.set(Phase::Connect);
            connect::connect(&addresses).await
        };
        let stream = within(options.timeouts.connect, phase, connecting).await?;
        Ok(Connection::new(stream, &ConnectionOptions { limits: options.limits, pipelining: false }))
    }
}

impl Default for Client {
    /// With the default options.
    ///
    /// # Panics
    /// Outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}

fn parse(uri: &str) -> Result<Uri, RequestError> {
    uri.parse().map_err(|error: InvalidUri| RequestError::Uri {
        uri: uri.to_owned(),
        reason: format!("it cannot be parsed: {error}"),
    })
}

/// `future`, for at most `limit`; the error names the phase that it was in then.
async fn within<T>(
    limit: Option<Duration>,
    phase: &Cell<Phase>,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match limit {
        Some(limit) => {
            runtime::timeout(limit, future).await.unwrap_or_else(|| Err(Error::Timeout(phase.get())))
        }
        None => future.await,
    }
}

/// A request on its way, as long as it may have to be sent again.
struct Outbound {
    prepared: PreparedRequest,
    /// The whole body, if it is not in the prepared bytes.
    data: Option<Bytes>,
    streamed: Streamed,
    idempotent: bool,
}

enum Streamed {
    No,
    Waiting(StreamedBody),
    /// With the exchange, or begun.
    Gone,
}

impl Outbound {
    fn new(request: Request<RequestBody>) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let idempotent = parts.method.is_idempotent();
        let (prepared, data, streamed) = match body.into_content() {
            // Small bodies go with the head, in one buffer; large ones are not copied.
            Content::Bytes(bytes) if bytes.len() <= COALESCED_SEND_SIZE_MAX => {
                (PreparedRequest::new(&Request::from_parts(parts, bytes))?, None, Streamed::No)
            }
            Content::Bytes(bytes) => {
                let head = Request::from_parts(parts, ());
                let prepared = PreparedRequest::with_streamed_body(&head, Some(bytes.len() as u64))?;
                (prepared, Some(bytes), Streamed::No)
            }
            Content::Stream(body) => {
                let head = Request::from_parts(parts, ());
                let prepared = PreparedRequest::with_streamed_body(&head, body.announced())?;
                (prepared, None, Streamed::Waiting(body))
            }
        };
        Ok(Self { prepared, data, streamed, idempotent })
    }

    /// Whether sending it once more has the same effect as sending it once, and can be done.
    fn is_replayable(&self) -> bool {
        self.idempotent && !matches!(self.streamed, Streamed::Gone)
    }

    fn start(&mut self, connection: Connection, permit: crate::pool::Permit) -> Result<Exchange, Error> {
        let upload = match mem::replace(&mut self.streamed, Streamed::Gone) {
            Streamed::Waiting(body) => Upload::Streamed(body),
            Streamed::No => {
                self.streamed = Streamed::No;
                Upload::Given
            }
            Streamed::Gone => unreachable!("a request whose body has begun is not started again"),
        };
        Exchange::start(connection, permit, &self.prepared, self.data.clone(), upload)
    }

    /// Keeps the body of a failed attempt, if none of it was used.
    fn take_back(&mut self, upload: Upload) {
        if let Upload::Streamed(body) = upload
            && !body.has_begun()
        {
            self.streamed = Streamed::Waiting(body);
        }
    }
}
