//! The feature `tracing`: each failure of a server becomes an event with fields.
//!
//! To run it: `cargo test -p ringtide --features tracing --test tracing`.

use std::fmt::{self, Write as _};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use http::StatusCode;
use ringtide::Address;
use ringtide::server::{Exchange, Server, ServerOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Sends each event of the server as a line.
struct Lines(Sender<String>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ringtide::server"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.send(line.0).unwrap();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

#[test]
fn failures_are_events() {
    let (sender, lines) = mpsc::channel();
    tracing::subscriber::set_global_default(Lines(sender)).unwrap();
    let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let handler = async |exchange: Exchange<'_>| match exchange.head().path() {
        "/" => exchange.respond(StatusCode::OK, &[], "fine").map_err(|error| error.to_string()),
        _ => Err("as planned".to_owned()),
    };
    let server = Server::start(&[any_port], &ServerOptions::default().workers(1), handler).unwrap();
    let Address::Tcp(address) = server.addresses()[0] else { unreachable!() };
    let cases = [
        (
            "GET /fail HTTP/1.1\r\nHost: h\r\n\r\n",
            "ERROR",
            "\"GET\"",
            "\"/fail\"",
            500,
            "the handler failed: as planned",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "INFO", "\"\"", "\"\"", 400, "refused: "),
    ];
    for (request, level, method, target, status, message) in cases {
        let mut stream = TcpStream::connect(address).unwrap();
        let peer = stream.local_addr().unwrap();
        // The first request succeeds and causes no event.
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\n\r\n{request}").as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(line.starts_with(&format!("{level} message={message}")), "{line}");
        let fields = format!(" method={method} request_target={target} peer={peer} status={status}");
        assert!(line.ends_with(&fields), "{line}");
    }
    assert!(lines.try_recv().is_err());
    server.shutdown().begin();
    server.join();
}
