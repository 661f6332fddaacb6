//! Two codecs with each other, over random sequences of what their users and the network can do. Nothing may go wrong: each
//! body arrives whole unless its stream was reset, and in the end every byte of every window is given back.

use std::collections::BTreeMap;

use bolero::check;
use ringtide::proto::h2::hpack::Indexing;
use ringtide::proto::h2::{Codec, ErrorCode, Event, Options, RequestKind, ResetCause, Role, StreamKey};

use super::support::{GET, OK, POST, settings};

const INPUT_SIZE_MAX: usize = 2_048;
const ITERATIONS: usize = 100;

/// One direction of a stream: what was sent and what has arrived.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Half {
    has_head: bool,
    /// What the head announces.
    length: Option<u64>,
    sent: u64,
    has_ended: bool,
    head_arrived: bool,
    arrived: u64,
    end_arrived: bool,
}

#[derive(Debug)]
struct Exchange {
    client_key: StreamKey,
    server_key: Option<StreamKey>,
    request: Half,
    response: Half,
    was_reset: bool,
}

struct End {
    codec: Codec,
    /// On its way to this end.
    incoming: Vec<u8>,
    /// Arrived and not decoded.
    unread: Vec<u8>,
    /// Bodies that the user has not read: by stream.
    unreleased: BTreeMap<u32, (StreamKey, usize)>,
    /// The peer has returned room on the connection.
    window_returned: bool,
}

impl End {
    fn new(role: Role, options: &Options) -> Self {
        Self {
            codec: Codec::new(role, options),
            incoming: Vec::new(),
            unread: Vec::new(),
            unreleased: BTreeMap::new(),
            window_returned: false,
        }
    }

    fn encode(&mut self, fields: &[(&str, &str)], add: bool) -> Vec<u8> {
        let mut block = Vec::new();
        let encoder = self.codec.encoder();
        encoder.begin(&mut block);
        for (name, value) in fields {
            let indexing = if add { Indexing::Add } else { Indexing::Without };
            encoder.field(name.as_bytes(), value.as_bytes(), indexing, &mut block);
        }
        block
    }

    fn release(&mut self, id: u32, most: usize) {
        if let Some((key, size)) = self.unreleased.get_mut(&id) {
            let now = most.min(*size);
            *size -= now;
            self.codec.release(*key, now);
            if *size == 0 {
                self.unreleased.remove(&id);
            }
        }
    }

    fn release_all(&mut self) {
        for (_, (key, size)) in std::mem::take(&mut self.unreleased) {
            self.codec.release(key, size);
        }
    }
}

/// The byte of a body at `position`.
fn byte_at(id: u32, position: u64) -> u8 {
    (position as u8).wrapping_mul(31).wrapping_add(id as u8)
}

struct World<'i> {
    input: std::slice::Iter<'i, u8>,
    client: End,
    server: End,
    exchanges: BTreeMap<u32, Exchange>,
    is_closing: bool,
    options: [Options; 2],
}

impl<'i> World<'i> {
    fn new(input: &'i [u8]) -> Self {
        let mut input = input.iter();
        let mut options = || {
            let byte = u32::from(*input.next().unwrap_or(&0));
            Options::default()
                .stream_window([200, 40_000, 65_535, 100_000][byte as usize % 4])
                .connection_window(65_535 + byte * 100)
                .streams_max(1 + byte % 7)
                .header_table_size([0, 100, 4_096, 10_000][byte as usize / 4 % 4])
        };
        let (client, server) = (options(), options());
        Self {
            input,
            client: End::new(Role::Client, &client),
            server: End::new(Role::Server, &server),
            exchanges: BTreeMap::new(),
            is_closing: false,
            options: [client, server],
        }
    }

    fn next(&mut self) -> usize {
        usize::from(*self.input.next().unwrap_or(&0))
    }

    /// A stream among those that are there, the newest ones more often.
    fn pick(&mut self) -> Option<u32> {
        let place = self.next() % 6;
        self.exchanges.keys().rev().nth(place).copied()
    }

