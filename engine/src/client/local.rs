//! The client, used on its own worker.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::uri::InvalidUri;
use http::{Method, Request, Response, StatusCode};
use ringtide_driver::Address;

use super::body::Body;
use super::connect;
use super::heading::Recent;
use super::options::ClientOptions;
use super::outbound::Outbound;
use super::request_body::RequestBody;
use super::round_trip::{Ride, deadline_ns};
use crate::conn::http2::{KeepAlive, SharedConnection};
use crate::conn::{Connection, ConnectionOptions, HttpVersion};
use crate::error::{Error, Phase, RequestError};
use crate::pool::{Acquired, Authority, Permit, Pool, Pooled};
use crate::runtime::{Timer, WorkerId};
use crate::tls::{ClientTls, ClientTlsOptions};
use crate::{resolve, runtime};

/// An HTTP client on one worker.
///
/// Clones share the client's connections. Dropping the last clone closes the idle connections. Responses that are in
/// flight can still be read to their end.
#[derive(Clone)]
pub struct Client {
    inner: Rc<Inner>,
}

struct Inner {
    options: ClientOptions,
    /// Set by the first request over TLS, with the protocols that are offered. The default reads the system's certificates.
    tls: OnceCell<ClientTls>,
    pool: Pool,
    recent: Recent,
    worker: WorkerId,
}

