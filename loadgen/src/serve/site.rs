//! What the embedded server answers.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use ringtide::Error;
use ringtide::runtime;
use ringtide::server::{Answered, Exchange, PreparedResponse};

use super::counters::Counters;
use super::target::Target;

/// Bytes of the shared block that `/bytes` is sent from, and so of the largest single send.
const BLOCK_SIZE: usize = 1024 * 1024;

/// One line of the block: positions in a body can be told by looking at it.
const BLOCK_LINE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+\n";

const _: () = assert!(BLOCK_SIZE.is_multiple_of(BLOCK_LINE.len()));

/// A piece of `/stream`.
const PIECE: &[u8] = b"hello world\n";

const TEXT: [(&str, &str); 1] = [("Content-Type", "text/plain; charset=utf-8")];
const BINARY: [(&str, &str); 1] = [("Content-Type", "application/octet-stream")];

/// What all workers send from.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    hello: PreparedResponse,
    block: Bytes,
}

impl Blocks {
    pub(super) fn new() -> Self {
        let hello = PreparedResponse::new(StatusCode::OK, TEXT, PIECE).expect("these are constants");
        Self { hello, block: BLOCK_LINE.repeat(BLOCK_SIZE / BLOCK_LINE.len()).into() }
    }
}

/// One worker's share of the server.
pub(super) struct Site {
    blocks: Blocks,
    counters: Arc<Counters>,
    burn: Duration,
    random: RefCell<fastrand::Rng>,
    /// The next id.
    ids: Cell<u64>,
}

impl Site {
    pub(super) fn new(blocks: Blocks, counters: Arc<Counters>, burn: Duration, seed: u64) -> Self {
        Self {
            blocks,
            counters,
            burn,
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            ids: Cell::new(1),
        }
    }

    pub(super) fn into_handler(self) -> impl AsyncFn(Exchange<'_>) -> Result<Answered, Error> {
        async move |exchange: Exchange<'_>| {
            self.counters.count_received();
            if !self.burn.is_zero() {
                burn(self.burn);
            }
            self.answer(exchange).await
        }
    }

    async fn answer(&self, exchange: Exchange<'_>) -> Result<Answered, Error> {
        let target = Target::parse(exchange.head().target());
        let answered = match target.map_err(|error| (error.status(), format!("{error}\n"))) {
            Ok(Target::Hello) => exchange.respond_with(&self.blocks.hello),
            Ok(Target::Bytes(count)) => self.bytes(exchange, count).await?,
            Ok(Target::Delay(delay)) => {
                runtime::sleep(delay).await;
                exchange.respond_with(&self.blocks.hello)
            }
            Ok(Target::Status(status)) => status_only(exchange, status)?,
            Ok(Target::Echo) => echo(exchange).await?,
            Ok(Target::Headers) => headers(exchange)?,
            Ok(Target::Cookie(pair)) => {
                let pair = pair.replacen('/', "=", 1);
                cookie(exchange, &pair)?
            }
            Ok(Target::Id) => self.id(exchange)?,
            Ok(Target::Redirect(count)) => redirect(exchange, count)?,
            Ok(Target::Stream(count)) => stream(exchange, count).await?,
            Ok(Target::Flaky(share)) => match self.fate(share) {
                Fate::Fine => exchange.respond_with(&self.blocks.hello),
                // Not counted: it is no answer.
                Fate::Closed => return Ok(exchange.disconnect()),
                Fate::Error => {
                    exchange.respond(StatusCode::INTERNAL_SERVER_ERROR, &TEXT, "flaky, as asked\n")?
                }
                // Until the client is gone.
                Fate::Stalled => std::future::pending().await,
            },
            Err((status, reason)) => exchange.respond(status, &TEXT, reason)?,
        };
        self.counters.count_answered();
        Ok(answered)
    }

    /// A number that no other request to this worker gets, as JSON and as the last part of a location.
    fn id(&self, exchange: Exchange<'_>) -> Result<Answered, Error> {
        let id = self.ids.get();
        self.ids.set(id + 1);
        let location = format!("/id?{id}");
        let fields = [("Content-Type", "application/json"), ("Location", &location)];
        exchange.respond(StatusCode::CREATED, &fields, format!("{{\"id\":{id}}}\n"))
    }

    /// What becomes of a request of which such a share fails.
    fn fate(&self, share: f64) -> Fate {
        let mut random = self.random.borrow_mut();
        if random.f64() >= share {
            return Fate::Fine;
        }
        match random.u8(..3) {
            0 => Fate::Closed,
            1 => Fate::Error,
            _ => Fate::Stalled,
        }
    }

    /// `count` bytes, from one block that is never copied.
    async fn bytes(&self, exchange: Exchange<'_>, count: u64) -> Result<Answered, Error> {
        let block = &self.blocks.block;
        if count <= BLOCK_SIZE as u64 {
            return exchange.respond(StatusCode::OK, &BINARY, block.slice(..count as usize));
        }
        let is_head = exchange.head().method() == Method::HEAD;
        let mut responder = exchange.stream(StatusCode::OK, &BINARY, Some(count))?;
        let mut left = if is_head { 0 } else { count };
        while left > 0 {
            let size = left.min(BLOCK_SIZE as u64);
            responder.send(block.slice(..size as usize)).await?;
            left -= size;
        }
        responder.finish()
    }
}

