//! The names of versions, cipher suites and key-exchange groups, and what rustls has for them. Also the choice of a rustls
//! provider and versions that follows from such names.

use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion, version,
};

use super::setup_error::SetupError;
use super::version::Version;

impl FromStr for Version {
    type Err = SetupError;

    fn from_str(name: &str) -> Result<Self, SetupError> {
        let bare = if name.len() >= 3 && name.as_bytes()[..3].eq_ignore_ascii_case(b"tls") {
            name[3..].trim_start_matches([' ', 'v', '_', '-'])
        } else {
            name
        };
        match bare {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(SetupError::UnknownName {
                what: "TLS version",
                name: name.to_owned(),
                known: vec!["1.2", "1.3"],
            }),
        }
    }
}

/// The cipher suites: the name of the IANA registry, that of OpenSSL, and the suite.
const CIPHER_SUITES: &[(&str, &str, SupportedCipherSuite)] = {
    use aws_lc_rs::cipher_suite as suite;
    &[
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
        (
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
            suite::TLS13_CHACHA20_POLY1305_SHA256,
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        (
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "ECDHE-RSA-CHACHA20-POLY1305",
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
    ]
};

/// The key-exchange groups: the name that is shown, other names (OpenSSL, SEC 2), and the group.
const GROUPS: &[(&str, &[&str], &dyn SupportedKxGroup)] = {
    use aws_lc_rs::kx_group as group;
    &[
        ("X25519MLKEM768", &[], group::X25519MLKEM768),
        ("SecP256r1MLKEM768", &["P-256MLKEM768"], group::SECP256R1MLKEM768),
        ("X25519", &[], group::X25519),
        ("P-256", &["secp256r1", "prime256v1"], group::SECP256R1),
        ("P-384", &["secp384r1"], group::SECP384R1),
        ("MLKEM768", &["ML-KEM-768"], group::MLKEM768),
        ("MLKEM1024", &["ML-KEM-1024"], group::MLKEM1024),
    ]
};

/// Returns the name of a version, such as "TLS 1.3".
pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLS 1.2",
        ProtocolVersion::TLSv1_3 => "TLS 1.3",
        _ => "unknown",
    }
}

/// Returns the name of a cipher suite in the IANA registry, such as "TLS_AES_128_GCM_SHA256".
pub fn cipher_suite_name(suite: CipherSuite) -> &'static str {
    CIPHER_SUITES.iter().find(|(_, _, known)| known.suite() == suite).map_or("unknown", |(name, ..)| name)
}

/// Returns the name of a key-exchange group, such as "X25519" or "P-256".
pub fn group_name(group: NamedGroup) -> &'static str {
    GROUPS.iter().find(|(_, _, known)| known.name() == group).map_or("unknown", |(name, ..)| name)
}

fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, SetupError> {
    CIPHER_SUITES
        .iter()
        .find(|(iana, openssl, _)| iana.eq_ignore_ascii_case(name) || openssl.eq_ignore_ascii_case(name))
        .map(|(_, _, suite)| *suite)
        .ok_or_else(|| SetupError::UnknownName {
            what: "cipher suite",
            name: name.to_owned(),
            known: CIPHER_SUITES.iter().map(|(iana, ..)| *iana).collect(),
        })
}

fn group(name: &str) -> Result<&'static dyn SupportedKxGroup, SetupError> {
    GROUPS
        .iter()
        .find(|(first, others, _)| {
            first.eq_ignore_ascii_case(name) || others.iter().any(|other| other.eq_ignore_ascii_case(name))
        })
        .map(|(_, _, group)| *group)
        .ok_or_else(|| SetupError::UnknownName {
            what: "key-exchange group",
            name: name.to_owned(),
            known: GROUPS.iter().map(|(first, ..)| *first).collect(),
        })
}

/// What both sides negotiate: the provider with its cipher suites and groups, and the versions.
pub(super) struct Negotiation {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

impl Negotiation {
    /// An empty list stands for the provider's defaults.
    pub(super) fn new(
        min: Version,
        max: Version,
        cipher_suites: &[String],
        groups: &[String],
    ) -> Result<Self, SetupError> {
        if min > max {
            return Err(SetupError::Versions { min, max });
        }
        let versions: Vec<_> = [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)]
            .into_iter()
            .filter(|(version, _)| (min..=max).contains(version))
            .map(|(_, supported)| supported)
            .collect();
        let mut provider = default_provider();
        if !cipher_suites.is_empty() {
            provider.cipher_suites =
                cipher_suites.iter().map(|name| cipher_suite(name)).collect::<Result<_, _>>()?;
        }
        if !groups.is_empty() {
            provider.kx_groups = groups.iter().map(|name| group(name)).collect::<Result<_, _>>()?;
        }
        if !provider.cipher_suites.iter().any(|suite| versions.contains(&suite.version())) {
            return Err(SetupError::NoUsableCipherSuite { min, max });
        }
        // The groups of TLS 1.3 alone, such as X25519MLKEM768, need it.
        let usable = |suite: &SupportedCipherSuite| {
            let version = suite.version();
            versions.contains(&version)
                && provider.kx_groups.iter().any(|group| group.usable_for_version(version.version))
        };
        if !provider.cipher_suites.iter().any(usable) {
            return Err(SetupError::NoUsableGroup);
        }
        Ok(Self { provider: Arc::new(provider), versions })
    }
}

/// The one place that names the provider of the cryptography.
pub(super) fn default_provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// Checks the names of application protocols, and returns them as rustls takes them.
pub(super) fn alpn(protocols: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, SetupError> {
    match protocols.iter().find(|protocol| protocol.is_empty() || protocol.len() > 255) {
        Some(protocol) => Err(SetupError::Alpn { protocol: protocol.clone() }),
        None => Ok(protocols.to_vec()),
    }
}
