//! The codec with that of the `h2` crate at the other end, in both roles, over random requests: each side must understand
//! what the other says, and keep its windows going.

use std::collections::BTreeMap;
use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use ringtide::proto::h2::hpack::Indexing;
use ringtide::proto::h2::{
    Codec, ErrorCode, Event, MethodKind, Options, RequestKind, ResetCause, Role, StreamKey,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::support::{Pairs, owned, pairs};

/// What one request asks for, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Its body and its trailers.
    Echo,
    /// That its stream is reset.
    Reset,
    /// A response without content, before its body has arrived.
    Nothing,
}

impl Wish {
    fn path(self) -> &'static str {
        match self {
            Self::Echo => "/echo",
            Self::Reset => "/reset",
            Self::Nothing => "/nothing",
        }
    }

    fn of(path: &[u8]) -> Self {
        let all = [Self::Echo, Self::Reset, Self::Nothing];
        all.into_iter().find(|wish| wish.path().as_bytes() == path).unwrap()
    }
}

#[derive(Clone, Debug)]
struct Plan {
    wish: Wish,
    body: Vec<u8>,
    has_trailers: bool,
    /// Sizes of the pieces that are sent.
    piece: usize,
}

/// What a client has got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Response { status: u16, body: Vec<u8>, has_trailers: bool },
    Reset(u32),
}

impl Plan {
    fn expected(&self) -> Outcome {
        match self.wish {
            Wish::Echo => {
                let (body, has_trailers) = (self.body.clone(), self.has_trailers);
                Outcome::Response { status: 200, body, has_trailers }
            }
            Wish::Reset => Outcome::Reset(8),
            Wish::Nothing => Outcome::Response { status: 204, body: Vec::new(), has_trailers: false },
        }
    }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn plan(&mut self) -> Plan {
        let wish = [Wish::Echo, Wish::Echo, Wish::Echo, Wish::Echo, Wish::Reset, Wish::Nothing];
        let size = match self.below(5) {
            0 => 0,
            1 => 200_000,
            2 => 3_000,
            _ => 40,
        };
        let size = self.below(size + 1);
        Plan {
            wish: wish[self.below(6) as usize],
            body: (0..size).map(|at| (at * 7 + size) as u8).collect(),
            has_trailers: self.below(3) == 0,
            piece: 1 + self.below(20_000) as usize,
        }
    }

    fn options(&mut self) -> Options {
        let window = [100, 65_535, 1_000_000][self.below(3) as usize];
        Options::default()
            .stream_window(window)
            .connection_window(65_535 + self.below(100_000) as u32)
            .streams_max(1 + self.below(20) as u32)
            .header_table_size([0, 100, 4_096][self.below(3) as usize])
    }
}

/// A body that one side sends.
#[derive(Debug, Default)]
struct Outgoing {
    pending: Vec<u8>,
    /// Nothing more will be pending.
    is_complete: bool,
    has_trailers: bool,
    piece: usize,
}

/// What is known of a stream.
#[derive(Debug)]
struct Exchange {
    key: StreamKey,
    wish: Option<Wish>,
    head: Option<Pairs>,
    data: Vec<u8>,
    has_trailers: bool,
    has_ended: bool,
    reset: Option<ErrorCode>,
    outgoing: Option<Outgoing>,
}

/// One side with our codec. A server answers by itself.
struct Ours {
    role: Role,
    codec: Codec,
    out: Vec<u8>,
    exchanges: BTreeMap<u32, Exchange>,
}

