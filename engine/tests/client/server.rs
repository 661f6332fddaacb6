//! Servers that follow a test's script, on std sockets and with a thread per connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A test fails if it waits longer than this for its peer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A server on 127.0.0.1 or at a Unix path, which runs until it is dropped. The drop panics if one of its threads has
/// panicked.
pub(crate) struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    unix_path: Option<PathBuf>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Calls `script` for each connection with its number, starting at 0.
    pub(crate) fn start(script: impl Fn(usize, &mut Peer<TcpStream>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self::run(address, None, move || listener.accept().unwrap().0, script)
    }

    /// Starts a server at a Unix path, as [`start`](Self::start) does.
    pub(crate) fn start_unix(
        path: &Path,
        script: impl Fn(usize, &mut Peer<UnixStream>) + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::run(nowhere, Some(path.to_owned()), move || listener.accept().unwrap().0, script)
    }

    fn run<S: Socket>(
        address: SocketAddr,
        unix_path: Option<PathBuf>,
        accept: impl Fn() -> S + Send + 'static,
        script: impl Fn(usize, &mut Peer<S>) + Send + Sync + 'static,
    ) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let (counter, stop, script) = (Arc::clone(&accepted), Arc::clone(&stopping), Arc::new(script));
        let thread = thread::spawn(move || {
            let mut connections = Vec::new();
            loop {
                let stream = accept();
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                connections.push(thread::spawn(move || {
                    stream.limit_waiting();
                    script(number, &mut Peer { stream: Some(stream), unread: Vec::new() });
                }));
            }
            for connection in connections {
                connection.join().unwrap();
            }
        });
        Self { address, accepted, stopping, unix_path, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the number of connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        match &self.unix_path {
            Some(path) => drop(UnixStream::connect(path)),
            None => drop(TcpStream::connect(self.address)),
        }
        let outcome = self.thread.take().unwrap().join();
        if !thread::panicking() {
            outcome.expect("the server's script panicked");
        }
    }
}

pub(crate) trait Socket: Read + Write + Send + 'static {
    fn limit_waiting(&self);
    fn end(&self);
}

impl Socket for TcpStream {
    fn limit_waiting(&self) {
        self.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        self.set_nodelay(true).unwrap();
    }
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Socket for UnixStream {
    fn limit_waiting(&self) {
        self.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    }
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// The server's end of a connection.
pub(crate) struct Peer<S> {
    stream: Option<S>,
    unread: Vec<u8>,
}

/// A request as it was received.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn is(&self, method: &str, target: &str) -> bool {
        self.head.starts_with(&format!("{method} {target} HTTP/1.1\r\n"))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl<S: Socket> Peer<S> {
    /// Returns the next request with its body; `None` when the client has closed.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        let mut request = Request { head, body: Vec::new() };
        if request.field("transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    break;
                }
                request.body.extend(chunk);
            }
        } else if let Some(length) = request.field("content-length") {
            request.body = self.take(length.parse().unwrap())?;
        }
        Some(request)
    }

    /// Returns the next head, including its final empty line.
    pub(crate) fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(position) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break position + 4;
            }
            self.more()?;
        };
        Some(String::from_utf8(self.unread.drain(..end).collect()).unwrap())
    }

    /// Returns the next chunk of a body; the last one is empty.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(position) = self.unread.windows(2).position(|window| window == b"\r\n") {
                break position;
            }
            self.more()?;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.unread[..end]).unwrap(), 16).unwrap();
        self.unread.drain(..end + 2);
        let data = self.take(size)?;
        assert_eq!(self.take(2)?, b"\r\n");
        Some(data)
    }

    /// Returns exactly `size` bytes.
    pub(crate) fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        while self.unread.len() < size {
            self.more()?;
        }
        Some(self.unread.drain(..size).collect())
    }

    /// Waits for the client to close. Panics if the client sends anything first.
    pub(crate) fn expect_close(&mut self) {
        assert_eq!(self.more(), None, "{:?}", String::from_utf8_lossy(&self.unread));
    }

    /// Reads and drops everything until the client closes.
    pub(crate) fn drain(&mut self) {
        while self.more().is_some() {
            self.unread.clear();
        }
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream().read(&mut buffer) {
            Ok(0) => None,
            Ok(size) => {
                self.unread.extend_from_slice(&buffer[..size]);
                Some(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the client did not do what the script waits for: {error}"),
        }
    }

    /// Sends `bytes`. Ignores the error if the client is gone.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream().write_all(bytes.as_ref());
    }

    /// Sends a 200 response with `body`.
    pub(crate) fn respond(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    fn stream(&mut self) -> &mut S {
        self.stream.as_mut().expect("the script has already ended the connection")
    }

    /// Closes the sending half.
    pub(crate) fn end(&mut self) {
        self.stream().end();
    }
}

impl Peer<TcpStream> {
    /// Resets the connection.
    pub(crate) fn reset(&mut self) {
        let stream = self.stream.take().unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Responds to every request with its target.
pub(crate) fn echo_target<S: Socket>(_: usize, peer: &mut Peer<S>) {
    while let Some(request) = peer.request() {
        let target = request.head.split(' ').nth(1).unwrap().to_owned();
        peer.respond(&target);
    }
}
