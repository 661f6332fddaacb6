//! Handlers that take over the stream of their connection for another protocol, here one of lines.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use http::{Request, StatusCode};
use ringtide::proto::h1::Limits;
use ringtide::runtime;
use ringtide::server::{Answered, Exchange, ServerConnection, ServiceOptions, Shutdown, serve};
use ringtide::stream::{Listener, Stream};
use ringtide::testing::{self, Network, Script};
use ringtide::tls::{ClientTls, ClientTlsOptions, ServerTls};
use ringtide::{Connection, ConnectionOptions, Error, PreparedRequest};

use crate::site::SIMULATED;

const SWITCH: &str = "GET /lines HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n";
const FIELDS: [(&str, &str); 1] = [("Upgrade", "lines")];

/// Answers each line with its number and the line.
async fn count(mut stream: Stream) -> io::Result<()> {
    let mut count = 0;
    while let Some(line) = stream.read_line(1_000).await? {
        count += 1;
        stream.write_all(format!("{count} {}\n", std::str::from_utf8(&line).unwrap()).as_bytes()).await?;
    }
    stream.close().await
}

async fn count_to_the_end(stream: Stream) {
    // The client notices it.
    let _ = count(stream).await;
}

async fn answer(mut exchange: Exchange<'_>) -> Result<Answered, Error> {
    let target = exchange.head().target().to_owned();
    match &target[..] {
        b"/lines" => exchange.upgrade(StatusCode::SWITCHING_PROTOCOLS, &FIELDS, count_to_the_end),
        b"/lines-after-body" => {
            while exchange.data().await?.is_some() {}
            exchange.upgrade(StatusCode::SWITCHING_PROTOCOLS, &FIELDS, count_to_the_end)
        }
        b"/wrong-status" => exchange.upgrade(StatusCode::OK, &FIELDS, count_to_the_end),
        b"/wrong-field" => {
            exchange.upgrade(StatusCode::SWITCHING_PROTOCOLS, &[("Upgrade", "a\nb")], count_to_the_end)
        }
        b"/error-after" => {
            let never = async |_| panic!("it never begins");
            let _ = exchange.upgrade(StatusCode::SWITCHING_PROTOCOLS, &FIELDS, never)?;
            Err(Error::Closed)
        }
        b"/panic" => {
            exchange.upgrade(StatusCode::SWITCHING_PROTOCOLS, &FIELDS, async |_| panic!("as planned"))
        }
        b"h:1" => exchange.upgrade(StatusCode::OK, &[], count_to_the_end),
        _ => exchange.respond(StatusCode::OK, &[], "hello"),
    }
}

fn start(options: ServiceOptions, shutdown: Shutdown) -> runtime::JoinHandle<()> {
    let listener = Listener::bind(&SIMULATED.parse().unwrap(), false).unwrap();
    runtime::spawn(serve(listener, options, shutdown, answer))
}

/// Sends `bytes`, and returns what comes back up to the end.
async fn ask(network: &Network, bytes: impl AsRef<[u8]>) -> String {
    let script = Script::new().send(bytes.as_ref().to_vec()).end().expect_rest();
    String::from_utf8(network.connect(SIMULATED, script).played().await).unwrap()
}

#[test]
fn a_handler_speaks_another_protocol_however_the_bytes_come() {
    let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\n\r\n{SWITCH}one\ntwo\n");
    testing::every_split(bytes, async |network, pieces| {
        start(ServiceOptions::default(), Shutdown::new());
        let script = Script::new().send(pieces).end().expect_rest();
        let text = String::from_utf8(network.connect(SIMULATED, script).played().await).unwrap();
        let (first, rest) = text.split_once("hello").unwrap();
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        let (head, lines) = rest.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\n"), "{text}");
        assert!(head.ends_with("\r\nConnection: upgrade"), "{text}");
        assert!(!head.to_lowercase().contains("content-length"), "{text}");
        assert_eq!(lines, "1 one\n2 two\n");
    });
}

#[test]
fn the_body_of_the_request_comes_before_the_other_protocol() {
    testing::run(async |network| {
        start(ServiceOptions::default(), Shutdown::new());
        let post = |target: &str| {
            format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: lines\r\nContent-Length: 4\r\n\r\nbodyone\n"
            )
        };
        let text = ask(&network, post("/lines-after-body")).await;
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n1 one\n"), "{text}");
        let text = ask(&network, post("/lines")).await;
        assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
    });
}

#[test]
fn what_cannot_be_an_upgrade_is_an_error_before_anything_is_sent() {
    testing::run(async |network| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let options =
            ServiceOptions::default().on_error(move |failure| tell.lock().unwrap().push(failure.to_string()));
        start(options, Shutdown::new());
        let upgrade = "Connection: upgrade\r\nUpgrade: lines\r\n";
        for (target, version, fields, expected) in [
            ("/lines", "1.1", "", "the request does not ask for it"),
            ("/lines", "1.1", "Upgrade: lines\r\n", "the request does not ask for it"),
            ("/lines", "1.0", upgrade, "the request does not ask for it"),
            ("/wrong-status", "1.1", upgrade, "the status has to be 101"),
            ("/wrong-field", "1.1", upgrade, "\"Upgrade\""),
        ] {
            let text = ask(&network, format!("GET {target} HTTP/{version}\r\nHost: h\r\n{fields}\r\n")).await;
            assert!(text.starts_with("HTTP/1.1 500 "), "{target}: {text}");
            let told = told.lock().unwrap().pop().unwrap();
            assert!(told.contains(expected), "{target}: {told}");
        }
        // The handler failed after it: nothing follows the response.
        let text = ask(&network, SWITCH.replace("/lines", "/error-after")).await;
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{text}");
    });
}