impl Ours {
    fn new(role: Role, options: &Options) -> Self {
        Self { role, codec: Codec::new(role, options), out: Vec::new(), exchanges: BTreeMap::new() }
    }

    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.codec.encoder().begin(&mut block);
        for (name, value) in fields {
            self.codec.encoder().field(name.as_bytes(), value.as_bytes(), Indexing::Add, &mut block);
        }
        block
    }

    fn insert(&mut self, key: StreamKey, wish: Option<Wish>, outgoing: Option<Outgoing>) {
        let exchange = Exchange {
            key,
            wish,
            head: None,
            data: Vec::new(),
            has_trailers: false,
            has_ended: false,
            reset: None,
            outgoing,
        };
        assert!(self.exchanges.insert(key.id(), exchange).is_none());
    }

    fn request(&mut self, plan: &Plan) -> u32 {
        let ends = plan.body.is_empty() && !plan.has_trailers;
        let length = plan.body.len().to_string();
        let mut fields =
            vec![(":method", "POST"), (":scheme", "http"), (":path", plan.wish.path()), (":authority", "a")];
        if plan.piece.is_multiple_of(2) {
            fields.push(("content-length", &length));
        }
        let block = self.block(&fields);
        let key = self.codec.open(&block, RequestKind::Other, ends, &mut self.out).unwrap();
        let outgoing = Outgoing {
            pending: plan.body.clone(),
            is_complete: true,
            has_trailers: plan.has_trailers,
            piece: plan.piece,
        };
        self.insert(key, None, (!ends).then_some(outgoing));
        key.id()
    }

    /// Decodes what it can, and returns how much.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut start = 0;
        loop {
            let (consumed, event) = self.codec.decode(&bytes[start..]).expect("the peer keeps the rules");
            start += consumed;
            match event {
                Event::NeedMore => return start,
                Event::Head { stream, ends } => {
                    let fields = pairs(self.codec.fields());
                    if self.role == Role::Server {
                        assert_eq!(self.codec.request_facts().unwrap().method, MethodKind::Other);
                        let path = fields.iter().find(|(name, _)| name == b":path").unwrap();
                        self.insert(stream, Some(Wish::of(&path.1)), None);
                    }
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    assert!(exchange.head.replace(fields).is_none());
                    exchange.has_ended = ends;
                    if self.role == Role::Server {
                        self.answer(stream);
                    }
                }
                Event::Data { stream, data, ends } => {
                    self.codec.release(stream, data.len());
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    exchange.data.extend_from_slice(data);
                    exchange.has_ended = ends;
                    if let (Role::Server, Some(outgoing)) = (self.role, &mut exchange.outgoing) {
                        outgoing.pending.extend_from_slice(data);
                        outgoing.is_complete = ends;
                    }
                }
                Event::Trailers { stream } => {
                    assert_eq!(pairs(self.codec.fields()), owned(&[("checksum", "right")]));
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    (exchange.has_trailers, exchange.has_ended) = (true, true);
                    if let (Role::Server, Some(outgoing)) = (self.role, &mut exchange.outgoing) {
                        (outgoing.is_complete, outgoing.has_trailers) = (true, true);
                    }
                }
                Event::Reset { stream, reset } => {
                    assert_eq!(reset.cause, ResetCause::Peer, "{reset}");
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    exchange.outgoing = None;
                    // A whole response stays one (RFC 9113 §8.1).
                    if !exchange.has_ended {
                        exchange.reset = Some(reset.code);
                    }
                }
                Event::GoAway { code, .. } => assert_eq!(code, ErrorCode::NO_ERROR),
                Event::SendOpened | Event::Pong { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    fn answer(&mut self, key: StreamKey) {
        let exchange = self.exchanges.get_mut(&key.id()).unwrap();
        let has_ended = exchange.has_ended;
        match exchange.wish.unwrap() {
            Wish::Reset => self.codec.reset(key, ErrorCode::CANCEL),
            Wish::Nothing => {
                let block = self.block(&[(":status", "204")]);
                self.codec.send_head(key, &block, true, &mut self.out);
                self.codec.reset(key, ErrorCode::NO_ERROR);
            }
            Wish::Echo => {
                let outgoing = Outgoing { is_complete: has_ended, piece: 7_000, ..Outgoing::default() };
                exchange.outgoing = Some(outgoing);
                let block = self.block(&[(":status", "200"), ("server", "ours")]);
                self.codec.send_head(key, &block, false, &mut self.out);
            }
        }
    }

    /// Sends what may be sent.
    fn pump(&mut self) {
        self.codec.take_output(&mut self.out);
        let ids: Vec<u32> = self.exchanges.keys().copied().collect();
        for id in ids {
            let exchange = self.exchanges.get_mut(&id).unwrap();
            let key = exchange.key;
            let Some(mut outgoing) = exchange.outgoing.take() else { continue };
            while self.out.len() < 50_000 && !outgoing.pending.is_empty() {
                let size = outgoing.pending.len().min(outgoing.piece);
                let size = size.min(self.codec.send_capacity(key) as usize);
                if size == 0 {
                    break;
                }
                self.out.extend_from_slice(&self.codec.send_data(key, size as u32, false));
                self.out.extend(outgoing.pending.drain(..size));
            }
            if !outgoing.pending.is_empty() || !outgoing.is_complete {
                self.exchanges.get_mut(&id).unwrap().outgoing = Some(outgoing);
            } else if outgoing.has_trailers {
                let block = self.block(&[("checksum", "right")]);
                self.codec.send_head(key, &block, true, &mut self.out);
            } else if self.codec.is_sendable(key) {
                self.out.extend_from_slice(&self.codec.send_data(key, 0, true));
            }
        }
    }

    /// Serves the wire, until `step` returns false and everything is sent, or the peer has gone.
    async fn run(&mut self, wire: DuplexStream, mut step: impl FnMut(&mut Self) -> bool) {
        let (mut reader, mut writer) = tokio::io::split(wire);
        let (mut unread, mut buffer) = (Vec::new(), [0; 3_000]);
        loop {
            let goes_on = step(self);
            self.pump();
            if !goes_on && self.out.is_empty() {
                return;
            }
            tokio::select! {
                count = reader.read(&mut buffer) => {
                    let count = count.unwrap();
                    if count == 0 {
                        self.codec.end_of_stream(unread.len()).unwrap();
                        return;
                    }
                    unread.extend_from_slice(&buffer[..count]);
                    let consumed = self.take(&unread);
                    unread.drain(..consumed);
                }
                count = writer.write(&self.out), if !self.out.is_empty() => {
                    // The peer may have gone.
                    let Ok(count) = count else { return };
                    self.out.drain(..count);
                }
            }
        }
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("checksum"), HeaderValue::from_static("right"))])
}

