//! The minimal HTTP of a measuring server: finding the ends of requests, and one fixed response.

/// The fixed response, with the same fields in its head as that of a real server.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: floor\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 12\r\n\
    \r\n\
    hello world\n";

const END: &[u8; 4] = b"\r\n\r\n";

/// Counts the requests in a stream of bytes.
///
/// It assumes that no request has a body, so each request ends with an empty line (RFC 9112 §2.1). A request may be
/// split between two receives at any position.
#[derive(Clone, Copy, Default)]
pub(crate) struct RequestEnds {
    /// How many bytes of [`END`] the stream ends with.
    matched: u8,
}

impl RequestEnds {
    /// Returns how many requests end in `bytes`, which follow the bytes of the last call.
    pub(crate) fn count(&mut self, bytes: &[u8]) -> u32 {
        let mut requests = 0;
        for &byte in bytes {
            if byte == END[usize::from(self.matched)] {
                self.matched += 1;
                if usize::from(self.matched) == END.len() {
                    self.matched = 0;
                    requests += 1;
                }
            } else {
                // Of all proper suffixes of a partial match, only a single CR can start another match.
                self.matched = u8::from(byte == END[0]);
            }
        }
        requests
    }
}
