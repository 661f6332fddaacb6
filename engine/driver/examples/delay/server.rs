//! The loop: one thread and one driver, which it asks again and again without ever waiting.

#[path = "../shared/arguments.rs"]
mod arguments;
mod connection;
mod delays;
#[path = "../floor/h2.rs"]
mod h2;
#[path = "../shared/http.rs"]
mod http;
mod record;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::hint::spin_loop;
use std::io::{self, Write};
use std::mem;
use std::process::ExitCode;

use arguments::Arguments;
use connection::{Ask, Connection};
use delays::{Delays, Random, Time};
use record::Record;
use ringtide_driver::io_uring::IoUring;
use ringtide_driver::{Address, Completion, Driver, Event, Handle, SendBuffer};

pub(crate) fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("delay_server: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<Infallible, String> {
    let arguments = Arguments::parse(&["--addr", "--delay", "--stall", "--every"])?;
    let address = arguments.get("--addr", Address::Tcp(([127, 0, 0, 1], 0).into()))?;
    let delays = arguments.get("--delay", Delays::Fixed { ns: 0 })?;
    let stall_ns = arguments.get("--stall", Time { ns: 0 })?.ns;
    let every_ns = arguments.get("--every", Time { ns: 0 })?.ns;
    if (stall_ns > 0) != (every_ns > stall_ns) {
        return Err("--stall and --every belong together, and --every is the longer one".into());
    }
    let driver = IoUring::new().map_err(|error| error.to_string())?;
    let server = Server {
        driver,
        delays,
        stall_ns,
        every_ns,
        stall_at_ns: None,
        random: Random::default(),
        connections: Vec::new(),
        waiting: BinaryHeap::new(),
        drawn: 0,
        due: Vec::new(),
        record: Record::new(),
    };
    server.serve(&address).map_err(|error| format!("{address}: {error}"))
}

struct Server {
    driver: IoUring,
    delays: Delays,
    stall_ns: u64,
    every_ns: u64,
    /// When the next stall begins; not before a request has come.
    stall_at_ns: Option<u64>,
    random: Random,
    /// By the slots of their handles.
    connections: Vec<Option<(Handle, Connection)>>,
    /// The requests that are not answered, by the time when they will be.
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// How many delays were drawn: of two requests with the same time the earlier one is answered first.
    drawn: u64,
    /// The connections that have something to send.
    due: Vec<Handle>,
    record: Record,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    answer_at_ns: u64,
    number: u64,
    arrived_ns: u64,
    handle: Handle,
    stream: u32,
}

impl Server {
    fn serve(mut self, address: &Address) -> io::Result<Infallible> {
        let listener = self.driver.listen(address, false)?;
        self.driver.accept(listener)?;
        writeln!(io::stdout(), "{}", self.driver.local_address(listener)?)?;
        let mut completions = Vec::new();
        loop {
            // A time that has passed: the turn does not wait.
            self.driver.turn(Some(0), &mut completions)?;
            let now_ns = self.driver.now_ns();
            for Completion { handle, event } in completions.drain(..) {
                self.completed(handle, event, now_ns)?;
            }
            self.stall();
            self.answer();
            self.send()?;
        }
    }

    fn completed(&mut self, handle: Handle, event: Event, now_ns: u64) -> io::Result<()> {
        let slot = handle.slot() as usize;
        match event {
            Event::Accepted(socket) => {
                let slot = socket.slot() as usize;
                if self.connections.len() <= slot {
                    self.connections.resize_with(slot + 1, || None);
                }
                self.driver.receive(socket)?;
                self.connections[slot] = Some((socket, Connection::default()));
            }
            // Without free descriptors a measurement is void, so the server stops.
            Event::AcceptEnded(Some(error)) => return Err(error),
            Event::Received(bytes) => self.received(handle, &bytes, now_ns),
            Event::ReceiveEnded(_) => self.driver.close(handle),
            Event::Sent(result, buffer) => {
                let Some(connection) = get(&mut self.connections, handle) else { return Ok(()) };
                connection.is_sending = false;
                for arrived_ns in connection.sent_arrived_ns.drain(..) {
                    if result.is_ok() {
                        self.record.request(arrived_ns, now_ns);
                    }
                }
                if let SendBuffer::Owned(mut buffer) = buffer {
                    buffer.clear();
                    connection.spare = buffer;
                }
                becomes_due(connection, handle, &mut self.due);
            }
            Event::Closed => {
                if let Some(place) = self.connections.get_mut(slot) {
                    *place = None;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn received(&mut self, handle: Handle, bytes: &[u8], now_ns: u64) {
        let Some(connection) = get(&mut self.connections, handle) else { return };
        let mut report = None;
        let taken = connection.requests(bytes, |ask| match ask {
            Ask::Answer(stream) => {
                self.stall_at_ns.get_or_insert(now_ns + self.every_ns / 2);
                let answer_at_ns = now_ns + self.delays.draw_ns(&mut self.random);
                self.drawn += 1;
                let number = self.drawn;
                self.waiting.push(Reverse(Waiting {
                    answer_at_ns,
                    number,
                    arrived_ns: now_ns,
                    handle,
                    stream,
                }));
            }
            Ask::Report(rate) => report = Some(rate),
        });
        if let Some(rate) = report {
            connection.report(&self.record.report(rate));
            self.stall_at_ns = None;
        }
        if let Err(broken) = taken {
            eprintln!("closing a connection: {broken}");
            self.driver.close(handle);
            return;
        }
        becomes_due(connection, handle, &mut self.due);
    }

    fn stall(&mut self) {
        let began_ns = self.driver.now_ns();
        if self.stall_ns == 0 || self.stall_at_ns.is_none_or(|at_ns| began_ns < at_ns) {
            return;
        }
        while self.driver.now_ns() < began_ns + self.stall_ns {
            spin_loop();
        }
        self.record.stall(began_ns, self.driver.now_ns());
        self.stall_at_ns = self.stall_at_ns.map(|at_ns| at_ns + self.every_ns);
    }

    /// Writes the answers whose time has come.
    fn answer(&mut self) {
        let now_ns = self.driver.now_ns();
        while let Some(Reverse(waiting)) = self.waiting.peek().copied() {
            if waiting.answer_at_ns > now_ns {
                return;
            }
            self.waiting.pop();
            // A connection that is gone needs no answer.
            if let Some(connection) = get(&mut self.connections, waiting.handle) {
                connection.answer(waiting.stream, waiting.arrived_ns);
                becomes_due(connection, waiting.handle, &mut self.due);
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(handle) = self.due.pop() {
            let Some(connection) = get(&mut self.connections, handle) else { continue };
            connection.is_due = false;
            if connection.is_sending || connection.out.is_empty() {
                continue;
            }
            let out = mem::replace(&mut connection.out, mem::take(&mut connection.spare));
            mem::swap(&mut connection.sent_arrived_ns, &mut connection.out_arrived_ns);
            connection.is_sending = true;
            self.driver.send(handle, SendBuffer::Owned(out))?;
        }
        Ok(())
    }
}

fn get(connections: &mut [Option<(Handle, Connection)>], handle: Handle) -> Option<&mut Connection> {
    let (of, connection) = connections.get_mut(handle.slot() as usize)?.as_mut()?;
    (*of == handle).then_some(connection)
}

fn becomes_due(connection: &mut Connection, handle: Handle, due: &mut Vec<Handle>) {
    if !connection.is_due {
        connection.is_due = true;
        due.push(handle);
    }
}
