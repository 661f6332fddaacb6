//! The contract of streams, on everything that carries them: a socket pair and the simulated network with faults, both
//! plain and with TLS. A test that names no carrier runs on all.

mod closing;
mod halves;
mod raw_peer;
mod reading;
mod upgrade;
mod writing;

use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::{Listener, Stream};
use ringtide::tls::{ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust, Version};
use ringtide_driver::sim::{Faults, Sim, SimOptions};

/// What carries the bytes.
#[derive(Clone, Copy, Debug)]
struct Carrier {
    /// The seed of the simulated network, or `None` for real sockets.
    seed: Option<u64>,
    tls: Option<Version>,
}

impl Carrier {
    fn all() -> impl Iterator<Item = Self> {
        let tls = [None, Some(Version::Tls13), Some(Version::Tls12)];
        let seeds = std::iter::once(None).chain((0..6).map(Some));
        seeds.flat_map(move |seed| tls.map(|tls| Self { seed, tls }))
    }

    fn worker(self, faults: Faults) -> Worker {
        let Some(seed) = self.seed else { return Worker::new(&WorkerOptions::default()).unwrap() };
        // Small enough that senders have to wait.
        let socket_buffer_size = if seed % 2 == 0 { 3_000 } else { 64 * 1024 };
        Worker::simulated(Sim::new(SimOptions { seed, faults, socket_buffer_size })).unwrap()
    }

    async fn pair(self) -> (Stream, Stream) {
        let (client, server) = if self.seed.is_some() {
            let mut listener = Listener::bind(&"127.0.0.1:80".parse().unwrap(), false).unwrap();
            let address = listener.local_address().unwrap();
            let (client, server) = join(Stream::connect(&address), listener.accept()).await;
            (client.unwrap(), server.unwrap())
        } else {
            let (client, server) = UnixStream::pair().unwrap();
            (Stream::adopt(client.into()).unwrap(), Stream::adopt(server.into()).unwrap())
        };
        let Some(version) = self.tls else { return (client, server) };
        let (client_tls, server_tls) = tls(version);
        let client = async {
            let mut client = client.start_tls("localhost", client_tls).await?;
            client.flush().await?;
            Ok::<_, std::io::Error>(client)
        };
        let (client, server) = join(client, server.accept_tls(server_tls)).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        assert!(client.tls().is_some() && server.tls().is_some());
        (client, server)
    }
}

/// Runs `test` with the two ends of a stream, once for each carrier.
fn on_all(test: impl AsyncFn(Stream, Stream, Carrier)) {
    for carrier in Carrier::all() {
        println!("{carrier:?}");
        let faults =
            if carrier.seed.is_some_and(|seed| seed > 0) { Faults::hidden(0.1) } else { Faults::default() };
        carrier.worker(faults).block_on(async {
            let limit = Duration::from_secs(if carrier.seed.is_some() { 3_600 } else { 20 });
            let run = async {
                let (client, server) = carrier.pair().await;
                test(client, server, carrier).await;
            };
            runtime::timeout(limit, run).await.unwrap_or_else(|| panic!("{carrier:?} hangs"));
        });
    }
}

/// What both sides of a session need.
fn tls(version: Version) -> &'static (ClientTls, ServerTls) {
    static TLS12: OnceLock<(ClientTls, ServerTls)> = OnceLock::new();
    static TLS13: OnceLock<(ClientTls, ServerTls)> = OnceLock::new();
    let place = if version == Version::Tls12 { &TLS12 } else { &TLS13 };
    place.get_or_init(|| {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let server = ServerTls::new(&ServerTlsOptions::default().identity(identity.clone())).unwrap();
        let options = ClientTlsOptions::default()
            .trust(Trust::Given)
            .authorities(identity.chain().to_vec())
            .min_version(version)
            .max_version(version);
        (ClientTls::new(&options).unwrap(), server)
    })
}

/// Bytes that differ from their neighbours, those of the next record, and those of another call.
fn pattern(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + at / 251 + number * 13) as u8).collect()
}

/// Polls `future` once, and drops it. It must not be ready.
fn poll_and_drop<T>(future: impl Future<Output = T>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(future).poll(&mut context), Poll::Pending), "it is ready");
}
