//! Private keys, and requests for a certificate (PKCS#10) made with them.
//!
//! A request proves that its maker holds the key; what else it asks for (names, uses) is never looked at.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::durable::write_secret;

/// The longest request read, in bytes; one with a P-256 key has about 200.
const MAX_REQUEST: usize = 16 << 10;

/// An ECDSA P-256 private key.
pub struct PrivateKey(KeyPair);

/// The public key of a request whose signature is right.
pub struct RequestedKey(SubjectPublicKeyInfo);

/// Why a key or a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error("cannot read or write the key `{path}`")]
    Io {
        /// The key's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read the key's file.
    #[error("the key `{path}` can be read by others (mode {mode:o}); it must be 0600")]
    TooOpen {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system gave no randomness, or the text is not a P-256 key in PEM.
    #[error("not a usable private key")]
    Key {
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// The request does not parse, is too long, or has bytes after its end.
    #[error("the certificate request is malformed")]
    MalformedRequest,
    /// The request is not signed by the key it names.
    #[error("the signature of the certificate request is wrong")]
    WrongSignature,
    /// The request's key is not one the authority signs for.
    #[error("the certificate request names a key that is not ECDSA P-256")]
    UnsupportedKey,
}

// === impl PrivateKey ===

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyError::Key`].
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|source| KeyError::Key { source })
    }

    /// Reads a key from PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|source| KeyError::Key { source })
    }

    /// Reads a key from its file, which nobody else may read.
    ///
    /// # Errors
    /// [`KeyError::Io`], [`KeyError::TooOpen`], [`KeyError::Key`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::TooOpen {
                path: path.to_owned(),
                mode,
            });
        }
        Self::from_pem(&fs::read_to_string(path).map_err(io)?)
    }

    /// Writes the key to a file with mode 0600, atomically and durably.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        write_secret(path, self.pem().as_bytes()).map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The key as PKCS#8 PEM. Secret.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A request for a certificate for this key: PKCS#10 in DER. It names nobody; the authority decides.
    ///
    /// # Errors
    /// [`KeyError::Key`].
    pub fn request(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.0);
        let request = request.map_err(|source| KeyError::Key { source })?;
        Ok(request.der().to_vec())
    }

    /// The public key: DER of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    pub(crate) fn into_pair(self) -> KeyPair {
        self.0
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

// === impl RequestedKey ===

impl RequestedKey {
    /// Takes the public key out of a request (PKCS#10 in DER), once its signature is verified.
    ///
    /// # Errors
    /// [`KeyError::MalformedRequest`], [`KeyError::WrongSignature`], [`KeyError::UnsupportedKey`].
    pub fn from_request(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_REQUEST {
            return Err(KeyError::MalformedRequest);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| KeyError::MalformedRequest)?;
        if !rest.is_empty() {
            return Err(KeyError::MalformedRequest);
        }
        let raw = request.certification_request_info.subject_pki.raw;
        let key = SubjectPublicKeyInfo::from_der(raw).map_err(|_| KeyError::UnsupportedKey)?;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(KeyError::UnsupportedKey);
        }
        request
            .verify_signature()
            .map_err(|_| KeyError::WrongSignature)?;
        Ok(Self(key))
    }

    pub(crate) fn public(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}
