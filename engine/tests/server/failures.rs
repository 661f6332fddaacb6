//! Failure reports: errors and panics of handlers, and refused requests.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use http::StatusCode;
use ringtide::Error;
use ringtide::server::{Exchange, FailureKind, Server, ServerOptions, ServiceOptions};

use crate::peer::Peer;
use crate::site::Running;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// A reported failure: method and target, kind, status.
type Told = (String, String, Option<u16>);

fn watched(options: ServiceOptions) -> (Running, Receiver<Told>) {
    let (tell, told) = mpsc::channel();
    let options = options.on_error(move |failure| {
        assert!(failure.peer.as_ref().is_some_and(|peer| peer.to_string().starts_with("127.0.0.1:")));
        let request = format!("{} {}", failure.method, failure.target);
        let kind = match &failure.kind {
            FailureKind::Handler(error) => {
                assert!(error.downcast_ref::<Error>().is_some());
                format!("handler: {error}")
            }
            FailureKind::Panic(text) => format!("panic: {text}"),
            FailureKind::Refused(reason) => format!("refused: {reason}"),
            other => format!("{other:?}"),
        };
        tell.send((request, kind, failure.status.map(|status| status.as_u16()))).unwrap();
    });
    (Running::with(options), told)
}

#[test]
fn each_failure_is_reported_with_its_request_and_status() {
    let (running, told) = watched(ServiceOptions::default());
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let chunks =
        |chunk: &str| format!("POST /whole HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    let closed = "handler: the peer closed the connection before it answered";
    let impossible = "handler: the head cannot be encoded: ";
    let short = "handler: the body was announced as 91 bytes and gave 0";
    let cases = [
        (get("/fail"), "GET /fail", closed, Some(500)),
        (get("/impossible"), "GET /impossible", impossible, Some(500)),
        (get("/panic"), "GET /panic", "panic: as planned", Some(500)),
        (get("/begin-and-panic"), "GET /begin-and-panic", "panic: as planned", None),
        (get("/short"), "GET /short", short, None),
        (chunks("xyz\r\n"), "POST /whole", "refused: chunk size line: ", Some(400)),
        (
            "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n".to_owned(),
            "CONNECT h:80",
            "refused: this server is not a proxy",
            Some(501),
        ),
        // The server read no head, so the report has no request.
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), " ", "refused: ", Some(400)),
    ];
    for (request, line, kind, status) in cases {
        // Once alone, and once after a valid request, which causes no report.
        for before in ["", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
            let mut peer = running.peer();
            peer.send(format!("{before}{request}"));
            if !before.is_empty() {
                assert_eq!(peer.response().text(), "hello world\n");
            }
            let found = told.recv_timeout(PATIENCE).unwrap();
            assert_eq!((found.0.as_str(), found.2), (line, status), "{found:?}");
            assert!(found.1.starts_with(kind), "{found:?}");
            assert_eq!(peer.head().0, status.unwrap_or(200));
            peer.rest();
        }
    }
    assert!(told.try_recv().is_err(), "one for each");
}

#[test]
fn timeouts_are_reported() {
    let (running, told) = watched(ServiceOptions::default().head_timeout(SHORT).request_timeout(SHORT));
    let mut slow = running.peer();
    slow.send("GET / HT");
    let reason = "refused: the head of the request did not arrive in time";
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (" ".to_owned(), reason.to_owned(), Some(408)));
    let mut waiting = running.peer();
    waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    let reason = "refused: the request took too long";
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), ("GET /wait".to_owned(), reason.to_owned(), Some(503)));
}

#[test]
fn a_failure_is_one_line_and_a_panicking_hook_is_contained() {
    let (tell, told) = mpsc::channel();
    let service = ServiceOptions::default().on_error(move |failure| {
        tell.send(failure.to_string()).unwrap();
        panic!("as planned");
    });
    let any_port = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions::default().workers(1).service(service);
    // Any error that implements `Display` is accepted.
    let server =
        Server::start(&[any_port], &options, async |exchange: Exchange<'_>| match exchange.head().path() {
            "/" => exchange.respond(StatusCode::OK, &[], "fine").map_err(|error| error.to_string()),
            path => Err(format!("nothing is at {path}")),
        })
        .unwrap();
    let mut peer = Peer::connect(&server.addresses()[0]);
    let address = peer.stream.local_addr().unwrap();
    assert_eq!(peer.ask("GET /x HTTP/1.1\r\nHost: h\r\n\r\n").status, 500);
    let line = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(line, format!("GET /x from {address}: the handler failed: nothing is at /x (status 500)"));
    let mut peer = Peer::connect(&server.addresses()[0]);
    assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").text(), "fine");
    server.shutdown().begin();
    server.join();
}
