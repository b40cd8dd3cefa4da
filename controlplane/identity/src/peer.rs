//! What a client certificate says. That its chain and dates are right was checked by TLS before.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::{Identity, NameError};

/// The owner of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// The certificate's serial number, in lower-case hexadecimal.
    pub serial: String,
    /// From when the certificate is valid.
    pub not_before: Timestamp,
    /// Until when the certificate is valid.
    pub not_after: Timestamp,
}

/// Why a certificate states no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It does not parse.
    #[error("the certificate is malformed")]
    Malformed,
    /// It is the certificate of an authority.
    #[error("the certificate belongs to an authority, not to a peer")]
    Authority,
    /// It may not be used by a client.
    #[error("the certificate is not for clients")]
    NotForClients,
    /// It has no subject alternative name, more than one, or one that is not a URI.
    #[error("the certificate must have exactly one subject alternative name, a URI")]
    NotOneUri,
    /// Its URI is not an identity.
    #[error(transparent)]
    Name(#[from] NameError),
}

// === impl Peer ===

impl Peer {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn from_der(der: &[u8]) -> Result<Self, PeerError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| PeerError::Malformed)?;
        if !rest.is_empty() {
            return Err(PeerError::Malformed);
        }
        if certificate.is_ca() {
            return Err(PeerError::Authority);
        }
        let uses = certificate.extended_key_usage();
        let uses = uses.map_err(|_| PeerError::Malformed)?;
        if !uses.is_some_and(|uses| uses.value.client_auth) {
            return Err(PeerError::NotForClients);
        }
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_| PeerError::Malformed)?;
        let names = names.map(|names| names.value.general_names.as_slice());
        let Some([GeneralName::URI(uri)]) = names else {
            return Err(PeerError::NotOneUri);
        };
        let validity = certificate.validity();
        Ok(Self {
            identity: Identity::from_uri(uri)?,
            serial: hexadecimal(certificate.raw_serial()),
            not_before: timestamp(validity.not_before.timestamp())?,
            not_after: timestamp(validity.not_after.timestamp())?,
        })
    }
}

fn timestamp(seconds: i64) -> Result<Timestamp, PeerError> {
    Timestamp::from_second(seconds).map_err(|_| PeerError::Malformed)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
