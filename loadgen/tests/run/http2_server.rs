//! The HTTP/2 side of the scripted server: the engine's codec over the server's thread per connection.

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering::SeqCst;

use ringtide::proto::h2::{Codec, ErrorCode, Event, Options, Role, Settings, StreamKey, hpack};

use crate::server::{Peer, Server};

/// What the client has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Request(StreamKey),
    Reset(StreamKey, ErrorCode),
}

/// A client's HTTP/2 connection, as the server sees it. What it says leaves when it next waits for the client.
pub(crate) struct Http2<'p> {
    peer: &'p mut Peer,
    codec: Codec,
    received: Vec<u8>,
    output: Vec<u8>,
}

impl<'p> Http2<'p> {
    pub(crate) fn new(peer: &'p mut Peer, options: &Options) -> Self {
        let codec = Codec::new(Role::Server, options);
        Self { peer, codec, received: Vec::new(), output: Vec::new() }
    }

    /// Waits for what the client does next; `None` if it has closed. Counts the requests.
    pub(crate) fn next(&mut self) -> Option<Said> {
        loop {
            let (consumed, event) = self.codec.decode(&self.received).expect("the client keeps to the rules");
            let said = match event {
                Event::NeedMore => {
                    self.received.drain(..consumed);
                    self.flush();
                    let mut bytes = [0; 16 * 1024];
                    match self.peer.stream.read(&mut bytes) {
                        Ok(size @ 1..) => {
                            self.peer.tally.bytes_received.fetch_add(size as u64, SeqCst);
                            self.received.extend_from_slice(&bytes[..size]);
                        }
                        Ok(0) | Err(_) => return None,
                    }
                    continue;
                }
                Event::Head { stream, ends } => {
                    assert!(ends, "the requests of these tests have no bodies");
                    self.peer.tally.whole.fetch_add(1, SeqCst);
                    Some(Said::Request(stream))
                }
                Event::Reset { stream, reset } => Some(Said::Reset(stream, reset.code)),
                _ => None,
            };
            self.received.drain(..consumed);
            if said.is_some() {
                return said;
            }
        }
    }

    /// Waits for the next request.
    pub(crate) fn request(&mut self) -> Option<StreamKey> {
        loop {
            if let Said::Request(stream) = self.next()? {
                return Some(stream);
            }
        }
    }

    /// Answers with 12 bytes, as `serve` does.
    pub(crate) fn answer(&mut self, stream: StreamKey) {
        self.begin(stream, "12");
        self.body(stream, b"hello world\n", true);
    }

    /// Sends the head of an answer whose body has this length.
    pub(crate) fn begin(&mut self, stream: StreamKey, length: &str) {
        self.collect();
        let mut block = Vec::new();
        for (name, value) in [(":status", "200"), ("content-length", length)] {
            hpack::encode_stateless(name.as_bytes(), value.as_bytes(), false, &mut block);
        }
        self.codec.send_head(stream, &block, false, &mut self.output);
    }

    /// Sends a piece of the body.
    pub(crate) fn body(&mut self, stream: StreamKey, piece: &[u8], ends: bool) {
        let room = self.codec.send_capacity(stream) as usize;
        assert!(room >= piece.len(), "the windows of these tests are large enough");
        let header = self.codec.send_data(stream, piece.len() as u32, ends);
        self.output.extend_from_slice(&header);
        self.output.extend_from_slice(piece);
    }

    pub(crate) fn reset(&mut self, stream: StreamKey, code: ErrorCode) {
        self.codec.reset(stream, code);
        self.collect();
    }

    /// Sends a GOAWAY of the test's own: the codec's would name the last stream that has arrived.
    pub(crate) fn go_away(&mut self, last_stream_id: u32, code: ErrorCode) {
        self.collect();
        self.output.extend_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
        self.output.extend_from_slice(&last_stream_id.to_be_bytes());
        self.output.extend_from_slice(&code.0.to_be_bytes());
    }

    /// Says that the client may have so many streams open from now on. The codec still goes by its options.
    pub(crate) fn allow_streams(&mut self, max: u32) {
        self.collect();
        self.output.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3]);
        self.output.extend_from_slice(&max.to_be_bytes());
    }

    /// Sends what was said so far.
    pub(crate) fn flush(&mut self) {
        self.collect();
        // The client may have closed.
        let _ = self.peer.stream.write_all(&self.output);
        self.output.clear();
    }

    /// Returns the client's settings.
    pub(crate) fn settings(&self) -> &Settings {
        self.codec.peer_settings()
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.codec.streams()
    }

    /// How many connections there were, this one included.
    pub(crate) fn connections(&self) -> u64 {
        self.peer.tally.connections.load(SeqCst)
    }

    fn collect(&mut self) {
        self.codec.take_output(&mut self.output);
    }
}

/// Starts a server that runs `serve` for each connection.
pub(crate) fn start(options: Options, serve: impl Fn(&mut Http2<'_>) + Send + Sync + 'static) -> Server {
    Server::start(move |peer| serve(&mut Http2::new(peer, &options)))
}
