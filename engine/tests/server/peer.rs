//! A client for tests. It sends raw bytes and reads responses in the simplest way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ringtide::Address;

/// Longer than any step of these tests. A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    pub(crate) fn connect(address: &Address) -> Self {
        let Address::Tcp(address) = address else { panic!("not TCP: {address}") };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Closes the sending half.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and reads its response.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    /// Reads the next response. Its request must not be HEAD.
    pub(crate) fn response(&mut self) -> Response {
        let (status, head) = self.head();
        let body = if head.contains("transfer-encoding: chunked") {
            self.chunked()
        } else if let Some(length) = field(&head, "content-length") {
            self.take(length.parse().unwrap())
        } else if matches!(status, 100..=199 | 204 | 304) {
            Vec::new()
        } else {
            self.rest()
        };
        Response { status, head, body }
    }

    /// Reads the next head. Returns it in lower case, without the empty line.
    pub(crate) fn head(&mut self) -> (u16, String) {
        let end = self.find(b"\r\n\r\n");
        let head = String::from_utf8(self.take(end + 4)).unwrap().to_ascii_lowercase();
        let status = head.strip_prefix("http/1.1 ").unwrap_or_else(|| panic!("no status line: {head}"));
        (status[..3].parse().unwrap(), head.trim_end().to_owned())
    }

    /// Reads until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.receive() {}
        std::mem::take(&mut self.received)
    }

    /// Expects that the connection ends here, without further bytes and without a reset.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "instead of the end: {}", rest.escape_ascii());
    }

    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line_end = self.find(b"\r\n");
            let line = String::from_utf8(self.take(line_end + 2)).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let chunk = self.take(size + 2);
            assert!(chunk.ends_with(b"\r\n"));
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    fn find(&mut self, pattern: &[u8]) -> usize {
        loop {
            if let Some(at) = self.received.windows(pattern.len()).position(|window| window == pattern) {
                return at;
            }
            assert!(self.receive(), "ended after {}", self.received.escape_ascii());
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.receive(), "ended {} bytes before the end", count - self.received.len());
        }
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    /// Takes bytes like `take`; `None` if the stream ends or is reset before them.
    pub(crate) fn take_if_there(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut buffer = [0; 16 * 1024];
        while self.received.len() < count {
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(size) => self.received.extend_from_slice(&buffer[..size]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
        Some(self.take(count))
    }

    /// Receives more bytes. Returns false at the end of the stream.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {} bytes", self.received.len()),
            }
        }
    }
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name))
        .map(|(_, value)| value)
}