    fn step(&mut self, action: u8) {
        match action % 16 {
            0 | 1 => self.open(),
            2 | 3 => self.send(true, false),
            4 => self.send(true, true),
            5 => self.respond(),
            6 | 7 => self.send(false, false),
            8 => self.send(false, true),
            9 => self.reset(action),
            10 | 11 => self.deliver_some(true),
            12 | 13 => self.deliver_some(false),
            14 => {
                let (size, Some(id)) = (self.next() * 64, self.pick()) else { return };
                self.client.release(id, size);
                self.server.release(id, size);
            }
            _ => match self.next() {
                0 => self.server.codec.announce_close(),
                1 => {
                    self.is_closing = true;
                    self.server.codec.go_away(ErrorCode::NO_ERROR);
                }
                byte if byte % 4 == 0 => self.client.codec.ping([7; 8]),
                byte if byte % 4 == 1 => self.server.codec.ping([7; 8]),
                byte => {
                    // The windows of streams shrink for a while, up to below zero.
                    self.flush();
                    let from = byte % 2;
                    let change =
                        settings(&[(4, byte as u32 / 2), (1, 0), (1, self.options[from].header_table_size)]);
                    let to = if from == 0 { &mut self.server } else { &mut self.client };
                    to.incoming.extend_from_slice(&change);
                }
            },
        }
    }

    fn open(&mut self) {
        let shape = self.next();
        if self.client.codec.opens_now_max() == 0 {
            return;
        }
        let length = (shape.is_multiple_of(3)).then_some(shape as u64 * 77);
        let ends = shape.is_multiple_of(5) && length.is_none();
        let text = length.unwrap_or(0).to_string();
        let mut fields = if ends { GET.to_vec() } else { POST.to_vec() };
        if length.is_some() {
            fields.push(("content-length", &text));
        }
        if shape.is_multiple_of(7) {
            fields.push(("cookie", &text));
        }
        let block = self.client.encode(&fields, shape.is_multiple_of(2));
        self.flush();
        let opened = self.client.codec.open(&block, RequestKind::Other, ends, &mut self.server.incoming);
        let client_key = opened.unwrap();
        let request = Half { has_head: true, length, has_ended: ends, ..Half::default() };
        let exchange =
            Exchange { client_key, server_key: None, request, response: Half::default(), was_reset: false };
        assert!(self.exchanges.insert(client_key.id(), exchange).is_none());
    }

    /// Sends a piece of a body, and its end if wanted.
    fn send(&mut self, from_client: bool, ends: bool) {
        let (size, Some(id)) = (self.next() as u64 * 111, self.pick()) else { return };
        self.send_on(id, from_client, size, ends);
    }

    fn send_on(&mut self, id: u32, from_client: bool, size: u64, ends: bool) {
        self.flush();
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let (end, to, half, key) = if from_client {
            (&mut self.client, &mut self.server, &mut exchange.request, Some(exchange.client_key))
        } else {
            (&mut self.server, &mut self.client, &mut exchange.response, exchange.server_key)
        };
        let Some(key) = key.filter(|_| half.has_head && !half.has_ended) else { return };
        if !end.codec.is_open(key) {
            assert!(exchange.was_reset || self.is_closing);
            return;
        }
        assert!(end.codec.is_sendable(key));
        let left = half.length.map_or(u64::MAX, |length| length - half.sent);
        let capacity = u64::from(end.codec.send_capacity(key));
        let size = size.min(left).min(capacity);
        let may_end = half.length.is_none_or(|length| half.sent + size == length);
        let ends = ends && may_end;
        let with_trailers = ends && size % 2 == 1;
        if size > 0 || (ends && !with_trailers) {
            let header = end.codec.send_data(key, size as u32, ends && !with_trailers);
            to.incoming.extend_from_slice(&header);
            to.incoming.extend((0..size).map(|at| byte_at(id, half.sent + at)));
            half.sent += size;
        }
        if with_trailers {
            let block = end.encode(&[("trailer", "t")], true);
            end.codec.send_head(key, &block, true, &mut to.incoming);
        }
        half.has_ended = ends;
    }

    fn respond(&mut self) {
        let (shape, Some(id)) = (self.next(), self.pick()) else { return };
        self.respond_on(id, shape);
    }

    fn respond_on(&mut self, id: u32, shape: usize) {
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let Some(key) = exchange.server_key.filter(|key| self.server.codec.is_sendable(*key)) else { return };
        if exchange.response.has_head {
            return;
        }
        let length = (shape.is_multiple_of(3)).then_some(shape as u64 * 77);
        let text = length.unwrap_or(0).to_string();
        let mut fields = OK.to_vec();
        if length.is_some() {
            fields.push(("content-length", &text));
        }
        exchange.response.has_head = true;
        exchange.response.length = length;
        exchange.response.has_ended = length.is_none() && shape.is_multiple_of(5);
        let ends = exchange.response.has_ended;
        let hints = self.server.encode(&[(":status", "103"), ("link", "x")], shape.is_multiple_of(2));
        let block = self.server.encode(&fields, shape.is_multiple_of(2));
        self.flush();
        self.server.codec.send_head(key, &hints, false, &mut self.client.incoming);
        self.server.codec.send_head(key, &block, ends, &mut self.client.incoming);
    }

