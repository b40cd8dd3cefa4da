//! The built-in certificate authority: one ECDSA P-256 key in one folder.
//!
//! A certificate it signs names what the control plane decided, never what a request asked for. Servers' certificates
//! are for servers only, clients' for clients only.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};

use crate::durable::write_public;
use crate::{
    Credentials, Identity, KeyError, Name, Pin, PinError, PrivateKey, RequestedKey, TlsError,
    certificates,
};

/// The authority's private key, in its folder; mode 0600.
pub const CA_KEY_FILE: &str = "ca.key";
/// The authority's certificate, in its folder.
pub const CA_CERTIFICATE_FILE: &str = "ca.crt";
/// How long a node's certificate lives: seven days.
pub const NODE_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long a server's certificate lives: a year; it is issued anew at every start.
const SERVER_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long the authority lives: ten years.
const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(3650 * 24);
/// Certificates begin this much in the past, for peers whose clock is behind.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    bundle: String,
    pin: Pin,
}

/// Why the authority cannot be used, or did not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The folder already has one; it is never overwritten.
    #[error("there is already a certificate authority in `{dir}`")]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot read or write `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key is missing, readable by others, or not a key; or a request was refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate is not one, or not that of the key beside it.
    #[error("`{path}` is not the certificate of the key beside it")]
    Mismatch {
        /// The certificate's file.
        path: PathBuf,
    },
    /// An address to certify is neither a DNS name nor an IP address.
    #[error("`{name}` is neither a DNS name nor an IP address")]
    ServerName {
        /// What was given.
        name: String,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    NoRandomness,
    /// The time or lifetime given lies outside what a certificate can say.
    #[error("the certificate would end outside the calendar")]
    Time,
    /// Signing failed.
    #[error("cannot sign the certificate")]
    Sign {
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// What was signed cannot be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

// === impl Authority ===

impl Authority {
    /// The authority of a folder; a new one, if the folder has none.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        if dir.join(CA_CERTIFICATE_FILE).exists() {
            Self::load(dir)
        } else {
            Self::create(dir, now)
        }
    }

    /// Makes an authority in a folder, durably: first its key, then its certificate, so that a certificate there means
    /// the authority is whole.
    ///
    /// # Errors
    /// [`AuthorityError::Exists`], and others of [`AuthorityError`].
    pub fn create(dir: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        let path = dir.join(CA_CERTIFICATE_FILE);
        if path.exists() {
            return Err(AuthorityError::Exists {
                dir: dir.to_owned(),
            });
        }
        let io = |source| AuthorityError::Io {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(io)?;
        let key = PrivateKey::generate()?;
        let mut params = params("palisade", CA_LIFETIME, now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(key.pair());
        let certificate = certificate.map_err(|source| AuthorityError::Sign { source })?;
        key.save(&dir.join(CA_KEY_FILE))?;
        write_public(&path, certificate.pem().as_bytes()).map_err(io)?;
        Self::load(dir)
    }

    /// Reads the authority of a folder.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn load(dir: &Path) -> Result<Self, AuthorityError> {
        let path = dir.join(CA_CERTIFICATE_FILE);
        let key = PrivateKey::load(&dir.join(CA_KEY_FILE))?;
        let bundle = fs::read_to_string(&path).map_err(|source| AuthorityError::Io {
            path: path.clone(),
            source,
        })?;
        let mismatch = || AuthorityError::Mismatch { path: path.clone() };
        let chain = certificates(&bundle).map_err(|_| mismatch())?;
        let [certificate] = chain.as_slice() else {
            return Err(mismatch());
        };
        let pin = Pin::of(certificate).map_err(|_: PinError| mismatch())?;
        if pin != Pin::of_key(&key.public_der()) {
            return Err(mismatch());
        }
        let issuer = Issuer::from_ca_cert_der(certificate, key.into_pair());
        Ok(Self {
            issuer: issuer.map_err(|_| mismatch())?,
            bundle,
            pin,
        })
    }

    /// The certificates to trust, in PEM: what `GetTrustBundle` answers.
    #[must_use]
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// The pin that goes into join tokens.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// A key and certificate for this server, reachable as each of `addresses` (DNS names and IP addresses, without
    /// port) and as localhost. The chain carries the authority, for clients that know only its pin.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue_server(
        &self,
        addresses: &[String],
        now: Timestamp,
    ) -> Result<Credentials, AuthorityError> {
        let mut params = params("palisade-controlplane", SERVER_LIFETIME, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![
            server_name("localhost")?,
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
        ];
        for address in addresses {
            let name = server_name(address)?;
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        let key = PrivateKey::generate()?;
        let chain = self.sign(&params, key.pair())?;
        Ok(Credentials::new(&chain, &key)?)
    }

    /// A certificate for a client, for the key of its request (PKCS#10 in DER). PEM, leaf first, then the authority.
    ///
    /// # Errors
    /// [`AuthorityError`]; [`AuthorityError::Key`] if the request is refused.
    pub fn issue_client(
        &self,
        identity: &Identity,
        request: &[u8],
        lifetime: SignedDuration,
        now: Timestamp,
    ) -> Result<String, AuthorityError> {
        let key = RequestedKey::from_request(request)?;
        let (Identity::Node(name) | Identity::User { name, .. }) = identity;
        let mut params = params(name.as_str(), lifetime, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = identity.uri().try_into();
        let uri = uri.map_err(|source| AuthorityError::Sign { source })?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        self.sign(&params, key.public())
    }

    /// [`Authority::issue_client`] for a node, for [`NODE_LIFETIME`].
    ///
    /// # Errors
    /// As [`Authority::issue_client`].
    pub fn issue_node(
        &self,
        name: &Name,
        request: &[u8],
        now: Timestamp,
    ) -> Result<String, AuthorityError> {
        self.issue_client(&Identity::Node(name.clone()), request, NODE_LIFETIME, now)
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<String, AuthorityError> {
        let certificate = params.signed_by(key, &self.issuer);
        let certificate = certificate.map_err(|source| AuthorityError::Sign { source })?;
        Ok(format!("{}{}", certificate.pem(), self.bundle))
    }
}

/// What every certificate has: a name for people, a random serial number, its dates, digital signature as its use.
fn params(
    name: &str,
    lifetime: SignedDuration,
    now: Timestamp,
) -> Result<CertificateParams, AuthorityError> {
    let time = |at: Result<Timestamp, jiff::Error>| {
        let since = at.ok()?.as_second().try_into().ok()?;
        rcgen::date_time_ymd(1970, 1, 1).checked_add(Duration::from_secs(since).try_into().ok()?)
    };
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| AuthorityError::NoRandomness)?;
    // Positive, and of the same length always.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    // A common name has at most 64 characters (RFC 5280, upper bounds); who it is stands in the URI.
    let name: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = time(now.checked_sub(CLOCK_SLACK)).ok_or(AuthorityError::Time)?;
    params.not_after = time(now.checked_add(lifetime)).ok_or(AuthorityError::Time)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn server_name(address: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || AuthorityError::ServerName {
        name: address.to_owned(),
    };
    rustls::pki_types::DnsName::try_from(address).map_err(|_| refused())?;
    let name = address.to_owned().try_into().map_err(|_| refused())?;
    Ok(SanType::DnsName(name))
}
