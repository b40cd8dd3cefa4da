//! Which threads there are for plugins: one that answers packets while rules ask, one that hears of events while there is
//! an auditor. A thread that fails is there again after a while; until then failure policies apply.

use crate::{
    backoff::Backoff,
    clock::time_ms,
    enforce::{Applied, EnforcedFeed},
    metrics::Metrics,
    plugins::{
        audit::{
            Bus, Emit,
            flows::{Outbox, records},
            sink::{Directory, Failing},
            thread::Audit,
        },
        bind_failures::{BindFailures, Number},
        loaded::LoadedPlugins,
        queue::worker::Worker,
    },
    wake::Wake,
};
use palisade_netfilter::Volatile;
use palisade_plugin_host::Body;
use palisade_policy::plugin::PluginKind;
use palisade_proto::v1::FlowRecord;
use palisade_ruleset::plugins::AUDIT_GROUP;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::Builder,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// The threads, and what they need.
pub struct Supervisor {
    /// Of the view enforced.
    pub feed: EnforcedFeed,
    /// Events.
    pub bus: Bus,
    /// Numbers that threads could not bind.
    pub bind_failures: BindFailures,
    /// Sinks of auditors that fail.
    pub failing: Failing,
    /// Plugins that there are.
    pub loaded: watch::Receiver<Arc<LoadedPlugins>>,
    /// What auditors emit.
    pub emit: Emit,
    /// Figures.
    pub metrics: Metrics,
    /// Where files of sinks may be.
    pub sinks: Directory,
    /// To the control plane.
    pub records: mpsc::Sender<FlowRecord>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Queue,
    Audit,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Audit => "audit",
        }
    }

    const fn binds(self, number: Number) -> bool {
        match number {
            Number::Queue(_) => matches!(self, Self::Queue),
            Number::Group(_) => matches!(self, Self::Audit),
        }
    }
}

/// A thread of a role, there while it is wanted.
struct Post {
    role: Role,
    /// Tells the thread to end, and keeps it.
    running: Option<watch::Sender<bool>>,
    not_before: Option<Instant>,
    patience: Backoff,
}

impl Supervisor {
    /// Until told to stop; returns once the threads have ended.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (ended, mut endings) = mpsc::channel(4);
        let mut asked = self.feed.asked();
        let mut queue = Post::new(Role::Queue);
        let mut audit = Post::new(Role::Audit);
        loop {
            let stopping = *stop.borrow();
            let asks = *asked.borrow_and_update() && !stopping;
            let audits = audits(&self.loaded.borrow_and_update()) && !stopping;
            self.staff(&mut queue, asks, &ended);
            self.staff(&mut audit, audits, &ended);
            self.feed.wake.wake();
            self.bus.wake().wake();
            if stopping && queue.running.is_none() && audit.running.is_none() {
                return;
            }
            let retry = [
                queue.not_before.filter(|_| asks),
                audit.not_before.filter(|_| audits),
            ];
            let retry = retry.into_iter().flatten().min();
            tokio::select! {
                Some((role, result)) = endings.recv() => {
                    self.bind_failures.forget(|number| role.binds(number));
                    match role {
                        Role::Queue => queue.ended(result),
                        Role::Audit => audit.ended(result),
                    }
                }
                Ok(()) = asked.changed() => {}
                Ok(()) = self.loaded.changed() => {}
                Ok(()) = stop.changed() => {}
                () = at(retry) => {}
            }
        }
    }

    fn staff(&self, post: &mut Post, wanted: bool, ended: &mpsc::Sender<(Role, io::Result<()>)>) {
        if let Some(running) = &post.running {
            running.send_replace(!wanted);
            return;
        }
        if !wanted || post.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let (stop, told) = watch::channel(false);
        let (role, ended) = (post.role, ended.clone());
        let work = self.work(role, told);
        let spawned = Builder::new().name(role.name().to_owned()).spawn(move || {
            // All that it has ends with it; what is shared is whole between statements.
            let done = catch_unwind(AssertUnwindSafe(work));
            let done = done.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            // Whoever waits for it is gone only with the daemon.
            let _ = ended.blocking_send((role, done));
        });
        match spawned {
            Ok(_) => post.running = Some(stop),
            Err(err) => post.ended(Err(err)),
        }
    }

    fn work(
        &self,
        role: Role,
        stop: watch::Receiver<bool>,
    ) -> Box<dyn FnOnce() -> io::Result<()> + Send> {
        let (feed, loaded) = (self.feed.clone(), self.loaded.clone());
        let (inventory, metrics) = (feed.inventory, self.metrics.clone());
        let (bus, bind_failures) = (self.bus.clone(), self.bind_failures.clone());
        match role {
            Role::Queue => {
                let Some(writer) = feed.writer else {
                    let absent = || Err(io::Error::other("nothing writes beside the enforcer"));
                    return Box::new(absent);
                };
                let worker = Worker {
                    volatile: Volatile::new(writer),
                    gate: feed.gate,
                    loaded,
                    inventory,
                    bus,
                    metrics,
                    bind_failures,
                    wake: feed.wake,
                    stop,
                };
                Box::new(|| worker.run())
            }
            Role::Audit => {
                let audit = Audit {
                    group: AUDIT_GROUP,
                    bus,
                    sinks: self.sinks.clone(),
                    failing: self.failing.clone(),
                    emit: self.emit.clone(),
                    loaded,
                    inventory,
                    outbox: Outbox::new(self.records.clone()),
                    metrics,
                    bind_failures,
                    stop,
                };
                Box::new(|| audit.run())
            }
        }
    }
}

