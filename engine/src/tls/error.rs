//! Errors of a TLS session, each with the culprit and what to do about it.
//!
//! As with all errors of this crate, one prints as one complete line, and `source()` repeats nothing of it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::{
    AlertDescription, CertificateError, ContentType, InvalidMessage, PeerIncompatible, ProtocolVersion,
};

use super::verifier::SelfSigned;

/// Names of a certificate that an error shows. A certificate can have hundreds.
const NAMES_SHOWN_MAX: usize = 4;

/// Bytes of a peer that does not speak TLS that an error keeps.
const START_SIZE_MAX: usize = 64;

/// The other side of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A server, and the name that its certificate was checked against.
    Server(Box<str>),
    /// A client of this server.
    Client,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(host) => f.write_str(host),
            Self::Client => f.write_str("the client"),
        }
    }
}

/// The reason why a TLS session was not established, or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The host that the client should connect to is neither a DNS name nor an IP address. Nothing was sent.
    HostName {
        /// The host.
        host: Box<str>,
    },
    /// The peer's certificate, or one in its chain, has expired.
    CertificateExpired {
        /// Whose certificate it is.
        peer: Peer,
        /// The end of its validity, in seconds since 1970. `None` if unknown.
        end_s: Option<u64>,
    },
    /// The peer's certificate, or one in its chain, is not valid yet.
    CertificateNotYetValid {
        /// Whose certificate it is.
        peer: Peer,
        /// The begin of its validity, in seconds since 1970. `None` if unknown.
        begin_s: Option<u64>,
    },
    /// The server's certificate is for other names.
    WrongHost {
        /// The name that it was checked against.
        host: Box<str>,
        /// The names that it has.
        names: Vec<String>,
    },
    /// The peer's certificate is not signed by a trusted authority.
    UnknownIssuer {
        /// Whose certificate it is.
        peer: Peer,
    },
    /// The server's certificate is signed by its own key, and is not itself trusted.
    SelfSigned {
        /// Whose certificate it is.
        peer: Peer,
    },
    /// The server uses the certificate of an authority (it says `CA:TRUE`) as its own, which RFC 5280 does not allow.
    AuthorityAsServer {
        /// Whose certificate it is.
        peer: Peer,
    },
    /// The peer's certificate cannot be accepted for another reason, such as a bad signature.
    BadCertificate {
        /// Whose certificate it is.
        peer: Peer,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer has no version of TLS in common with us.
    NoCommonVersion {
        /// The peer.
        peer: Peer,
    },
    /// The peer has no cipher suite in common with us.
    NoCommonCipher {
        /// The peer.
        peer: Peer,
    },
    /// The peer has no key-exchange group in common with us.
    NoCommonGroup {
        /// The peer.
        peer: Peer,
    },
    /// The peer has no application protocol (ALPN) in common with us.
    NoCommonAlpn {
        /// The peer.
        peer: Peer,
    },
    /// The peer and we have something else that is needed not in common.
    Incompatible {
        /// The peer.
        peer: Peer,
        /// What is missing.
        reason: String,
    },
    /// The peer does not speak TLS.
    NotTls {
        /// The peer.
        peer: Peer,
        /// The first bytes that it sent, at most 64.
        start: Vec<u8>,
    },
    /// The connection ended without the announcement that TLS demands (close_notify), so what was received may be
    /// incomplete.
    Truncated,
    /// The peer closed the connection during the handshake.
    ClosedInHandshake {
        /// The peer.
        peer: Peer,
    },
    /// The server wants a certificate from us, and we have shown none that it takes.
    ClientCertificateRequired {
        /// The server.
        peer: Peer,
    },
    /// The client has shown no certificate, and the server requires one.
    NoClientCertificate,
    /// The peer did not accept our certificate.
    CertificateRefused {
        /// The peer.
        peer: Peer,
        /// Its alert, which says why.
        alert: AlertDescription,
    },
    /// The peer ended the session with an alert.
    Alert {
        /// The peer.
        peer: Peer,
        /// The alert.
        alert: AlertDescription,
    },
    /// The peer violated the protocol, or its data was changed on the way.
    PeerMisbehaved {
        /// The peer.
        peer: Peer,
        /// What it did.
        reason: String,
    },
    /// Something failed on our own side.
    Internal {
        /// What failed.
        reason: String,
    },
}