impl Client {
    /// Creates a client on this thread's worker.
    ///
    /// # Panics
    /// Panics outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    pub fn new(options: ClientOptions) -> Self {
        let pool = Pool::new(options.pool, options.http_version);
        let (tls, recent) = Default::default();
        Self { inner: Rc::new(Inner { options, tls, pool, recent, worker: runtime::worker_id() }) }
    }

    /// Sends `GET uri`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As for [`request`](Self::request), and [`RequestError::Uri`] if `uri` cannot be parsed.
    pub async fn get(&self, uri: &str) -> Result<Response<Body>, Error> {
        let recent = &self.inner.recent;
        let outbound = match recent.get(uri) {
            Some(heading) => Outbound::bodiless(heading),
            None => Outbound::new(request_to(Method::GET, uri, RequestBody::from(()))?, recent)?,
        };
        self.carry_out(outbound).await
    }

    /// Sends `POST uri` with `body`. See [`request`](Self::request).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post(&self, uri: &str, body: impl Into<RequestBody>) -> Result<Response<Body>, Error> {
        self.request(request_to(Method::POST, uri, body)?).await
    }

    /// Sends `request` and returns the final response as soon as its head has arrived.
    ///
    /// The URI must be absolute: `http://host:port/path`, or `https://`. The client sets `Host` from the URI if the request has no
    /// such field. It sets the framing of the body itself, and drops the request's own `Content-Length` and
    /// `Transfer-Encoding`.
    ///
    /// The client sends the body while it receives the response. The rest of the upload proceeds while the caller reads
    /// the response's [`Body`]. `Expect: 100-continue` does not delay the body (RFC 9110 §10.1.1 allows a client not to
    /// wait). If the server closed an idle connection, the client may send the request again, see
    /// [`ClientOptions::replays_max`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request. A request that waits in the queue leaves it. A connection on which
    /// anything was sent is closed; the peer may still have acted on the request. A connection that is being opened and may
    /// become one over HTTP/2 is still opened, for the requests that wait for it; over HTTP/2, only the stream ends.
    ///
    /// # Panics
    /// Panics outside a worker's [`block_on`](runtime::Worker::block_on), and on a worker other than the one on which
    /// the client was created.
    ///
    /// # Errors
    /// After an error there is no response, and the request's connection is closed.
    /// - [`Error::Request`]: the request cannot be sent as it is, or its body failed.
    /// - [`Error::File`]: the body's file could not be opened, and nothing was sent; or it could not be read.
    /// - [`Error::Resolve`], [`Error::Connect`]: nothing was sent.
    /// - [`Error::Tls`]: in the handshake, nothing was sent except as early data; later, the peer may have acted on the
    ///   request.
    /// - [`Error::Timeout`]: see [`Timeouts`](super::Timeouts). In the phases before [`Phase::Head`] nothing was sent.
    /// - [`Error::Closed`], [`Error::Network`], [`Error::Incomplete`], [`Error::Protocol`]: the peer may have acted on
    ///   the request.
    pub async fn request<B: Into<RequestBody>>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let mut body = body.into();
        if body.is_file() {
            // Boxed, because this future is larger than all the rest.
            body = Box::pin(body.open()).await?;
        }
        self.carry_out(Outbound::new(Request::from_parts(parts, body), &self.inner.recent)?).await
    }

    async fn carry_out(&self, mut outbound: Outbound) -> Result<Response<Body>, Error> {
        assert!(
            runtime::worker_id() == self.inner.worker,
            "this Client belongs to another worker than the one that runs on this thread now; its own does not run \
             meanwhile. Create a Client for each worker, or use a ClientHandle, whose Client runs on another thread"
        );
        let options = &self.inner.options;
        let authority = Rc::clone(outbound.authority());
        let mut acquired = match self.inner.pool.acquire_now(&authority) {
            Some(acquired) => acquired,
            None => self.acquire(&authority).await?,
        };
        if !outbound.is_replayable() {
            acquired = self.check(acquired, &authority).await?;
        }
        let mut replays_left = options.replays_max;
        // Replay only if the connection was idle, or in use by others. Only then can the server have closed it without
        // rejecting this request.
        let may_replay = !matches!(acquired, Acquired::Permit(_));
        // The first request of a connection may be sent in its handshake.
        let mut may_be_early = matches!(acquired, Acquired::Permit(_))
            && authority.is_tls
            && outbound.may_be_early()
            && self.inner.allows_early_data()?;
        loop {
            let ride = match acquired {
                Acquired::Idle(pooled, permit) => Ride::Unique(pooled, permit),
                Acquired::Place(place) => Ride::Shared(place),
                Acquired::Permit(permit) if permit.is_awaited() => {
                    // Others wait for the connection, even if this request is dropped.
                    let (client, authority) = (self.clone(), Rc::clone(&authority));
                    let connecting = async move { client.connect(&authority, permit, may_be_early).await };
                    runtime::spawn(connecting).await.expect("it does not panic, and nothing aborts it")?
                }
                // Boxed, because this future is large and rarely needed.
                Acquired::Permit(permit) => Box::pin(self.connect(&authority, permit, may_be_early)).await?,
            };
            let mut round_trip = outbound.start(ride, options.timeouts.head)?;
            let error = match poll_fn(|context| round_trip.poll_head(context)).await {
                // RFC 8470 §5.2: the server wants the request again, after the handshake.
                Ok(()) if may_be_early && round_trip.status() == StatusCode::TOO_EARLY => {
                    may_be_early = false;
                    acquired = self.reacquire(round_trip.abandon().0, &authority).await?;
                    continue;
                }
                Ok(()) => {
                    let (head, body_size) = round_trip.response()?;
                    return Ok(head.map(|()| Body::new(round_trip, body_size, &options.timeouts)));
                }
                Err(error) => error,
            };
            let unanswered = may_replay && round_trip.is_unanswered(&error);
            let unprocessed = matches!(&error, Error::Stream(reset) if reset.is_unprocessed());
            let (permit, upload) = round_trip.abandon();
            outbound.take_back(upload);
            let replays = (unanswered && outbound.is_replayable()) || (unprocessed && outbound.is_whole());
            if !replays || replays_left == 0 {
                return Err(error);
            }
            replays_left -= 1;
            acquired = self.reacquire(permit, &authority).await?;
        }
    }

    /// Waits for a connection, or for the permission to open one.
    async fn acquire(&self, authority: &Rc<Authority>) -> Result<Acquired, Error> {
        loop {
            let acquiring = pin!(async { Ok(self.inner.pool.acquire(authority).await) });
            match within(self.inner.options.timeouts.pool, || Phase::Pool, acquiring).await? {
                // The peer has closed it, or allows less, since it was granted.
                Acquired::Place(place) if !place.can_start() => {}
                acquired => return Ok(acquired),
            }
        }
    }

    /// Connects anew with `permit`. Without one, waits for what the pool has.
    async fn reacquire(&self, permit: Option<Permit>, authority: &Rc<Authority>) -> Result<Acquired, Error> {
        match permit {
            Some(permit) => Ok(Acquired::Permit(permit)),
            None => self.acquire(authority).await,
        }
    }

    /// For a request that cannot be sent twice, lets the driver run once before an idle connection is used: the peer may
    /// have closed it since the last turn.
    async fn check(&self, acquired: Acquired, authority: &Rc<Authority>) -> Result<Acquired, Error> {
        match acquired {
            Acquired::Idle(mut pooled, permit) => {
                runtime::yield_now().await;
                if pooled.connection.is_reusable() {
                    return Ok(Acquired::Idle(pooled, permit));
                }
                drop(pooled);
                Ok(Acquired::Permit(permit))
            }
            Acquired::Place(place) if place.is_idle() => {
                runtime::yield_now().await;
                if place.can_start() {
                    return Ok(Acquired::Place(place));
                }
                drop(place);
                self.acquire(authority).await
            }
            acquired => Ok(acquired),
        }
    }

    /// Connects. `may_be_early`: the first request may be sent in the TLS handshake, which lets an attacker replay it.
    async fn connect(
        &self,
        authority: &Rc<Authority>,
        mut permit: Permit,
        may_be_early: bool,
    ) -> Result<Ride, Error> {
        let options = &self.inner.options;
        let phase = Cell::new(Phase::Connect);
        let connecting = pin!(async {
            let addresses = if let Some(address) = &options.connect_to {
                vec![address.clone()]
            } else {
                phase.set(Phase::Resolve);
                let addresses = resolve::lookup(&authority.host, authority.port).await?;
                addresses.into_iter().map(Address::Tcp).collect()
            };
            phase.set(Phase::Connect);
            let stream = connect::connect(&addresses).await?;
            if !authority.is_tls {
                return Ok(stream);
            }
            phase.set(Phase::Tls);
            let tls = self.inner.tls()?;
            if may_be_early {
                stream.start_tls_early(&authority.host, tls).await.map_err(Error::of_stream)
            } else {
                stream.start_tls(&authority.host, tls).await.map_err(Error::of_stream)
            }
        });
        let stream = within(options.timeouts.connect, || phase.get(), connecting).await?;
        if options.http_version.is_http2(&stream) {
            let keep_alive = KeepAlive { interval: options.ping_interval, timeout: options.ping_timeout };
            let connection = SharedConnection::new(stream, &options.http2, keep_alive);
            return self.inner.pool.share(permit, &connection).map(Ride::Shared).ok_or(Error::Closed);
        }
        permit.set_unshared();
        let options = ConnectionOptions::default().limits(options.limits).version(HttpVersion::Http1);
        Ok(Ride::Unique(Pooled::new(Connection::new(stream, &options)), permit))
    }
}