#[test]
fn a_panic_in_the_other_protocol_ends_its_connection_and_is_reported() {
    testing::run(async |network| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let options =
            ServiceOptions::default().on_error(move |failure| tell.lock().unwrap().push(failure.to_string()));
        start(options, Shutdown::new());
        let script = Script::new().send(SWITCH.replace("/lines", "/panic")).expect_rest();
        network.connect(SIMULATED, script).played().await;
        assert!(told.lock().unwrap()[0].contains("as planned"), "{told:?}");
        assert!(ask(&network, SWITCH).await.starts_with("HTTP/1.1 101 "));
    });
}

#[test]
fn connect_is_a_tunnel_where_handlers_accept_it() {
    testing::run(async |network| {
        let shutdown = Shutdown::new();
        let server = start(ServiceOptions::default().accept_connect(true), shutdown.clone());
        let connect = "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\none\n";
        let text = ask(&network, connect).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n1 one\n"), "{text}");
        assert!(!text.to_lowercase().contains("content-length") && !text.contains("Connection:"), "{text}");
        // Another response is the last one.
        let text = ask(&network, "CONNECT h:2 HTTP/1.1\r\nHost: h:2\r\n\r\n").await;
        assert!(text.contains("Connection: close") && text.ends_with("hello"), "{text}");
        shutdown.begin();
        server.await.unwrap();
        start(ServiceOptions::default(), Shutdown::new());
        assert!(ask(&network, connect).await.starts_with("HTTP/1.1 501 "));
    });
}

#[test]
fn only_the_shutdown_limits_the_time_of_the_other_protocol() {
    testing::run(async |network| {
        let second = Duration::from_secs(1);
        let options = ServiceOptions::default()
            .stall_timeout(second)
            .idle_timeout(second)
            .request_timeout(second)
            .shutdown_timeout(Duration::from_secs(5));
        let shutdown = Shutdown::new();
        let server = start(options, shutdown.clone());
        let script = Script::new()
            .send(SWITCH)
            .expect_until("\r\n\r\n")
            .delay(Duration::from_mins(1))
            .send("one\n")
            .expect("1 one\n")
            .expect_silence(Duration::from_secs(3))
            .send("two\n")
            .expect("2 two\n")
            .expect_rest();
        let client = network.connect(SIMULATED, script);
        runtime::sleep(Duration::from_secs(61)).await;
        let begun_ns = runtime::now_ns();
        shutdown.begin();
        server.await.unwrap();
        let took = Duration::from_nanos(runtime::now_ns() - begun_ns);
        assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&took), "{took:?}");
        client.played().await;
    });
}

#[test]
fn a_connection_without_a_server_runs_it_when_it_is_closed() {
    testing::run(async |network| {
        let (client, server) = network.pair().await;
        let has_run = Rc::new(Cell::new(false));
        let serve = async {
            let mut connection = ServerConnection::new(server, Limits::default());
            let exchange = connection.request().await.unwrap().unwrap();
            let note = Rc::clone(&has_run);
            let _ = exchange
                .upgrade(StatusCode::SWITCHING_PROTOCOLS, &FIELDS, async move |stream| {
                    count(stream).await.unwrap();
                    note.set(true);
                })
                .unwrap();
            assert!(connection.request().await.unwrap().is_none());
            connection.close().await.unwrap();
        };
        join(serve, speak(client)).await;
        assert!(has_run.get());
    });
}

/// Switches to lines with our own client, and speaks them.
async fn speak(stream: Stream) {
    let request = Request::get("http://h/lines").header("connection", "upgrade").header("upgrade", "lines");
    let request = PreparedRequest::new(&request.body(Bytes::new()).unwrap()).unwrap();
    let mut connection = Connection::new(stream, &ConnectionOptions::default());
    assert_eq!(connection.send(&request).await.unwrap().status(), 101);
    let mut stream = connection.into_stream();
    for number in 1..100 {
        let text = "x".repeat(number);
        stream.write_all(format!("{text}\n").as_bytes()).await.unwrap();
        let line = stream.read_line(1_000).await.unwrap().unwrap();
        assert_eq!(&*line, format!("{number} {text}").as_bytes());
    }
    stream.shutdown().await.unwrap();
    assert!(stream.read_line(1_000).await.unwrap().is_none());
}

#[test]
fn the_other_protocol_goes_on_with_tls() {
    let server = ServerTls::self_signed(&["h"]).unwrap();
    let client = ClientTls::new(&ClientTlsOptions::default().insecure(true).alpn(["http/1.1"])).unwrap();
    testing::run(async |_| {
        start(ServiceOptions::default().tls(server), Shutdown::new());
        let stream = Stream::connect_tls(&SIMULATED.parse().unwrap(), "h", &client).await.unwrap();
        assert!(stream.tls().is_some());
        speak(stream).await;
    });
}
