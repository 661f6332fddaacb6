//! A proxy for packets, plain or with TLS on either side: `cargo run -p ringtide-examples --example packet_proxy --
//! 127.0.0.1:8888 127.0.0.1:9999 --tls`
//!
//! A packet is a version (one byte, 1), the lengths of nonce and data (4 bytes each, big endian), the nonce and the
//! data. The proxy opens a connection to the upstream for each client, and forwards whole packets both ways.
//!
//! If something goes wrong, the client gets a packet of version 0 without a nonce, whose data says what it is, and then
//! the end of the stream. This happens when a packet has another version, is too large, is cut by the end of the stream or
//! takes too long, from either side; when no packet passes for a long time; when the upstream fails; and when the client
//! has waited too long for a free place. The proxy prints the same on a line. A client whose TLS handshake fails gets an
//! alert instead.
//!
//! Ctrl-C ends the proxy gracefully: it accepts nobody any more, forwards the packets that have begun, tells the upstreams
//! that nothing follows, and forwards what they still answer.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ringtide::Address;
use ringtide::runtime::sync::{Notify, Semaphore};
use ringtide::runtime::{self, JoinSet, Worker, WorkerOptions, timeout};
use ringtide::stream::{Listener, ReadHalf, Stream, WriteHalf};
use ringtide::tls::{
    ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust, read_certificates,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::{select, try_join};

const VERSION: u8 = 1;
const ERROR_VERSION: u8 = 0;
const HEADER_SIZE: usize = 9;
const PACKET_SIZE_MAX: u64 = 64 * 1024;

/// Clients whose packets have not been answered by then are cut off.
const DRAIN_TIME: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: packet_proxy LISTEN UPSTREAM [OPTION…]
  --tls                       TLS for clients, self-signed unless there is a certificate
  --cert FILE --key FILE      TLS for clients, with this certificate
  --upstream-tls NAME         TLS to the upstream, whose certificate has this name
  --upstream-ca FILE          ... and is issued by this authority, instead of one that the system trusts
  --clients N                 serve this many at a time; others wait [10000]. Each needs two descriptors (ulimit -n)
  --timeout SECONDS           for a packet, a handshake, a connect or a free place [5]
  --idle SECONDS              end connections without a packet for so long [60]";

type Fault = Box<dyn Error>;

struct Options {
    listen: Address,
    upstream: Address,
    tls: Option<ServerTls>,
    upstream_tls: Option<(String, ClientTls)>,
    clients_max: usize,
    timeout: Duration,
    idle: Duration,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Fault> {
    // From here on, these signals no longer end the process.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let mut listener = Listener::bind(&options.listen, false)?;
        println!("listening at {}", listener.local_address()?);
        let places = Semaphore::new(options.clients_max);
        let proxy = Rc::new(Proxy { options, places, drain: Drain::default() });
        let mut signal = runtime::spawn_blocking(move || signals.forever().next());
        let mut clients = JoinSet::new();
        loop {
            select! {
                accepted = listener.accept() => match accepted {
                    Ok(client) => clients.spawn(Rc::clone(&proxy).serve(client)),
                    Err(error) => {
                        eprintln!("cannot accept: {error}");
                        runtime::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = clients.join_next() => ended.unwrap_or_else(|panic| eprintln!("{panic}")),
                _ = &mut signal => break,
            }
        }
        drop(listener);
        proxy.drain.begin();
        proxy.places.close();
        println!("draining {} clients", clients.len());
        let drained = async { while clients.join_next().await.is_some() {} };
        match timeout(DRAIN_TIME, drained).await {
            Some(()) => Ok(()),
            None => Err(format!("{} clients were cut off", clients.len()).into()),
        }
    })
}

struct Proxy {
    options: Options,
    /// One for each client that is being served.
    places: Semaphore,
    drain: Drain,
}

impl Proxy {
    async fn serve(self: Rc<Self>, client: Stream) {
        let peer = client.peer_address().map_or_else(|error| error.to_string(), |peer| peer.to_string());
        let client = match self.begin(client).await {
            Ok(client) => client,
            Err(fault) => return eprintln!("{peer}: {fault}"),
        };
        let (mut from_client, mut to_client) = client.split();
        let outcome = self.relay(&mut from_client, &mut to_client).await;
        let farewell = async {
            if let Err(fault) = outcome {
                eprintln!("{peer}: {fault}");
                to_client.write_bytes(error_packet(&fault)).await?;
            }
            to_client.shutdown().await?;
            // A close with unread bytes resets the connection, and the client could lose what it has not read yet.
            while from_client.receive().await?.is_some() {}
            io::Result::Ok(())
        };
        // If it fails, the client has gone already.
        let _ = timeout(self.options.timeout, farewell).await;
    }

    async fn begin(&self, client: Stream) -> Result<Stream, Fault> {
        match &self.options.tls {
            Some(tls) => self.limited("the TLS handshake", client.accept_tls(tls)).await,
            None => Ok(client),
        }
    }

    /// Forwards the packets of a client, and those for it, until both sides have ended their streams.
    async fn relay(&self, from_client: &mut ReadHalf, to_client: &mut WriteHalf) -> Result<(), Fault> {
        let place = async { self.places.acquire().await.map_err(|_| "the proxy is ending") };
        let _place = self.limited("the wait for a free place", place).await?;
        let upstream = self.limited("connecting to the upstream", self.connect()).await?;
        let (mut from_upstream, mut to_upstream) = upstream.split();
        let passed = Cell::new(0);
        let requests = async {
            while self.has_more(from_client).await? {
                self.forward(from_client, &mut to_upstream).await?;
                passed.update(|count| count + 1);
            }
            Ok(to_upstream.shutdown().await?)
        };
        let responses = async {
            while !from_upstream.buffered().is_empty() || from_upstream.fill().await? {
                self.forward(&mut from_upstream, to_client).await?;
                passed.update(|count| count + 1);
            }
            Ok(to_client.shutdown().await?)
        };
        let requests = named("client to upstream", requests);
        let responses = named("upstream to client", responses);
        select! {
            ended = async { try_join!(requests, responses) } => ended.map(|((), ())| ()),
            () = self.silence(&passed) => Err(format!("no packet for {:?}", self.options.idle).into()),
        }
    }

    async fn connect(&self) -> io::Result<Stream> {
        let address = &self.options.upstream;
        match &self.options.upstream_tls {
            Some((name, tls)) => Stream::connect_tls(address, name, tls).await,
            None => Stream::connect(address).await,
        }
    }

    /// Waits until a packet begins. Returns false if none follows: at the end of the stream, and in a drain.
    async fn has_more(&self, from: &mut ReadHalf) -> Result<bool, Fault> {
        if !from.buffered().is_empty() {
            return Ok(true);
        }
        select! {
            biased; // What has arrived before the drain is still forwarded.
            received = from.fill() => Ok(received?),
            () = self.drain.begun() => Ok(false),
        }
    }

    /// Forwards one packet, which has begun. It leaves only when all of it has arrived.
    async fn forward(&self, from: &mut ReadHalf, to: &mut WriteHalf) -> Result<(), Fault> {
        let packet = self.limited("a packet", read_packet(from)).await?;
        // The next packet is read once this one has left. So a side that does not read holds the other one back.
        to.send(packet).await.map_err(|error| format!("cannot write: {error}").into())
    }

    async fn limited<T, E: Into<Fault>>(
        &self,
        what: &str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Fault> {
        match timeout(self.options.timeout, step).await {
            Some(outcome) => outcome.map_err(Into::into),
            None => Err(format!("{what} took longer than {:?}", self.options.timeout).into()),
        }
    }

    /// Waits until no packet has passed for the idle time.
    async fn silence(&self, passed: &Cell<u64>) {
        let mut before = None;
        while before != Some(passed.get()) {
            before = Some(passed.get());
            runtime::sleep(self.options.idle).await;
        }
    }
}

async fn named(name: &str, direction: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    direction.await.map_err(|fault| format!("{name}: {fault}").into())
}

async fn read_packet(from: &mut ReadHalf) -> Result<Vec<u8>, Fault> {
    let mut packet = vec![0; HEADER_SIZE];
    from.read_exact(&mut packet).await?;
    packet.resize(packet_size(&packet)?, 0);
    from.read_exact(&mut packet[HEADER_SIZE..]).await?;
    Ok(packet)
}

/// Returns the size of the packet with this header.
fn packet_size(header: &[u8]) -> Result<usize, Fault> {
    let length = |at| header[at..].first_chunk().map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes)));
    if header[0] != VERSION {
        return Err(format!("a packet has version {}, not {VERSION}", header[0]).into());
    }
    let size = HEADER_SIZE as u64 + length(1) + length(5);
    if size > PACKET_SIZE_MAX {
        return Err(format!("a packet of {size} bytes is larger than {PACKET_SIZE_MAX}").into());
    }
    Ok(size as usize)
}

