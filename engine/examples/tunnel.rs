//! Carries the bytes of each connection to another server, and adds or removes TLS on the way. Its first line is the
//! address at which it listens; then it prints what each handshake has agreed on, and each failure.
//!
//! ```text
//! tunnel add NAME ADDRESS AUTHORITIES [CERTIFICATE KEY]   from plain connections to the TLS server NAME at ADDRESS
//! tunnel remove ADDRESS CERTIFICATE KEY [AUTHORITIES]     from TLS connections to the plain server at ADDRESS
//! ```
//!
//! `AUTHORITIES` are those that the other side's certificate must be signed by: with them, `remove` serves only clients
//! that show one. All files are PEM.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use ringtide::Address;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::{Listener, ReadHalf, Stream, WriteHalf};
use ringtide::tls::{
    ClientAuthentication, ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust,
    read_certificates,
};

#[derive(Clone)]
enum Tunnel {
    Add { tls: ClientTls, name: String, to: Address },
    Remove { tls: ServerTls, to: Address },
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tunnel = match arguments[..] {
        ["add", name, to, authorities, ref identity @ ..] if matches!(identity.len(), 0 | 2) => {
            let mut options = ClientTlsOptions::default()
                .trust(Trust::Given)
                .authorities(read_certificates(authorities)?)
                .alpn(["http/1.1"]);
            if let [certificate, key] = *identity {
                options = options.identity(Identity::from_pem_files(certificate, key)?);
            }
            Tunnel::Add { tls: ClientTls::new(&options)?, name: name.to_owned(), to: to.parse()? }
        }
        ["remove", to, certificate, key, ref authorities @ ..] if authorities.len() <= 1 => {
            let mut options = ServerTlsOptions::default()
                .identity(Identity::from_pem_files(certificate, key)?)
                .alpn(["http/1.1"]);
            if let [authorities] = *authorities {
                let required = ClientAuthentication::Required(read_certificates(authorities)?);
                options = options.client_authentication(required);
            }
            Tunnel::Remove { tls: ServerTls::new(&options)?, to: to.parse()? }
        }
        _ => {
            eprintln!(
                "usage: tunnel add NAME ADDRESS AUTHORITIES [CERTIFICATE KEY]\n       \
                 tunnel remove ADDRESS CERTIFICATE KEY [AUTHORITIES]"
            );
            return Ok(ExitCode::from(2));
        }
    };
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse()?, false)?;
        println!("{}", listener.local_address()?);
        io::stdout().flush()?;
        loop {
            let accepted = listener.accept().await?;
            let tunnel = tunnel.clone();
            runtime::spawn(async move {
                if let Err(error) = tunnel.carry(accepted).await {
                    eprintln!("{error}");
                }
            });
        }
    })
}

impl Tunnel {
    async fn carry(self, accepted: Stream) -> io::Result<()> {
        let (accepted, connected) = match self {
            Self::Add { tls, name, to } => {
                let connected = Stream::connect_tls(&to, &name, &tls).await?;
                print_facts(&connected);
                (accepted, connected)
            }
            Self::Remove { tls, to } => {
                let accepted = accepted.accept_tls(&tls).await?;
                print_facts(&accepted);
                (accepted, Stream::connect(&to).await?)
            }
        };
        let (from_client, to_client) = accepted.split();
        let (from_server, to_server) = connected.split();
        let mut up = pin!(copy(from_client, to_server));
        let mut down = pin!(copy(from_server, to_client));
        let (mut is_up_done, mut is_down_done) = (false, false);
        // The first failure ends both directions.
        poll_fn(|context| {
            if !is_up_done && let Poll::Ready(outcome) = up.as_mut().poll(context) {
                outcome?;
                is_up_done = true;
            }
            if !is_down_done && let Poll::Ready(outcome) = down.as_mut().poll(context) {
                outcome?;
                is_down_done = true;
            }
            if is_up_done && is_down_done { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

async fn copy(mut from: ReadHalf, mut to: WriteHalf) -> io::Result<()> {
    while let Some(bytes) = from.receive().await? {
        to.write_all(&bytes).await?;
        // What comes next may come late.
        to.flush().await?;
    }
    to.shutdown().await
}

fn print_facts(stream: &Stream) {
    if let Some(facts) = stream.tls() {
        let kind = if facts.is_resumed() { "resumed" } else { "full" };
        let alpn = String::from_utf8_lossy(facts.alpn().unwrap_or_default());
        let shown = facts.peer_certificates().len();
        eprintln!("{:?} {kind} alpn={alpn} peer_certificates={shown}", facts.version());
    }
}
