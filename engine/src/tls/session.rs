//! One TLS session: ciphertext in, plain bytes out, and the reverse. It does no I/O.
//!
//! This is the only file that drives a rustls connection. rustls 0.23 keeps ciphertext in a buffer of its own and copies
//! each record that it decrypts. Its successor decrypts in the caller's memory; [`Session::receive`] already takes a
//! buffer that may be changed in place, so that only this file has to follow.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, Write};

use ringtide_driver::Lease;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};

use super::client::ClientTls;
use super::error::{Error, Peer};
use super::server::ServerTls;

/// Maximum of plain bytes in a record (RFC 8446 §5.1).
pub(crate) const RECORD_CONTENT_SIZE_MAX: usize = 16 * 1024;

/// The number of bytes that rustls takes at a time.
const READ_SIZE: usize = 4096;

/// Bytes of a peer that are kept to tell what it speaks if it does not speak TLS.
const START_SIZE: usize = 48;

pub(crate) struct Session {
    connection: Connection,
    /// Only while the handshake lasts.
    handshake: Option<Box<Handshake>>,
    peer_closed: bool,
}

/// What errors of the handshake tell.
struct Handshake {
    peer: Peer,
    /// The first bytes that arrived.
    start: Vec<u8>,
}

impl Session {
    /// Begins a session with the server `host`. The first output is there at once.
    pub(crate) fn client(tls: &ClientTls, host: &str) -> Result<Self, Error> {
        let name = tls.server_name(host)?;
        let peer = Peer::Server(name.to_str().into());
        match ClientConnection::new(tls.config().clone(), name) {
            Ok(connection) => Ok(Self::new(connection.into(), peer)),
            Err(error) => Err(Error::new(error, peer, &[])),
        }
    }

    /// Begins a session with a client, which has to send first.
    pub(crate) fn server(tls: &ServerTls) -> Result<Self, Error> {
        match ServerConnection::new(tls.config().clone()) {
            Ok(connection) => Ok(Self::new(connection.into(), Peer::Client)),
            Err(error) => Err(Error::new(error, Peer::Client, &[])),
        }
    }

    fn new(mut connection: Connection, peer: Peer) -> Self {
        // The caller bounds what it encrypts at a time.
        connection.set_buffer_limit(None);
        Self {
            connection,
            handshake: Some(Box::new(Handshake { peer, start: Vec::new() })),
            peer_closed: false,
        }
    }

    /// Decrypts `ciphertext` and appends the plain bytes to `plain`.
    ///
    /// # Errors
    /// The session is over. [`has_output`](Self::has_output) tells whether there is an alert for the peer. What was
    /// decrypted before is in `plain`.
    pub(crate) fn receive(&mut self, ciphertext: Lease, plain: &mut VecDeque<Lease>) -> Result<(), Error> {
        if let Some(handshake) = &mut self.handshake {
            let missing = START_SIZE.saturating_sub(handshake.start.len());
            handshake.start.extend_from_slice(&ciphertext[..missing.min(ciphertext.len())]);
        }
        if ciphertext.len() <= READ_SIZE {
            let (taken, outcome) = self.decrypt_next(&ciphertext);
            if taken == ciphertext.len() {
                self.take_plain_into(ciphertext, plain);
                return outcome;
            }
            outcome?;
            return self.receive_more(&ciphertext[taken..], plain);
        }
        self.receive_more(&ciphertext, plain)
    }

