//! A relay between client and server that looks at all frames: whether both sides keep to the windows and to the states of
//! streams, and how much of what was sent has been given back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use ringtide::Address;
use ringtide::runtime;
use ringtide::stream::{Listener, ReadHalf, Stream, WriteHalf};

use crate::Coverage;
use crate::frames::{Frame, Frames, PREFACE_SIZE};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
const WINDOW_INITIAL: i64 = 65_535;

/// Looks at all connections of a run.
#[derive(Clone, Default)]
pub(crate) struct Observer {
    connections: Rc<RefCell<Vec<Rc<RefCell<Watched>>>>>,
}

/// What is known of a connection: of the client's side, and of the server's.
struct Watched {
    sides: [Side; 2],
    is_over: bool,
    faults: Vec<String>,
    coverage: Coverage,
}

struct Side {
    frames: Frames,
    /// Bytes of DATA that the side has sent.
    sent: i64,
    /// By how much the other side has enlarged the window of the connection.
    granted: i64,
    /// Initial size of a stream's window, as the other side says.
    stream_window: i64,
    streams: HashMap<u32, Sending>,
    go_away_id: u32,
}

/// What a side has sent on a stream.
#[derive(Default)]
struct Sending {
    sent: i64,
    granted: i64,
    has_begun: bool,
    has_ended: bool,
    was_reset: bool,
}

/// Numbers of bytes, of what the client sends and of what the server sends.
pub(crate) type Owed = [i64; 2];

impl Observer {
    /// Listens for clients, whose connections it relays to `server`.
    pub(crate) fn listen(&self, server: Address) -> Address {
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let mut listener = Listener::bind(&any_port, false).unwrap();
        let address = listener.local_address().unwrap();
        let observer = self.clone();
        runtime::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok(client) => drop(runtime::spawn(observer.clone().relay(client, server.clone()))),
                    Err(_) => runtime::sleep(Duration::from_millis(1)).await,
                }
            }
        });
        address
    }

    async fn relay(self, client: Stream, server: Address) {
        let connect = runtime::timeout(Duration::from_secs(5), Stream::connect(&server));
        let Some(Ok(server)) = connect.await else { return };
        let watched = Rc::new(RefCell::new(Watched::new()));
        self.connections.borrow_mut().push(Rc::clone(&watched));
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let up = runtime::spawn(pass(client_reads, server_writes, Rc::clone(&watched), 0));
        let down = runtime::spawn(pass(server_reads, client_writes, Rc::clone(&watched), 1));
        let (up, down) = (up.await, down.await);
        watched.borrow_mut().is_over = true;
        // Both halves close here.
        drop((up, down));
    }

    /// Returns what was sent and not given back on the connection that is open, if there is one and it takes more requests.
    /// `windows` are those that the server and the client have announced.
    pub(crate) fn owed(&self, windows: Owed) -> Option<Owed> {
        let connections = self.connections.borrow();
        let mut open = connections.iter().filter(|watched| !watched.borrow().is_over);
        let (one, None) = (open.next()?, open.next()) else { return None };
        let one = one.borrow();
        let is_closing = one.sides.iter().any(|side| side.go_away_id < u32::MAX);
        // The windows were enlarged when the connection began.
        let owed =
            |side: usize| one.sides[side].sent - one.sides[side].granted + windows[side] - WINDOW_INITIAL;
        (!is_closing).then(|| [owed(0), owed(1)])
    }

    /// Notes that what was owed on the only open connection has been given back.
    pub(crate) fn note_settled(&self) {
        for watched in self.connections.borrow().iter() {
            let watched = &mut *watched.borrow_mut();
            watched.coverage.settled += u64::from(!watched.is_over);
        }
    }

    /// Fails if a side has broken a rule.
    pub(crate) fn check(&self) {
        for watched in self.connections.borrow().iter() {
            let watched = watched.borrow();
            assert!(watched.faults.is_empty(), "{}", watched.faults.join("\n"));
        }
    }

    pub(crate) fn count(&self, coverage: &mut Coverage) {
        for watched in self.connections.borrow().iter() {
            coverage.add(watched.borrow().coverage);
        }
    }
}

