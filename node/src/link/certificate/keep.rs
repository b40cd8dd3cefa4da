//! Keeps a certificate: stores one that was given out, and renews it at half its life.

use super::{Certificate, CertificateError, limited};
use crate::{
    backoff::Backoff,
    cause::chain,
    link::state::{Link, kind},
    link::way::{Role, Servers, Way},
};
use jiff::Timestamp;
use palisade_identity::{PrivateKey, renew_at};
use palisade_proto::v1::{
    RenewCertificateRequest, certificate_service_client::CertificateServiceClient,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Between attempts to renew: half a life is days long.
const RETRY: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(600));
/// Between two looks whether what is stored is still there.
const LOOK: Duration = Duration::from_secs(5);

/// Stores a certificate whose token is spent, however long the disk refuses: it is used meanwhile, and lost at a restart.
pub async fn keep_stored(dir: PathBuf, certificate: Certificate, link: Link) {
    let mut patience = RETRY;
    while let Err(err) = certificate.store_aside(&dir).await {
        let wait = patience.next(&mut rand::rng());
        let err = chain(&err);
        tracing::error!(err, retry_in = ?wait, "the certificate cannot be stored; a restart needs a new token");
        let message = format!("the certificate is used, but cannot be stored: {err}");
        link.set(kind::CERTIFICATE, "NotStored", message);
        tokio::time::sleep(wait).await;
    }
    link.clear(kind::CERTIFICATE);
}

/// Stores the certificate, and what else of the way the state directory remembers, again if somebody removes them: both
/// are used as long as the daemon runs, and a restart is to need no new token.
pub async fn keep_there(
    dir: PathBuf,
    servers: Servers,
    current: watch::Receiver<Arc<Certificate>>,
    link: Link,
) {
    let mut missing = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let (certificate, dir, servers) = (current.borrow().clone(), dir.clone(), servers.clone());
        let looked = tokio::task::spawn_blocking(move || {
            if let Err(err) = servers.write_if_removed() {
                tracing::warn!(%err, "addresses of the control plane cannot be written again");
            }
            certificate.store_if_removed(&dir)
        });
        match looked.await {
            Ok(Ok(stored)) => {
                if stored {
                    tracing::warn!(
                        "the certificate was removed while it is used; it is stored again"
                    );
                }
                if std::mem::take(&mut missing) {
                    link.clear(kind::CERTIFICATE);
                }
            }
            Ok(Err(err)) => {
                missing = true;
                let message = format!(
                    "the certificate is used, but is not on disk, and cannot be stored ({}): a restart needs a \
                     new token",
                    chain(&err)
                );
                link.set(kind::CERTIFICATE, "NotStored", message);
            }
            // The runtime is ending.
            Err(_) => return,
        }
    }
}

/// A new key and a new certificate, with the certificate that there is.
async fn renew(
    dir: &Path,
    way: &Way,
    certificate: &Certificate,
) -> Result<Certificate, CertificateError> {
    let channel = way.connect(Role::Api, certificate.tls()?).await?;
    let key = PrivateKey::generate()?;
    let request = RenewCertificateRequest {
        csr: key.request()?,
    };
    let mut client = CertificateServiceClient::new(channel);
    let answer = limited(client.renew_certificate(request)).await?;
    let renewed = Certificate::issued(&key, &answer.certificate_chain, answer.ca_bundle)?;
    renewed.store_aside(dir).await?;
    if renewed.peer.identity != certificate.peer.identity {
        tracing::warn!(identity = %renewed.peer.identity, "the certificate names another node");
    }
    Ok(renewed)
}

/// Renews at half life, for ever; connections made from then on show the new certificate. Failure is retried and said; it ends nothing.
pub async fn keep_renewed(
    dir: PathBuf,
    way: Way,
    link: Link,
    current: watch::Sender<Arc<Certificate>>,
) {
    let mut certificate = current.borrow().clone();
    let mut patience = RETRY;
    loop {
        let peer = &certificate.peer;
        let due = renew_at(peer.not_before, peer.not_after, rand::random());
        sleep_until(due).await;
        match renew(&dir, &way, &certificate).await {
            Ok(renewed) => {
                tracing::info!(until = %renewed.peer.not_after, "certificate renewed");
                certificate = Arc::new(renewed);
                link.clear(kind::CERTIFICATE);
                current.send_replace(certificate.clone());
                patience.reset();
            }
            Err(err) => {
                if certificate.has_expired() {
                    let until = certificate.peer.not_after;
                    tracing::error!(%until, err = %chain(&err), "the certificate expired and cannot be renewed; enrol again with a new token");
                    let message =
                        format!("the certificate expired at {until}; enrol again with a new token");
                    link.set(kind::CERTIFICATE, "Expired", message);
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
