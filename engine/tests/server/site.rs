//! The server under test, and its responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ringtide::server::{
    Answered, Exchange, PreparedResponse, Server, ServerOptions, ServiceOptions, Shutdown, serve,
};
use ringtide::stream::Listener;
use ringtide::{Error, runtime};

pub(crate) const TEXT: [(&str, &str); 1] = [("Content-Type", "text/plain")];

/// The size of the body of `/large`.
pub(crate) const LARGE_SIZE: usize = 3_000_000;

/// Each of the pieces of `/pieces`.
pub(crate) const PIECE: &[u8] = b"a piece of some bytes;";

/// How long `/later` and similar paths wait.
const PAUSE: Duration = Duration::from_millis(30);

/// A server with one thread that ends with the test.
pub(crate) struct Running {
    pub(crate) server: Option<Server>,
    pub(crate) shutdown: Shutdown,
    pub(crate) handled: Arc<AtomicUsize>,
    /// Receives a message for each handler of `/wait` that is dropped.
    pub(crate) dropped: Receiver<()>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with(ServiceOptions::default())
    }

    pub(crate) fn with(service: ServiceOptions) -> Self {
        Self::with_options(&ServerOptions::default().workers(1).service(service))
    }

    pub(crate) fn with_options(options: &ServerOptions) -> Self {
        let any_port = ringtide::Address::Tcp(([127, 0, 0, 1], 0).into());
        let (sender, dropped) = mpsc::channel();
        let handled = Arc::new(AtomicUsize::new(0));
        let site = Site { handled: Arc::clone(&handled), dropped: sender };
        let server = Server::start(&[any_port], options, async move |exchange: Exchange<'_>| {
            answer(&site, exchange).await
        })
        .unwrap();
        let shutdown = server.shutdown();
        Self { server: Some(server), shutdown, handled, dropped }
    }

    pub(crate) fn address(&self) -> &ringtide::Address {
        &self.server.as_ref().unwrap().addresses()[0]
    }

    pub(crate) fn peer(&self) -> super::peer::Peer {
        super::peer::Peer::connect(self.address())
    }

    pub(crate) fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.begin();
        if let Some(server) = self.server.take()
            && !std::thread::panicking()
        {
            server.join();
        }
    }
}

/// Where [`serve_simulated`] listens.
pub(crate) const SIMULATED: &str = "10.0.0.1:80";

/// Serves the site on the simulated network of this worker.
pub(crate) fn serve_simulated(options: ServiceOptions) {
    let listener = Listener::bind(&SIMULATED.parse().unwrap(), false).unwrap();
    let site = Site { handled: Arc::default(), dropped: mpsc::channel().0 };
    let handler = async move |exchange: Exchange<'_>| answer(&site, exchange).await;
    runtime::spawn(serve(listener, options, Shutdown::new(), handler));
}

#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) handled: Arc<AtomicUsize>,
    pub(crate) dropped: Sender<()>,
}

pub(crate) async fn answer(site: &Site, mut exchange: Exchange<'_>) -> Result<Answered, Error> {
    site.handled.fetch_add(1, Ordering::SeqCst);
    match exchange.head().target() {
        b"/" => exchange.respond(StatusCode::OK, &TEXT, "hello world\n"),
        b"/prepared" => {
            let response = PreparedResponse::new(StatusCode::OK, TEXT, "prepared\n")?;
            Ok(exchange.respond_with(&response))
        }
        b"/empty" => exchange.respond(StatusCode::NO_CONTENT, &TEXT, ""),
        b"/impossible" => exchange.respond(StatusCode::NO_CONTENT, &TEXT, "a body"),
        b"/large" => exchange.respond(StatusCode::OK, &TEXT, large()),
        b"/pieces" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, None)?;
            for _ in 0..1000 {
                responder.send(PIECE).await?;
            }
            responder.finish()
        }
        b"/announced" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, Some(LARGE_SIZE as u64))?;
            let body = large();
            for piece in [0..1, 1..70_000, 70_000..70_001, 70_001..LARGE_SIZE] {
                responder.send(body.slice(piece)).await?;
            }
            responder.finish()
        }
        b"/short" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, Some(100))?;
            responder.send("only this").await?;
            responder.finish()
        }
        b"/endless" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, None)?;
            loop {
                site.handled.fetch_add(1, Ordering::SeqCst);
                responder.send(large()).await?;
            }
        }
        b"/echo" => echo(exchange).await,
        b"/whole" => match exchange.body(1000).await? {
            Some(body) => exchange.respond(StatusCode::OK, &TEXT, body),
            None => exchange.respond(StatusCode::PAYLOAD_TOO_LARGE, &TEXT, "too large\n"),
        },
        // The head stays readable after the body was read.
        b"/head-after-body" => {
            while exchange.data().await?.is_some() {}
            let name = exchange.head().fields().get("x-name").unwrap_or_default().to_vec();
            exchange.respond(StatusCode::OK, &TEXT, name)
        }
        // Does not read the body.
        b"/early" => exchange.respond(StatusCode::FORBIDDEN, &TEXT, "no\n"),
        b"/wait" => {
            let _tell = Tell(site.dropped.clone());
            std::future::pending().await
        }
        b"/later" => {
            runtime::sleep(PAUSE).await;
            exchange.respond(StatusCode::OK, &TEXT, "later\n")
        }
        b"/later-pieces" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, None)?;
            for _ in 0..3 {
                runtime::sleep(PAUSE).await;
                responder.send(PIECE).await?;
            }
            responder.finish()
        }
        b"/later-echo" => {
            runtime::sleep(PAUSE).await;
            echo(exchange).await
        }
        b"/begin-and-wait" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, None)?;
            responder.send(PIECE).await?;
            std::future::pending().await
        }
        b"/panic" => panic!("as planned"),
        b"/begin-and-panic" => {
            let mut responder = exchange.stream(StatusCode::OK, &TEXT, None)?;
            responder.send(PIECE).await?;
            panic!("as planned")
        }
        b"/fail" => Err(Error::Closed),
        b"/disconnect" => Ok(exchange.disconnect()),
        _ => exchange.respond(StatusCode::NOT_FOUND, &TEXT, "no such page\n"),
    }
}

pub(crate) fn large() -> Bytes {
    (0..LARGE_SIZE).map(|at| (at % 251) as u8).collect()
}

async fn echo(mut exchange: Exchange<'_>) -> Result<Answered, Error> {
    let length = exchange.body_size();
    let first = exchange.data().await?.map(Bytes::copy_from_slice);
    let mut responder = exchange.stream(StatusCode::OK, &TEXT, length)?;
    responder.send(first.unwrap_or_default()).await?;
    while let Some(piece) = responder.data().await? {
        let piece = Bytes::copy_from_slice(piece);
        responder.send(piece).await?;
    }
    responder.finish()
}

struct Tell(Sender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        // The test may not be waiting for it.
        let _ = self.0.send(());
    }
}
