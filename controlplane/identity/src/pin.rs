//! Pins: how a host that holds nothing but a join token knows the right control plane.
//!
//! The token carries the SHA-256 of the authority's public key (its SubjectPublicKeyInfo, as in RFC 7469). The server
//! sends its authority's certificate in its chain; [`PinnedVerifier`] takes the one whose key matches as the only trust
//! anchor and verifies the rest as ever: chain, dates, server name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::tls::certificates;

/// The SHA-256 of an authority's public key. Text: base64url without padding, 43 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// Why a pin was refused, or refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The text is not a pin.
    #[error("not a pin: 43 characters of base64url")]
    Malformed,
    /// A certificate does not parse.
    #[error("a certificate of the chain or bundle is malformed")]
    MalformedCertificate,
    /// No authority there has the pinned key: another control plane, or somebody in between.
    #[error("the control plane is not the one the token was made by")]
    NoMatch,
}

/// Accepts a server whose chain contains, and leads to, the authority with the pinned key.
#[derive(Debug)]
pub struct PinnedVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

// === impl Pin ===

impl Pin {
    /// The pin of the authority with this certificate (DER).
    ///
    /// # Errors
    /// [`PinError::MalformedCertificate`].
    pub fn of(certificate: &[u8]) -> Result<Self, PinError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| PinError::MalformedCertificate)?;
        Ok(Self::of_key(certificate.public_key().raw))
    }

    /// The pin of the authority with this public key (DER of its SubjectPublicKeyInfo).
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether a bundle (PEM) contains the pinned authority: the check of `GetTrustBundle`'s answer.
    ///
    /// # Errors
    /// [`PinError::MalformedCertificate`], [`PinError::NoMatch`].
    pub fn check_bundle(&self, bundle: &str) -> Result<(), PinError> {
        let bundle = certificates(bundle).map_err(|_| PinError::MalformedCertificate)?;
        self.find(&bundle).map(drop)
    }

    fn find<'a, 'c>(
        &self,
        chain: &'a [CertificateDer<'c>],
    ) -> Result<&'a CertificateDer<'c>, PinError> {
        for certificate in chain {
            if Self::of(certificate)? == *self {
                return Ok(certificate);
            }
        }
        Err(PinError::NoMatch)
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| PinError::Malformed)?;
        bytes.try_into().map(Self).map_err(|_| PinError::Malformed)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

// === impl PinnedVerifier ===

impl PinnedVerifier {
    /// A verifier for one pin.
    #[must_use]
    pub fn new(pin: Pin) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self { pin, provider }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Only what stands behind the leaf: a leaf may not vouch for itself.
        let anchor = self.pin.find(intermediates).map_err(|error| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
