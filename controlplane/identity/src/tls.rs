//! TLS as Palisade speaks it: 1.3 only, aws-lc-rs only, HTTP/2, no session resumption.
//!
//! No resumption, so that every connection presents a certificate that is valid at that moment.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{Pin, PinnedVerifier, PrivateKey};

/// The protocol of every connection (ALPN): HTTP/2.
const ALPN: &[u8] = b"h2";

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Which certificate a server asks its clients for.
#[derive(Debug, Clone, Copy)]
pub enum ClientCertificates<'a> {
    /// One of an authority of this bundle (PEM); a client without is refused.
    Required(&'a str),
    /// None; only for enrolment.
    NotAsked,
}

/// Why no configuration came about.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text has no certificate or a malformed one, or no key.
    #[error("not a certificate or key in PEM")]
    Pem,
    /// rustls refuses it.
    #[error("the certificate or key cannot be used")]
    Rustls(#[from] rustls::Error),
    /// rustls refuses the authorities.
    #[error("the bundle of authorities cannot be used")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
}

// === impl Credentials ===

impl Credentials {
    /// From a chain, leaf first, and its key, both in PEM.
    ///
    /// # Errors
    /// [`TlsError::Pem`].
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, TlsError> {
        Ok(Self {
            chain: certificates(chain)?,
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::Pem)?,
        })
    }

    /// From a chain in PEM, leaf first, and its key.
    ///
    /// # Errors
    /// [`TlsError::Pem`].
    pub fn new(chain: &str, key: &PrivateKey) -> Result<Self, TlsError> {
        Self::from_pem(chain, &key.pem())
    }

    /// The chain, leaf first, in DER.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// The certificates of a PEM text, in order; at least one.
///
/// # Errors
/// [`TlsError::Pem`].
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(TlsError::Pem),
    }
}

/// A server's side. Whoever accepts sets the handshake time-out.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(
    credentials: &Credentials,
    clients: ClientCertificates<'_>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match clients {
        ClientCertificates::Required(bundle) => {
            let roots = Arc::new(roots(bundle)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
        ClientCertificates::NotAsked => builder.with_no_client_auth(),
    };
    let Credentials { chain, key } = credentials.clone();
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A client's side: trusts the authorities of `bundle` (PEM), and shows `credentials` if it has any.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(
    bundle: &str,
    credentials: Option<&Credentials>,
) -> Result<ClientConfig, TlsError> {
    let builder = client_builder()?.with_root_certificates(roots(bundle)?);
    let config = match credentials.cloned() {
        Some(Credentials { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    Ok(finish(config))
}

/// A client's side before it has a bundle: trusts only the authority with this pin. For `GetTrustBundle` and `Enroll`.
///
/// # Errors
/// [`TlsError`].
pub fn pinned_client_config(pin: Pin) -> Result<ClientConfig, TlsError> {
    let config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier::new(pin)))
        .with_no_client_auth();
    Ok(finish(config))
}

fn client_builder()
-> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config
}

fn roots(bundle: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bundle)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}
