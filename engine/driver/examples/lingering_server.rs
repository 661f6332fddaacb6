//! A server with one thread that serves one connection at a time and waits for the client to close it.
//!
//! It shows how soon a client closes. The server accepts the next connection only after the client's end of stream has
//! arrived, so a client that connects first and closes later lowers its own rate.
//!
//! ```text
//! lingering_server [--addr 127.0.0.1:0]    prints the address that it listens at, then serves until it is killed
//! ```

#[path = "shared/arguments.rs"]
mod arguments;

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;

use arguments::Arguments;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
/// One receive of this size takes a whole request.
const REQUEST_SIZE_MAX: usize = 4096;

fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("lingering_server: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<Infallible, String> {
    let arguments = Arguments::parse(&["--addr"])?;
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    serve(address).map_err(|error| format!("{address}: {error}"))
}

fn serve(address: SocketAddr) -> io::Result<Infallible> {
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        // A client that resets its connection at the end of a run is no reason to stop.
        let _ = respond(&listener.accept()?.0);
    }
}

/// Answers one request, then waits for the client's end of stream.
fn respond(mut connection: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; REQUEST_SIZE_MAX];
    if connection.read(&mut buffer)? == 0 {
        return Ok(());
    }
    connection.write_all(RESPONSE)?;
    connection.shutdown(Shutdown::Write)?;
    while connection.read(&mut buffer)? > 0 {}
    Ok(())
}