impl Error {
    /// Says what an error of rustls means. `received` are the first bytes that the peer sent on this connection, if
    /// they are still known, or nothing: they decide whether the peer speaks TLS at all.
    pub fn new(error: rustls::Error, peer: Peer, received: &[u8]) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error, peer),
            rustls::Error::AlertReceived(alert) => Self::of_alert(alert, peer),
            rustls::Error::PeerIncompatible(reason) => Self::of_incompatible(&reason, peer),
            rustls::Error::NoApplicationProtocol => Self::NoCommonAlpn { peer },
            rustls::Error::NoCertificatesPresented if peer == Peer::Client => Self::NoClientCertificate,
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) if !looks_like_tls(received) => {
                Self::NotTls { peer, start: received[..received.len().min(START_SIZE_MAX)].to_vec() }
            }
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. }
            | rustls::Error::PeerMisbehaved(_)
            | rustls::Error::PeerSentOversizedRecord
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::DecryptError => Self::PeerMisbehaved { peer, reason: error.to_string() },
            error => Self::Internal { reason: error.to_string() },
        }
    }

    fn of_certificate(error: CertificateError, peer: Peer) -> Self {
        match error {
            CertificateError::Expired => Self::CertificateExpired { peer, end_s: None },
            CertificateError::ExpiredContext { not_after, .. } => {
                Self::CertificateExpired { peer, end_s: Some(not_after.as_secs()) }
            }
            CertificateError::NotValidYet => Self::CertificateNotYetValid { peer, begin_s: None },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::CertificateNotYetValid { peer, begin_s: Some(not_before.as_secs()) }
            }
            CertificateError::NotValidForName => {
                Self::WrongHost { host: peer.to_string().into(), names: Vec::new() }
            }
            CertificateError::NotValidForNameContext { expected, presented } => Self::WrongHost {
                host: expected.to_str().into(),
                names: presented.iter().map(|name| bare_name(name).to_owned()).collect(),
            },
            CertificateError::UnknownIssuer => Self::UnknownIssuer { peer },
            CertificateError::Other(ref other) if other.0.is::<SelfSigned>() => Self::SelfSigned { peer },
            CertificateError::Other(ref other)
                if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                Self::AuthorityAsServer { peer }
            }
            error => Self::BadCertificate { peer, reason: certificate_reason(&error) },
        }
    }

    fn of_alert(alert: AlertDescription, peer: Peer) -> Self {
        use AlertDescription as Alert;
        match alert {
            Alert::ProtocolVersion => Self::NoCommonVersion { peer },
            Alert::InsufficientSecurity => Self::NoCommonCipher { peer },
            Alert::NoApplicationProtocol => Self::NoCommonAlpn { peer },
            Alert::CertificateRequired | Alert::NoCertificate => Self::ClientCertificateRequired { peer },
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA => Self::CertificateRefused { peer, alert },
            alert => Self::Alert { peer, alert },
        }
    }

    fn of_incompatible(reason: &PeerIncompatible, peer: Peer) -> Self {
        match reason {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Clients of TLS 1.1 and older have no such extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::NoCommonVersion { peer },
            PeerIncompatible::NoCipherSuitesInCommon => Self::NoCommonCipher { peer },
            PeerIncompatible::NoKxGroupsInCommon => Self::NoCommonGroup { peer },
            reason => Self::Incompatible { peer, reason: format!("{reason:?}") },
        }
    }

    /// Returns the TLS error inside an I/O error, as the operations of a stream return it.
    pub fn of_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns a short name that does not change between releases, for counting errors by kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HostName { .. } => "host_name",
            Self::CertificateExpired { .. } => "certificate_expired",
            Self::CertificateNotYetValid { .. } => "certificate_not_yet_valid",
            Self::WrongHost { .. } => "wrong_host",
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::SelfSigned { .. } => "self_signed",
            Self::AuthorityAsServer { .. } => "authority_as_server",
            Self::BadCertificate { .. } => "bad_certificate",
            Self::NoCommonVersion { .. } => "no_common_version",
            Self::NoCommonCipher { .. } => "no_common_cipher",
            Self::NoCommonGroup { .. } => "no_common_group",
            Self::NoCommonAlpn { .. } => "no_common_alpn",
            Self::Incompatible { .. } | Self::ClosedInHandshake { .. } => "handshake",
            Self::NotTls { .. } => "not_tls",
            Self::Truncated => "truncated",
            Self::ClientCertificateRequired { .. } | Self::NoClientCertificate => {
                "client_certificate_required"
            }
            Self::CertificateRefused { .. } => "certificate_refused",
            Self::Alert { .. } => "alert",
            Self::PeerMisbehaved { .. } => "peer_misbehaved",
            Self::Internal { .. } => "internal",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostName { host } => write!(f, "'{host}' is neither a DNS name nor an IP address"),
            Self::CertificateExpired { peer, end_s: Some(end_s) } => {
                write!(f, "the certificate of {peer} expired on {}; it has to be renewed", date(*end_s))
            }
            Self::CertificateExpired { peer, end_s: None } => {
                write!(f, "the certificate of {peer} has expired and has to be renewed")
            }
            Self::CertificateNotYetValid { peer, begin_s } => {
                write!(f, "the certificate of {peer} is not valid ")?;
                match begin_s {
                    Some(begin_s) => write!(f, "before {}", date(*begin_s))?,
                    None => f.write_str("yet")?,
                }
                f.write_str("; check this machine's clock")
            }
            Self::WrongHost { host, names } => {
                write!(f, "the certificate is not for {host}")?;
                write_names(f, names)
            }
            Self::UnknownIssuer { peer } => {
                write!(f, "the certificate of {peer} is not signed by a trusted authority")
            }
            Self::SelfSigned { peer } => {
                write!(f, "the certificate of {peer} is self-signed, so no trusted authority vouches for it")
            }
            Self::AuthorityAsServer { peer } => write!(
                f,
                "the certificate of {peer} is that of an authority (CA:TRUE), which must not be a server's own; \
                 make one with basicConstraints=CA:FALSE"
            ),
            Self::BadCertificate { peer, reason } => {
                write!(f, "the certificate of {peer} cannot be accepted: {reason}")
            }
            Self::NoCommonVersion { peer } => {
                write!(f, "{peer} speaks none of the TLS versions that are enabled here")
            }
            Self::NoCommonCipher { peer } => {
                write!(f, "{peer} has none of the cipher suites that are enabled here")
            }
            Self::NoCommonGroup { peer } => {
                write!(f, "{peer} has none of the key-exchange groups that are enabled here")
            }
            Self::NoCommonAlpn { peer } => {
                write!(f, "{peer} speaks none of the application protocols (ALPN) that are offered here")
            }
            Self::Incompatible { peer, reason } => write!(f, "{peer} cannot be spoken with: {reason}"),
            Self::NotTls { peer, start } => {
                write!(f, "{peer} does not speak TLS")?;
                match first_line(start) {
                    Some(line) => write!(f, ": it sent '{line}'"),
                    None => Ok(()),
                }
            }
            Self::Truncated => f.write_str(
                "the connection ended without TLS's close_notify, so what was received may be incomplete",
            ),
            Self::ClosedInHandshake { peer } => {
                write!(f, "{peer} closed the connection during the TLS handshake")
            }
            Self::ClientCertificateRequired { peer } => {
                write!(f, "{peer} requires a client certificate")
            }
            Self::NoClientCertificate => {
                f.write_str("the client has shown no certificate, which this server requires")
            }
            Self::CertificateRefused { peer: peer @ Peer::Client, alert } => {
                write!(f, "{peer} does not accept this server's certificate (alert {})", alert_name(*alert))
            }
            // Some servers also say this if they miss one.
            Self::CertificateRefused { peer, alert: alert @ AlertDescription::BadCertificate } => write!(
                f,
                "{peer} does not accept our client certificate, or requires one (alert {})",
                alert_name(*alert)
            ),
            Self::CertificateRefused { peer, alert } => {
                write!(f, "{peer} does not accept our client certificate (alert {})", alert_name(*alert))
            }
            Self::Alert { peer, alert: alert @ AlertDescription::HandshakeFailure } => write!(
                f,
                "{peer} refused the handshake (alert {}): it found nothing in common among the versions, cipher \
                 suites and groups, or wants a client certificate",
                alert_name(*alert)
            ),
            Self::Alert { peer, alert: alert @ AlertDescription::UnrecognisedName } => {
                write!(f, "{peer} says that it has no site of this name (alert {})", alert_name(*alert))
            }
            Self::Alert { peer, alert } => {
                write!(f, "{peer} ended the TLS session with the alert {}", alert_name(*alert))
            }
            Self::PeerMisbehaved { peer, reason } => {
                write!(f, "{peer} violated the TLS protocol, or its data was changed on the way: {reason}")
            }
            Self::Internal { reason } => write!(f, "TLS failed on this side: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::HostName { .. } => io::ErrorKind::InvalidInput,
            Error::Truncated | Error::ClosedInHandshake { .. } => io::ErrorKind::UnexpectedEof,
            Error::ClientCertificateRequired { .. }
            | Error::CertificateRefused { .. }
            | Error::Alert { .. } => io::ErrorKind::ConnectionAborted,
            Error::Internal { .. } => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Whether these bytes can begin a TLS record, or are none.
fn looks_like_tls(received: &[u8]) -> bool {
    match received {
        [] => true,
        [content, rest @ ..] => {
            !matches!(ContentType::from(*content), ContentType::Unknown(_))
                && rest.first().is_none_or(|&major| major == (u16::from(ProtocolVersion::TLSv1_2) >> 8) as u8)
        }
    }
}

/// The first line of what the peer sent, if a person can read it.
fn first_line(start: &[u8]) -> Option<Cow<'_, str>> {
    let line = start.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let printable = !line.is_empty() && line.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    printable.then(|| String::from_utf8_lossy(line))
}

