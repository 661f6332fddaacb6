//! The client's side: what it trusts, what it offers, and which sessions it resumes.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;

use super::certificates::{self, Identity};
use super::error::Error;
use super::key_log::KeyLogFile;
use super::names::{self, Negotiation};
use super::session_cache::SessionCache;
use super::setup_error::SetupError;
use super::verifier::{AcceptsAnyCertificate, Explaining};
use super::version::Version;

/// The authorities whose certificates a client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// Those of the operating system, and those that the caller gives.
    #[default]
    Platform,
    /// Those of Mozilla's list, as compiled into the program, and those that the caller gives.
    WebpkiRoots,
    /// Only those that the caller gives.
    Given,
}

/// The options of a [`ClientTls`].
///
/// ```
/// use ringtide::tls::{ClientTls, ClientTlsOptions, Trust};
///
/// let options = ClientTlsOptions::default()
///     .trust(Trust::WebpkiRoots)
///     .alpn(["http/1.1"])
///     .groups(["X25519", "P-256"]);
/// let tls = ClientTls::new(&options)?;
/// # Ok::<(), ringtide::tls::SetupError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientTlsOptions {
    /// Whom the client trusts. [`Trust::Platform`] by default.
    pub trust: Trust,
    /// Authorities that the client trusts in addition, or alone with [`Trust::Given`]. None by default. A server's own
    /// certificate can be given as well, if it does not say that it is a CA's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// **Insecure if true: the client accepts any certificate, so anybody on the network can read and change
    /// everything.** Use it only for test servers. False by default.
    pub insecure: bool,
    /// What the client shows to a server that asks for a certificate. `None`, the default, means nothing.
    pub identity: Option<Identity>,
    /// The name of every server: it is sent (SNI), and the certificate is checked against it, instead of the host that
    /// is connected to. `None`, the default, means the host.
    pub server_name: Option<String>,
    /// The application protocols to offer (ALPN), the preferred first. None by default, which negotiates none.
    pub alpn: Vec<Vec<u8>>,
    /// The lowest version. TLS 1.2 by default.
    pub min_version: Version,
    /// The highest version. TLS 1.3 by default.
    pub max_version: Version,
    /// The names of the cipher suites to offer, the preferred first. An empty list, the default, means all.
    pub cipher_suites: Vec<String>,
    /// The names of the key-exchange groups to offer, the preferred first. An empty list, the default, means
    /// X25519MLKEM768, X25519, P-256 and P-384.
    pub groups: Vec<String>,
    /// The maximum of sessions that are kept for resumption, for all servers and all clones together. 4,096 by default;
    /// 0 turns resumption off.
    ///
    /// A server commonly gives two tickets for each connection, and each is used once. So a client that reopens a
    /// number of connections at a time needs as many sessions to resume all of them. A session commonly
    /// takes about 1 KiB, and the certificates of the server; a server may make it take 64 KiB.
    pub sessions_max: usize,
    /// A file to which the secrets of all sessions are appended, in the format of SSLKEYLOGFILE. `None` by default.
    /// **Who reads this file can decrypt the connections.**
    pub key_log: Option<PathBuf>,
    /// Whether a resumed connection may send data before the handshake is complete (0-RTT). An attacker can replay such
    /// data. False by default.
    pub early_data: bool,
}

impl Default for ClientTlsOptions {
    fn default() -> Self {
        Self {
            trust: Trust::Platform,
            authorities: Vec::new(),
            insecure: false,
            identity: None,
            server_name: None,
            alpn: Vec::new(),
            min_version: Version::Tls12,
            max_version: Version::Tls13,
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            sessions_max: 4_096,
            key_log: None,
            early_data: false,
        }
    }
}

/// Each method sets the field of the same name.
impl ClientTlsOptions {
    /// Sets whom the client trusts.
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Sets the additional authorities. [`read_certificates`](super::read_certificates) reads them from a file.
    #[must_use]
    pub fn authorities(self, authorities: Vec<CertificateDer<'static>>) -> Self {
        Self { authorities, ..self }
    }

    /// **Insecure:** sets whether the client accepts any certificate.
    #[must_use]
    pub fn insecure(self, insecure: bool) -> Self {
        Self { insecure, ..self }
    }

    /// Sets the client's certificate. Takes one or `None`.
    #[must_use]
    pub fn identity(self, identity: impl Into<Option<Identity>>) -> Self {
        Self { identity: identity.into(), ..self }
    }

    /// Sets the name of every server.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self { server_name: Some(name.into()), ..self }
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

