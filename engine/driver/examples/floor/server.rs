//! What the server answers: one fixed response to each request.

mod answering;
#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/http.rs"]
mod http;
mod protocol;
mod ring;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;

use answering::Answer;
use arguments::Arguments;
use http::{RESPONSE, RequestEnds};
use protocol::{FRAME, Protocol};

pub(crate) fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("floor_server: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<Infallible, String> {
    let arguments = Arguments::parse(&["--addr", "--protocol"])?;
    let address: SocketAddr = arguments.get("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let response = match arguments.get("--protocol", Protocol::Http)? {
        Protocol::Http => RESPONSE,
        Protocol::Echo => FRAME,
    };
    answering::serve(address, || Fixed { response, requests: RequestEnds::default() })
        .map_err(|error| format!("{address}: {error}"))
}

struct Fixed {
    response: &'static [u8],
    requests: RequestEnds,
}

impl Answer for Fixed {
    fn answer(&mut self, received: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        for _ in 0..self.requests.count(received) {
            out.extend_from_slice(self.response);
        }
        Ok(())
    }
}
