//! From a command line to a stream: a certificate, from disk or by the join token, then the stream for ever.
//!
//! Owns no policy, and ends no enforcement: whatever keeps the node from the control plane is said and tried again.

use crate::{
    arguments::Run,
    backoff::Backoff,
    cause::chain,
    enforce::Reconciler,
    link::certificate::{Certificate, enroll, enrollment_server, keep_renewed},
    link::servers::Remembered,
    link::stream::Sync,
    metrics::Metrics,
    plugins::audit::sink::{Directory, Failing},
    plugins::bind_failures::BindFailures,
    plugins::loaded::LoadedPlugins,
};
use anyhow::{Context, Result};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::watch;
use tonic::transport::Channel;

/// What joining needs of the rest of the daemon.
pub struct Join {
    /// The command line.
    pub arguments: Run,
    /// Addresses of the control plane, for the exemption.
    pub addresses: watch::Sender<Vec<SocketAddr>>,
    /// The same, on disk.
    pub remembered: Remembered,
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
    /// A certificate, from disk or by the token, then the stream for ever.
    ///
    /// # Errors
    /// There is no certificate, and none can be had.
    pub async fn run(self) -> Result<()> {
        let certificate = certificate(&self.arguments).await?;
        tracing::info!(identity = %certificate.peer.identity, until = %certificate.peer.not_after, "enrolled");
        let (current, certificates) = watch::channel(Arc::new(certificate));
        let dir = self.arguments.state_dir.clone();
        tokio::spawn(keep_renewed(dir, self.arguments.server.clone(), current));
        let sync = Sync {
            sinks: Directory::new(&self.arguments.sink_dir),
            server: self.arguments.server,
            remembered: self.remembered,
            certificate: certificates,
            reconciler: self.reconciler,
            addresses: self.addresses,
            capabilities: self.capabilities,
            metrics: self.metrics,
            bind_failures: self.bind_failures,
            failing: self.failing,
            loaded: self.loaded,
            channel: self.channel,
        };
        sync.run().await;
        Ok(())
    }
}

async fn certificate(arguments: &Run) -> Result<Certificate> {
    let dir = &arguments.state_dir;
    let there = match (Certificate::load(dir), &arguments.token) {
        (Err(err), Some(_)) => {
            tracing::warn!(err = %chain(&err), "the certificate cannot be used; enrolling again");
            None
        }
        (loaded, _) => loaded.context("read the certificate")?,
    };
    let token = match (there, &arguments.token) {
        (Some(certificate), None) => return Ok(certificate),
        (Some(certificate), Some(_)) if !certificate.has_expired() => return Ok(certificate),
        (_, Some(token)) => token,
        (None, None) => anyhow::bail!(
            "not enrolled yet: give a join token with --token (`palisadectl token create`)"
        ),
    };
    let name = match &arguments.node_name {
        Some(name) => name.clone(),
        None => host_name(),
    };
    let server = enrollment_server(&arguments.server, arguments.enroll_server.as_ref());
    let mut backoff = Backoff::stream();
    loop {
        match enroll(dir, &server, token, &name).await {
            Ok(certificate) => return Ok(certificate),
            Err(err) if err.is_final() => {
                return Err(err).with_context(|| format!("enrol node `{name}` at {server}"));
            }
            Err(err) => {
                let wait = backoff.next(&mut rand::rng());
                tracing::warn!(err = %chain(&err), retry_in = ?wait, "not enrolled yet");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase()
}
