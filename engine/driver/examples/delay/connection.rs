//! What a client of the server speaks: it finds the requests and writes the answers.

use super::h2::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PREFACE, SETTINGS};
use super::http::{RESPONSE, RequestEnds};

/// `:status: 200` and `content-length: 12`, without the dynamic table (RFC 7541 §6.1, §6.2.2, appendix A).
const BLOCK: &[u8] = b"\x88\x0f\x0d\x0212";
const BODY: &[u8] = b"hello world\n";

const REPORT: &[u8] = b"GET /report";

/// One client.
#[derive(Default)]
pub(crate) struct Connection {
    protocol: Protocol,
    /// The bytes that no send contains yet.
    pub(crate) out: Vec<u8>,
    /// When the requests came that `out` answers.
    pub(crate) out_arrived_ns: Vec<u64>,
    /// The same of the send that is under way.
    pub(crate) sent_arrived_ns: Vec<u64>,
    /// The memory of the last send, for the next one.
    pub(crate) spare: Vec<u8>,
    pub(crate) is_sending: bool,
    /// Whether it stands in the list of those that have something to send.
    pub(crate) is_due: bool,
}

#[derive(Default)]
enum Protocol {
    /// Nothing has come yet.
    #[default]
    Unknown,
    Http1(RequestEnds),
    Http2 {
        preface: usize,
        frames: Frames,
    },
}

/// What a client asks for.
pub(crate) enum Ask {
    /// An answer; in HTTP/2 on this stream.
    Answer(u32),
    /// A report, for a schedule with this rate if there is one.
    Report(Option<f64>),
}

impl Connection {
    /// Calls `take` for each request in `received`, the bytes that follow those of the last call.
    ///
    /// # Errors
    /// The client breaks the rules, so the connection must end.
    pub(crate) fn requests(
        &mut self,
        mut received: &[u8],
        mut take: impl FnMut(Ask),
    ) -> Result<(), &'static str> {
        if matches!(self.protocol, Protocol::Unknown) {
            let is_http2 = received.starts_with(&PREFACE[..received.len().min(PREFACE.len())]);
            self.protocol = if is_http2 {
                Protocol::Http2 { preface: 0, frames: Frames::default() }
            } else {
                Protocol::Http1(RequestEnds::default())
            };
        }
        match &mut self.protocol {
            Protocol::Unknown => {}
            Protocol::Http1(ends) => {
                if received.starts_with(REPORT) {
                    take(Ask::Report(rate(received)));
                    return Ok(());
                }
                (0..ends.count(received)).for_each(|_| take(Ask::Answer(0)));
            }
            Protocol::Http2 { preface, frames } => {
                if *preface < PREFACE.len() {
                    let (begin, later) = received.split_at(received.len().min(PREFACE.len() - *preface));
                    if !PREFACE[*preface..].starts_with(begin) {
                        return Err("the client does not speak HTTP/2");
                    }
                    *preface += begin.len();
                    received = later;
                    if *preface == PREFACE.len() {
                        h2::push(&mut self.out, SETTINGS, 0, 0, &[]);
                    }
                }
                frames.each(received, |frame| {
                    frame.acknowledge(&mut self.out);
                    if frame.kind == HEADERS {
                        if frame.flags & END_HEADERS == 0 {
                            return Err("a header block in several frames");
                        }
                        take(Ask::Answer(frame.stream));
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Appends the answer to a request.
    pub(crate) fn answer(&mut self, stream: u32, arrived_ns: u64) {
        if let Protocol::Http2 { .. } = self.protocol {
            h2::push(&mut self.out, HEADERS, END_HEADERS, stream, BLOCK);
            h2::push(&mut self.out, DATA, END_STREAM, stream, BODY);
        } else {
            self.out.extend_from_slice(RESPONSE);
        }
        self.out_arrived_ns.push(arrived_ns);
    }

    /// Appends a report.
    pub(crate) fn report(&mut self, report: &str) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            report.len()
        );
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(report.as_bytes());
    }
}

/// The rate in `GET /report?rate=1000 HTTP/1.1`.
fn rate(request: &[u8]) -> Option<f64> {
    let line = std::str::from_utf8(request).ok()?.lines().next()?;
    let (_, query) = line.split(' ').nth(1)?.split_once("?rate=")?;
    query.parse().ok().filter(|rate: &f64| *rate > 0.0)
}