async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(capacity) = poll_fn(|context| stream.poll_capacity(context)).await else { return Ok(()) };
        let size = capacity?.min(bytes.len());
        stream.send_data(bytes.split_to(size), false)?;
    }
    Ok(())
}

/// Answers one request as [`Ours::answer`] does.
async fn answer(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    match Wish::of(request.uri().path().as_bytes()) {
        Wish::Reset => respond.send_reset(Reason::CANCEL),
        Wish::Nothing => {
            respond.send_response(Response::builder().status(204).body(()).unwrap(), true)?;
        }
        Wish::Echo => {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false)?;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                send_all(&mut stream, piece).await?;
            }
            match body.trailers().await? {
                Some(trailers) => stream.send_trailers(trailers)?,
                None => stream.send_data(Bytes::new(), true)?,
            }
        }
    }
    Ok(())
}

/// Sends one request, and returns what came back.
async fn request(sender: h2::client::SendRequest<Bytes>, plan: Plan) -> Outcome {
    let reset = |error: h2::Error| Outcome::Reset(error.reason().expect("only streams fail").into());
    let mut sender = sender.ready().await.unwrap();
    let uri = format!("http://a{}", plan.wish.path());
    let head = Request::builder().method("POST").uri(uri).body(()).unwrap();
    let ends = plan.body.is_empty() && !plan.has_trailers;
    let (response, mut stream) = sender.send_request(head, ends).unwrap();
    drop(sender);
    let sending = async {
        if ends {
            return;
        }
        for piece in plan.body.chunks(plan.piece) {
            if send_all(&mut stream, Bytes::copy_from_slice(piece)).await.is_err() {
                return;
            }
        }
        // The server may have reset the stream.
        let _ = if plan.has_trailers {
            stream.send_trailers(trailers())
        } else {
            stream.send_data(Bytes::new(), true)
        };
    };
    let receiving = async {
        let response = match response.await {
            Ok(response) => response,
            Err(error) => return reset(error),
        };
        let status = response.status().as_u16();
        let mut content = response.into_body();
        let mut body = Vec::new();
        while let Some(piece) = content.data().await {
            match piece {
                Ok(piece) => {
                    content.flow_control().release_capacity(piece.len()).unwrap();
                    body.extend_from_slice(&piece);
                }
                Err(error) => return reset(error),
            }
        }
        match content.trailers().await {
            Ok(found) => Outcome::Response { status, body, has_trailers: found.is_some() },
            Err(error) => reset(error),
        }
    };
    // A response may be whole before the body of its request is.
    tokio::pin!(receiving);
    tokio::select! {
        outcome = &mut receiving => outcome,
        () = sending => receiving.await,
    }
}

