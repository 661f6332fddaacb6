//! Sends requests to one server at the same time and follows them on one thread, without async: `cargo run -p
//! ringtide-examples --example two_requests -- 127.0.0.1:8080 / /slow`
//!
//! The program has a loop of its own. It starts operations on a driver, and each turn of the driver returns what has
//! completed, in whichever order. The codec does no I/O, so it works here as well.

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;

use ringtide::Address;
use ringtide::driver::{self, Completion, Driver, DriverChoice, Event, Handle, ReceiveEnd, SendBuffer};
use ringtide::http::StatusCode;
use ringtide::proto::h1::{ClientCodec, Limits, RequestKind, ResponseEvent};

/// Everything has to be complete within this time.
const TIME_LIMIT_NS: u64 = 10_000_000_000;

/// One request and its response, as far as it has come.
struct Exchange {
    path: String,
    codec: ClientCodec,
    /// Received and not yet decoded.
    unread: Vec<u8>,
    status: Option<StatusCode>,
    body_size: usize,
    /// Set when the exchange is over and its socket is closing.
    outcome: Option<Result<(), Box<dyn Error>>>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, paths @ ..] = &arguments[..] else {
        eprintln!("usage: two_requests ADDRESS:PORT PATH…");
        return Ok(ExitCode::from(2));
    };
    let address = address.parse()?;
    let mut driver = driver::open(DriverChoice::Auto)?;
    let mut exchanges = HashMap::new();
    for path in paths {
        exchanges.insert(driver.connect(&address)?, Exchange::new(path));
    }

    let mut code = ExitCode::SUCCESS;
    let mut completions = Vec::new();
    let deadline_ns = driver.now_ns() + TIME_LIMIT_NS;
    while !exchanges.is_empty() {
        if driver.now_ns() >= deadline_ns {
            return Err(format!("{} responses did not come in time", exchanges.len()).into());
        }
        driver.turn(Some(deadline_ns), &mut completions)?;
        for Completion { handle, event } in completions.drain(..) {
            if let Event::Closed = event {
                // The last event of a handle.
                let exchange = exchanges.remove(&handle).expect("each socket has an exchange");
                if !exchange.report() {
                    code = ExitCode::FAILURE;
                }
                continue;
            }
            let exchange = exchanges.get_mut(&handle).expect("each socket has an exchange");
            if exchange.outcome.is_some() {
                // This completion came in the same turn as the one that ended the exchange.
                continue;
            }
            exchange.outcome = exchange.advance(&mut driver, &address, handle, event).transpose();
            if exchange.outcome.is_some() {
                driver.close(handle);
            }
        }
    }
    Ok(code)
}

impl Exchange {
    fn new(path: &str) -> Self {
        let mut codec = ClientCodec::new(Limits::default());
        codec.begin(RequestKind::Other);
        Self { path: path.to_owned(), codec, unread: Vec::new(), status: None, body_size: 0, outcome: None }
    }

    /// Takes the next step after `event`. Returns `Some` once the response is complete.
    fn advance(
        &mut self,
        driver: &mut impl Driver,
        address: &Address,
        socket: Handle,
        event: Event,
    ) -> Result<Option<()>, Box<dyn Error>> {
        match event {
            Event::Connected(result) => {
                result?;
                let head = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", self.path);
                // The buffer belongs to the driver until `Sent` returns it.
                driver.send(socket, SendBuffer::Owned(head.into()))?;
                driver.receive(socket)?;
                Ok(None)
            }
            // The driver continues a send that was short, so this is all of it.
            Event::Sent(Ok(()), _) => Ok(None),
            Event::Sent(Err(cut), head) => {
                let (sent, size) = (cut.sent_size, head.len());
                Err(format!("only {sent} of {size} bytes of the request were sent: {}", cut.error).into())
            }
            Event::Received(bytes) => {
                println!("{}: {} bytes more", self.path, bytes.len());
                self.unread.extend_from_slice(&bytes);
                // The bytes were lent. Dropping the lease gives its buffer back to the driver.
                drop(bytes);
                self.decode()
            }
            Event::ReceiveEnded(ReceiveEnd::Eof) => {
                // The end of the stream completes a response that has no length. Otherwise this is an error.
                self.codec.end_of_stream()?;
                self.decode()
            }
            Event::ReceiveEnded(ReceiveEnd::Error(error)) => Err(error.into()),
            event => unreachable!("nothing that was started ends with {event:?}"),
        }
    }

    /// Decodes what has been received. Returns `Some` at the end of the response.
    fn decode(&mut self) -> Result<Option<()>, Box<dyn Error>> {
        loop {
            let (consumed, event) = self.codec.decode(&mut self.unread)?;
            match event {
                ResponseEvent::Head(head) => self.status = Some(head.status()),
                ResponseEvent::Data(bytes) => self.body_size += bytes.len(),
                ResponseEvent::End { .. } => return Ok(Some(())),
                ResponseEvent::NeedMore => {
                    self.unread.drain(..consumed);
                    return Ok(None);
                }
                ResponseEvent::Informational(_) | ResponseEvent::Trailers(_) | ResponseEvent::Upgraded => {}
            }
            self.unread.drain(..consumed);
        }
    }

    /// Prints the outcome. Returns whether the response is complete.
    fn report(self) -> bool {
        match (self.outcome, self.status) {
            (Some(Ok(())), Some(status)) => println!("{}: {status}, {} bytes", self.path, self.body_size),
            (Some(Err(error)), _) => {
                eprintln!("{}: {error}", self.path);
                return false;
            }
            (outcome, status) => unreachable!("closed after {outcome:?} with {status:?}"),
        }
        true
    }
}
