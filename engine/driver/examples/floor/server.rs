//! The server's loop: one thread, one ring, and a table of connections indexed by descriptor.

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/http.rs"]
mod http;
mod protocol;
mod ring;

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::process::ExitCode;

use arguments::Arguments;
use http::{RESPONSE, RequestEnds};
use protocol::{FRAME, Protocol};
use ring::{Completion, Ring};
use socket2::{Domain, Socket, Type};

/// The most responses in one send.
const RESPONSES_PER_SEND: u32 = 64;
const BACKLOG: i32 = 4096;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

pub(crate) fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("floor_server: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<std::convert::Infallible, String> {
    let arguments = Arguments::parse(&["--addr", "--protocol"])?;
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let response = match arguments.get("--protocol", Protocol::Http)? {
        Protocol::Http => RESPONSE,
        Protocol::Echo => FRAME,
    };
    Server::bind(address, response).and_then(Server::serve).map_err(|error| format!("{address}: {error}"))
}

struct Server {
    ring: Ring,
    listener: Socket,
    response_size: usize,
    /// [`RESPONSES_PER_SEND`] responses in a row, so that one send can contain several.
    responses: &'static [u8],
    connections: Vec<Option<Connection>>,
}

struct Connection {
    socket: Socket,
    requests: RequestEnds,
    /// The number of responses that no send contains yet.
    owed: u32,
    /// The rest of the send under way.
    unsent: &'static [u8],
    receiving: bool,
}

impl Server {
    fn bind(address: SocketAddr, response: &[u8]) -> io::Result<Self> {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        listener.set_reuse_address(true)?;
        // Accepted sockets inherit this. tcp(7) does not say so, but Linux does it.
        listener.set_tcp_nodelay(true)?;
        listener.bind(&address.into())?;
        listener.listen(BACKLOG)?;
        let responses = Vec::leak(response.repeat(RESPONSES_PER_SEND as usize));
        Ok(Self {
            ring: Ring::new()?,
            listener,
            response_size: response.len(),
            responses,
            connections: Vec::new(),
        })
    }

    fn serve(mut self) -> io::Result<std::convert::Infallible> {
        let address = self.listener.local_addr()?.as_socket().expect("a TCP socket has such an address");
        writeln!(io::stdout(), "{address}")?;
        self.ring.accept(self.listener.as_raw_fd(), operation(ACCEPT, 0))?;
        loop {
            self.ring.wait()?;
            while let Some(completion) = self.ring.next() {
                let descriptor = (completion.operation >> 8) as RawFd;
                match completion.operation & 0xff {
                    ACCEPT => self.accepted(&completion)?,
                    RECEIVE => self.received(descriptor, completion)?,
                    _ => self.sent(descriptor, completion.result)?,
                }
            }
        }
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<()> {
        if completion.result >= 0 {
            #[expect(
                unsafe_code,
                reason = "the ring gives a number, and here it becomes a socket that closes itself"
            )]
            // SAFETY: the kernel has just created this descriptor for this process, and nothing else owns it.
            let socket = unsafe { Socket::from_raw_fd(completion.result) };
            let descriptor = socket.as_raw_fd();
            let index = descriptor as usize;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.ring.receive(descriptor, operation(RECEIVE, descriptor))?;
            let requests = RequestEnds::default();
            self.connections[index] =
                Some(Connection { socket, requests, owed: 0, unsent: &[], receiving: true });
        } else if completion.result != -libc::ECONNABORTED {
            // Without free descriptors (EMFILE) a measurement is void, so the server stops.
            return Err(io::Error::from_raw_os_error(-completion.result));
        }
        if !completion.more {
            self.ring.accept(self.listener.as_raw_fd(), operation(ACCEPT, 0))?;
        }
        Ok(())
    }

    fn received(&mut self, descriptor: RawFd, completion: Completion) -> io::Result<()> {
        let connection = self.connections[descriptor as usize].as_mut().expect("it is receiving");
        if let Some(received) = completion.received {
            connection.owed += connection.requests.count(self.ring.bytes(&received));
            self.ring.give_back(received);
        }
        if !completion.more {
            // A receive also ends if there are no buffers (they are back by now) or if the completion queue is full.
            if completion.result > 0 || completion.result == -libc::ENOBUFS {
                self.ring.receive(descriptor, operation(RECEIVE, descriptor))?;
            } else {
                connection.receiving = false;
            }
        }
        self.go_on(descriptor)
    }

    fn sent(&mut self, descriptor: RawFd, result: i32) -> io::Result<()> {
        let connection = self.connections[descriptor as usize].as_mut().expect("it is sending");
        if result > 0 {
            connection.unsent = &connection.unsent[result as usize..];
            if !connection.unsent.is_empty() {
                let unsent = connection.unsent;
                return self.ring.send(descriptor, unsent, operation(SEND, descriptor), false);
            }
        } else {
            connection.unsent = &[];
            connection.owed = 0;
            // This ends the receive, and then the connection. It fails if the connection is already gone, which is
            // fine.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        self.go_on(descriptor)
    }

    /// Sends the responses that are due, or closes the connection if nothing is left to do.
    fn go_on(&mut self, descriptor: RawFd) -> io::Result<()> {
        let place = &mut self.connections[descriptor as usize];
        let Some(connection) = place.as_mut() else { return Ok(()) };
        // One send at a time, because two sends on one socket may overtake each other.
        if !connection.unsent.is_empty() {
            return Ok(());
        }
        if connection.owed > 0 {
            let count = connection.owed.min(RESPONSES_PER_SEND);
            connection.owed -= count;
            connection.unsent = &self.responses[..count as usize * self.response_size];
            return self.ring.send(descriptor, connection.unsent, operation(SEND, descriptor), false);
        }
        if !connection.receiving {
            *place = None;
        }
        Ok(())
    }
}

fn operation(kind: u64, descriptor: RawFd) -> u64 {
    (descriptor as u64) << 8 | kind
}