fn run(seeds: std::ops::Range<u64>, one: impl AsyncFn(Numbers)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for seed in seeds {
        println!("seed {seed}");
        let all = async { tokio::time::timeout(std::time::Duration::from_mins(1), one(Numbers(seed))).await };
        runtime.block_on(all).expect("nothing waits for ever");
    }
}

#[test]
fn our_client_and_a_server_of_the_h2_crate() {
    run(0..24, async |mut numbers| {
        let options = numbers.options();
        let plans: Vec<Plan> = (0..=numbers.below(60)).map(|_| numbers.plan()).collect();
        let (near, far) = tokio::io::duplex([100, 5_000, 200_000][numbers.below(3) as usize]);
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size([200, 65_535, 500_000][numbers.below(3) as usize]);
        builder.max_concurrent_streams(1 + numbers.below(10) as u32);
        builder.header_table_size([0, 4_096, 10_000][numbers.below(3) as usize]);
        let server = tokio::spawn(async move {
            let mut connection = builder.handshake::<_, Bytes>(far).await.unwrap();
            while let Some(accepted) = connection.accept().await {
                let (request, respond) = accepted.expect("our client keeps the rules");
                // A client may have gone from the stream.
                tokio::spawn(async move { answer(request, respond).await.is_ok() });
            }
        });
        let mut client = Ours::new(Role::Client, &options);
        let mut left = plans.iter();
        let mut ids = Vec::new();
        client
            .run(near, |client| {
                while client.codec.opens_now_max() > 0 && client.codec.peer_settings().is_known {
                    let Some(plan) = left.next() else { break };
                    ids.push(client.request(plan));
                }
                left.len() > 0 || client.codec.streams() > 0 || ids.is_empty()
            })
            .await;
        assert_eq!(client.codec.streams(), 0);
        for (id, plan) in ids.iter().zip(&plans) {
            let exchange = &client.exchanges[id];
            let outcome = if let Some(code) = exchange.reset {
                Outcome::Reset(code.0)
            } else {
                assert!(exchange.has_ended);
                let fields = exchange.head.as_ref().unwrap();
                let status = str::from_utf8(&fields[0].1).unwrap().parse().unwrap();
                Outcome::Response { status, body: exchange.data.clone(), has_trailers: exchange.has_trailers }
            };
            assert_eq!(outcome, plan.expected(), "{id} {plan:?}");
        }
        drop(client);
        server.await.unwrap();
    });
}

#[test]
fn our_server_and_a_client_of_the_h2_crate() {
    run(100..124, async |mut numbers| {
        let options = numbers.options();
        let plans: Vec<Plan> = (0..=numbers.below(60)).map(|_| numbers.plan()).collect();
        let (near, far) = tokio::io::duplex([100, 5_000, 200_000][numbers.below(3) as usize]);
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size([200, 65_535, 500_000][numbers.below(3) as usize]);
        builder.initial_max_send_streams(1);
        builder.header_table_size([0, 4_096, 10_000][numbers.below(3) as usize]);
        let client = tokio::spawn(async move {
            let (sender, connection) = builder.handshake::<_, Bytes>(far).await.unwrap();
            let connection = tokio::spawn(connection);
            let tasks: Vec<_> =
                plans.iter().map(|plan| tokio::spawn(request(sender.clone(), plan.clone()))).collect();
            drop(sender);
            for (task, plan) in tasks.into_iter().zip(&plans) {
                assert_eq!(task.await.unwrap(), plan.expected(), "{plan:?}");
            }
            connection.await.unwrap().expect("our server keeps the rules");
        });
        let mut server = Ours::new(Role::Server, &options);
        server.run(near, |_| true).await;
        assert_eq!(server.codec.streams(), 0);
        client.await.unwrap();
    });
}
