//! Measures the round trip to a server that has nothing else to do, with a client that never sleeps: what of a latency is the
//! network's and the server's, and not the client's wake-up.
//!
//! ```text
//! round_trip_client --addr ADDRESS [--requests 2000]
//! ```
//!
//! It sends one request a millisecond over one connection of HTTP/1.1, and prints the median in microseconds. It uses a
//! plain non-blocking socket of the standard library, so it shares no code with what it is compared with.

#[path = "shared/arguments.rs"]
mod arguments;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arguments::Arguments;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const END_OF_BODY: &[u8] = b"hello world\n";
const PAUSE: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    match run() {
        Ok(median) => {
            println!("{:.2}", median.as_nanos() as f64 / 1e3);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("round_trip_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Duration, String> {
    let arguments = Arguments::parse(&["--addr", "--requests"])?;
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let requests: usize = arguments.get("--requests", 2_000)?;
    if requests == 0 {
        return Err("--requests must be positive".into());
    }
    let mut times = measure(address, requests).map_err(|error| format!("{address}: {error}"))?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn measure(address: SocketAddr, requests: usize) -> io::Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    let mut bytes = [0; 4096];
    let mut next = Instant::now();
    (0..requests)
        .map(|_| {
            while Instant::now() < next {
                std::hint::spin_loop();
            }
            let sent = Instant::now();
            next = sent + PAUSE;
            socket.write_all(REQUEST)?;
            loop {
                match socket.read(&mut bytes) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(size) if bytes[..size].ends_with(END_OF_BODY) => return Ok(sent.elapsed()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        })
        .collect()
}
