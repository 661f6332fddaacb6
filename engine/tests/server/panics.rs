//! Panics of a handler outside of its future's code: when it is called, and when its future is dropped. The operator is told of each.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use ringtide::Error;
use ringtide::server::{Answered, Exchange, FailureKind, Server, ServerOptions, ServiceOptions};

use crate::http2_raw::{DATA, HEADERS, PING, RST_STREAM, Raw, frame, get};
use crate::peer::Peer;
use crate::site::TEXT;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// What was told of a failure: method and target, kind, status.
type Told = (String, String, Option<u16>);
type ToldText = (&'static str, &'static str, Option<u16>);

/// A handler's future that panics when it is dropped.
struct PanicsWhenDropped<'e>(Pin<Box<dyn Future<Output = Result<Answered, Error>> + 'e>>);

impl Future for PanicsWhenDropped<'_> {
    type Output = Result<Answered, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl Drop for PanicsWhenDropped<'_> {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn handle(exchange: Exchange<'_>) -> PanicsWhenDropped<'_> {
    assert!(exchange.head().target() != b"/call", "called");
    PanicsWhenDropped(Box::pin(async move {
        match exchange.head().target() {
            b"/poll" => panic!("polled"),
            b"/wait" => std::future::pending().await,
            b"/begin-and-wait" => {
                exchange.stream(StatusCode::OK, &TEXT, None)?.send("begun").await?;
                std::future::pending().await
            }
            _ => exchange.respond(StatusCode::OK, &TEXT, "fine\n"),
        }
    }))
}

#[test]
fn a_panic_in_the_call_or_the_drop_of_a_handler_is_told() {
    let cases = [
        // What the client is answered with, whether it stays, and what is told: the panic that came last.
        ("/call", 500, true, ("called", Some(500))),
        ("/poll", 500, true, ("dropped", Some(500))),
        // The answer has been given when its future is dropped.
        ("/", 200, true, ("dropped", None)),
        ("/wait", 500, true, ("dropped", Some(500))),
        ("/begin-and-wait", 200, false, ("dropped", None)),
    ];
    let (tell, told) = mpsc::channel::<Told>();
    let service = ServiceOptions::default().on_error(move |failure| {
        let kind = match &failure.kind {
            FailureKind::Panic(text) => format!("panic: {text}"),
            other => format!("{other:?}"),
        };
        let request = format!("{} {}", failure.method, failure.target);
        tell.send((request, kind, failure.status.map(|status| status.as_u16()))).unwrap();
    });
    let any_port = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions::default()
        .workers(1)
        .service(service.half_close_timeout(Duration::ZERO).request_timeout(SHORT));
    let server = Server::start(&[any_port], &options, handle).unwrap();
    for (target, status, stays, (text, told_status)) in cases {
        let mut peer = Peer::connect(&server.addresses()[0]);
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(peer.head().0, status, "{target}");
        if !stays {
            peer.finish();
        }
        let expected = (format!("GET {target}"), format!("panic: {text}"), told_status);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), expected);
        peer.rest();
    }
    assert!(told.try_recv().is_err(), "each once");
    // Over HTTP/2 none of them ends the connection. Who is too late is told so, and a request whose response is given is
    // forgotten.
    let cases: [(&str, &str, &[ToldText]); 5] = [
        ("/call", "500", &[("GET /call", "panic: called", Some(500))]),
        ("/poll", "500", &[("GET /poll", "panic: dropped", Some(500))]),
        ("/", "200", &[(" ", "panic: dropped", None)]),
        (
            "/wait",
            "503",
            &[
                ("GET /wait", "panic: dropped", None),
                (" ", "Refused(\"the request took too long\")", Some(503)),
            ],
        ),
        ("/begin-and-wait", "200", &[(" ", "panic: dropped", None)]),
    ];
    let mut raw = Raw::connect(&server.addresses()[0], &[]);
    for (number, (target, status, expected)) in cases.into_iter().enumerate() {
        let id = 2 * number as u32 + 1;
        raw.send(get(id, target));
        let head = raw.until(HEADERS);
        assert_eq!(raw.fields(&head).get(b":status"), Some(status.as_bytes()), "{target}");
        if target == "/begin-and-wait" {
            // The client loses interest in a response that has begun.
            raw.until(DATA);
            raw.send(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        }
        for (request, kind, status) in expected {
            let found = told.recv_timeout(PATIENCE).unwrap();
            assert_eq!((&found.0[..], &found.1[..], found.2), (*request, *kind, *status), "{target}");
        }
    }
    assert!(told.try_recv().is_err(), "each once");
    server.shutdown().begin();
    server.join();
}

/// Two panics at once would abort the process.
#[test]
fn handlers_that_panic_when_their_connection_fails_end_alone() {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(&[any_port], &ServerOptions::default().workers(1), handle).unwrap();
    let mut raw = Raw::connect(&server.addresses()[0], &[]);
    raw.send([get(1, "/wait"), get(3, "/wait"), frame(PING, 0, 0, b"12345678")].concat());
    raw.until(PING);
    // What was not read makes the kernel reset the connection.
    raw.send(frame(PING, 0, 0, b"12345678"));
    std::thread::sleep(SHORT);
    drop(raw);
    let mut raw = Raw::connect(&server.addresses()[0], &[]);
    assert_eq!(raw.ask(1, "/").1, b"fine\n");
    server.shutdown().begin();
    server.join();
}
