//! The HTTP/2 client's loop: it sends fixed HEADERS frames with new streams, and only counts the ends of the streams.

#[path = "../shared/arguments.rs"]
mod arguments;
mod h2;
mod measuring;
mod ring;
mod usage;

use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use arguments::Arguments;
use h2::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use measuring::Measurement;
use ring::Ring;

const STOP: u64 = 1 << 33;
/// This bit marks the operation number of a send. The other bits are the index of the connection.
const SEND: u64 = 1 << 32;
/// The window of a stream, and that of the connection. No response may be larger.
const WINDOW: u32 = 1 << 20;
/// The window of a connection before anything enlarges it (RFC 9113 §6.9.2).
const WINDOW_AT_FIRST: u32 = 65_535;
/// Streams of a client have odd numbers of 31 bits (RFC 9113 §5.1.1).
const STREAM_MAX: u32 = (1 << 31) - 1;
/// `:method: GET`, `:scheme: http`, `:path: /` (RFC 7541 §6.1, appendix A).
const FIELDS: &[u8] = b"\x82\x86\x84";
/// The newest entry of the dynamic table: the `:authority` of the first request.
const AUTHORITY_INDEXED: u8 = 0xbe;
const STATUS_200: u8 = 0x88;

/// Identifiers of settings (RFC 9113 §6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The least table that surely holds an `:authority` (RFC 7541 §4.1).
const HEADER_TABLE_SIZE_MIN: u32 = 128;

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("h2_floor_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(&["--addr", "--connections", "--streams", "--duration"])?;
    let address = measuring::address(&arguments)?;
    let connections: usize = arguments.get("--connections", 10)?;
    let streams: u32 = arguments.get("--streams", 100)?;
    let duration = measuring::duration(&arguments)?;
    measure(address, connections, streams, duration).map_err(|error| format!("{address}: {error}"))
}

fn measure(address: SocketAddr, connections: usize, streams: u32, duration: Duration) -> io::Result<()> {
    let mut request = Vec::new();
    h2::push(&mut request, HEADERS, END_STREAM | END_HEADERS, 0, &[FIELDS, &[AUTHORITY_INDEXED]].concat());
    let mut connections = measuring::connect(address, connections)?
        .into_iter()
        .map(|socket| Connection::open(socket, address, streams))
        .collect::<io::Result<Vec<_>>>()?;

    let mut ring = Ring::new()?;
    let measurement = Measurement::start()?;
    ring.timeout(duration, STOP)?;
    for (index, connection) in connections.iter_mut().enumerate() {
        ring.receive(connection.socket.as_raw_fd(), index as u64)?;
        connection.ask(&request, streams)?;
        connection.flush(&mut ring, index)?;
    }
    let mut requests = 0_u64;
    let mut due: Vec<usize> = Vec::new();
    'run: loop {
        ring.wait()?;
        while let Some(completion) = ring.next() {
            if completion.operation == STOP {
                break 'run;
            }
            let index = (completion.operation & !SEND) as usize;
            let connection = &mut connections[index];
            if let Some(mut sent) = completion.sent {
                if completion.result != sent.len() as i32 {
                    return Err(io::Error::other("requests were not sent whole"));
                }
                sent.clear();
                connection.spare = sent;
                connection.sending = false;
            }
            if let Some(received) = completion.received {
                let ended = connection.received(ring.bytes(&received));
                ring.give_back(received);
                let ended = ended?;
                connection.ask(&request, ended)?;
                requests += u64::from(ended);
            }
            if !completion.more && completion.operation & SEND == 0 {
                if completion.result <= 0 && completion.result != -libc::ENOBUFS {
                    return Err(io::Error::other("the server closed a connection"));
                }
                ring.receive(connection.socket.as_raw_fd(), completion.operation)?;
            }
            if !connection.out.is_empty() && !connection.is_due {
                connection.is_due = true;
                due.push(index);
            }
        }
        while let Some(index) = due.pop() {
            connections[index].flush(&mut ring, index)?;
        }
    }
    measurement.report(requests)
}

struct Connection {
    socket: TcpStream,
    frames: Frames,
    /// The bytes that no send contains yet.
    out: Vec<u8>,
    /// The memory of the last send, for the next one.
    spare: Vec<u8>,
    sending: bool,
    is_due: bool,
    /// The stream of the next request.
    stream: u32,
    /// How much of the connection's window was used and not returned.
    window_used: u32,
}

