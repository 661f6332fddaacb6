//! A codec under test, the frames that its peer sends, and what it says and reports.

use ringtide::proto::h2::{
    Codec, Error, ErrorCode, Event, FieldList, Options, PREFACE, RequestKind, Role, StreamKey, StreamReset,
    hpack,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
pub(crate) const OK: &[(&str, &str)] = &[(":status", "200")];

/// An event that owns what it says. Adjacent pieces of a body are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Head { id: u32, fields: Pairs, ends: bool },
    TooLarge(u32),
    Informational { id: u32, fields: Pairs },
    Data { id: u32, data: Vec<u8>, ends: bool },
    Trailers { id: u32, fields: Pairs },
    Reset { id: u32, reset: StreamReset },
    GoAway { code: ErrorCode, last_stream_id: u32 },
    SendOpened,
    Pong([u8; 8]),
    Failed(Error),
}

/// A frame that the codec has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number that a RST_STREAM or WINDOW_UPDATE consists of.
    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_be_bytes();
    [&size[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::encode_stateless(name.as_bytes(), value.as_bytes(), false, &mut block);
    }
    block
}

pub(crate) fn headers(id: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, id, &block(fields))
}

pub(crate) fn data(id: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    frame(DATA, flags, id, data)
}

pub(crate) fn padded_data(id: u32, flags: u8, data: &[u8], padding: u8) -> Vec<u8> {
    frame(DATA, flags | PADDED, id, &[&[padding], data, &vec![0; padding.into()]].concat())
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, b"")
}

pub(crate) fn window_update(id: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &increment.to_be_bytes())
}

pub(crate) fn rst_stream(id: u32, code: ErrorCode) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &code.0.to_be_bytes())
}

pub(crate) fn go_away(last_id: u32, code: ErrorCode) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last_id.to_be_bytes(), code.0.to_be_bytes()].concat())
}

/// A codec whose peer the test plays.
pub(crate) struct Tested {
    pub(crate) codec: Codec,
    role: Role,
    unread: Vec<u8>,
    has_failed: bool,
    /// By id, the keys that the codec has given.
    pub(crate) keys: Vec<StreamKey>,
    /// Whether bodies are read at once.
    pub(crate) releases: bool,
}

impl Tested {
    /// A codec that has said nothing and heard nothing.
    pub(crate) fn new(role: Role, options: &Options) -> Self {
        let codec = Codec::new(role, options);
        Self { codec, role, unread: Vec::new(), has_failed: false, keys: Vec::new(), releases: true }
    }

    /// A codec with SETTINGS exchanged and acknowledged.
    pub(crate) fn ready(role: Role, options: &Options) -> Self {
        let mut tested = Self::new(role, options);
        if role == Role::Server {
            assert_eq!(tested.feed(PREFACE), []);
        }
        assert_eq!(tested.feed(&settings(&[])), [Seen::SendOpened]);
        assert_eq!(tested.feed(&settings_ack()), []);
        tested.said();
        tested
    }

    pub(crate) fn server() -> Self {
        Self::ready(Role::Server, &Options::default())
    }

    pub(crate) fn client() -> Self {
        Self::ready(Role::Client, &Options::default())
    }

    /// Opens a stream at a client.
    pub(crate) fn open(&mut self, fields: &[(&str, &str)], ends: bool) -> StreamKey {
        let kind = match fields[0].1 {
            "HEAD" => RequestKind::Head,
            "CONNECT" => RequestKind::Connect,
            _ => RequestKind::Other,
        };
        let key = self.codec.open(&block(fields), kind, ends, &mut Vec::new()).unwrap();
        self.keys.push(key);
        key
    }

    /// Sends a head or trailers.
    pub(crate) fn send(&mut self, id: u32, fields: &[(&str, &str)], ends: bool) {
        let key = self.key(id);
        self.codec.send_head(key, &block(fields), ends, &mut Vec::new());
    }

