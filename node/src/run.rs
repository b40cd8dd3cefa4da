//! Wires the daemon: what starts when, and how it ends.
//!
//! First the saved view is enforced, with no connection to anybody, no listener and no writable disk; what is missing is a
//! condition. Only then the node enrols if it must, and connects. SIGTERM and SIGINT end the process and leave the rules;
//! so does the end of the thread that owns the kernel.

use crate::{
    arguments::Run,
    cause::chain,
    condition::Condition,
    durable,
    enforce::{
        self, Reconciler,
        interfaces::{Interfaces, InterfacesError, watch_interfaces},
        machine::{follow, old_kernel},
        saved::{NamespaceLock, lock_namespace},
    },
    link::{join::Join, servers::Servers, state::Link},
    local::Local,
    metrics::Metrics,
    observe::http,
    plugins::{audit::sink::Directory, supervisor},
    service_manager::{READY, STOPPING, tell},
};
use anyhow::{Context, Result};
use palisade_netfilter::{Feature, Netfilter, OldKernel, ReadError, Writer};
use palisade_policy::packet::Environment;
use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};

mod file_store;

pub use file_store::stored;

/// Until interfaces that could not be read are tried again.
const REREAD: Duration = Duration::from_secs(1);

/// Runs until a signal. `stored`: what the service manager passed ([`stored`]).
///
/// # Errors
/// What keeps the daemon from enforcing: another daemon, another owner of our tables, a kernel that would judge otherwise
/// than policy says. Once started, only a signal ends it, or the end of the thread that owns the kernel.
pub async fn run(arguments: Run, stored: Vec<OwnedFd>) -> Result<()> {
    let dir = &arguments.state_dir;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let metrics = Metrics::default();
    let _alone = alone()?;
    let old = suitable_kernel()?;
    if let Err(err) = durable::make_private_dir(dir) {
        tracing::error!(%err, dir = %dir.display(), "the state directory cannot be made");
    }

    let interfaces = watch_interfaces().await;
    let servers = Servers::open(dir, &arguments.server, arguments.enroll_server.as_ref());
    let link = Link::new(&arguments.server);
    let environment = Environment {
        interfaces: interfaces
            .as_ref()
            .map_or_else(|_| Interfaces::new(), |latest| latest.borrow().clone()),
        control_plane: servers.sockets().borrow().clone(),
    };
    let shared = arguments.share_tables;
    let writer = writer(shared, &stored).context("open a netfilter socket")?;
    // One that is not used owns tables as long as it is open.
    drop(stored);
    let kept = writer.clone();
    let open = move || Ok(Netfilter::open_with(writer)?.sharing(shared));
    let running = enforce::start_on(open, dir, environment, metrics.clone()).await?;
    if !shared {
        file_store::keep(&kept);
    }
    let reconciler = running.reconciler;
    let mut enforcer_ended = tokio::task::spawn_blocking(move || running.thread.join());
    if let Some(old) = old {
        let condition = old_kernel(&old);
        reconciler.condition(condition.kind, Some(condition)).await;
    }
    let http = http::serve(arguments.http_listen, metrics.clone(), reconciler.clone());
    tokio::spawn(http);
    tokio::spawn(tell_ready(reconciler.clone()));
    tokio::spawn(attend(interfaces, servers.sockets(), reconciler.clone()));
    let sinks = Directory::new(&arguments.sink_dir);
    let supervisor = supervisor::start(dir, sinks, running.feed, metrics.clone())?;
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
    let uninstalled = Arc::new(Notify::new());
    let local = Local {
        reconciler: reconciler.clone(),
        link: join.link.clone(),
        metrics: join.metrics.clone(),
        report: join.reporter(),
        uninstalled: Arc::clone(&uninstalled),
    };
    tokio::spawn(local.serve(join.arguments.state_dir.clone()));
    let mut joined = tokio::spawn(join.run());

    let enforces = || reconciler.positions().borrow().have.is_some();
    let mut given_up = false;
    let mut left = "what the kernel holds stays";
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            () = uninstalled.notified() => {
                tracing::info!("our tables are removed; nothing is enforced");
                file_store::remove();
                left = "nothing of ours is in the kernel";
                break Ok(());
            }
            // Nobody would repair anything here any more: the service manager starts a process that does.
            _ = &mut enforcer_ended => anyhow::bail!("the thread that owns the kernel ended; the rules stay"),
            ended = &mut joined, if !given_up => match ended.context("the stream's task")? {
                // Who we are to the control plane never stops enforcement.
                Err(err) if enforces() => {
                    tracing::error!(err = format!("{err:#}"), "no way to the control plane; the saved policy is enforced");
                    given_up = true;
                }
                ended => break ended,
            },
        }
    };
    tracing::info!("stopping; {left}");
    let _ = tell(STOPPING, None);
    supervisor.stop().await;
    reconciler.stop().await;
    let _ = enforcer_ended.await;
    ended
}

