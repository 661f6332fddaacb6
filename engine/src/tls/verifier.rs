//! Verifiers of server certificates: one that tells a self-signed certificate from other unknown issuers and remembers
//! what it has accepted, and one that accepts every certificate.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use webpki::EndEntityCert;

/// What [`Explaining`] reports if a certificate that nobody vouches for names itself as its issuer. `tls::Error` has a
/// variant for it.
#[derive(Debug)]
pub(super) struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("self-signed certificate")
    }
}

impl std::error::Error for SelfSigned {}

/// Decides as another verifier does, and looks closer at the certificates that it refuses.
///
/// A server gets the alert `certificate_unknown` for a self-signed certificate, instead of `unknown_ca`: rustls derives
/// the alert from the error.
#[derive(Debug)]
pub(super) struct Explaining {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    /// The authorities that the caller gave.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) accepted: RwLock<Option<Accepted>>,
}

/// The certificates that were accepted last. A client that opens many connections to one server gets the same ones each
/// time, and checking their signatures is a good part of a handshake. The check counts for the second in which it was
/// made, so it notices in time when a certificate expires. The peer proves in every handshake that it has the key.
#[derive(Debug)]
pub(super) struct Accepted {
    end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    server_name: ServerName<'static>,
    ocsp_response: Vec<u8>,
    at: UnixTime,
}

impl Explaining {
    /// Whether the certificate is self-signed, and refused for this reason.
    ///
    /// Tools commonly make a self-signed certificate that says that it is a CA's. webpki refuses such a certificate
    /// whether it is trusted or not; that it is not is the first thing to tell.
    fn refused_as_self_signed(&self, error: &rustls::Error, certificate: &CertificateDer<'_>) -> bool {
        let rustls::Error::InvalidCertificate(error) = error else { return false };
        let nobody_vouches = match error {
            // An authority may have the same name, so that webpki tries its key.
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => true,
            CertificateError::Other(other) => {
                matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
                    && !self.authorities.iter().any(|authority| authority == certificate)
            }
            _ => false,
        };
        nobody_vouches
            && EndEntityCert::try_from(certificate).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
    }
}

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // UnixTime counts whole seconds.
        let is_accepted =
            self.accepted.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|accepted| {
                accepted.at == now
                    && accepted.end_entity == *end_entity
                    && accepted.intermediates == intermediates
                    && accepted.server_name == *server_name
                    && accepted.ocsp_response == ocsp_response
            });
        if is_accepted {
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if verified.is_ok() {
            let accepted = Accepted {
                end_entity: end_entity.clone().into_owned(),
                intermediates: intermediates
                    .iter()
                    .map(|certificate| certificate.clone().into_owned())
                    .collect(),
                server_name: server_name.to_owned(),
                ocsp_response: ocsp_response.to_vec(),
                at: now,
            };
            *self.accepted.write().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
        }
        verified.map_err(|error| {
            if self.refused_as_self_signed(&error, end_entity) {
                CertificateError::Other(OtherError(Arc::new(SelfSigned))).into()
            } else {
                error
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

/// **Accepts every certificate, from anybody, for any name.** It still checks that the peer has the key of the
/// certificate that it shows. That protects from nothing, as anybody can make a certificate; but it keeps the work of a
/// handshake the same.
pub(super) struct AcceptsAnyCertificate(pub(super) WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AcceptsAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl fmt::Debug for AcceptsAnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("INSECURE: ACCEPTS ANY CERTIFICATE")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Accepts everything and counts how often it was asked.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl ServerCertVerifier for Counting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            unreachable!("no handshake")
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            unreachable!("no handshake")
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            Vec::new()
        }
    }

    #[test]
    fn only_the_very_same_is_accepted_again_and_only_for_a_second() {
        let counting = Arc::new(Counting::default());
        let explaining =
            Explaining { verifier: counting.clone(), authorities: Vec::new(), accepted: RwLock::default() };
        let asked = |end_entity: &[u8], intermediate: &[u8], name: &str, ocsp: &[u8], second: u64| {
            let before = counting.0.load(Ordering::Relaxed);
            let verified = explaining.verify_server_cert(
                &CertificateDer::from(end_entity),
                &[CertificateDer::from(intermediate)],
                &ServerName::try_from(name).unwrap(),
                ocsp,
                UnixTime::since_unix_epoch(Duration::from_secs(second)),
            );
            verified.unwrap();
            counting.0.load(Ordering::Relaxed) > before
        };
        let usual = || asked(b"server", b"authority", "example.org", b"", 7);
        assert!(usual());
        assert!(!usual());
        for other in [
            &(|| asked(b"other", b"authority", "example.org", b"", 7)) as &dyn Fn() -> bool,
            &|| asked(b"server", b"other", "example.org", b"", 7),
            &|| asked(b"server", b"authority", "example.com", b"", 7),
            &|| asked(b"server", b"authority", "example.org", b"response", 7),
            &|| asked(b"server", b"authority", "example.org", b"", 8),
        ] {
            assert!(other(), "it is not the same");
            assert!(usual(), "the other one is remembered");
            assert!(!usual());
        }
    }
}