impl Connection {
    /// Makes the first request with plain blocking calls, and checks that the server's answer and settings suit.
    fn open(socket: TcpStream, authority: SocketAddr, streams: u32) -> io::Result<Self> {
        let mut connection = Self {
            socket,
            frames: Frames::default(),
            out: PREFACE.to_vec(),
            spare: Vec::new(),
            sending: false,
            is_due: false,
            stream: 1,
            window_used: 0,
        };
        let mut settings = Vec::new();
        for (setting, value) in [(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, WINDOW)] {
            settings.extend_from_slice(&setting.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        h2::push(&mut connection.out, SETTINGS, 0, 0, &settings);
        connection.enlarge_window(WINDOW - WINDOW_AT_FIRST);
        // A literal field that enters the dynamic table (RFC 7541 §6.2.1). An address is shorter than 127 bytes.
        let authority = authority.to_string();
        let literal = [&[0x41, authority.len() as u8], authority.as_bytes()].concat();
        let mut request = Vec::new();
        h2::push(&mut request, HEADERS, END_STREAM | END_HEADERS, 0, &[FIELDS, &literal].concat());
        connection.ask(&request, 1)?;

        let (mut answered, mut greeted) = (false, false);
        let mut bytes = [0; 4096];
        while !(answered && greeted) {
            connection.socket.write_all(&connection.out)?;
            connection.out.clear();
            let size = match connection.socket.read(&mut bytes)? {
                0 => return Err(io::Error::other("the server closed a connection")),
                size => size,
            };
            let mut frames = mem::take(&mut connection.frames);
            frames
                .each(&bytes[..size], |frame| {
                    match frame.kind {
                        SETTINGS if frame.flags & ACK == 0 => {
                            check_settings(frame.payload, streams)?;
                            greeted = true;
                        }
                        HEADERS if !frame.payload.starts_with(&[STATUS_200]) => {
                            return Err("the first response does not begin with :status: 200");
                        }
                        _ => {}
                    }
                    answered |= connection.take(frame)?;
                    Ok(())
                })
                .map_err(io::Error::other)?;
            connection.frames = frames;
        }
        Ok(connection)
    }

    /// Appends `count` requests. `request` is a frame on any stream.
    fn ask(&mut self, request: &[u8], count: u32) -> io::Result<()> {
        for _ in 0..count {
            if self.stream > STREAM_MAX {
                return Err(io::Error::other("a connection has no streams left"));
            }
            let start = self.out.len();
            self.out.extend_from_slice(request);
            h2::set_stream(&mut self.out[start..], self.stream);
            self.stream += 2;
        }
        Ok(())
    }

    /// Returns how many streams have ended in `bytes`.
    fn received(&mut self, bytes: &[u8]) -> io::Result<u32> {
        let mut ended = 0;
        let mut frames = mem::take(&mut self.frames);
        frames
            .each(bytes, |frame| {
                ended += u32::from(self.take(frame)?);
                Ok(())
            })
            .map_err(io::Error::other)?;
        self.frames = frames;
        if self.window_used > WINDOW / 2 {
            let size = mem::take(&mut self.window_used);
            self.enlarge_window(size);
        }
        Ok(ended)
    }

    /// Returns whether the frame ends a stream.
    fn take(&mut self, frame: Frame<'_>) -> Result<bool, &'static str> {
        match frame.kind {
            DATA => self.window_used += frame.payload.len() as u32,
            HEADERS => {}
            RST_STREAM => return Err("the server reset a stream"),
            GOAWAY => return Err("the server ended a connection"),
            _ => {
                frame.acknowledge(&mut self.out);
                return Ok(false);
            }
        }
        Ok(frame.flags & END_STREAM != 0)
    }

    fn enlarge_window(&mut self, size: u32) {
        h2::push(&mut self.out, WINDOW_UPDATE, 0, 0, &size.to_be_bytes());
    }

    /// Sends what is there, unless a send is under way, as two sends may overtake each other.
    fn flush(&mut self, ring: &mut Ring, index: usize) -> io::Result<()> {
        self.is_due = false;
        if self.sending || self.out.is_empty() {
            return Ok(());
        }
        self.sending = true;
        let out = mem::replace(&mut self.out, mem::take(&mut self.spare));
        ring.send_owned(self.socket.as_raw_fd(), out, SEND | index as u64)
    }
}

fn check_settings(payload: &[u8], streams: u32) -> Result<(), &'static str> {
    h2::settings(payload).try_for_each(|(setting, value)| match setting {
        MAX_CONCURRENT_STREAMS if value < streams => Err("the server does not allow so many streams"),
        HEADER_TABLE_SIZE if value < HEADER_TABLE_SIZE_MIN => Err("the server's header table is too small"),
        _ => Ok(()),
    })
}