/// webpki gives names as `DnsName("example.org")`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

fn write_names(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    let [first, rest @ ..] = names else {
        return f.write_str(", and has no names at all (subjectAltName)");
    };
    write!(f, ", but for {first}")?;
    let shown = rest.len().min(NAMES_SHOWN_MAX - 1);
    for name in &rest[..shown] {
        write!(f, ", {name}")?;
    }
    match rest.len() - shown {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "it is malformed".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a signature is wrong".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "it is signed with an algorithm that is not supported".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => "it has an unknown critical extension".to_owned(),
        CertificateError::Other(other) => other.0.to_string(),
        error => error.to_string(),
    }
}

/// The time as RFC 9110 writes it. Beyond the year 9999, which that format does not have, the seconds since 1970.
fn date(unix_s: u64) -> String {
    const YEAR_10000_S: u64 = 253_402_300_800;
    if unix_s < YEAR_10000_S {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_s))
    } else {
        format!("second {unix_s} since 1970")
    }
}

/// The name of an alert in RFC 8446 §6 and the registry that it began.
fn alert_name(alert: AlertDescription) -> Cow<'static, str> {
    use AlertDescription as Alert;
    Cow::Borrowed(match alert {
        Alert::CloseNotify => "close_notify",
        Alert::UnexpectedMessage => "unexpected_message",
        Alert::BadRecordMac => "bad_record_mac",
        Alert::RecordOverflow => "record_overflow",
        Alert::DecompressionFailure => "decompression_failure",
        Alert::HandshakeFailure => "handshake_failure",
        Alert::BadCertificate => "bad_certificate",
        Alert::UnsupportedCertificate => "unsupported_certificate",
        Alert::CertificateRevoked => "certificate_revoked",
        Alert::CertificateExpired => "certificate_expired",
        Alert::CertificateUnknown => "certificate_unknown",
        Alert::IllegalParameter => "illegal_parameter",
        Alert::UnknownCA => "unknown_ca",
        Alert::AccessDenied => "access_denied",
        Alert::DecodeError => "decode_error",
        Alert::DecryptError => "decrypt_error",
        Alert::InternalError => "internal_error",
        Alert::InappropriateFallback => "inappropriate_fallback",
        Alert::UserCanceled => "user_canceled",
        Alert::NoRenegotiation => "no_renegotiation",
        Alert::MissingExtension => "missing_extension",
        Alert::UnsupportedExtension => "unsupported_extension",
        Alert::UnrecognisedName => "unrecognized_name",
        Alert::BadCertificateStatusResponse => "bad_certificate_status_response",
        Alert::UnknownPSKIdentity => "unknown_psk_identity",
        alert => return Cow::Owned(u8::from(alert).to_string()),
    })
}
