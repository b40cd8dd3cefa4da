//! This node's certificate: asked for with a join token, kept on disk, renewed at half its life.
//!
//! The key never leaves the machine. Nothing here can stop enforcement: without a valid certificate the node goes on with
//! the policy it has, and says so.

use crate::{
    arguments::Server,
    backoff::Backoff,
    cause::chain,
    durable,
    link::connect::{ConnectError, connect, resolve},
};
use jiff::Timestamp;
use palisade_identity::{
    Credentials, JoinToken, KeyError, Peer, PeerError, PrivateKey, TlsError, TokenError,
    client_config, pinned_client_config, renew_at, write_secret,
};
use palisade_proto::v1::{
    EnrollRequest, RenewCertificateRequest, certificate_service_client::CertificateServiceClient,
    enrollment_service_client::EnrollmentServiceClient,
};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::watch;

/// Chain, leaf first, and key, in one file, so that they are replaced as one.
const IDENTITY: &str = "identity.pem";
/// The authorities of the control plane.
const AUTHORITIES: &str = "ca.pem";
/// For an answer to a request of ours.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between attempts to renew: half a life is days long.
const RETRY: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(600));

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
    authorities: String,
    /// Whose it is, and from when to when.
    pub peer: Peer,
}

impl Certificate {
    fn new(identity: &str, authorities: String) -> Result<Self, CertificateError> {
        let credentials = Credentials::from_pem(identity, identity)?;
        let leaf = credentials.chain().first().ok_or(TlsError::Pem)?;
        let peer = Peer::from_der(leaf)?;
        // Both must be usable together before anything is stored.
        client_config(&authorities, Some(&credentials))?;
        Ok(Self {
            credentials,
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
            Some((identity, authorities)) => Self::new(&identity, authorities).map(Some),
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

    fn store(
        dir: &Path,
        key: &PrivateKey,
        chain: &str,
        authorities: String,
    ) -> Result<Self, CertificateError> {
        let identity = format!("{}\n{}", chain.trim_end(), key.pem());
        let certificate = Self::new(&identity, authorities)?;
        let write = |name: &str, content: &str| {
            let path = dir.join(name);
            write_secret(&path, content.as_bytes())
                .map_err(|source| CertificateError::File { path, source })
        };
        write(AUTHORITIES, &certificate.authorities)?;
        write(IDENTITY, &identity)?;
        Ok(certificate)
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

/// Spends a join token: a new key, a request, a certificate, all stored before this returns.
///
/// # Errors
/// Every [`CertificateError`]; the token may be spent then, if only storing failed.
pub async fn enroll(
    dir: &Path,
    server: &Server,
    token: &str,
    node_name: &str,
) -> Result<Certificate, CertificateError> {
    let parsed: JoinToken = token.trim().parse()?;
    let addresses = resolve(server).await?;
    let tls = pinned_client_config(parsed.pin())?;
    let channel = connect(server, &addresses, tls).await?;
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
    Certificate::store(dir, &key, &answer.certificate_chain, answer.ca_bundle)
}

/// A new key and a new certificate, with the certificate that there is.
async fn renew(
    dir: &Path,
    server: &Server,
    certificate: &Certificate,
) -> Result<Certificate, CertificateError> {
    let addresses = resolve(server).await?;
    let channel = connect(server, &addresses, certificate.tls()?).await?;
    let key = PrivateKey::generate()?;
    let request = RenewCertificateRequest {
        csr: key.request()?,
    };
    let mut client = CertificateServiceClient::new(channel);
    let answer = limited(client.renew_certificate(request)).await?;
    let renewed = Certificate::store(dir, &key, &answer.certificate_chain, answer.ca_bundle)?;
    if renewed.peer.identity != certificate.peer.identity {
        tracing::warn!(identity = %renewed.peer.identity, "the certificate names another node");
    }
    Ok(renewed)
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

/// Renews at half life, for ever; connections made from then on show the new certificate. Failure is retried and said; it ends nothing.
pub async fn keep_renewed(
    dir: PathBuf,
    server: Server,
    current: watch::Sender<std::sync::Arc<Certificate>>,
) {
    let mut certificate = current.borrow().clone();
    let mut patience = RETRY;
    loop {
        let peer = &certificate.peer;
        let due = renew_at(peer.not_before, peer.not_after, rand::random());
        sleep_until(due).await;
        match renew(&dir, &server, &certificate).await {
            Ok(renewed) => {
                tracing::info!(until = %renewed.peer.not_after, "certificate renewed");
                certificate = std::sync::Arc::new(renewed);
                current.send_replace(certificate.clone());
                patience.reset();
            }
            Err(err) => {
                if certificate.has_expired() {
                    tracing::error!(err = %chain(&err), "the certificate expired and cannot be renewed; enrol again with a new token");
                } else {
                    tracing::warn!(err = %chain(&err), "certificate not renewed yet");
                }
                let wait = patience.next(&mut rand::rng());
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// By the wall clock, looked at once a minute: a suspended machine or a corrected clock moves the date.
async fn sleep_until(due: Timestamp) {
    loop {
        let left = due.duration_since(Timestamp::now());
        if !left.is_positive() {
            return;
        }
        let left = left.unsigned_abs().min(Duration::from_secs(60));
        tokio::time::sleep(left).await;
    }
}

/// The server to enrol at, unless another is given: the same host's port 7601.
pub fn enrollment_server(server: &Server, given: Option<&Server>) -> Server {
    given.cloned().unwrap_or_else(|| server.at_port(7601))
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
        Certificate::store(dir.path(), &key, &chain, authority.bundle().to_owned())
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
    }

    #[test]
    fn a_certificate_for_another_key_is_not_stored() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (authority, _, chain) = issue(&dir.path().join("authority"));
        let other = PrivateKey::generate().expect("key");
        let stored = Certificate::store(dir.path(), &other, &chain, authority.bundle().to_owned());
        assert!(matches!(stored, Err(CertificateError::Tls(_))));
        assert!(Certificate::load(dir.path()).expect("readable").is_none());
    }
}
