//! Wires the daemon: what starts when, and how it ends.
//!
//! First the saved view is enforced, with no connection to anybody; only then the node enrols if it must, and connects.
//! SIGTERM and SIGINT end the process and leave the rules.

use crate::{
    arguments::Run,
    durable,
    enforce::interfaces::watch_interfaces,
    enforce::machine::{environment, follow},
    enforce::{self, Reconciler},
    link::join::Join,
    link::servers::Servers,
    link::state::Link,
    metrics::Metrics,
    observe::http,
    plugins::audit::sink::Directory,
    plugins::supervisor,
};
use anyhow::{Context, Result};
use palisade_netfilter::{Feature, Netfilter, ReadError};
use tokio::signal::unix::{SignalKind, signal};

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
    let servers = Servers::open(dir, &arguments.server, arguments.enroll_server.as_ref());
    let link = Link::new(&arguments.server);
    let environment = environment(&interfaces, &servers.sockets());
    let running = enforce::start(dir, environment, metrics.clone()).await?;
    let reconciler = running.reconciler;
    let sinks = Directory::new(&arguments.sink_dir);
    let supervisor = supervisor::start(dir, sinks, running.feed, metrics.clone())?;
    tokio::spawn(tell_ready(reconciler.clone(), metrics.clone()));
    tokio::spawn(follow(interfaces, servers.sockets(), reconciler.clone()));
    let join = Join {
        arguments,
        servers,
        link,
        reconciler: reconciler.clone(),
        capabilities: kernel_features(),
        metrics,
        loaded: supervisor.loaded.clone(),
        channel: supervisor.channel.clone(),
        bind_failures: supervisor.bind_failures.clone(),
        failing: supervisor.failing.clone(),
    };
    let synced = tokio::spawn(join.run());

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