    /// Encrypts `plain` and appends the records to `out`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.queue(plain)?;
        self.take_output(out);
        Ok(())
    }

    /// Takes `plain` to be encrypted as soon as there are keys. [`take_output`](Self::take_output) returns the records.
    pub(crate) fn queue(&mut self, plain: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(plain)
    }

    /// Returns whether bytes can be sent before the handshake has ended (RFC 8446 §2.3): the session is resumed, the
    /// server has allowed it then, and the settings do now.
    pub(crate) fn can_send_early(&mut self) -> bool {
        match &mut self.connection {
            Connection::Client(connection) => {
                connection.early_data().is_some_and(|early| early.bytes_left() > 0)
            }
            Connection::Server(_) => false,
        }
    }

    /// Takes as much of `plain` as may be sent early, and returns its size.
    pub(crate) fn queue_early(&mut self, plain: &[u8]) -> usize {
        match &mut self.connection {
            Connection::Client(connection) => {
                connection.early_data().map_or(0, |mut early| early.write(plain).unwrap_or(0))
            }
            Connection::Server(_) => 0,
        }
    }

    /// Returns whether the server has taken what was sent early. Known when the handshake has ended.
    pub(crate) fn is_early_data_accepted(&self) -> bool {
        matches!(&self.connection, Connection::Client(connection) if connection.is_early_data_accepted())
    }

    /// Returns whether there is something to send that no plain bytes caused.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Appends to `out` what is to be sent.
    pub(crate) fn take_output(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(out).expect("memory takes all bytes");
        }
    }

    /// Makes close_notify the next output.
    pub(crate) fn send_close_notify(&mut self) {
        self.connection.send_close_notify();
    }

    #[inline]
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(crate) fn has_received_close_notify(&self) -> bool {
        self.peer_closed
    }

    /// Returns what it means that the peer has ended the stream here, without close_notify.
    pub(crate) fn end_of_stream(&self) -> Error {
        match &self.handshake {
            Some(handshake) => Error::ClosedInHandshake { peer: handshake.peer.clone() },
            None => Error::Truncated,
        }
    }

    /// Returns what the handshake has agreed on.
    pub(crate) fn facts(&self) -> TlsFacts<'_> {
        TlsFacts { connection: &self.connection }
    }

    /// Takes up to [`READ_SIZE`] bytes of `ciphertext`, and decrypts the records that they complete. Returns how many
    /// it took.
    fn decrypt_next(&mut self, mut ciphertext: &[u8]) -> (usize, Result<(), Error>) {
        let size = ciphertext.len();
        if self.peer_closed {
            // RFC 8446 §6.1: what follows close_notify is ignored.
            return (size, Ok(()));
        }
        if let Err(error) = self.connection.read_tls(&mut ciphertext) {
            return (0, Err(Error::Internal { reason: error.to_string() }));
        }
        let taken = size - ciphertext.len();
        let outcome = match self.connection.process_new_packets() {
            Ok(state) => {
                self.peer_closed = state.peer_has_closed();
                if !self.connection.is_handshaking() {
                    self.handshake = None;
                }
                Ok(())
            }
            Err(error) => Err(self.error(error)),
        };
        (taken, outcome)
    }

    /// Moves what was decrypted to `plain`, in the memory of `lease` if it fits.
    fn take_plain_into(&mut self, mut lease: Lease, plain: &mut VecDeque<Lease>) {
        let mut reader = self.connection.reader();
        // An error means that nothing is there, or that the stream has ended; whoever reads next sees that.
        let Ok(first) = reader.fill_buf() else { return };
        let size = first.len();
        if size == 0 {
            return;
        }
        if !lease.refill(first) {
            lease = Lease::copied(first);
        }
        plain.push_back(lease);
        reader.consume(size);
        let mut rest = Vec::new();
        self.append_plain(&mut rest);
        if !rest.is_empty() {
            plain.push_back(Lease::from(rest));
        }
    }

    #[inline(never)]
    fn receive_more(&mut self, mut ciphertext: &[u8], plain: &mut VecDeque<Lease>) -> Result<(), Error> {
        let mut all = Vec::with_capacity(ciphertext.len());
        let mut outcome = Ok(());
        // rustls takes nothing more while too much that was decrypted waits.
        self.append_plain(&mut all);
        while !ciphertext.is_empty() && outcome.is_ok() {
            let taken;
            (taken, outcome) = self.decrypt_next(ciphertext);
            ciphertext = &ciphertext[taken..];
            self.append_plain(&mut all);
            debug_assert!(taken > 0 || outcome.is_err());
        }
        if !all.is_empty() {
            plain.push_back(Lease::from(all));
        }
        outcome
    }

    /// Appends what was decrypted to `all`.
    fn append_plain(&mut self, all: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        while let Ok(next) = reader.fill_buf()
            && !next.is_empty()
        {
            let size = next.len();
            all.extend_from_slice(next);
            reader.consume(size);
        }
    }

    #[cold]
    fn error(&self, error: rustls::Error) -> Error {
        match &self.handshake {
            Some(handshake) => Error::new(error, handshake.peer.clone(), &handshake.start),
            None => Error::new(error, self.facts().peer(), &[]),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts().fmt(f)
    }
}

/// What a TLS handshake has agreed on. Facts are `None` while the handshake lasts.
#[derive(Clone, Copy)]
pub struct TlsFacts<'s> {
    connection: &'s Connection,
}

impl<'s> TlsFacts<'s> {
    /// Returns the protocol version.
    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// Returns the cipher suite.
    pub fn cipher_suite(&self) -> Option<rustls::CipherSuite> {
        self.connection.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    /// Returns the group of the key exchange.
    pub fn group(&self) -> Option<rustls::NamedGroup> {
        self.connection.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name)
    }

    /// Returns the protocol that ALPN chose (RFC 7301), such as `b"http/1.1"`.
    pub fn alpn(&self) -> Option<&'s [u8]> {
        self.connection.alpn_protocol()
    }

    /// Returns the peer's certificates, its own first. Empty if it has sent none, or if the session was resumed without
    /// them.
    pub fn peer_certificates(&self) -> &'s [CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// Returns whether the session was resumed, so that no certificate was sent or checked.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Returns the name that the client has asked for (SNI, RFC 6066 §3). Only a server knows it.
    pub fn server_name(&self) -> Option<&'s str> {
        match self.connection {
            Connection::Server(connection) => connection.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// Fills `output` with key material that only the two peers know (RFC 5705, RFC 8446 §7.5).
    ///
    /// # Errors
    /// The handshake has not ended.
    pub fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: Option<&[u8]>,
    ) -> Result<(), Error> {
        match self.connection.export_keying_material(output, label, context) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(error, self.peer(), &[])),
        }
    }

    /// Returns the peer, as an error names it after the handshake.
    fn peer(self) -> Peer {
        match self.connection {
            Connection::Client(_) => Peer::Server("the server".into()),
            Connection::Server(_) => Peer::Client,
        }
    }
}

impl fmt::Debug for TlsFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFacts")
            .field("version", &self.version())
            .field("cipher_suite", &self.cipher_suite())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .finish_non_exhaustive()
    }
}
