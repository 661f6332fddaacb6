//! Echoes what its clients send, many of them on one thread, without async: `cargo run -p ringtide-examples --example
//! echo_loop -- 127.0.0.1:8080`
//!
//! The program has a loop of its own over the completions of a driver. It holds back a client that does not read its
//! echo.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::mem;

use ringtide::driver::{self, Completion, Driver, DriverChoice, Event, Handle, ReceiveEnd, SendBuffer};

/// A client with more than this to read is not received from.
const UNSENT_SIZE_MAX: usize = 64 * 1024;

/// How long to wait if the system cannot accept, for example because no descriptor is free.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;

#[derive(Default)]
struct Connection {
    /// Received, and waiting for the end of the send that is under way.
    unsent: Vec<u8>,
    is_sending: bool,
    receiving: Receiving,
}

#[derive(Default, PartialEq)]
enum Receiving {
    #[default]
    UnderWay,
    Paused,
    Ended,
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned()).parse()?;
    let mut driver = driver::open(DriverChoice::Auto)?;
    let listener = driver.listen(&address, false)?;
    println!("listening at {}", driver.local_address(listener)?);

    // The connections that are not closing.
    let mut connections = HashMap::<Handle, Connection>::new();
    let mut completions = Vec::new();
    let mut accept_at_ns = Some(driver.now_ns());
    loop {
        if accept_at_ns.is_some_and(|at_ns| at_ns <= driver.now_ns()) {
            driver.accept(listener)?;
            accept_at_ns = None;
        }
        driver.turn(accept_at_ns, &mut completions)?;
        for Completion { handle, event } in completions.drain(..) {
            match event {
                Event::Accepted(socket) => {
                    driver.receive(socket)?;
                    connections.insert(socket, Connection::default());
                }
                Event::AcceptEnded(error) => {
                    eprintln!("cannot accept: {}", error.expect("nobody cancels it"));
                    accept_at_ns = Some(driver.now_ns() + ACCEPT_PAUSE_NS);
                }
                // The last event of a handle. Only now its descriptor is free.
                Event::Closed => {}
                event => {
                    // Without a connection, the event came in the same turn as the one that made it close.
                    let Some(connection) = connections.get_mut(&handle) else { continue };
                    match connection.advance(&mut driver, handle, event) {
                        Ok(false) => continue,
                        Ok(true) => {}
                        Err(error) => eprintln!("{handle:?}: {error}"),
                    }
                    connections.remove(&handle);
                    driver.close(handle);
                }
            }
        }
    }
}

impl Connection {
    /// Takes the next step after `event`. Returns whether everything is echoed and the client has ended its stream.
    fn advance(&mut self, driver: &mut impl Driver, socket: Handle, event: Event) -> io::Result<bool> {
        match event {
            // The bytes are lent. The lease is dropped here, which gives its buffer back to the driver.
            Event::Received(bytes) => self.unsent.extend_from_slice(&bytes),
            Event::ReceiveEnded(ReceiveEnd::Eof) => self.receiving = Receiving::Ended,
            Event::ReceiveEnded(ReceiveEnd::Cancelled) => self.receiving = Receiving::Paused,
            Event::ReceiveEnded(ReceiveEnd::Error(error)) => return Err(error),
            Event::Sent(result, buffer) => {
                // The driver continues a send that was short. If it cannot, the connection has failed.
                result.map_err(|cut| {
                    let (sent, size) = (cut.sent_size, buffer.len());
                    io::Error::new(cut.error.kind(), format!("{sent} of {size} bytes sent: {}", cut.error))
                })?;
                self.is_sending = false;
                if let SendBuffer::Owned(mut memory) = buffer
                    && self.unsent.is_empty()
                {
                    memory.clear();
                    self.unsent = memory;
                }
            }
            event => unreachable!("nothing that was started ends with {event:?}"),
        }
        if !self.is_sending && !self.unsent.is_empty() {
            // The buffer belongs to the driver until `Sent` returns it. A socket has one send at a time.
            driver.send(socket, SendBuffer::Owned(mem::take(&mut self.unsent)))?;
            self.is_sending = true;
        }
        if self.receiving == Receiving::UnderWay && self.unsent.len() > UNSENT_SIZE_MAX {
            // `ReceiveEnded` follows.
            driver.cancel(socket);
        } else if self.receiving == Receiving::Paused && self.unsent.is_empty() {
            driver.receive(socket)?;
            self.receiving = Receiving::UnderWay;
        }
        Ok(self.receiving == Receiving::Ended && !self.is_sending)
    }
}
