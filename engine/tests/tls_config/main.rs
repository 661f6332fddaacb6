//! Tests of the TLS settings and errors: handshakes in memory, without sockets.

mod errors;
mod handshakes;
mod resumption;
mod setup;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use ringtide::tls::rustls::pki_types::CertificateDer;
use ringtide::tls::rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};
use ringtide::tls::{
    ClientTls, ClientTlsOptions, Error, Identity, Peer, ServerTls, ServerTlsOptions, Trust, Version,
};

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// An authority that issues certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Issues a certificate for these names.
    fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    /// Issues a certificate that `edit` may change before.
    fn issue_with(&self, names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (certificate, key) = self.sign(names, edit);
        Identity::new(vec![certificate], key.into()).expect("an identity")
    }

    fn sign(
        &self,
        names: &[&str],
        edit: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, KeyPair) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "somebody");
        edit(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.der().clone(), key)
    }

    /// The options of a client that trusts this authority alone.
    fn trusted(&self) -> ClientTlsOptions {
        ClientTlsOptions::default().trust(Trust::Given).authorities(vec![self.certificate()])
    }
}

/// The options of a server with one certificate.
fn serving(identity: Identity) -> ServerTlsOptions {
    ServerTlsOptions::default().identity(identity)
}

fn client(options: &ClientTlsOptions) -> ClientTls {
    ClientTls::new(options).expect("a client")
}

fn server(options: &ServerTlsOptions) -> ServerTls {
    ServerTls::new(options).expect("a server")
}

/// Two connected ends, and the first error of each.
struct Pair {
    client: Connection,
    server: Connection,
    client_error: Option<Error>,
    server_error: Option<Error>,
    host: Peer,
}

impl Pair {
    fn new(client: &ClientTls, server: &ServerTls, host: &str) -> Self {
        let name = client.server_name(host).expect("a name");
        let host = Peer::Server(name.to_str().into());
        Self {
            client: ClientConnection::new(client.config().clone(), name).expect("a client").into(),
            server: ServerConnection::new(server.config().clone()).expect("a server").into(),
            client_error: None,
            server_error: None,
            host,
        }
    }

    /// Passes on what both ends have to send, until neither has more. An end that failed still sends its alert.
    fn run(&mut self) {
        loop {
            let upward = flush(&mut self.client);
            deliver(&mut self.server, &mut self.server_error, &Peer::Client, &upward);
            let downward = flush(&mut self.server);
            deliver(&mut self.client, &mut self.client_error, &self.host, &downward);
            if upward.is_empty() && downward.is_empty() {
                break;
            }
        }
    }

    /// The certificate that the client got.
    fn certificate(&self) -> &CertificateDer<'static> {
        &self.client.peer_certificates().expect("certificates")[0]
    }

    fn kind(&self) -> HandshakeKind {
        self.client.handshake_kind().expect("a handshake")
    }
}

fn flush(end: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while end.wants_write() {
        end.write_tls(&mut bytes).expect("a Vec takes everything");
    }
    bytes
}

fn deliver(end: &mut Connection, error: &mut Option<Error>, peer: &Peer, mut bytes: &[u8]) {
    let start = bytes;
    while !bytes.is_empty() && error.is_none() {
        end.read_tls(&mut bytes).expect("a slice does not fail");
        if let Err(failure) = end.process_new_packets() {
            *error = Some(Error::new(failure, peer.clone(), start));
        }
    }
}

/// Connects, and expects that both ends are content.
fn connect(client: &ClientTls, server: &ServerTls, host: &str) -> Pair {
    let mut pair = Pair::new(client, server, host);
    pair.run();
    assert_eq!((&pair.client_error, &pair.server_error), (&None, &None));
    assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
    pair
}

/// Connects, and returns the errors of the client and of the server.
fn fail(client: &ClientTls, server: &ServerTls, host: &str) -> (Option<Error>, Option<Error>) {
    let mut pair = Pair::new(client, server, host);
    pair.run();
    (pair.client_error, pair.server_error)
}