impl Inner {
    fn tls(&self) -> Result<&ClientTls, RequestError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let tls = match &self.options.tls {
            Some(tls) => tls.clone(),
            None => ClientTls::new(&ClientTlsOptions::default()).map_err(RequestError::Tls)?,
        };
        let offered: &[&[u8]] = match self.options.http_version {
            HttpVersion::Http1 => &[],
            HttpVersion::Http2 => &[b"h2"],
            // Early data is sent before the peer has chosen a version.
            HttpVersion::Negotiated if tls.config().enable_early_data => &[],
            HttpVersion::Negotiated => &[b"h2", b"http/1.1"],
        };
        let tls = tls.with_default_alpn(offered);
        Ok(self.tls.get_or_init(|| tls))
    }

    /// Returns whether the settings allow a request in the TLS handshake. Then its version must be known.
    fn allows_early_data(&self) -> Result<bool, RequestError> {
        let config = self.tls()?.config();
        let is_open = self.options.http_version == HttpVersion::Negotiated
            && config.alpn_protocols.iter().any(|protocol| protocol == b"h2");
        Ok(config.enable_early_data && !is_open)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { options, pool, .. } = &*self.inner;
        f.debug_struct("Client").field("options", options).field("pool", pool).finish_non_exhaustive()
    }
}

impl Default for Client {
    /// Creates a client with the default options.
    ///
    /// # Panics
    /// Panics outside a worker's [`block_on`](runtime::Worker::block_on).
    #[track_caller]
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}

/// Builds a request from `method`, `uri` and `body`.
pub(super) fn request_to<B>(method: Method, uri: &str, body: B) -> Result<Request<B>, RequestError> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().map_err(|error: InvalidUri| RequestError::Uri {
        uri: uri.to_owned(),
        reason: format!("it cannot be parsed: {error}"),
    })?;
    Ok(request)
}

/// Runs `future` for at most `limit`. After that, returns a timeout in the phase that `phase` reports. A future that is
/// ready at once needs no timer.
async fn within<T>(
    limit: Option<Duration>,
    phase: impl Fn() -> Phase,
    mut future: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(outcome) = future.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        let Some(limit) = limit else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| {
            let mut timer = Timer::new();
            timer.set(deadline_ns(limit));
            timer
        });
        timer.poll_elapsed(context).map(|()| Err(Error::Timeout(phase())))
    })
    .await
}
