//! TLS from end to end: our client with our server.

use std::rc::Rc;

use ringtide::http::StatusCode;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
use ringtide::stream::{Listener, Stream};
use ringtide::tls::{
    self, ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust, Version,
};
use ringtide::{Client, ClientOptions, Error};

fn pair(version: Version) -> (ClientTls, ServerTls) {
    let identity = Identity::self_signed(&["localhost", "127.0.0.1"]).unwrap();
    let server = ServerTls::new(&ServerTlsOptions::default().identity(identity.clone())).unwrap();
    let options = ClientTlsOptions::default()
        .trust(Trust::Given)
        .authorities(identity.chain().to_vec())
        .min_version(version)
        .max_version(version);
    (ClientTls::new(&options).unwrap(), server)
}

fn exchange(version: Version) {
    let (client_tls, server_tls) = pair(version);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let options = ServiceOptions::default().tls(server_tls);
        let server =
            runtime::spawn(serve(listener, options, shutdown.clone(), async |mut exchange: Exchange<'_>| {
                let body = exchange.body(10_000_000).await?.unwrap_or_default();
                exchange.respond(StatusCode::OK, &[], &body)
            }));
        let client = Rc::new(Client::new(ClientOptions::default().tls(client_tls)));
        for size in [0, 1, 5, 1000, 4096, 16_000, 16_384, 16_385, 40_000, 100_000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|at: usize| (at * 7 + at / 251) as u8).collect();
            let response = client.post(&format!("https://{address}/"), body.clone()).await.unwrap();
            let got = response.into_body().bytes(10_000_000).await.unwrap();
            assert_eq!(got.len(), size);
            assert!(got == body, "{size}");
        }
        drop(client);
        shutdown.begin();
        server.await.unwrap();
    });
}

#[test]
fn bodies_of_all_sizes_pass_both_ways() {
    exchange(Version::Tls13);
    exchange(Version::Tls12);
}

/// What a client gets from a server that sends `response` over TLS and then ends the stream, with close_notify or
/// without.
fn response_then_end(response: &'static str, with_close_notify: bool) -> Result<Vec<u8>, Error> {
    let (client_tls, server_tls) = pair(Version::Tls13);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let server = runtime::spawn(async move {
            let mut stream = listener.accept().await?.accept_tls(&server_tls).await?;
            stream.receive().await?;
            stream.send(response).await?;
            if with_close_notify {
                stream.shutdown().await?;
            }
            std::io::Result::Ok(())
        });
        let client = Client::new(ClientOptions::default().tls(client_tls));
        let response = client.get(&format!("https://{address}/")).await?;
        let body = response.into_body().bytes(1000).await;
        server.await.unwrap().unwrap();
        Ok(body?.to_vec())
    })
}

/// RFC 9112 §9.8: only where the end of the stream is the end of the message can a cut go unnoticed.
#[test]
fn an_end_without_close_notify_is_an_error_if_nothing_else_marks_the_end() {
    let framed = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    let unframed = "HTTP/1.1 200 OK\r\n\r\nbody";
    assert_eq!(response_then_end(framed, true).unwrap(), b"body");
    assert_eq!(response_then_end(framed, false).unwrap(), b"body");
    assert_eq!(response_then_end(unframed, true).unwrap(), b"body");
    let error = response_then_end(unframed, false).unwrap_err();
    assert!(matches!(error, Error::Tls(tls::Error::Truncated)), "{error}");
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody";
    for with_close_notify in [true, false] {
        let error = response_then_end(short, with_close_notify).unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
    }
    let error = response_then_end("", false).unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
}

/// A server announces the end of each connection, so that a body without a length is known to be whole.
#[test]
fn our_server_ends_with_close_notify() {
    let (client_tls, server_tls) = pair(Version::Tls13);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let options = ServiceOptions::default().tls(server_tls);
        let server =
            runtime::spawn(serve(listener, options, shutdown.clone(), async |exchange: Exchange<'_>| {
                exchange.respond(StatusCode::OK, &[], "hello")
            }));
        for head in
            ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "X\r\n\r\n"]
        {
            let mut stream = Stream::connect_tls(&address, "localhost", &client_tls).await.unwrap();
            stream.send(head).await.unwrap();
            let mut all = Vec::new();
            while let Some(bytes) = stream.receive().await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            assert!(all.starts_with(b"HTTP/1.1 "), "{}", all.escape_ascii());
        }
        shutdown.begin();
        server.await.unwrap();
    });
}