/// Passes on what one side sends.
async fn pass(
    mut from: ReadHalf,
    mut to: WriteHalf,
    watched: Rc<RefCell<Watched>>,
    side: usize,
) -> (ReadHalf, WriteHalf) {
    while let Ok(Some(bytes)) = from.receive().await {
        watched.borrow_mut().see(side, &bytes);
        // If this fails, the receiver is gone, and the sender learns it from its own receive.
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    // It may have failed already.
    let _ = to.shutdown().await;
    watched.borrow_mut().is_over = true;
    (from, to)
}

impl Watched {
    fn new() -> Self {
        let side = |skip| Side {
            frames: Frames::new(skip),
            sent: 0,
            granted: 0,
            stream_window: WINDOW_INITIAL,
            streams: HashMap::new(),
            go_away_id: u32::MAX,
        };
        Self {
            sides: [side(PREFACE_SIZE), side(0)],
            is_over: false,
            faults: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    fn see(&mut self, side: usize, bytes: &[u8]) {
        for frame in self.sides[side].frames.push(bytes) {
            if let Err(fault) = self.check(side, &frame) {
                let name = ["client", "server"][side];
                let Frame { kind, flags, id, size, .. } = frame;
                self.faults.push(format!(
                    "the {name}: {fault} (kind {kind}, flags {flags}, stream {id}, {size} bytes)"
                ));
            }
        }
    }

    fn check(&mut self, side: usize, frame: &Frame) -> Result<(), &'static str> {
        let other = 1 - side;
        if frame.size > 16 * 1024 {
            return Err("a frame that is too large");
        }
        match frame.kind {
            DATA | HEADERS => {
                let sender = &mut self.sides[side];
                let stream = sender.streams.entry(frame.id).or_default();
                if stream.has_ended {
                    return Err("a frame after the end of its stream");
                }
                if stream.was_reset {
                    return Err("a frame after the reset of its stream");
                }
                stream.has_ended = frame.flags & END_STREAM != 0;
                if frame.kind == HEADERS {
                    stream.has_begun = true;
                    return Ok(());
                }
                if !stream.has_begun {
                    return Err("data before its head");
                }
                stream.sent += frame.size as i64;
                sender.sent += frame.size as i64;
                if stream.sent > stream.granted + sender.stream_window.max(WINDOW_INITIAL) {
                    return Err("more than the window of the stream");
                }
                if sender.sent > sender.granted + WINDOW_INITIAL {
                    return Err("more than the window of the connection");
                }
            }
            RST_STREAM => {
                self.coverage.resets += 1;
                let stream = self.sides[side].streams.entry(frame.id).or_default();
                if std::mem::replace(&mut stream.was_reset, true) {
                    return Err("a second reset");
                }
            }
            SETTINGS if frame.flags & ACK == 0 => {
                for setting in frame.payload.chunks(6) {
                    if setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        let window = u32::from_be_bytes(setting[2..].try_into().unwrap());
                        self.sides[other].stream_window = i64::from(window);
                    }
                }
            }
            WINDOW_UPDATE => {
                let increment = i64::from(frame.number(0));
                if frame.id == 0 {
                    self.sides[other].granted += increment;
                } else {
                    self.sides[other].streams.entry(frame.id).or_default().granted += increment;
                }
            }
            GOAWAY => {
                self.coverage.go_aways += 1;
                let last_id = frame.number(0);
                if last_id > std::mem::replace(&mut self.sides[side].go_away_id, last_id) {
                    return Err("a GOAWAY with a larger stream than before");
                }
            }
            CONTINUATION => self.coverage.continuations += 1,
            _ => {}
        }
        Ok(())
    }
}
