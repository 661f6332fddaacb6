//! The server's side: which certificate a client gets, who may connect, and how sessions are resumed.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, ServerSessionMemoryCache,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use super::certificates::{self, Identity};
use super::key_log::KeyLogFile;
use super::names::{self, Negotiation};
use super::setup_error::SetupError;
use super::version::Version;

/// Whether clients must show a certificate. The certificates in it are the authorities that may issue it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// The server asks for none.
    #[default]
    None,
    /// The server asks for one. A client without one is served; one with a bad one is not.
    Optional(Vec<CertificateDer<'static>>),
    /// A client without one is not served.
    Required(Vec<CertificateDer<'static>>),
}

/// The options of a [`ServerTls`].
///
/// ```no_run
/// use ringtide::tls::{Identity, ServerTls, ServerTlsOptions};
///
/// let options = ServerTlsOptions::default()
///     .identity(Identity::from_pem_files("example.org.pem", "example.org.key")?)
///     .identity(Identity::from_pem_files("example.com.pem", "example.com.key")?)
///     .alpn(["http/1.1"]);
/// let tls = ServerTls::new(&options)?;
/// # Ok::<(), ringtide::tls::SetupError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerTlsOptions {
    /// The certificates. A client gets the first one that has the name it asks for, exactly or else by wildcard, and the
    /// first of all if none has it or the client asks for none. There must be at least one.
    pub identities: Vec<Identity>,
    /// Whether clients must show a certificate. [`ClientAuthentication::None`] by default.
    pub client_authentication: ClientAuthentication,
    /// The application protocols (ALPN), the preferred first. None by default, which negotiates none. With a list, a
    /// client that offers only others is refused.
    pub alpn: Vec<Vec<u8>>,
    /// The lowest version. TLS 1.2 by default.
    pub min_version: Version,
    /// The highest version. TLS 1.3 by default.
    pub max_version: Version,
    /// The names of the cipher suites, the preferred first. With an empty list, the default, all of them are accepted
    /// and the client's preference counts.
    pub cipher_suites: Vec<String>,
    /// The names of the key-exchange groups, the preferred first. An empty list, the default, means X25519MLKEM768,
    /// X25519, P-256 and P-384.
    pub groups: Vec<String>,
    /// Whether clients get tickets with which they can resume their session. True by default. The keys change every
    /// 6 hours, and each ticket is valid for 12 hours at most.
    pub tickets: bool,
    /// The maximum of sessions that the server keeps for clients of TLS 1.2 that take no tickets, and if it gives none,
    /// for all clients. 4,096 by default; 0 keeps none.
    pub sessions_max: usize,
    /// A file to which the secrets of all sessions are appended, in the format of SSLKEYLOGFILE. `None` by default.
    /// **Who reads this file can decrypt the connections.**
    pub key_log: Option<PathBuf>,
}

impl Default for ServerTlsOptions {
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            client_authentication: ClientAuthentication::None,
            alpn: Vec::new(),
            min_version: Version::Tls12,
            max_version: Version::Tls13,
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            tickets: true,
            sessions_max: 4_096,
            key_log: None,
        }
    }
}

