//! A scripted server with a thread per connection, which counts what it receives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

/// A response with a body of 12 bytes.
pub(crate) const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n";

/// What arrived over all connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    /// Requests that arrived completely.
    pub(crate) whole: AtomicU64,
    /// Requests that arrived only in part.
    pub(crate) parts: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    /// Bytes of responses that the kernel took.
    pub(crate) bytes_sent: AtomicU64,
}

impl Tally {
    /// Returns the number of requests of which at least one byte arrived.
    pub(crate) fn requests(&self) -> u64 {
        self.whole.load(SeqCst) + self.parts.load(SeqCst)
    }
}

/// A listening server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tally: Arc<Tally>,
    last: Arc<Mutex<Option<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts a server that runs `serve` for each connection, in a thread of its own.
    pub(crate) fn start(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        let tally = Arc::new(Tally::default());
        let last = Arc::new(Mutex::new(None));
        let accepting = {
            let (tally, last, serve) = (Arc::clone(&tally), Arc::clone(&last), Arc::new(serve));
            thread::spawn(move || {
                let mut peers: Vec<JoinHandle<()>> = Vec::new();
                loop {
                    let (stream, from) = listener.accept().expect("there are descriptors");
                    if *last.lock().expect("no panic") == Some(from) {
                        break;
                    }
                    stream.set_nodelay(true).expect("it is TCP");
                    tally.connections.fetch_add(1, SeqCst);
                    let mut peer = Peer { stream, buffer: Vec::new(), tally: Arc::clone(&tally) };
                    let serve = Arc::clone(&serve);
                    peers.push(thread::spawn(move || serve(&mut peer)));
                }
                for peer in peers {
                    peer.join().expect("the server's script holds");
                }
            })
        };
        Self { address, tally, last, accepting }
    }

    /// Starts a server that responds to every request with `answer`, until the client closes.
    pub(crate) fn answering(answer: &'static [u8]) -> Self {
        Self::start(move |peer| {
            while peer.request().is_some() {
                peer.send(answer);
            }
        })
    }

    /// Returns the URL of the server's root.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until all connections have ended, and returns what arrived. Call it after the clients have ended.
    pub(crate) fn finish(self) -> Arc<Tally> {
        // Connections are accepted in order, so this one is the last.
        let end = {
            let mut last = self.last.lock().expect("no panic");
            let end = TcpStream::connect(self.address).expect("it listens");
            *last = Some(end.local_addr().expect("connected"));
            end
        };
        self.accepting.join().expect("the server's script holds");
        drop(end);
        self.tally
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Request {
    /// The head, including the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns the values of all fields with this name.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// A client's connection, as the server sees it.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    pub(crate) tally: Arc<Tally>,
}

impl Peer {
    /// Receives the next request; `None` if the client has closed.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let request = next_request(&mut self.stream, &mut self.buffer, &self.tally);
        let counter = match (&request, self.buffer.is_empty()) {
            (Some(_), _) => &self.tally.whole,
            (None, false) => &self.tally.parts,
            (None, true) => return None,
        };
        counter.fetch_add(1, SeqCst);
        request
    }

    /// Sends all of `bytes`. Ignores an error, because the client may have closed.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_ok() {
            self.tally.bytes_sent.fetch_add(bytes.len() as u64, SeqCst);
        }
    }

    /// Makes the connection end with a reset.
    pub(crate) fn reset(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).expect("it is TCP");
    }

    /// Waits until the client has closed both halves. A server can only detect this by a send that fails.
    pub(crate) fn wait_for_reset(&mut self) {
        while self.stream.write_all(b"\n").is_ok() {
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Waits until the client closes. Counts further bytes, but does not parse them.
    pub(crate) fn wait_for_end(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(size @ 1..) = self.stream.read(&mut bytes) {
            self.tally.bytes_received.fetch_add(size as u64, SeqCst);
        }
    }
}

/// Reads until `buffer` contains a request, and removes it from there.
pub(crate) fn next_request(stream: &mut impl Read, buffer: &mut Vec<u8>, tally: &Tally) -> Option<Request> {
    loop {
        if let Some(head_end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..head_end + 4].to_vec()).expect("the head is text");
            let mut request = Request { head, body: Vec::new() };
            let length: usize = request
                .fields("content-length")
                .first()
                .map_or(0, |length| length.parse().expect("a number"));
            let end = head_end + 4 + length;
            if buffer.len() >= end {
                request.body = buffer[head_end + 4..end].to_vec();
                buffer.drain(..end);
                return Some(request);
            }
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes) {
            Ok(size @ 1..) => {
                tally.bytes_received.fetch_add(size as u64, SeqCst);
                buffer.extend_from_slice(&bytes[..size]);
            }
            Ok(0) | Err(_) => return None,
        }
    }
}
