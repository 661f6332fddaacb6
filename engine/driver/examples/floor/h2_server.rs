//! What the HTTP/2 server answers: one fixed response to each HEADERS frame.

mod answering;
#[path = "../shared/arguments.rs"]
mod arguments;
mod h2;
mod ring;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;

use answering::Answer;
use arguments::Arguments;
use h2::{DATA, END_HEADERS, END_STREAM, Frames, HEADER_SIZE, HEADERS, PREFACE, SETTINGS};

/// `:status: 200` and `content-length: 12`, without the dynamic table (RFC 7541 §6.1, §6.2.2, appendix A).
const BLOCK: &[u8] = b"\x88\x0f\x0d\x0212";
const BODY: &[u8] = b"hello world\n";

pub(crate) fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("h2_floor_server: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<Infallible, String> {
    let arguments = Arguments::parse(&["--addr"])?;
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let mut response = Vec::new();
    h2::push(&mut response, HEADERS, END_HEADERS, 0, BLOCK);
    h2::push(&mut response, DATA, END_STREAM, 0, BODY);
    answering::serve(address, || Fixed { response: &response, preface: 0, frames: Frames::default() })
        .map_err(|error| format!("{address}: {error}"))
}

struct Fixed<'r> {
    /// Two frames, on stream 0.
    response: &'r [u8],
    /// How many bytes of the client's preface are there.
    preface: usize,
    frames: Frames,
}

impl Answer for Fixed<'_> {
    fn answer(&mut self, mut received: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.preface < PREFACE.len() {
            let (preface, later) = received.split_at(received.len().min(PREFACE.len() - self.preface));
            if !PREFACE[self.preface..].starts_with(preface) {
                return Err("the client does not speak HTTP/2");
            }
            self.preface += preface.len();
            received = later;
            if self.preface == PREFACE.len() {
                h2::push(out, SETTINGS, 0, 0, &[]);
            }
        }
        self.frames.each(received, |frame| {
            frame.acknowledge(out);
            if frame.kind != HEADERS {
                return Ok(());
            }
            if frame.flags & END_HEADERS == 0 {
                return Err("a header block in several frames");
            }
            let start = out.len();
            out.extend_from_slice(self.response);
            h2::set_stream(&mut out[start..], frame.stream);
            h2::set_stream(&mut out[start + HEADER_SIZE + BLOCK.len()..], frame.stream);
            Ok(())
        })
    }
}
