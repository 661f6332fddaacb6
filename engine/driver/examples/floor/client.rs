//! The client's loop: it sends a fixed request and only counts the bytes of the responses.

#[path = "../shared/arguments.rs"]
mod arguments;
mod measuring;
mod protocol;
mod ring;
mod usage;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use arguments::Arguments;
use measuring::Measurement;
use protocol::{FRAME, Protocol};
use ring::Ring;

const STOP: u64 = 1 << 33;
/// This bit marks the operation number of a send. The other bits are the index of the connection.
const SEND: u64 = 1 << 32;
const RESPONSE_SIZE_MAX: usize = 16 * 1024;

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(&["--addr", "--connections", "--duration", "--protocol"])?;
    let address = measuring::address(&arguments)?;
    let connections: usize = arguments.get("--connections", 64)?;
    let duration = measuring::duration(&arguments)?;
    let protocol = arguments.get("--protocol", Protocol::Http)?;
    measure(address, connections, duration, protocol).map_err(|error| format!("{address}: {error}"))
}

fn measure(
    address: SocketAddr,
    connections: usize,
    duration: Duration,
    protocol: Protocol,
) -> io::Result<()> {
    let request: &'static [u8] = match protocol {
        Protocol::Http => Vec::leak(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()),
        Protocol::Echo => FRAME,
    };
    let sockets = measuring::connect(address, connections)?;
    let response_size = match protocol {
        Protocol::Http => response_size(&sockets[0], request)?,
        Protocol::Echo => echo_size(&sockets[0])?,
    };

    let mut ring = Ring::new()?;
    let mut missing = vec![response_size; connections];
    let measurement = Measurement::start()?;
    ring.timeout(duration, STOP)?;
    for (index, socket) in sockets.iter().enumerate() {
        ring.receive(socket.as_raw_fd(), index as u64)?;
        ring.send(socket.as_raw_fd(), request, SEND | index as u64, true)?;
    }
    let mut requests = 0_u64;
    'run: loop {
        ring.wait()?;
        while let Some(completion) = ring.next() {
            if completion.operation == STOP {
                break 'run;
            }
            if completion.operation & SEND != 0 {
                return Err(io::Error::other("a request was not sent whole"));
            }
            let index = completion.operation as usize;
            let descriptor = sockets[index].as_raw_fd();
            if let Some(received) = completion.received {
                ring.give_back(received);
            }
            if !completion.more {
                if completion.result <= 0 && completion.result != -libc::ENOBUFS {
                    return Err(io::Error::other("the server closed a connection"));
                }
                ring.receive(descriptor, completion.operation)?;
            }
            missing[index] = missing[index]
                .checked_sub(completion.result.max(0) as usize)
                .ok_or_else(|| io::Error::other("the responses are not all of one size"))?;
            if missing[index] == 0 {
                missing[index] = response_size;
                requests += 1;
                ring.send(descriptor, request, SEND | index as u64, true)?;
            }
        }
    }
    measurement.report(requests)
}

/// Returns the size of a response in bytes. Sends one request with plain blocking calls, before the measurement begins.
fn response_size(mut socket: &TcpStream, request: &[u8]) -> io::Result<usize> {
    socket.write_all(request)?;
    let mut response = Vec::new();
    let mut piece = [0; 4096];
    while response.len() < RESPONSE_SIZE_MAX {
        match socket.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => response.extend_from_slice(&piece[..count]),
        }
        if let Some(size) = size_by_head(&response)
            && response.len() >= size
        {
            return Ok(size);
        }
    }
    Err(io::Error::other("the response has no Content-Length, or it is too long for a floor"))
}

/// Returns the size of a frame. Sends one with plain blocking calls, and checks that it comes back.
fn echo_size(mut socket: &TcpStream) -> io::Result<usize> {
    socket.write_all(FRAME)?;
    let mut echo = [0; FRAME.len()];
    socket.read_exact(&mut echo)?;
    if echo == *FRAME { Ok(FRAME.len()) } else { Err(io::Error::other("the server sends other bytes back")) }
}

/// Returns the size of the head plus the Content-Length (RFC 9112 §6.2), once the head is complete.
fn size_by_head(response: &[u8]) -> Option<usize> {
    let head_size = response.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&response[..head_size]).ok()?;
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    })?;
    Some(head_size + field.trim().parse::<usize>().ok()?)
}