impl Post {
    const fn new(role: Role) -> Self {
        Self {
            role,
            running: None,
            not_before: None,
            patience: Backoff::stream(),
        }
    }

    fn ended(&mut self, result: io::Result<()>) {
        self.running = None;
        self.not_before = None;
        match result {
            Ok(()) => self.patience.reset(),
            Err(err) => {
                let wait = self.patience.next(&mut rand::rng());
                self.not_before = Some(Instant::now() + wait);
                tracing::error!(thread = self.role.name(), %err, "a thread ended; failure policies apply until it is back");
            }
        }
    }
}

fn audits(loaded: &LoadedPlugins) -> bool {
    let mut plugins = loaded.plugins.values();
    plugins.any(|shelved| shelved.plugin.kind == PluginKind::Auditor)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// The supervisor at work, with all that it needs.
pub struct Running {
    /// Plugins that there are.
    pub loaded: watch::Receiver<Arc<LoadedPlugins>>,
    /// Where the connection to the control plane is told, while there is one.
    pub channel: watch::Sender<Option<tonic::transport::Channel>>,
    /// Numbers that threads could not bind.
    pub bind_failures: BindFailures,
    /// Sinks of auditors that fail.
    pub failing: Failing,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

/// Starts what plugins need of tasks; threads, files and engine are made when a view has plugins.
///
/// # Errors
/// No descriptor is left.
pub fn start(
    dir: &std::path::Path,
    sinks: Directory,
    feed: EnforcedFeed,
    metrics: Metrics,
) -> io::Result<Running> {
    use crate::plugins::{around::Node, keeper::Keeper};
    let (channel, connected) = watch::channel(None);
    let bus = Bus::new(Wake::new()?);
    let (bind_failures, failing) = (BindFailures::default(), Failing::default());
    let changes = bus.clone();
    feed.watch(move |Applied { revision, items }| {
        let summary = format!("{items} items changed");
        changes.report(time_ms(), Body::PolicyChange { revision, summary });
    });
    let emit = Emit::default();
    let around = {
        let (inventory, metrics, emit) = (feed.inventory.clone(), metrics.clone(), emit.clone());
        Box::new(move |id: &_, plugin: &_| {
            let node = Node::new(id, plugin, inventory.clone(), metrics.clone(), emit.clone());
            Arc::new(node) as Arc<dyn palisade_plugin_host::Surroundings>
        })
    };
    let wanted = feed.wanted();
    let (keeper, loaded) = Keeper::new(&dir.join("plugins"), around, wanted, connected.clone());
    tokio::spawn(keeper.run());
    let (records, receiver) = records();
    tokio::spawn(crate::plugins::audit::flows::send(receiver, connected));
    let (stop, stopped) = watch::channel(false);
    let supervisor = Supervisor {
        feed,
        bus,
        bind_failures: bind_failures.clone(),
        failing: failing.clone(),
        loaded: loaded.clone(),
        emit,
        metrics,
        sinks,
        records,
    };
    Ok(Running {
        loaded,
        channel,
        bind_failures,
        failing,
        stop,
        supervisor: tokio::spawn(supervisor.run(stopped)),
    })
}

impl Running {
    /// Ends the threads: the ruleset no longer asks, and what waits is answered.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.supervisor.await;
    }
}
