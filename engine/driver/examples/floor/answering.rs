//! The loop of the servers: one thread, one ring, a table of connections indexed by descriptor, and one send per
//! connection and turn. What a connection speaks is up to an [`Answer`].

use std::convert::Infallible;
use std::io::{self, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use socket2::{Domain, Socket, Type};

use super::ring::{Completion, Ring};

const BACKLOG: i32 = 4096;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// What one connection answers.
pub(crate) trait Answer {
    /// Appends to `out` what answers `received`, the bytes that follow those of the last call.
    ///
    /// # Errors
    /// The peer breaks the rules, so the connection must end.
    fn answer(&mut self, received: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str>;
}

/// Prints the address that it listens on, then serves. Each connection has an `A` of its own.
pub(crate) fn serve<A: Answer>(address: SocketAddr, answer: impl Fn() -> A) -> io::Result<Infallible> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    // Accepted sockets inherit this. tcp(7) does not say so, but Linux does it.
    listener.set_tcp_nodelay(true)?;
    listener.bind(&address.into())?;
    listener.listen(BACKLOG)?;
    let address = listener.local_addr()?.as_socket().expect("a TCP socket has such an address");
    writeln!(io::stdout(), "{address}")?;
    Server { ring: Ring::new()?, listener, answer, connections: Vec::new(), due: Vec::new() }.serve()
}

struct Server<A, N> {
    ring: Ring,
    listener: Socket,
    /// Makes the `A` of a new connection.
    answer: N,
    connections: Vec<Option<Connection<A>>>,
    /// The connections that have something to do at the end of the turn.
    due: Vec<RawFd>,
}

struct Connection<A> {
    socket: Socket,
    answer: A,
    /// The bytes that no send contains yet.
    out: Vec<u8>,
    /// The memory of the last send, for the next one.
    spare: Vec<u8>,
    sending: bool,
    receiving: bool,
    is_due: bool,
}

impl<A: Answer, N: Fn() -> A> Server<A, N> {
    fn serve(mut self) -> io::Result<Infallible> {
        self.ring.accept(self.listener.as_raw_fd(), operation(ACCEPT, 0))?;
        loop {
            self.ring.wait()?;
            while let Some(completion) = self.ring.next() {
                let descriptor = (completion.operation >> 8) as RawFd;
                match completion.operation & 0xff {
                    ACCEPT => self.accepted(&completion)?,
                    RECEIVE => self.received(descriptor, completion)?,
                    _ => self.sent(descriptor, completion),
                }
            }
            while let Some(descriptor) = self.due.pop() {
                self.go_on(descriptor)?;
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
            self.connections[index] = Some(Connection {
                socket,
                answer: (self.answer)(),
                out: Vec::new(),
                spare: Vec::new(),
                sending: false,
                receiving: true,
                is_due: false,
            });
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
            let answered = connection.answer.answer(self.ring.bytes(&received), &mut connection.out);
            self.ring.give_back(received);
            if let Err(broken) = answered {
                eprintln!("closing a connection: {broken}");
                connection.fail();
            }
        }
        if !completion.more {
            // A receive also ends if there are no buffers (they are back by now) or if the completion queue is full.
            if completion.result > 0 || completion.result == -libc::ENOBUFS {
                self.ring.receive(descriptor, operation(RECEIVE, descriptor))?;
            } else {
                connection.receiving = false;
            }
        }
        connection.becomes_due(&mut self.due);
        Ok(())
    }

    fn sent(&mut self, descriptor: RawFd, completion: Completion) {
        let connection = self.connections[descriptor as usize].as_mut().expect("it is sending");
        let mut sent = completion.sent.expect("all sends own their bytes");
        connection.sending = false;
        // `MSG_WAITALL` makes a short send a failure.
        if completion.result != sent.len() as i32 {
            connection.fail();
        }
        sent.clear();
        connection.spare = sent;
        connection.becomes_due(&mut self.due);
    }

    /// Sends what is there, or closes the connection if nothing is left to do.
    fn go_on(&mut self, descriptor: RawFd) -> io::Result<()> {
        let place = &mut self.connections[descriptor as usize];
        let connection = place.as_mut().expect("a connection ends only here, and is due once");
        connection.is_due = false;
        // One send at a time, because two sends on one socket may overtake each other.
        if connection.sending {
            return Ok(());
        }
        if !connection.out.is_empty() {
            let out = mem::replace(&mut connection.out, mem::take(&mut connection.spare));
            connection.sending = true;
            return self.ring.send_owned(descriptor, out, operation(SEND, descriptor));
        }
        if !connection.receiving {
            *place = None;
        }
        Ok(())
    }
}

impl<A> Connection<A> {
    fn becomes_due(&mut self, due: &mut Vec<RawFd>) {
        if !self.is_due {
            self.is_due = true;
            due.push(self.socket.as_raw_fd());
        }
    }

    fn fail(&mut self) {
        self.out.clear();
        // This ends the receive, and then the connection. It fails if the connection is already gone, which is fine.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn operation(kind: u64, descriptor: RawFd) -> u64 {
    (descriptor as u64) << 8 | kind
}