enum Fate {
    Fine,
    Closed,
    Error,
    Stalled,
}

fn status_only(exchange: Exchange<'_>, status: StatusCode) -> Result<Answered, Error> {
    match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
            exchange.respond(status, &[], Bytes::new())
        }
        _ => exchange.respond(status, &TEXT, format!("{status}\n")),
    }
}

/// Gives the client a cookie, such as `sid=1`.
fn cookie(exchange: Exchange<'_>, pair: &str) -> Result<Answered, Error> {
    let cookie = format!("{pair}; Path=/; HttpOnly");
    let fields = [("Content-Type", "text/plain; charset=utf-8"), ("Set-Cookie", &cookie)];
    exchange.respond(StatusCode::OK, &fields, PIECE)
}

/// Leads to another redirect, and after so many to `/`.
fn redirect(exchange: Exchange<'_>, count: u32) -> Result<Answered, Error> {
    let location = match count {
        0 | 1 => "/".to_owned(),
        _ => format!("/redirect/{}", count - 1),
    };
    exchange.respond(StatusCode::FOUND, &[("Location", &*location)], Bytes::new())
}

/// The request's body back, while it comes.
async fn echo(mut exchange: Exchange<'_>) -> Result<Answered, Error> {
    let length = exchange.body_size();
    // Before the answer begins, as a client that waits for `100 Continue` would otherwise never be told.
    let first = exchange.data().await?.map(Bytes::copy_from_slice);
    let head = exchange.head().keep();
    let content_type = head.head().fields().get("content-type").and_then(|value| str::from_utf8(value).ok());
    let fields = content_type.map(|value| ("Content-Type", value));
    let mut responder = exchange.stream(StatusCode::OK, fields.as_slice(), length)?;
    if let Some(first) = first {
        responder.send(first).await?;
    }
    while let Some(piece) = responder.data().await? {
        let piece = Bytes::copy_from_slice(piece);
        responder.send(piece).await?;
    }
    responder.finish()
}

/// The request's fields back.
fn headers(exchange: Exchange<'_>) -> Result<Answered, Error> {
    let mut text = String::new();
    for (name, value) in exchange.head().fields() {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        writeln!(text, "{name}: {value}").expect("a String takes everything");
    }
    exchange.respond(StatusCode::OK, &TEXT, text)
}

/// `count` pieces, each a chunk.
async fn stream(exchange: Exchange<'_>, count: u64) -> Result<Answered, Error> {
    let is_head = exchange.head().method() == Method::HEAD;
    let mut responder = exchange.stream(StatusCode::OK, &TEXT, None)?;
    for _ in 0..if is_head { 0 } else { count } {
        responder.send(PIECE).await?;
    }
    responder.finish()
}

/// Keeps the core busy.
fn burn(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}
