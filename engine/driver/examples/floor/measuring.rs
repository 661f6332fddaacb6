//! What the clients have in common: their arguments, their connections and their report.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::usage::Usage;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the server's address from the command line.
///
/// # Errors
/// It is missing or malformed.
pub(crate) fn address(arguments: &Arguments) -> Result<SocketAddr, String> {
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    if address.port() == 0 {
        return Err("--addr 127.0.0.1:PORT is required".into());
    }
    Ok(address)
}

/// Returns how long to measure, from the number of seconds on the command line.
///
/// # Errors
/// It is malformed.
pub(crate) fn duration(arguments: &Arguments) -> Result<Duration, String> {
    let seconds = arguments.get("--duration", 5.0)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("--duration {seconds}: {error}"))
}

/// Opens connections. Blocking reads on them end after some seconds.
pub(crate) fn connect(address: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    let connect = |_| {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(socket)
    };
    (0..connections).map(connect).collect()
}

/// The time and resources since the start.
pub(crate) struct Measurement {
    started: Instant,
    before: Usage,
}

impl Measurement {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self { started: Instant::now(), before: Usage::now()? })
    }

    /// Prints the line of JSON for this many requests.
    pub(crate) fn report(&self, requests: u64) -> io::Result<()> {
        let elapsed = self.started.elapsed().as_secs_f64();
        let used = Usage::now()?;
        let per_request = |seconds: f64| seconds * 1e6 / requests.max(1) as f64;
        writeln!(
            io::stdout(),
            "{{\"requests\":{requests},\"seconds\":{elapsed:.3},\"requests_per_second\":{:.1},\
             \"cpu_user_us_per_request\":{:.3},\"cpu_system_us_per_request\":{:.3},\"rss_peak_bytes\":{}}}",
            requests as f64 / elapsed,
            per_request(used.user_seconds - self.before.user_seconds),
            per_request(used.system_seconds - self.before.system_seconds),
            used.rss_peak_bytes,
        )
    }
}