    pub(crate) fn reset(&mut self, id: u32) {
        let key = self.key(id);
        self.codec.reset(key, ErrorCode::CANCEL);
    }

    pub(crate) fn key(&self, id: u32) -> StreamKey {
        *self.keys.iter().find(|key| key.id() == id).unwrap()
    }

    /// Passes bytes to the codec, and returns what it reports.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.feed_into(bytes, &mut seen);
        seen
    }

    pub(crate) fn feed_into(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) {
        if self.has_failed {
            return;
        }
        self.unread.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            // More events than bytes, and those for the streams that a GOAWAY excludes, would be an endless loop.
            assert!(seen.len() < 300_000, "the codec makes no progress");
            let (consumed, event) = match self.codec.decode(&self.unread[start..]) {
                Ok(step) => step,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    self.has_failed = true;
                    seen.push(Seen::Failed(error));
                    return;
                }
            };
            assert!(consumed <= self.unread.len() - start);
            start += consumed;
            let event = match event {
                Event::NeedMore => break,
                Event::Head { stream, ends } => {
                    match self.role {
                        Role::Server => {
                            self.keys.push(stream);
                            assert!(self.codec.request_facts().is_some());
                        }
                        Role::Client => assert!(self.codec.response_facts().is_some()),
                    }
                    Seen::Head { id: stream.id(), fields: pairs(self.codec.fields()), ends }
                }
                Event::HeadTooLarge { stream } => {
                    self.keys.push(stream);
                    Seen::TooLarge(stream.id())
                }
                Event::Informational { stream } => {
                    Seen::Informational { id: stream.id(), fields: pairs(self.codec.fields()) }
                }
                Event::Data { stream, data, ends } => {
                    assert!(ends || !data.is_empty());
                    let (size, data) = (data.len(), data.to_vec());
                    if self.releases {
                        self.codec.release(stream, size);
                    }
                    match seen.last_mut() {
                        Some(Seen::Data { id, data: before, ends: false }) if *id == stream.id() => {
                            let data = [&before[..], &data].concat();
                            *seen.last_mut().unwrap() = Seen::Data { id: stream.id(), data, ends };
                            continue;
                        }
                        _ => Seen::Data { id: stream.id(), data, ends },
                    }
                }
                Event::Trailers { stream } => {
                    Seen::Trailers { id: stream.id(), fields: pairs(self.codec.fields()) }
                }
                Event::Reset { stream, reset } => {
                    assert!(!self.codec.is_open(stream));
                    assert!(!reset.to_string().is_empty());
                    Seen::Reset { id: stream.id(), reset }
                }
                Event::GoAway { code, last_stream_id } => Seen::GoAway { code, last_stream_id },
                Event::SendOpened => Seen::SendOpened,
                Event::Pong { payload } => Seen::Pong(payload),
            };
            seen.push(event);
        }
        self.unread.drain(..start);
        // The largest frame that is not taken in pieces.
        assert!(self.unread.len() < 16_384 + 9, "{} bytes are to be kept", self.unread.len());
    }

    /// Returns whether the stream of bytes may end here.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.codec.end_of_stream(self.unread.len())
    }

    /// Returns what the codec had to say.
    pub(crate) fn said(&mut self) -> Vec<Frame> {
        let mut bytes = Vec::new();
        self.codec.take_output(&mut bytes);
        frames(bytes.strip_prefix(PREFACE).unwrap_or(&bytes))
    }
}

pub(crate) fn pairs(fields: &FieldList) -> Pairs {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

pub(crate) fn owned(fields: &[(&str, &str)]) -> Pairs {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Takes whole frames apart.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<9>() {
        let size = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let (payload, behind) = rest.split_at(size);
        let id = u32::from_be_bytes(*header.last_chunk().unwrap());
        frames.push(Frame { kind: header[3], flags: header[4], id, payload: payload.to_vec() });
        bytes = behind;
    }
    assert_eq!(bytes, b"");
    frames
}
