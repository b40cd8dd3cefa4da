//! Wires the daemon: what starts when, and how it ends.
//!
//! First the saved view is enforced, with no connection to anybody; only then the node enrols if it must, and connects.
//! SIGTERM and SIGINT end the process and leave the rules.

use crate::{
    arguments::Run,
    cause::chain,
    durable,
    enforce::interfaces::watch_interfaces,
    enforce::machine::{environment, follow},
    enforce::{self, Reconciler},
    link::certificate::{Certificate, enroll, enrollment_server, keep_renewed},
    link::servers::Remembered,
    link::stream::Sync,
    metrics::Metrics,
    observe::http,
    plugins::audit::sink::{Directory, Failing},
    plugins::bind_failures::BindFailures,
    plugins::loaded::LoadedPlugins,
    plugins::supervisor,
};
use anyhow::{Context, Result};
use palisade_netfilter::{Feature, Netfilter, ReadError};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tonic::transport::Channel;

/// Runs until a signal.
///
/// # Errors
/// What keeps the daemon from starting. Once started, nothing but a signal ends it.
pub async fn run(arguments: Run) -> Result<()> {
    let dir = &arguments.state_dir;
    durable::make_private_dir(dir).with_context(|| format!("make `{}`", dir.display()))?;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let metrics = Metrics::default();
    http::serve(arguments.http_listen, metrics.clone())
        .await
        .with_context(|| format!("listen on {}", arguments.http_listen))?;

    let interfaces = watch_interfaces().await?;
    let remembered = Remembered::new(dir, &arguments.server);
    let (addresses, _) = watch::channel(remembered.load());
    let environment = environment(&interfaces, &addresses.subscribe());
    let running = enforce::start(dir, environment, metrics.clone()).await?;
    let reconciler = running.reconciler;
    let sinks = Directory::new(&arguments.sink_dir);
    let (bind_failures, failing) = (
        running.feed.bind_failures.clone(),
        running.feed.failing.clone(),
    );
    let supervisor = supervisor::start(dir, sinks, running.feed, metrics.clone());
    tokio::spawn(tell_ready(reconciler.clone(), metrics.clone()));
    tokio::spawn(follow(
        interfaces,
        addresses.subscribe(),
        reconciler.clone(),
    ));
    let synced = tokio::spawn(join(
        arguments,
        addresses,
        remembered,
        reconciler.clone(),
        metrics,
        (
            supervisor.loaded.clone(),
            supervisor.channel.clone(),
            bind_failures,
            failing,
        ),
    ));

    let enforces = || reconciler.positions().borrow().have.is_some();
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = synced => match ended.context("the stream's task")? {
            // Who we are to the control plane never stops enforcement.
            Err(err) if enforces() => {
                tracing::error!(err = format!("{err:#}"), "no way to the control plane; the saved policy is enforced");
                tokio::select! {
                    _ = terminate.recv() => Ok(()),
                    _ = interrupt.recv() => Ok(()),
                }
            }
            ended => ended,
        },
    };
    tracing::info!("stopping; the rules stay");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    supervisor.stop().await;
    reconciler.stop().await;
    let _ = tokio::task::spawn_blocking(move || running.thread.join()).await;
    ended
}

/// A certificate, from disk or by the token, then the stream for ever.
async fn join(
    arguments: Run,
    addresses: watch::Sender<Vec<SocketAddr>>,
    remembered: Remembered,
    reconciler: Reconciler,
    metrics: Metrics,
    (loaded, channel, bind_failures, failing): (
        watch::Receiver<Arc<LoadedPlugins>>,
        watch::Sender<Option<Channel>>,
        BindFailures,
        Failing,
    ),
) -> Result<()> {
    let certificate = certificate(&arguments).await?;
    tracing::info!(identity = %certificate.peer.identity, until = %certificate.peer.not_after, "enrolled");
    let (current, certificates) = watch::channel(Arc::new(certificate));
    let dir = arguments.state_dir.clone();
    tokio::spawn(keep_renewed(dir, arguments.server.clone(), current));
    let sync = Sync {
        sinks: Directory::new(&arguments.sink_dir),
        server: arguments.server,
        remembered,
        certificate: certificates,
        reconciler,
        addresses,
        capabilities: kernel_features(),
        metrics,
        bind_failures,
        failing,
        loaded,
        channel,
    };
    sync.run().await;
    Ok(())
}

/// What the kernel of this machine can do, as the control plane is told; nothing that cannot be asked counts as there.
fn kernel_features() -> Vec<String> {
    let probed = Netfilter::open()
        .map_err(ReadError::Socket)
        .and_then(|mut kernel| kernel.probe());
    match probed {
        Ok(features) => {
            let (present, absent): (Vec<_>, Vec<_>) = features.iter().partition(|f| f.present);
            let names =
                |list: Vec<&Feature>| list.iter().map(|f| f.name).collect::<Vec<_>>().join(" ");
            tracing::info!(
                present = names(present.clone()),
                absent = names(absent),
                "kernel features"
            );
            present.iter().map(|f| f.name.to_owned()).collect()
        }
        Err(err) => {
            tracing::warn!(%err, "the kernel's features cannot be probed");
            Vec::new()
        }
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
    let mut backoff = crate::backoff::Backoff::stream();
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

/// Once in sync and enforced: a log line, and the service manager.
async fn tell_ready(reconciler: Reconciler, metrics: Metrics) {
    let mut positions = reconciler.positions();
    let enforced = positions
        .wait_for(|positions| positions.enforced.is_some())
        .await;
    let revision = match enforced {
        Ok(positions) => positions.enforced.map(|at| at.revision),
        Err(_) => return,
    };
    if metrics.set_ready() {
        tracing::info!(revision, "ready");
        if let Err(err) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%err, "service manager not told");
        }
    }
}
