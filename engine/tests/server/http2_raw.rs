//! A client of HTTP/2 for tests that says what it likes: raw frames out, and frames in.

use ringtide::Address;
use ringtide::proto::h2::{FieldList, PREFACE, hpack};

use crate::peer::Peer;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The 32 bits at `at`: a code, an id, an increment.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_be_bytes();
    [&size[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::encode_stateless(name.as_bytes(), value.as_bytes(), false, &mut block);
    }
    block
}

/// A request.
pub(crate) fn request(id: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":authority", "h"), (":path", path)];
    frame(HEADERS, flags | END_HEADERS, id, &block(&fields))
}

pub(crate) fn get(id: u32, path: &str) -> Vec<u8> {
    request(id, "GET", path, END_STREAM)
}

/// A client that has exchanged SETTINGS.
pub(crate) struct Raw {
    pub(crate) peer: Peer,
    decoder: hpack::Decoder,
}

impl Raw {
    pub(crate) fn connect(address: &Address, own: &[(u16, u32)]) -> Self {
        let mut peer = Peer::connect(address);
        peer.send([&PREFACE[..], &settings(own)].concat());
        let mut raw = Self { peer, decoder: hpack::Decoder::new(4096) };
        let first = raw.frame();
        assert_eq!((first.kind, first.flags), (SETTINGS, 0));
        while raw.frame().kind != SETTINGS {}
        raw.peer.send(frame(SETTINGS, ACK, 0, b""));
        raw
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.peer.send(bytes);
    }

    /// Reads the next frame.
    pub(crate) fn frame(&mut self) -> Frame {
        let head = self.peer.take(9);
        let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Frame { kind: head[3], flags: head[4], id, payload: self.peer.take(size) }
    }

    /// Reads up to the next frame of this kind, and fails if there is none.
    pub(crate) fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame();
            if frame.kind == kind {
                return frame;
            }
            if frame.kind == HEADERS {
                self.fields(&frame);
            }
        }
    }

    /// Reads up to the GOAWAY. `None` if a reset has destroyed it: bytes that the server had not read when it closed reset the
    /// connection, and then the kernel drops what has arrived here.
    pub(crate) fn go_away_if_there(&mut self) -> Option<Frame> {
        loop {
            let head = self.peer.take_if_there(9)?;
            let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
            let payload = self.peer.take_if_there(size)?;
            if head[3] == GOAWAY {
                return Some(Frame { kind: GOAWAY, flags: head[4], id, payload });
            }
        }
    }

    /// Decodes the fields of a head. Every one must be decoded, in order.
    pub(crate) fn fields(&mut self, frame: &Frame) -> FieldList {
        let mut fields = FieldList::new(u32::MAX, u32::MAX);
        self.decoder.decode(&frame.payload, &mut fields).unwrap();
        fields
    }

    /// Reads the response on a stream, and its trailers if it has some. Frames of other streams are dropped.
    pub(crate) fn response(&mut self, id: u32) -> (FieldList, Vec<u8>, Option<FieldList>) {
        let (mut head, mut body) = (None, Vec::new());
        loop {
            let frame = self.frame();
            if frame.kind == HEADERS {
                let fields = self.fields(&frame);
                if frame.id == id {
                    if let Some(head) = head {
                        assert_eq!(frame.flags & END_STREAM, END_STREAM);
                        return (head, body, Some(fields));
                    }
                    head = Some(fields);
                }
            }
            if frame.id != id {
                continue;
            }
            assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return (head.unwrap(), body, None);
            }
        }
    }

    /// Sends a request without a body, and reads its response.
    pub(crate) fn ask(&mut self, id: u32, path: &str) -> (FieldList, Vec<u8>) {
        self.send(get(id, path));
        let (head, body, _) = self.response(id);
        (head, body)
    }
}