fn error_packet(fault: &impl Display) -> Vec<u8> {
    let text = fault.to_string();
    let mut packet = vec![ERROR_VERSION, 0, 0, 0, 0];
    packet.extend_from_slice(&(text.len() as u32).to_be_bytes());
    packet.extend_from_slice(text.as_bytes());
    packet
}

/// Tells all connections that the proxy is about to end.
#[derive(Default)]
struct Drain {
    has_begun: Cell<bool>,
    changed: Notify,
}

impl Drain {
    fn begin(&self) {
        self.has_begun.set(true);
        self.changed.notify_waiters();
    }

    async fn begun(&self) {
        if !self.has_begun.get() {
            self.changed.notified().await;
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut address = || Ok::<Address, Fault>(arguments.next().ok_or("an address is missing")?.parse()?);
        let (listen, upstream) = (address()?, address()?);
        let (mut tls, mut certificate, mut key) = (false, None, None);
        let (mut upstream_name, mut upstream_ca) = (None, None);
        let (mut clients_max, mut timeout, mut idle) = (10_000, 5.0, 60.0);
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            match &option[..] {
                "--tls" => tls = true,
                "--cert" => certificate = Some(value()?),
                "--key" => key = Some(value()?),
                "--upstream-tls" => upstream_name = Some(value()?),
                "--upstream-ca" => upstream_ca = Some(value()?),
                "--clients" => clients_max = value()?.parse()?,
                "--timeout" => timeout = value()?.parse()?,
                "--idle" => idle = value()?.parse()?,
                _ => return Err(format!("there is no option {option}").into()),
            }
        }
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::from_pem_files(certificate, key)?;
                Some(ServerTls::new(&ServerTlsOptions::default().identity(identity))?)
            }
            (None, None) if tls => Some(ServerTls::self_signed(&["localhost"])?),
            (None, None) => None,
            _ => return Err("--cert and --key belong together".into()),
        };
        let mut trust = ClientTlsOptions::default();
        if let Some(path) = upstream_ca {
            trust = trust.trust(Trust::Given).authorities(read_certificates(path)?);
        }
        let upstream_tls = match upstream_name {
            Some(name) => Some((name, ClientTls::new(&trust)?)),
            None => None,
        };
        let (timeout, idle) = (Duration::try_from_secs_f64(timeout)?, Duration::try_from_secs_f64(idle)?);
        Ok(Self { listen, upstream, tls, upstream_tls, clients_max, timeout, idle })
    }
}