    fn reset(&mut self, action: u8) {
        let Some(id) = self.pick() else { return };
        let exchange = self.exchanges.get_mut(&id).unwrap();
        if action < 128 {
            exchange.was_reset |= self.client.codec.is_open(exchange.client_key);
            self.client.codec.reset(exchange.client_key, ErrorCode::CANCEL);
        } else if let Some(key) = exchange.server_key {
            exchange.was_reset |= self.server.codec.is_open(key);
            self.server.codec.reset(key, ErrorCode::NO_ERROR);
        }
    }

    /// What the codecs say goes on the wire, before anything else.
    fn flush(&mut self) {
        self.client.codec.take_output(&mut self.server.incoming);
        self.server.codec.take_output(&mut self.client.incoming);
    }

    fn deliver_some(&mut self, to_client: bool) {
        let size = self.next() * 29;
        self.flush();
        self.deliver(to_client, size);
    }

    fn deliver(&mut self, to_client: bool, size: usize) {
        let end = if to_client { &mut self.client } else { &mut self.server };
        let size = size.min(end.incoming.len());
        end.unread.extend(end.incoming.drain(..size));
        let mut start = 0;
        loop {
            let (consumed, event) = end.codec.decode(&end.unread[start..]).expect("both keep the rules");
            start += consumed;
            match event {
                Event::NeedMore => break,
                Event::Head { stream, ends } => {
                    // A client may have let go of a stream that its peer answers.
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    let half = if to_client {
                        &mut exchange.response
                    } else {
                        exchange.server_key = Some(stream);
                        &mut exchange.request
                    };
                    assert!(!half.head_arrived);
                    assert!(!ends || half.has_ended);
                    (half.head_arrived, half.end_arrived) = (true, ends);
                }
                Event::Informational { stream } => {
                    assert!(to_client && !self.exchanges[&stream.id()].response.head_arrived);
                }
                Event::Data { stream, data, ends } => {
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    let half = if to_client { &mut exchange.response } else { &mut exchange.request };
                    assert!(half.head_arrived && !half.end_arrived);
                    let expected = (half.arrived..).map(|at| byte_at(stream.id(), at));
                    assert!(data.iter().copied().eq(expected.take(data.len())), "a body has changed");
                    half.arrived += data.len() as u64;
                    half.end_arrived = ends;
                    let unreleased = end.unreleased.entry(stream.id()).or_insert((stream, 0));
                    unreleased.1 += data.len();
                }
                Event::Trailers { stream } => {
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    let half = if to_client { &mut exchange.response } else { &mut exchange.request };
                    assert!(half.head_arrived && !half.end_arrived);
                    half.end_arrived = true;
                }
                Event::Reset { stream, reset } => {
                    assert!(!matches!(reset.cause, ResetCause::Fault(_)), "{reset:?}");
                    let exchange = self.exchanges.get_mut(&stream.id()).unwrap();
                    if reset.is_unprocessed() {
                        assert!(exchange.server_key.is_none());
                        exchange.was_reset = true;
                    }
                    assert!(exchange.was_reset);
                }
                Event::SendOpened => end.window_returned = true,
                Event::Pong { payload } => assert_eq!(payload, [7; 8]),
                Event::GoAway { code, .. } => assert_eq!(code, ErrorCode::NO_ERROR),
                Event::HeadTooLarge { .. } => panic!("the heads are small"),
            }
        }
        end.unread.drain(..start);
    }

    fn deliver_all(&mut self) {
        loop {
            self.flush();
            if self.client.incoming.is_empty() && self.server.incoming.is_empty() {
                return;
            }
            self.deliver(true, usize::MAX);
            self.deliver(false, usize::MAX);
        }
    }