/// Each method sets the field of the same name, apart from `identity`, which adds one.
impl ServerTlsOptions {
    /// Adds a certificate.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identities.push(identity);
        self
    }

    /// Sets whether clients must show a certificate.
    #[must_use]
    pub fn client_authentication(self, client_authentication: ClientAuthentication) -> Self {
        Self { client_authentication, ..self }
    }

    /// Sets the application protocols.
    #[must_use]
    pub fn alpn(self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self { alpn: protocols.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets the lowest version.
    #[must_use]
    pub fn min_version(self, min_version: Version) -> Self {
        Self { min_version, ..self }
    }

    /// Sets the highest version.
    #[must_use]
    pub fn max_version(self, max_version: Version) -> Self {
        Self { max_version, ..self }
    }

    /// Sets the cipher suites, by the names of the IANA registry or of OpenSSL.
    #[must_use]
    pub fn cipher_suites(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { cipher_suites: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets the key-exchange groups.
    #[must_use]
    pub fn groups(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { groups: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets whether clients get tickets.
    #[must_use]
    pub fn tickets(self, tickets: bool) -> Self {
        Self { tickets, ..self }
    }

    /// Sets the maximum of sessions that the server keeps.
    #[must_use]
    pub fn sessions_max(self, sessions_max: usize) -> Self {
        Self { sessions_max, ..self }
    }

    /// Sets the file for the secrets of all sessions. Takes a path or `None`.
    #[must_use]
    pub fn key_log(self, path: impl Into<Option<PathBuf>>) -> Self {
        Self { key_log: path.into(), ..self }
    }
}

/// The TLS settings of a server. A clone is cheap and shares the certificates and sessions, also across threads.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// `None` if the settings were made elsewhere.
    identities: Option<Arc<Identities>>,
}

impl ServerTls {
    /// Checks the options and prepares everything that handshakes need.
    ///
    /// # Errors
    /// [`SetupError`] names the option at fault.
    pub fn new(options: &ServerTlsOptions) -> Result<Self, SetupError> {
        let Negotiation { provider, versions } = Negotiation::new(
            options.min_version,
            options.max_version,
            &options.cipher_suites,
            &options.groups,
        )?;
        let identities = Arc::new(Identities(RwLock::new(Choice::new(&options.identities)?)));
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(SetupError::Other)?;
        let builder = match &options.client_authentication {
            ClientAuthentication::None => builder.with_no_client_auth(),
            ClientAuthentication::Optional(authorities) | ClientAuthentication::Required(authorities) => {
                let roots = Arc::new(certificates::root_store(authorities)?);
                let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                if matches!(options.client_authentication, ClientAuthentication::Optional(_)) {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier.build();
                // Only revocation lists could be at fault, and there are none.
                let error = |error: rustls::server::VerifierBuilderError| {
                    SetupError::Other(rustls::Error::General(error.to_string()))
                };
                builder.with_client_cert_verifier(verifier.map_err(error)?)
            }
        };
        let mut config = builder.with_cert_resolver(identities.clone());
        config.alpn_protocols = names::alpn(&options.alpn)?;
        config.ignore_client_order = !options.cipher_suites.is_empty();
        if options.tickets {
            config.ticketer = Ticketer::new().map_err(SetupError::Other)?;
        }
        config.session_storage = match options.sessions_max {
            0 => Arc::new(NoServerSessionStorage {}),
            sessions_max => ServerSessionMemoryCache::new(sessions_max),
        };
        if let Some(path) = &options.key_log {
            config.key_log = KeyLogFile::open(path)?;
        }
        Ok(Self { config: Arc::new(config), identities: Some(identities) })
    }

    /// Makes a server with a self-signed certificate for these names and IP addresses, as
    /// [`Identity::self_signed`] does. For tests and for trying things out.
    ///
    /// # Errors
    /// As [`Identity::self_signed`].
    pub fn self_signed(names: &[impl AsRef<str>]) -> Result<Self, SetupError> {
        Self::new(&ServerTlsOptions::default().identity(Identity::self_signed(names)?))
    }

    /// Replaces all certificates, for the handshakes that begin from now on, in all clones. Connections and handshakes
    /// that have begun keep theirs. Sessions can still be resumed.
    ///
    /// # Errors
    /// [`SetupError::NoIdentity`] if there is none in the list; [`SetupError::NotReloadable`] if the server was made from
    /// a rustls configuration. The certificates stay as they were.
    pub fn reload(&self, identities: &[Identity]) -> Result<(), SetupError> {
        let shared = self.identities.as_ref().ok_or(SetupError::NotReloadable)?;
        let choice = Choice::new(identities)?;
        *shared.0.write().unwrap_or_else(PoisonError::into_inner) = choice;
        Ok(())
    }

    /// Returns the same settings with these application protocols, unless they name others. Identities and sessions are
    /// shared.
    pub(crate) fn with_default_alpn(&self, protocols: &[&[u8]]) -> Self {
        let mut tls = self.clone();
        if tls.config.alpn_protocols.is_empty() {
            let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::make_mut(&mut tls.config).alpn_protocols = protocols;
        }
        tls
    }

    /// Returns the settings as rustls takes them.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

/// For settings that [`ServerTlsOptions`] does not have. Early data stays off, as an attacker can replay it.
impl From<Arc<ServerConfig>> for ServerTls {
    fn from(mut config: Arc<ServerConfig>) -> Self {
        if config.max_early_data_size > 0 {
            Arc::make_mut(&mut config).max_early_data_size = 0;
        }
        Self { config, identities: None }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("identities", &self.identities).finish_non_exhaustive()
    }
}

/// The certificates that can be replaced. A handshake holds the lock for two lookups at most.
struct Identities(RwLock<Choice>);

/// Which certificate each name gets.
struct Choice {
    /// By name in lower case; a wildcard by its `*.example.org`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl Choice {
    fn new(identities: &[Identity]) -> Result<Self, SetupError> {
        let first = identities.first().ok_or(SetupError::NoIdentity)?;
        let mut by_name = HashMap::new();
        for identity in identities {
            for name in identity.dns_names() {
                by_name.entry(name).or_insert_with(|| identity.key().clone());
            }
        }
        Ok(Self { by_name, default: first.key().clone() })
    }

    /// Takes a name in lower case.
    fn get(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.by_name.get(name).or_else(|| {
            // A wildcard stands for exactly one label (RFC 9525 §6.3).
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choice = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // rustls has brought the name into lower case.
        let key = hello.server_name().and_then(|name| choice.get(name)).unwrap_or(&choice.default);
        Some(key.clone())
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choice = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(choice.by_name.keys()).finish()
    }
}
