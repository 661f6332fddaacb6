//! TLS from end to end: our client with our server.

use std::rc::Rc;

use ringtide::http::StatusCode;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
use ringtide::stream::Listener;
use ringtide::tls::{ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust, Version};
use ringtide::{Client, ClientOptions};

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