    /// Ends all streams, and checks that everything has arrived.
    fn finish(&mut self) {
        self.deliver_all();
        let windows = self.options.map(|options| settings(&[(4, options.stream_window)]));
        self.server.incoming.extend_from_slice(&windows[0]);
        self.client.incoming.extend_from_slice(&windows[1]);
        for round in 0.. {
            self.deliver_all();
            self.client.release_all();
            self.server.release_all();
            self.deliver_all();
            if self.client.codec.streams() == 0 && self.server.codec.streams() == 0 {
                break;
            }
            assert!(round < 5_000, "streams wait for ever: {:?}", self.exchanges);
            for id in self.exchanges.keys().copied().collect::<Vec<_>>() {
                self.respond_on(id, 1);
                self.send_on(id, true, u64::MAX >> 1, true);
                self.send_on(id, false, u64::MAX >> 1, true);
            }
        }
        for exchange in self.exchanges.values().filter(|exchange| !exchange.was_reset) {
            for half in [&exchange.request, &exchange.response] {
                assert!(
                    half.has_head && half.has_ended && half.head_arrived && half.end_arrived,
                    "{exchange:?}"
                );
                assert_eq!(half.sent, half.arrived);
            }
        }
    }

    /// Sends on a new stream until the receiver gives room back. With nothing on its way, that is all the room there is.
    fn check_windows(&mut self) {
        if self.client.codec.opens_now_max() == 0 {
            return;
        }
        let wide = settings(&[(4, (1 << 31) - 1), (5, (1 << 24) - 1)]);
        self.client.incoming.extend_from_slice(&wide);
        self.server.incoming.extend_from_slice(&wide);
        self.deliver_all();
        let block = self.client.encode(POST, true);
        let opened = self.client.codec.open(&block, RequestKind::Other, false, &mut self.server.incoming);
        let client_key = opened.unwrap();
        let id = client_key.id();
        let half = || Half { has_head: true, ..Half::default() };
        let exchange = Exchange {
            client_key,
            server_key: None,
            request: half(),
            response: Half::default(),
            was_reset: false,
        };
        self.exchanges.insert(id, exchange);
        self.deliver_all();
        self.respond_on(id, 1);
        self.deliver_all();
        let key = self.exchanges[&id].server_key.unwrap();
        for from_client in [true, false] {
            for round in 0.. {
                assert!(round < 5_000, "no room comes back");
                // The window of the stream is smaller at its receiver than at its sender, who sends little at once.
                self.send_on(id, from_client, 100, false);
                self.deliver_all();
                self.client.window_returned = false;
                self.server.window_returned = false;
                self.client.release_all();
                self.server.release_all();
                let before = self.capacity(from_client, client_key, key);
                self.deliver_all();
                if self.capacity(from_client, client_key, key) > before {
                    break;
                }
            }
            let expected = self.options[usize::from(from_client)].connection_window;
            assert_eq!(self.capacity(from_client, client_key, key), expected, "bytes of a window got lost");
        }
    }

    fn capacity(&self, from_client: bool, client_key: StreamKey, server_key: StreamKey) -> u32 {
        if from_client {
            self.client.codec.send_capacity(client_key)
        } else {
            self.server.codec.send_capacity(server_key)
        }
    }
}

#[test]
fn everything_arrives_and_every_window_is_given_back() {
    check!().with_max_len(INPUT_SIZE_MAX).with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let mut world = World::new(input);
        while let Some(&action) = world.input.next() {
            world.step(action);
        }
        world.finish();
        world.check_windows();
    });
}

#[test]
fn a_long_run_leaves_nothing_behind() {
    // A few streams at a time, for long: ids, places and windows are used again and again.
    let mut world = World::new(&[2, 2]);
    let mut state = 1u64;
    let input: Vec<u8> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let mut rest = input.iter();
    let mut last_id = 0;
    while let Some(&action) = rest.next() {
        world.server.codec.set_time_ns((input.len() - rest.len()) as u64 * 10_000_000);
        // Not SETTINGS and GOAWAY.
        if action % 16 == 15 {
            continue;
        }
        world.input = rest;
        world.step(action);
        rest = world.input.clone();
        last_id = world.exchanges.keys().last().copied().unwrap_or(last_id);
        world.exchanges.retain(|_, exchange| {
            let server_open = exchange.server_key.is_some_and(|key| world.server.codec.is_open(key));
            let is_done = exchange.request.end_arrived && exchange.response.end_arrived;
            world.client.codec.is_open(exchange.client_key) || server_open || !is_done
        });
    }
    world.finish();
    world.check_windows();
    assert!(last_id > 1_000, "{last_id}");
}
