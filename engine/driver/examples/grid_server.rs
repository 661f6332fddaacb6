//! A spinning server that measures how evenly requests arrive.
//!
//! It is the reference for measuring open-loop generators, so it shares no code with them: it uses plain non-blocking
//! sockets of the standard library and one thread that never sleeps. Its resolution is one pass over all connections,
//! about 20 µs for 64 of them.
//!
//! ```text
//! grid_server --rate 1000 [--addr 127.0.0.1:0]    prints the address that it listens on, then serves until it is killed
//! ```
//!
//! The response to `GET /report` is JSON about all other requests since the start or the last report. The server
//! compares the k-th arrival `t_k` with a grid of the given rate, `offset + k / rate`. It fits the phase of the grid
//! but not the rate: `offset` is the median of `t_k − k / rate`, so that a single early or late arrival does not move
//! it. The deviation is the distance `|t_k − k / rate − offset|`.

#[path = "shared/arguments.rs"]
mod arguments;
#[path = "shared/http.rs"]
mod http;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use http::{RESPONSE, RequestEnds};

/// The initial capacity for arrivals, so that recording one seldom allocates.
const ARRIVALS_EXPECTED: usize = 1 << 20;
const REPORT: &[u8] = b"GET /report ";

fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("grid_server: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<std::convert::Infallible, String> {
    let arguments = Arguments::parse(&["--addr", "--rate"])?;
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let rate: f64 = arguments.get("--rate", 0.0)?;
    if rate.is_nan() || rate <= 0.0 {
        return Err("--rate R must be a positive number of requests per second".into());
    }
    serve(address, rate).map_err(|error| format!("{address}: {error}"))
}

struct Connection {
    socket: TcpStream,
    requests: RequestEnds,
}

fn serve(address: SocketAddr, rate: f64) -> io::Result<std::convert::Infallible> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let start = Instant::now();
    let mut arrivals_ns: Vec<u64> = Vec::with_capacity(ARRIVALS_EXPECTED);
    let mut connections: Vec<Connection> = Vec::new();
    let mut bytes = [0; 16 * 1024];
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                connections.push(Connection { socket, requests: RequestEnds::default() });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        connections.retain_mut(|connection| {
            let count = match connection.socket.read(&mut bytes) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                _ => return false,
            };
            let now_ns = start.elapsed().as_nanos() as u64;
            let received = &bytes[..count];
            let answered = if received.starts_with(REPORT) {
                let report = report(&mut arrivals_ns, rate);
                write!(
                    connection.socket,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{report}",
                    report.len()
                )
            } else {
                let requests = connection.requests.count(received);
                arrivals_ns.extend((0..requests).map(|_| now_ns));
                (0..requests).try_for_each(|_| connection.socket.write_all(RESPONSE))
            };
            // If a peer does not read its responses, the socket's buffer fills up. Such a peer is useless here, so its
            // connection is closed.
            answered.is_ok()
        });
    }
}

/// Returns the deviations of the arrivals as JSON, and removes the arrivals.
fn report(arrivals_ns: &mut Vec<u64>, rate: f64) -> String {
    let mut lateness_us: Vec<f64> = arrivals_ns
        .drain(..)
        .enumerate()
        .map(|(index, arrival_ns)| arrival_ns as f64 / 1e3 - index as f64 * 1e6 / rate)
        .collect();
    let count = lateness_us.len();
    if count == 0 {
        return format!("{{\"rate\":{rate},\"count\":0}}\n");
    }
    lateness_us.sort_by(f64::total_cmp);
    let offset = lateness_us[count / 2];
    let mut deviation_us: Vec<f64> = lateness_us.iter().map(|lateness| (lateness - offset).abs()).collect();
    deviation_us.sort_by(f64::total_cmp);
    let quantile = |numerator: usize, denominator: usize| deviation_us[(count - 1) * numerator / denominator];
    format!(
        "{{\"rate\":{rate},\"count\":{count},\"deviation_us\":\
         {{\"p50\":{:.1},\"p90\":{:.1},\"p99\":{:.1},\"max\":{:.1}}}}}\n",
        quantile(1, 2),
        quantile(9, 10),
        quantile(99, 100),
        deviation_us[count - 1]
    )
}
