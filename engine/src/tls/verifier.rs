//! Verifiers of server certificates: one that tells a self-signed certificate from other unknown issuers, and one that
//! accepts every certificate.

use std::fmt;
use std::sync::Arc;

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
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
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
