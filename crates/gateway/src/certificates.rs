//! Certificates of devices in the TLS handshake: asked for, and believed to be the peer's only with its key.
//!
//! Always true:
//! - A device without a certificate is served like any other; whether it needs one is not known yet.
//! - A certificate gets through only with a signature by its key over this very handshake.
//! - Nothing else about it is looked at: not who issued it, its age, its extensions or its version. Self-made
//!   certificates and those of X.509 version 1 are as good as others here.
//!
//! Not here: whose certificate it is. The engine decides that when CONNECT names a device.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;

use crate::limits::{CLIENT_CERTIFICATE_BYTES_MAX, CLIENT_CERTIFICATES_MAX};

/// For the `rustls::ServerConfig` of the MQTT endpoint: devices may present a certificate, and whoever does has to
/// hold its key. Which keys there can be is what `provider` can verify.
#[must_use]
pub fn certificates_are_welcome(provider: &CryptoProvider) -> Arc<dyn ClientCertVerifier> {
    Arc::new(KeyIsHeld { algorithms: provider.signature_verification_algorithms })
}

#[derive(Debug)]
struct KeyIsHeld {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for KeyIsHeld {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No list of issuers: SDKs send the one certificate they have, and a list would make some libraries hold it
    /// back.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = others.iter().fold(own.len(), |sum, certificate| sum + certificate.len());
        if 1 + others.len() > CLIENT_CERTIFICATES_MAX || bytes > CLIENT_CERTIFICATE_BYTES_MAX {
            return Err(Error::General(format!(
                "{} certificates of {bytes} bytes were presented; {CLIENT_CERTIFICATES_MAX} of together \
                 {CLIENT_CERTIFICATE_BYTES_MAX} bytes are accepted",
                1 + others.len()
            )));
        }
        public_key(own)?;
        Ok(ClientCertVerified::assertion())
    }

    /// In TLS 1.2 the scheme names no curve, so that there may be several algorithms for it.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(own)?;
        let key =
            RawPublicKeyEntity::try_from(&key).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let of_scheme = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) = of_scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let is_signed = |algorithm| key.verify_signature(algorithm, message, signed.signature()).is_ok();
        if algorithms.iter().copied().any(is_signed) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &public_key(own)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The key in a certificate of which nothing else needs to make sense.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    match X509CertificateParser::new().with_deep_parse_extensions(false).parse(certificate) {
        Ok(([], certificate)) => Ok(certificate.tbs_certificate.subject_pki.raw.into()),
        Ok(_) | Err(_) => Err(CertificateError::BadEncoding.into()),
    }
}