/// The socket that writes: that of the daemon before us where the service manager kept it, so that our tables never were
/// without an owner.
fn writer(shared: bool, stored: &[OwnedFd]) -> io::Result<Writer> {
    match file_store::take(stored) {
        Some(writer) if !shared => Ok(writer),
        Some(_) => {
            file_store::remove();
            Writer::open()
        }
        None => Writer::open(),
    }
}

/// The lock of this network namespace: two daemons would undo each other's tables.
fn alone() -> Result<Option<NamespaceLock>> {
    match lock_namespace() {
        Ok(lock) => Ok(Some(lock)),
        Err(err) if err.kind() == io::ErrorKind::ResourceBusy => {
            Err(err).context("another daemon is at work")
        }
        Err(err) => {
            tracing::warn!(%err, "this network namespace cannot be locked");
            Ok(None)
        }
    }
}

/// A kernel that would judge otherwise than policy says gets none; an older one than is supported is told of.
pub(crate) fn suitable_kernel() -> Result<Option<OldKernel>> {
    let asked = Netfilter::open()
        .map_err(ReadError::Socket)
        .and_then(|mut kernel| kernel.old_kernel());
    match asked {
        Ok(Some(old)) if old.misjudges() => anyhow::bail!("{old}"),
        Ok(old) => Ok(old),
        Err(err) => {
            tracing::warn!(err = %chain(&err), "the kernel cannot be asked what it can do");
            Ok(None)
        }
    }
}

/// Tells the reconciler of the machine as it changes; interfaces that could not be read at first, once they can be.
async fn attend(
    mut interfaces: Result<watch::Receiver<Interfaces>, InterfacesError>,
    control_plane: watch::Receiver<Vec<SocketAddr>>,
    reconciler: Reconciler,
) {
    const KIND: &str = "InterfacesUnknown";
    let latest = loop {
        match interfaces {
            Ok(latest) => break latest,
            Err(err) => {
                let message = format!(
                    "links and addresses cannot be read ({}): endpoints that are found by address govern nothing; it \
                     is tried again",
                    chain(&err)
                );
                let condition = Condition {
                    kind: KIND,
                    reason: "NotRead",
                    message,
                };
                reconciler.condition(KIND, Some(condition)).await;
            }
        }
        tokio::time::sleep(REREAD).await;
        interfaces = watch_interfaces().await;
    };
    reconciler.condition(KIND, None).await;
    follow(latest, control_plane, reconciler).await;
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

/// Tells the service manager once the saved view is enforced, or there is none to enforce; and people, by a log line, once
/// a view is enforced.
async fn tell_ready(reconciler: Reconciler) {
    let notify = || {
        if let Err(err) = tell(READY, None) {
            tracing::warn!(%err, "service manager not told");
        }
    };
    let mut positions = reconciler.positions();
    let nothing_saved = positions.borrow().have.is_none();
    if nothing_saved {
        tracing::info!(
            "no view was found on disk; policy is enforced once the control plane sends it"
        );
        notify();
    }
    let enforced = positions
        .wait_for(|positions| positions.enforced.is_some())
        .await
        .map(|positions| positions.enforced);
    let Ok(enforced) = enforced else {
        return;
    };
    tracing::info!(revision = enforced.map(|at| at.revision), "ready");
    if !nothing_saved {
        notify();
    }
}
