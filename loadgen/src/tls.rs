//! TLS of a run: the client that its plan asks for, and what to do on the command line about an error.

use std::fmt::Write as _;
use std::path::Path;

use ringtide::tls::rustls::AlertDescription;
use ringtide::tls::{
    self, ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, SetupError, Trust,
    read_certificates,
};

use crate::error::UsageError;
use crate::plan::{ClientCert, Plan, Tls};

/// Sessions that are kept in any case, and two more for each connection: so many tickets servers commonly give.
const SESSIONS_MIN: usize = 4_096;

/// Makes the client of a plan: reads all files that it names.
///
/// # Errors
/// The flag at fault, with the file, the line or the name.
pub fn client(plan: &Plan) -> Result<ClientTls, UsageError> {
    let (plan, connections) = (&plan.tls, plan.connections_max());
    let mut options = ClientTlsOptions::default()
        .insecure(plan.insecure)
        .alpn(plan.alpn.iter().map(String::as_str))
        .min_version(plan.min_version)
        .max_version(plan.max_version)
        .groups(&plan.groups)
        .cipher_suites(&plan.ciphers)
        .key_log(plan.keylog.clone())
        .sessions_max(if plan.resumption { SESSIONS_MIN + 2 * connections } else { 0 });
    if let Some(path) = &plan.cacert {
        let authorities = read_certificates(path).map_err(|error| value("--cacert", &error))?;
        options = options.trust(Trust::Given).authorities(authorities);
    }
    if let Some(ClientCert { cert, key }) = &plan.cert {
        options = options.identity(identity(cert, key)?);
    }
    if let Some(name) = &plan.sni {
        options = options.server_name(name);
    }
    ClientTls::new(&options).map_err(|error| match error {
        SetupError::NoSystemAuthorities { .. } => UsageError::Value {
            flag: "--cacert",
            problem: format!("{error}; name a file with them, or check no certificate with -k"),
        },
        error => value(flag_of(&error), &error),
    })
}

/// Makes the settings of `serve`. Without files, the certificate is a new one for `names`, and signed by itself.
///
/// # Errors
/// The file at fault.
pub fn server(cert: Option<&ClientCert>, names: &[String]) -> Result<ServerTls, UsageError> {
    let identity = match cert {
        Some(ClientCert { cert, key }) => identity(cert, key)?,
        None => Identity::self_signed(names).map_err(|error| value("--tls", &error))?,
    };
    let options = ServerTlsOptions::default().identity(identity);
    ServerTls::new(&options).map_err(|error| value("--tls", &error))
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, UsageError> {
    Identity::from_pem_files(cert, key).map_err(|error| {
        let is_in_key = match &error {
            SetupError::NoKey { .. } | SetupError::Key { .. } => true,
            SetupError::File { path, .. } | SetupError::Pem { path, .. } => path == key && cert != key,
            _ => false,
        };
        value(if is_in_key { "--key" } else { "--cert" }, &error)
    })
}

fn value(flag: &'static str, error: &SetupError) -> UsageError {
    UsageError::Value { flag, problem: error.to_string() }
}

fn flag_of(error: &SetupError) -> &'static str {
    match error {
        SetupError::UnknownName { what: "cipher suite", .. } | SetupError::NoUsableCipherSuite { .. } => {
            "--ciphers"
        }
        SetupError::UnknownName { .. } => "--tls-groups",
        SetupError::Versions { .. } => "--tls-min",
        SetupError::HostName { .. } => "--sni",
        SetupError::Alpn { .. } => "--alpn",
        SetupError::File { .. } => "--keylog",
        SetupError::Certificate { .. } => "--cacert",
        SetupError::Key { .. } => "--key",
        _ => "https://",
    }
}

/// The text of an error, and what to do about it on the command line.
pub fn explain(error: &tls::Error, plan: &Tls) -> String {
    let mut text = error.to_string();
    if let Some(advice) = advice(error, plan) {
        let _ = write!(text, "; {advice}");
    }
    text
}

fn advice(error: &tls::Error, plan: &Tls) -> Option<&'static str> {
    use tls::Error as E;
    let has_cert = plan.cert.is_some();
    Some(match error {
        E::UnknownIssuer { .. } | E::SelfSigned { .. } if plan.cacert.is_some() => {
            "the file of --cacert does not have it; -k checks nothing"
        }
        E::UnknownIssuer { .. } | E::SelfSigned { .. } => {
            "trust it with --cacert FILE, or check nothing with -k"
        }
        E::WrongHost { .. } => "--sni NAME asks for another name, -k checks nothing",
        E::CertificateExpired { .. }
        | E::CertificateNotYetValid { .. }
        | E::AuthorityAsServer { .. }
        | E::BadCertificate { .. } => "-k accepts it all the same",
        E::NoCommonVersion { .. } => "see --tls-min and --tls-max",
        E::NoCommonCipher { .. } => "see --ciphers",
        E::NoCommonGroup { .. } => "see --tls-groups",
        E::NoCommonAlpn { .. } => "see --alpn",
        E::NotTls { start, .. } if start.starts_with(b"HTTP/") => "write http:// instead of https://",
        E::ClosedInHandshake { .. } if has_cert => {
            "it may not accept the certificate of --cert; if it speaks plain HTTP, write http:// instead of https://"
        }
        E::NotTls { .. } | E::ClosedInHandshake { .. } => {
            "if it speaks plain HTTP, write http:// instead of https://"
        }
        E::ClientCertificateRequired { .. } if has_cert => "it did not take that of --cert",
        E::ClientCertificateRequired { .. } => "give it with --cert FILE --key FILE",
        E::CertificateRefused { .. } if has_cert => "see --cert",
        E::CertificateRefused { .. } => "give one with --cert FILE --key FILE",
        E::Alert { alert: AlertDescription::UnrecognisedName, .. } => "--sni NAME asks for another",
        E::Alert { alert: AlertDescription::HandshakeFailure, .. } => {
            "see --tls-min, --tls-max, --ciphers, --tls-groups and --cert"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ringtide::tls::Peer;

    use super::*;

    /// Node closes without an alert if it does not accept the client's certificate (TLS 1.2).
    #[test]
    fn a_server_that_closes_in_the_handshake_may_not_accept_the_certificate_that_was_shown() {
        let closed = tls::Error::ClosedInHandshake { peer: Peer::Server("localhost".into()) };
        let text = explain(&closed, &Tls::default());
        assert!(text.contains("http://") && !text.contains("--cert"), "{text}");
        let cert = Some(ClientCert { cert: "client.pem".into(), key: "client.key".into() });
        let text = explain(&closed, &Tls { cert, ..Tls::default() });
        assert!(text.contains("http://") && text.contains("--cert"), "{text}");
    }
}
