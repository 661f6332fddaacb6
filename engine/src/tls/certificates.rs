//! Certificates and private keys: read from PEM files, checked, and prepared for handshakes.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use webpki::{EndEntityCert, anchor_from_trusted_cert};

use super::names;
use super::setup_error::SetupError;

/// A certificate with its chain and its private key, parsed and ready for handshakes. A clone shares them.
///
/// Debug output does not show the key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

impl Identity {
    /// Takes a chain that begins with the certificate itself, and the certificate's key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    /// [`SetupError::Certificate`], [`SetupError::Key`], [`SetupError::KeyMismatch`], or [`SetupError::NoIdentity`] if
    /// the chain is empty.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, SetupError> {
        Self::named(chain, key, "the given chain", "the given key")
    }

    /// Reads the chain from one PEM file, the certificate itself first, and its key from another or the same.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and [`SetupError::File`], [`SetupError::Pem`], [`SetupError::NoCertificate`] or
    /// [`SetupError::NoKey`].
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, SetupError> {
        let (certificates, key) = (certificates.as_ref(), key.as_ref());
        let chain = read_certificates(certificates)?;
        let der = read_key(key)?;
        Self::named(chain, der, &certificates.display().to_string(), &key.display().to_string())
    }

    /// Makes a key (ECDSA P-256) and a certificate that it signs itself, for these DNS names and IP addresses. It is
    /// valid for as long as any program runs. For tests and for trying things out.
    ///
    /// # Errors
    /// [`SetupError::HostName`]: a name is not ASCII. [`SetupError::Key`]: there is no randomness.
    pub fn self_signed(names: &[impl AsRef<str>]) -> Result<Self, SetupError> {
        let host_error = |name: &str| SetupError::HostName { name: name.to_owned() };
        let key_error = |error: rcgen::Error| SetupError::Key {
            place: "the self-signed certificate".to_owned(),
            reason: error.to_string(),
        };
        let mut params = CertificateParams::default();
        for name in names {
            let one =
                CertificateParams::new([name.as_ref().to_owned()]).map_err(|_| host_error(name.as_ref()))?;
            params.subject_alt_names.extend(one.subject_alt_names);
        }
        let common_name = names.first().map_or("localhost", AsRef::as_ref);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(key_error)?;
        let certificate = params.self_signed(&key).map_err(key_error)?;
        Self::new(vec![certificate.der().clone()], PrivateKeyDer::from(key))
    }

    /// Returns the chain, the certificate itself first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Returns the DNS names of the certificate, wildcards included, in lower case.
    pub fn dns_names(&self) -> Vec<String> {
        // It was parsed when the identity was made.
        EndEntityCert::try_from(&self.key.cert[0])
            .map(|certificate| certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
            .unwrap_or_default()
    }

    /// What rustls signs with.
    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    fn named(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        chain_place: &str,
        key_place: &str,
    ) -> Result<Self, SetupError> {
        let first = chain.first().ok_or(SetupError::NoIdentity)?;
        EndEntityCert::try_from(first).map_err(|error| SetupError::Certificate {
            place: chain_place.to_owned(),
            reason: error.to_string(),
        })?;
        match CertifiedKey::from_der(chain, key, &names::default_provider()) {
            Ok(key) => Ok(Self { key: Arc::new(key) }),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(SetupError::KeyMismatch {
                    certificate: chain_place.to_owned(),
                    key: key_place.to_owned(),
                })
            }
            Err(error) => Err(SetupError::Key { place: key_place.to_owned(), reason: error.to_string() }),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("dns_names", &self.dns_names())
            .field("certificates", &self.chain().len())
            .finish_non_exhaustive()
    }
}

/// Reads all certificates of a PEM file, in their order. Other sections are skipped.
///
/// # Errors
/// [`SetupError::File`], [`SetupError::Pem`], [`SetupError::NoCertificate`], or [`SetupError::Certificate`] if the
/// content of a section is no certificate.
pub fn read_certificates(path: impl AsRef<Path>) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let path = path.as_ref();
    let mut certificates = Vec::new();
    for (line, kind, der) in read_sections(path)?.1 {
        if kind != SectionKind::Certificate {
            continue;
        }
        let certificate = CertificateDer::from(der);
        anchor_from_trusted_cert(&certificate).map_err(|error| SetupError::Certificate {
            place: format!("{}, line {line}", path.display()),
            reason: error.to_string(),
        })?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(SetupError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

/// Makes the store that certificates are checked against.
pub(super) fn root_store(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    add_authorities(&mut store, authorities)?;
    if store.is_empty() {
        return Err(SetupError::NoAuthorities);
    }
    Ok(store)
}

/// Adds authorities to a store.
pub(super) fn add_authorities(
    store: &mut RootCertStore,
    authorities: &[CertificateDer<'static>],
) -> Result<(), SetupError> {
    for (index, authority) in authorities.iter().enumerate() {
        store.add(authority.clone()).map_err(|error| SetupError::Certificate {
            place: format!("authority {}", index + 1),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// Reads the first private key of a PEM file.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, SetupError> {
    let (text, sections) = read_sections(path)?;
    sections.into_iter().find_map(|(_, kind, der)| PrivateKeyDer::from_pem(kind, der)).ok_or_else(|| {
        let encrypted = memchr::memmem::find(&text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some();
        SetupError::NoKey { path: path.to_owned(), encrypted }
    })
}

/// A section of a PEM file: the line at which it begins, its kind and its content.
type Section = (usize, SectionKind, Vec<u8>);

/// Returns the bytes of a PEM file, and its sections of known kinds.
fn read_sections(path: &Path) -> Result<(Vec<u8>, Vec<Section>), SetupError> {
    let text = fs::read(path).map_err(|source| SetupError::File { path: path.to_owned(), source })?;
    // Where each section begins, with the number of that line.
    let mut begins = Vec::new();
    let mut at = 0;
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if line.starts_with(b"-----BEGIN ") {
            begins.push((at, index + 1));
        }
        at += line.len();
    }
    let mut sections = Vec::new();
    for (index, &(begin, line)) in begins.iter().enumerate() {
        let end = begins.get(index + 1).map_or(text.len(), |&(begin, _)| begin);
        match <(SectionKind, Vec<u8>)>::from_pem_slice(&text[begin..end]) {
            Ok((kind, der)) => sections.push((line, kind, der)),
            // A section of an unknown kind.
            Err(rustls::pki_types::pem::Error::NoItemsFound) => {}
            Err(error) => {
                return Err(SetupError::Pem { path: path.to_owned(), line, reason: error.to_string() });
            }
        }
    }
    Ok((text, sections))
}
