//! Clients and a server on one worker, over a simulated network that does everything a kernel may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use http::Request;
use ringtide::runtime::{self, Worker};
use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
use ringtide::stream::{Listener, Stream};
use ringtide::{Address, Connection, ConnectionOptions, Error, PreparedRequest};
use ringtide_driver::sim::{Faults, Sim, SimOptions};

use crate::site::{self, PIECE, Site};

const CLIENTS: usize = 12;
const REQUESTS: usize = 25;

/// Runs `client` once per client number against the site. Returns how many requests the server handled.
fn simulate<F>(options: SimOptions, client: impl Fn(usize, Address) -> F) -> usize
where
    F: Future<Output = ()> + 'static,
{
    let handled = Arc::new(AtomicUsize::new(0));
    let mut worker = Worker::simulated(Sim::new(options)).unwrap();
    worker.block_on(async {
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&any_port, false).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown::new();
        let site = Site { handled: Arc::clone(&handled), dropped: mpsc::channel().0 };
        let server = serve(
            listener,
            ServiceOptions::default(),
            shutdown.clone(),
            async move |exchange: Exchange<'_>| site::answer(&site, exchange).await,
        );
        let server = runtime::spawn(server);
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| runtime::spawn(client(number, address.clone()))).collect();
        for client in clients {
            client.await.unwrap();
        }
        shutdown.begin();
        server.await.unwrap();
    });
    handled.load(Ordering::SeqCst)
}

/// A body that identifies its client and request.
fn body(client: usize, request: usize) -> Bytes {
    format!("{client}/{request};").repeat(1 + (client * 977 + request * 1231) % 9000).into()
}

fn post(target: &str, body: Bytes) -> PreparedRequest {
    PreparedRequest::new(&Request::post(format!("http://h{target}")).body(body).unwrap()).unwrap()
}

fn get(target: &str) -> PreparedRequest {
    PreparedRequest::new(&Request::get(format!("http://h{target}")).body(Bytes::new()).unwrap()).unwrap()
}

async fn exchanges(connection: &mut Connection, client: usize, requests: usize) -> Result<(), Error> {
    for number in 0..requests {
        let (request, expected) = match number % 5 {
            0 => (get("/"), Bytes::from_static(b"hello world\n")),
            1 => (get("/pieces"), PIECE.repeat(1000).into()),
            2 => (get("/prepared"), Bytes::from_static(b"prepared\n")),
            3 => (post("/early", body(client, number)), Bytes::from_static(b"no\n")),
            _ => (post("/echo", body(client, number)), body(client, number)),
        };
        let mut response = connection.send(&request).await?;
        let received = response.body(1 << 20).await?.expect("no body is so large");
        assert!(received == expected, "client {client}, request {number}: {} bytes", received.len());
    }
    Ok(())
}

#[test]
fn every_response_is_right_under_hidden_faults() {
    for (seed, probability) in [(1, 0.0), (2, 0.02), (3, 0.1), (4, 0.3), (5, 0.1), (6, 0.1)] {
        let options = SimOptions {
            seed,
            faults: Faults::hidden(probability),
            socket_buffer_size: if seed % 2 == 0 { 64 * 1024 } else { 700 },
        };
        let handled = simulate(options, |number, address| async move {
            let mut connection = Connection::connect(&address).await.unwrap();
            exchanges(&mut connection, number, REQUESTS).await.unwrap();
        });
        assert_eq!(handled, CLIENTS * REQUESTS, "seed {seed}");
    }
}

#[test]
fn pipelined_responses_are_right_under_hidden_faults() {
    for seed in 1..5 {
        let options = SimOptions { seed, faults: Faults::hidden(0.1), ..SimOptions::default() };
        let handled = simulate(options, |client, address| async move {
            let stream = Stream::connect(&address).await.unwrap();
            let options = ConnectionOptions::default().pipelining(true);
            let mut connection = Connection::new(stream, &options);
            let pieces: Bytes = PIECE.repeat(1000).into();
            for request in 0..REQUESTS {
                let request = match request % 3 {
                    0 => get("/pieces"),
                    1 => post("/whole", body(client, request).slice(..4)),
                    _ => get("/"),
                };
                connection.start(&request).unwrap();
            }
            for request in 0..REQUESTS {
                let expected = match request % 3 {
                    0 => pieces.clone(),
                    1 => body(client, request).slice(..4),
                    _ => Bytes::from_static(b"hello world\n"),
                };
                let mut response = connection.response().await.unwrap();
                assert!(response.body(1 << 20).await.unwrap().unwrap() == expected, "seed {seed}");
            }
        });
        assert_eq!(handled, CLIENTS * REQUESTS, "seed {seed}");
    }
}

#[test]
fn resets_end_their_own_connections_only() {
    for seed in 1..8 {
        let faults = Faults { reset: 0.5, ..Faults::hidden(0.05) };
        let options = SimOptions { seed, faults, ..SimOptions::default() };
        simulate(options, |client, address| async move {
            let mut left = REQUESTS;
            while left > 0 {
                // Each attempt may fail, but every response is correct.
                if let Ok(mut connection) = Connection::connect(&address).await
                    && exchanges(&mut connection, client, left.min(5)).await.is_ok()
                {
                    left -= left.min(5);
                }
            }
        });
    }
}

#[test]
fn a_server_without_descriptors_waits_for_some() {
    let faults = Faults { no_descriptors: 0.3, ..Faults::default() };
    let options = SimOptions { seed: 7, faults, ..SimOptions::default() };
    let handled = simulate(options, |client, address| async move {
        let mut connection = loop {
            // The client's connect may also run out of descriptors.
            if let Ok(connection) = Connection::connect(&address).await {
                break connection;
            }
        };
        exchanges(&mut connection, client, REQUESTS).await.unwrap();
    });
    assert_eq!(handled, CLIENTS * REQUESTS);
}