    /// Sets the maximum of sessions that are kept.
    #[must_use]
    pub fn sessions_max(self, sessions_max: usize) -> Self {
        Self { sessions_max, ..self }
    }

    /// Sets the file for the secrets of all sessions. Takes a path or `None`.
    #[must_use]
    pub fn key_log(self, path: impl Into<Option<PathBuf>>) -> Self {
        Self { key_log: path.into(), ..self }
    }

    /// Sets whether data may be sent early.
    #[must_use]
    pub fn early_data(self, early_data: bool) -> Self {
        Self { early_data, ..self }
    }
}

/// The TLS settings of a client, with its sessions. A clone is cheap and shares the sessions, also across threads.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    insecure: bool,
}

impl ClientTls {
    /// Reads and checks everything that the options name. With [`Trust::Platform`] this reads the system's authorities,
    /// which takes some milliseconds; so make one and clone it.
    ///
    /// # Errors
    /// [`SetupError`] names the option at fault.
    pub fn new(options: &ClientTlsOptions) -> Result<Self, SetupError> {
        let Negotiation { provider, versions } = Negotiation::new(
            options.min_version,
            options.max_version,
            &options.cipher_suites,
            &options.groups,
        )?;
        let server_name = options.server_name.as_deref().map(|name| {
            parse_server_name(name).ok_or_else(|| SetupError::HostName { name: name.to_owned() })
        });
        let server_name = server_name.transpose()?;
        let alpn_protocols = names::alpn(&options.alpn)?;
        let verifier: Arc<dyn ServerCertVerifier> = if options.insecure {
            Arc::new(AcceptsAnyCertificate(provider.signature_verification_algorithms))
        } else {
            Arc::new(Explaining {
                verifier: verifier(options, &provider)?,
                authorities: options.authorities.clone(),
                accepted: RwLock::default(),
            })
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(SetupError::Other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key().clone())))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn_protocols;
        config.enable_early_data = options.early_data;
        config.resumption = match options.sessions_max {
            0 => Resumption::disabled(),
            sessions_max => Resumption::store(Arc::new(SessionCache::new(sessions_max))),
        };
        if let Some(path) = &options.key_log {
            config.key_log = KeyLogFile::open(path)?;
        }
        Ok(Self { config: Arc::new(config), server_name, insecure: options.insecure })
    }

    /// Returns the same settings with these application protocols, unless they name others. The sessions are shared.
    pub(crate) fn with_default_alpn(&self, protocols: &[&[u8]]) -> Self {
        let mut tls = self.clone();
        if tls.config.alpn_protocols.is_empty() {
            let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::make_mut(&mut tls.config).alpn_protocols = protocols;
        }
        tls
    }

    /// Returns the settings as rustls takes them.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Returns the name that is sent to a host, and that its certificate is checked against: `server_name` of the
    /// options, or else the host, which is a DNS name or an IP address (IPv6 also in brackets).
    ///
    /// # Errors
    /// [`Error::HostName`].
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, Error> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_server_name(host).ok_or_else(|| Error::HostName { host: host.into() }),
        }
    }
}

/// For settings that [`ClientTlsOptions`] does not have. Self-signed certificates are then reported as
/// [`Error::UnknownIssuer`](super::Error::UnknownIssuer).
impl From<Arc<ClientConfig>> for ClientTls {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config, server_name: None, insecure: false }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ClientTls");
        if self.insecure {
            debug.field("trust", &format_args!("INSECURE: ACCEPTS ANY CERTIFICATE"));
        }
        debug.field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn parse_server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare).ok().map(|name| name.to_owned())
}

fn verifier(
    options: &ClientTlsOptions,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, SetupError> {
    let roots = match options.trust {
        Trust::Platform => {
            // Checks them, with an error that says which one is bad.
            if !options.authorities.is_empty() {
                certificates::root_store(&options.authorities)?;
            }
            let authorities = options.authorities.iter().cloned();
            return rustls_platform_verifier::Verifier::new_with_extra_roots(authorities, provider.clone())
                .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
                .map_err(|error| SetupError::NoSystemAuthorities { reason: error.to_string() });
        }
        Trust::WebpkiRoots => {
            let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            certificates::add_authorities(&mut roots, &options.authorities)?;
            roots
        }
        Trust::Given => certificates::root_store(&options.authorities)?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    match verifier {
        Ok(verifier) => Ok(verifier),
        // Only revocation lists could be at fault, and there are none.
        Err(error) => Err(SetupError::Other(rustls::Error::General(error.to_string()))),
    }
}
