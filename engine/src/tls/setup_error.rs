//! Errors of TLS options: each names the file, the line or the name at fault, and what was expected.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::version::Version;

/// The reason why TLS options cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// A file could not be read, or a key log not be opened.
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file has a damaged PEM section.
    Pem {
        /// The file.
        path: PathBuf,
        /// The line at which the section begins. The first is 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no certificate.
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file has no private key.
    NoKey {
        /// The file.
        path: PathBuf,
        /// Whether it has one that is encrypted, which is not supported.
        encrypted: bool,
    },
    /// A certificate cannot be parsed.
    Certificate {
        /// The file and the line, or how the certificate was given otherwise.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key cannot be used.
    Key {
        /// The file, or how the key was given otherwise.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key does not belong to the certificate.
    KeyMismatch {
        /// The file of the certificate, or how it was given otherwise.
        certificate: String,
        /// The file of the key, or how it was given otherwise.
        key: String,
    },
    /// A version, cipher suite or key-exchange group has an unknown name.
    UnknownName {
        /// What was named, such as "cipher suite".
        what: &'static str,
        /// The unknown name.
        name: String,
        /// The known names.
        known: Vec<&'static str>,
    },
    /// The lowest version is above the highest.
    Versions {
        /// The lowest version.
        min: Version,
        /// The highest version.
        max: Version,
    },
    /// None of the cipher suites belongs to an enabled version.
    NoUsableCipherSuite {
        /// The lowest version.
        min: Version,
        /// The highest version.
        max: Version,
    },
    /// None of the key-exchange groups can be used with an enabled version and its cipher suites.
    NoUsableGroup,
    /// A host is neither a DNS name nor an IP address.
    HostName {
        /// The host.
        name: String,
    },
    /// A name of an application protocol (ALPN) is empty or longer than 255 bytes.
    Alpn {
        /// The name.
        protocol: Vec<u8>,
    },
    /// The system has no authorities that it trusts, or they cannot be read.
    NoSystemAuthorities {
        /// What is wrong.
        reason: String,
    },
    /// There is no authority to check certificates against.
    NoAuthorities,
    /// A server has no certificate.
    NoIdentity,
    /// The server was made from a `rustls::ServerConfig`, which has certificates of its own.
    NotReloadable,
    /// rustls does not accept the combination of options.
    Other(rustls::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Pem { path, line, reason } => {
                write!(f, "{}: the PEM section at line {line} is damaged: {reason}", path.display())
            }
            Self::NoCertificate { path } => write!(
                f,
                "{}: has no certificate; expected a PEM file with '-----BEGIN CERTIFICATE-----'",
                path.display()
            ),
            Self::NoKey { path, encrypted: true } => {
                write!(f, "{}: the private key is encrypted; decrypt it first (openssl pkey)", path.display())
            }
            Self::NoKey { path, encrypted: false } => write!(
                f,
                "{}: has no private key; expected a PEM file with '-----BEGIN PRIVATE KEY-----'",
                path.display()
            ),
            Self::Certificate { place, reason } => {
                write!(f, "{place}: cannot parse the certificate: {reason}")
            }
            Self::Key { place, reason } => write!(f, "{place}: cannot use the private key: {reason}"),
            Self::KeyMismatch { certificate, key } => {
                write!(
                    f,
                    "the private key in {key} does not belong to the first certificate in {certificate}"
                )
            }
            Self::UnknownName { what, name, known } => {
                write!(f, "unknown {what} '{name}'; known are {}", known.join(", "))
            }
            Self::Versions { min, max } => {
                write!(f, "the lowest TLS version, {min}, is above the highest, {max}")
            }
            Self::NoUsableCipherSuite { min, max } if min == max => {
                write!(f, "none of the cipher suites belongs to TLS {min}")
            }
            Self::NoUsableCipherSuite { min, max } => {
                write!(f, "none of the cipher suites belongs to TLS {min} to {max}")
            }
            Self::NoUsableGroup => f.write_str(
                "none of the key-exchange groups can be used with the enabled TLS versions and cipher suites",
            ),
            Self::HostName { name } => write!(f, "'{name}' is neither a DNS name nor an IP address"),
            Self::Alpn { protocol } if protocol.is_empty() => {
                f.write_str("the name of an application protocol (ALPN) is empty")
            }
            Self::Alpn { protocol } => write!(
                f,
                "the application protocol (ALPN) '{}' has {} bytes; 255 is the maximum",
                protocol.escape_ascii(),
                protocol.len()
            ),
            Self::NoSystemAuthorities { reason } => {
                write!(f, "cannot find the authorities that this system trusts: {reason}")
            }
            Self::NoAuthorities => f.write_str("no authority was given to check certificates against"),
            Self::NoIdentity => f.write_str("a TLS server needs a certificate and its private key"),
            Self::NotReloadable => f.write_str(
                "this TLS server was made from a rustls configuration, which chooses its certificates itself",
            ),
            Self::Other(error) => write!(f, "these TLS options cannot be combined: {error}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => source.source(),
            _ => None,
        }
    }
}
