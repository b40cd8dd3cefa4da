//! This node's certificate: asked for with a join token, kept on disk, renewed at half its life.
//!
//! The key never leaves the machine. Nothing here can stop enforcement: without a valid certificate the node goes on with
//! the policy it has, and says so.

use crate::{
    durable,
    link::connect::ConnectError,
    link::way::{Role, Way},
};
use jiff::Timestamp;
use palisade_identity::{
    Credentials, JoinToken, KeyError, Peer, PeerError, PrivateKey, TlsError, TokenError,
    client_config, pinned_client_config, write_secret,
};
use palisade_proto::v1::{EnrollRequest, enrollment_service_client::EnrollmentServiceClient};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

mod keep;

pub use keep::{keep_renewed, keep_stored, keep_there};

/// Chain, leaf first, and key, in one file, so that they are replaced as one.
const IDENTITY: &str = "identity.pem";
/// The authorities of the control plane.
const AUTHORITIES: &str = "ca.pem";
/// For an answer to a request of ours.
const PATIENCE: Duration = Duration::from_secs(30);
/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The state directory.
    #[error("`{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is on disk, or was sent, is not a certificate with its key.
    #[error("certificate or key")]
    Tls(#[from] TlsError),
    /// No key could be made.
    #[error("key")]
    Key(#[from] KeyError),
    /// The certificate states no identity.
    #[error("certificate")]
    Peer(#[from] PeerError),
    /// The token is none.
    #[error("join token")]
    Token(#[from] TokenError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The control plane refused.
    #[error("the control plane refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
}

impl CertificateError {
    /// Whether another attempt with the same token is of no use.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(status) => !matches!(
                status.code(),
                tonic::Code::Unavailable
                    | tonic::Code::DeadlineExceeded
                    | tonic::Code::ResourceExhausted
                    | tonic::Code::Unknown
            ),
            Self::Connect(err) => matches!(err, ConnectError::Name(_)) || wrong_pin(err),
            _ => true,
        }
    }

    /// Whether the machine failed, so that the same may work in a while.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() != io::ErrorKind::InvalidData)
    }
}

/// Another control plane than the one that made the token.
fn wrong_pin(err: &ConnectError) -> bool {
    let ConnectError::Tls { source, .. } = err else {
        return false;
    };
    source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|err| matches!(err, rustls::Error::InvalidCertificate(_)))
}

/// What the node shows and whom it trusts.
#[derive(Clone, Debug)]
pub struct Certificate {
    credentials: Credentials,
    /// Chain and key, as they are on disk.
    identity: String,
    authorities: String,
    /// Whose it is, and from when to when.
    pub peer: Peer,
}

impl Certificate {
    fn new(identity: String, authorities: String) -> Result<Self, CertificateError> {
        let credentials = Credentials::from_pem(&identity, &identity)?;
        let leaf = credentials.chain().first().ok_or(TlsError::Pem)?;
        let peer = Peer::from_der(leaf)?;
        // Both must be usable together before anything is stored.
        client_config(&authorities, Some(&credentials))?;
        Ok(Self {
            credentials,
            identity,
            authorities,
            peer,
        })
    }

    /// The certificate on disk, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn load(dir: &Path) -> Result<Option<Self>, CertificateError> {
        let identity = read(&dir.join(IDENTITY))?;
        let authorities = read(&dir.join(AUTHORITIES))?;
        match identity.zip(authorities) {
            Some((identity, authorities)) => Self::new(identity, authorities).map(Some),
            None => Ok(None),
        }
    }

    /// Its client side of TLS.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn tls(&self) -> Result<rustls::ClientConfig, TlsError> {
        client_config(&self.authorities, Some(&self.credentials))
    }

    /// Whether its time is over.
    pub fn has_expired(&self) -> bool {
        self.peer.not_after <= Timestamp::now()
    }

    /// What an authority made of a request by this key.
    fn issued(
        key: &PrivateKey,
        chain: &str,
        authorities: String,
    ) -> Result<Self, CertificateError> {
        Self::new(format!("{}\n{}", chain.trim_end(), key.pem()), authorities)
    }

    /// Writes it where [`Certificate::load`] finds it.
    ///
    /// # Errors
    /// [`CertificateError::File`].
    pub fn store(&self, dir: &Path) -> Result<(), CertificateError> {
        let write = |name: &str, content: &str| {
            let path = dir.join(name);
            write_secret(&path, content.as_bytes())
                .map_err(|source| CertificateError::File { path, source })
        };
        write(AUTHORITIES, &self.authorities)?;
        write(IDENTITY, &self.identity)
    }

    /// Stores it if somebody removed it. Whether that was so.
    fn store_if_removed(&self, dir: &Path) -> Result<bool, CertificateError> {
        for name in [AUTHORITIES, IDENTITY] {
            let path = dir.join(name);
            match path.try_exists() {
                Ok(true) => {}
                Ok(false) => return self.store(dir).map(|()| true),
                Err(source) => return Err(CertificateError::File { path, source }),
            }
        }
        Ok(false)
    }

    /// The same as [`Self::store`], where nothing waits for the disk.
    async fn store_aside(&self, dir: &Path) -> Result<(), CertificateError> {
        let (certificate, dir) = (self.clone(), dir.to_owned());
        let failed = |err| CertificateError::File {
            path: IDENTITY.into(),
            source: io::Error::other(err),
        };
        tokio::task::spawn_blocking(move || certificate.store(&dir))
            .await
            .unwrap_or_else(|err| Err(failed(err)))
    }
}

fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    let failed = |source| CertificateError::File {
        path: path.to_owned(),
        source,
    };
    durable::read(path)
        .map_err(failed)?
        .map(|bytes| {
            String::from_utf8(bytes).map_err(|_| failed(io::ErrorKind::InvalidData.into()))
        })
        .transpose()
}

/// Spends a join token: a new key, a request, a certificate. It is not stored yet.
///
/// # Errors
/// Every [`CertificateError`] but those of files.
pub async fn enroll(
    way: &Way,
    token: &str,
    node_name: &str,
) -> Result<Certificate, CertificateError> {
    let parsed: JoinToken = token.trim().parse()?;
    let tls = pinned_client_config(parsed.pin())?;
    let channel = way.connect(Role::Enrollment, tls).await?;
    let key = PrivateKey::generate()?;
    let request = EnrollRequest {
        token: token.trim().to_owned(),
        node_name: node_name.to_owned(),
        csr: key.request()?,
    };
    let mut client = EnrollmentServiceClient::new(channel);
    let answer = limited(client.enroll(request)).await?;
    // The connection was to the pinned authority; what it hands out as authorities must hold it too.
    parsed
        .pin()
        .check_bundle(&answer.ca_bundle)
        .map_err(|err| {
            CertificateError::Refused(Box::new(tonic::Status::internal(err.to_string())))
        })?;
    Certificate::issued(&key, &answer.certificate_chain, answer.ca_bundle)
}

async fn limited<T>(
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, CertificateError> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer")))
        .map(tonic::Response::into_inner)
        .map_err(|status| CertificateError::Refused(Box::new(status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_identity::Authority;

    fn issue(dir: &Path) -> (Authority, PrivateKey, String) {
        let authority = Authority::create(dir, Timestamp::now()).expect("authority");
        let key = PrivateKey::generate().expect("key");
        let name = "web-1".parse().expect("name");
        let request = key.request().expect("request");
        let chain = authority
            .issue_node(&name, &request, Timestamp::now())
            .expect("issued");
        (authority, key, chain)
    }

    #[test]
    fn a_stored_certificate_loads_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("tempdir");
        assert!(Certificate::load(dir.path()).expect("readable").is_none());
        let (authority, key, chain) = issue(&dir.path().join("authority"));
        Certificate::issued(&key, &chain, authority.bundle().to_owned())
            .and_then(|issued| issued.store(dir.path()))
            .expect("stored");
        let loaded = Certificate::load(dir.path())
            .expect("readable")
            .expect("there");
        assert_eq!(loaded.peer.identity.uri(), "spiffe://palisade/node/web-1");
        assert!(!loaded.has_expired());
        let mode = std::fs::metadata(dir.path().join(IDENTITY))
            .expect("there")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);

        assert!(!loaded.store_if_removed(dir.path()).expect("looked"));
        for name in [IDENTITY, AUTHORITIES] {
            std::fs::remove_file(dir.path().join(name)).expect("removed");
            assert!(loaded.store_if_removed(dir.path()).expect("stored"));
            let again = Certificate::load(dir.path()).expect("readable");
            assert_eq!(again.expect("there").identity, loaded.identity);
        }
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (authority, _, chain) = issue(&dir.path().join("authority"));
        let other = PrivateKey::generate().expect("key");
        let issued = Certificate::issued(&other, &chain, authority.bundle().to_owned());
        assert!(matches!(issued, Err(CertificateError::Tls(_))));
    }
}
