//! From a command line to a stream: a certificate, from disk or by the join token, then the stream for ever.
//!
//! Owns no policy, and ends no enforcement: whatever keeps the node from the control plane is said and tried again.

use crate::{
    arguments::Run,
    backoff::Backoff,
    cause::chain,
    enforce::Reconciler,
    link::certificate::{
        Certificate, CertificateError, enroll, keep_renewed, keep_stored, keep_there,
    },
    link::state::{Link, kind},
    link::stream::Sync,
    link::way::{Role, Servers, Way},
    metrics::Metrics,
    observe::report::{Sources, report},
    plugins::audit::sink::{Directory, Failing},
    plugins::bind_failures::BindFailures,
    plugins::loaded::LoadedPlugins,
};
use anyhow::{Context, Result};
use palisade_proto::v1::NodeReport;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tonic::transport::Channel;

/// Between attempts to read a file that the machine did not give.
const REREAD: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// So often is the certificate read before a join token is spent in its place.
const READS: u32 = 4;

/// What joining needs of the rest of the daemon.
pub struct Join {
    /// The command line.
    pub arguments: Run,
    /// Where the control plane is.
    pub servers: Servers,
    /// What people are told of it.
    pub link: Link,
    /// Who enforces.
    pub reconciler: Reconciler,
    /// What the kernel can do, as the control plane is told.
    pub capabilities: Vec<String>,
    /// Figures.
    pub metrics: Metrics,
    /// Plugins, which are reported.
    pub loaded: watch::Receiver<Arc<LoadedPlugins>>,
    /// The connection, while there is one, for plugins and flows.
    pub channel: watch::Sender<Option<Channel>>,
    /// What the threads of plugins could not bind.
    pub bind_failures: BindFailures,
    /// Sinks that fail.
    pub failing: Failing,
}

impl Join {
    /// Makes what the control plane is told of this node, at the moment that it is called.
    pub fn reporter(&self) -> Arc<dyn Fn() -> NodeReport + Send + std::marker::Sync> {
        let observed = self.reconciler.observed();
        let (loaded, sinks) = (
            self.loaded.clone(),
            Directory::new(&self.arguments.sink_dir),
        );
        let (failing, bind_failures) = (self.failing.clone(), self.bind_failures.clone());
        let link = self.link.clone();
        Arc::new(move || {
            report(&Sources {
                observed: &observed.borrow(),
                plugins: &loaded.borrow(),
                sinks: &sinks,
                failing: &failing,
                bind_failures: &bind_failures,
                link: &link.conditions(),
            })
        })
    }

    /// A certificate, from disk or by the token, then the stream for ever.
    ///
    /// # Errors
    /// There is no certificate, and none can be had without somebody's help.
    pub async fn run(self) -> Result<()> {
        let observed = self.reconciler.observed();
        let way = Way::new(self.servers.clone(), observed, self.link.clone());
        let certificate = match self.certificate(&way).await {
            Ok(certificate) => certificate,
            Err(err) => {
                let reason = match err.downcast_ref() {
                    Some(CertificateError::Refused(_)) => "Refused",
                    Some(_) => "Damaged",
                    None => "Missing",
                };
                self.link.set(kind::CERTIFICATE, reason, format!("{err:#}"));
                return Err(err);
            }
        };
        tracing::info!(identity = %certificate.peer.identity, until = %certificate.peer.not_after, "enrolled");
        let (current, certificates) = watch::channel(Arc::new(certificate));
        let dir = self.arguments.state_dir.clone();
        let (servers, link) = (self.servers.clone(), self.link.clone());
        tokio::spawn(keep_there(dir.clone(), servers, certificates.clone(), link));
        tokio::spawn(keep_renewed(dir, way.clone(), self.link.clone(), current));
        let sync = Sync {
            sinks: Directory::new(&self.arguments.sink_dir),
            way,
            certificate: certificates,
            reconciler: self.reconciler,
            instance: rand::random(),
            capabilities: self.capabilities,
            metrics: self.metrics,
            link: self.link,
            bind_failures: self.bind_failures,
            failing: self.failing,
            loaded: self.loaded,
            channel: self.channel,
        };
        sync.run().await
    }

    /// The certificate on disk while it is good, else one for the token. An expired one without a token is shown all the
    /// same: the control plane may know better what time it is.
    async fn certificate(&self, way: &Way) -> Result<Certificate> {
        let there = match (self.stored().await, &self.arguments.token) {
            (Err(err), Some(_)) => {
                tracing::warn!(err = %chain(&err), "the certificate cannot be used; enrolling again");
                None
            }
            (loaded, _) => loaded.context("read the certificate")?,
        };
        match (there, &self.arguments.token) {
            (Some(certificate), None) => Ok(certificate),
            (Some(certificate), Some(_)) if !certificate.has_expired() => Ok(certificate),
            (_, Some(token)) => self.enroll(way, token).await,
            (None, None) => anyhow::bail!(
                "not enrolled yet: give a join token with --token (`palisadectl token create`)"
            ),
        }
    }

    /// The certificate on disk, read again where the machine fails: without a token for ever.
    async fn stored(&self) -> Result<Option<Certificate>, CertificateError> {
        let mut backoff = REREAD;
        let mut reads = 1;
        loop {
            let loaded = Certificate::load(&self.arguments.state_dir);
            let err = match loaded {
                Err(err) if err.is_passing() => err,
                other => {
                    self.link.clear(kind::CERTIFICATE);
                    return other;
                }
            };
            if self.arguments.token.is_some() && reads >= READS {
                return Err(err);
            }
            reads += 1;
            let wait = backoff.next(&mut rand::rng());
            let err = chain(&err);
            tracing::warn!(err, retry_in = ?wait, "the certificate cannot be read yet");
            self.link.set(kind::CERTIFICATE, "Unreadable", err);
            tokio::time::sleep(wait).await;
        }
    }

    async fn enroll(&self, way: &Way, token: &str) -> Result<Certificate> {
        let name = match &self.arguments.node_name {
            Some(name) => name.clone(),
            None => host_name(),
        };
        let server = way.server(Role::Enrollment);
        let mut backoff = Backoff::stream();
        loop {
            match enroll(way, token, &name).await {
                Ok(certificate) => {
                    self.store(&certificate).await;
                    return Ok(certificate);
                }
                Err(err) if err.is_final() => {
                    return Err(err).with_context(|| format!("enrol node `{name}` at {server}"));
                }
                Err(err) => {
                    let wait = backoff.next(&mut rand::rng());
                    let err = chain(&err);
                    tracing::warn!(err, retry_in = ?wait, "not enrolled yet");
                    let message = format!("not enrolled at {server} yet: {err}");
                    self.link.set(kind::CERTIFICATE, "Missing", message);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// The token is spent: a disk that refuses is tried again while the certificate is used.
    async fn store(&self, certificate: &Certificate) {
        self.link.clear(kind::CERTIFICATE);
        let dir = self.arguments.state_dir.clone();
        let mut storing = tokio::spawn(keep_stored(dir, certificate.clone(), self.link.clone()));
        // A disk that works is waited for, so that what is said to be enrolled is.
        let _ = tokio::time::timeout(STORE, &mut storing).await;
    }
}

/// For a disk to store the certificate, before it is used without.
const STORE: Duration = Duration::from_secs(2);

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase()
}
