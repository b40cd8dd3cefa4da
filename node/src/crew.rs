//! Which threads there are for plugins: one that answers packets while rules ask, one that hears of events while there is
//! an auditor. A thread that fails is there again after a while; until then failure policies apply.

use crate::{
    audit::{
        Emit,
        flows::{Outbox, records},
        sink::Directory,
        thread::Audit,
    },
    backoff::Backoff,
    metrics::Metrics,
    plugins::shelf::Shelf,
    queue::worker::Worker,
    reconcile::Plugged,
    unbound::Number,
};
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
pub struct Crew {
    /// Of the view enforced.
    pub plugged: Plugged,
    /// Plugins that there are.
    pub shelf: watch::Receiver<Arc<Shelf>>,
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

impl Crew {
    /// Until told to stop; returns once the threads have ended.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (ended, mut endings) = mpsc::channel(4);
        let mut asked = self.plugged.asked();
        let mut queue = Post::new(Role::Queue);
        let mut audit = Post::new(Role::Audit);
        loop {
            let stopping = *stop.borrow();
            let asks = *asked.borrow_and_update() && !stopping;
            let audits = audits(&self.shelf.borrow_and_update()) && !stopping;
            self.staff(&mut queue, asks, &ended);
            self.staff(&mut audit, audits, &ended);
            self.plugged.wake.wake();
            self.plugged.bus.wake().wake();
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
                    self.plugged.unbound.forget(|number| role.binds(number));
                    match role {
                        Role::Queue => queue.ended(result),
                        Role::Audit => audit.ended(result),
                    }
                }
                Ok(()) = asked.changed() => {}
                Ok(()) = self.shelf.changed() => {}
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
        let (plugged, shelf) = (self.plugged.clone(), self.shelf.clone());
        let (inventory, metrics) = (plugged.inventory, self.metrics.clone());
        let unbound = plugged.unbound;
        match role {
            Role::Queue => {
                let worker = Worker {
                    gate: plugged.gate,
                    shelf,
                    inventory,
                    bus: plugged.bus,
                    metrics,
                    unbound,
                    wake: plugged.wake,
                    stop,
                };
                Box::new(|| worker.run())
            }
            Role::Audit => {
                let audit = Audit {
                    group: AUDIT_GROUP,
                    bus: plugged.bus,
                    sinks: self.sinks.clone(),
                    failing: plugged.failing,
                    emit: self.emit.clone(),
                    shelf,
                    inventory,
                    outbox: Outbox::new(self.records.clone()),
                    metrics,
                    unbound,
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

fn audits(shelf: &Shelf) -> bool {
    let mut plugins = shelf.plugins.values();
    plugins.any(|shelved| shelved.plugin.kind == PluginKind::Auditor)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// The crew at work, with all that it needs.
pub struct Running {
    /// Plugins that there are.
    pub shelf: watch::Receiver<Arc<Shelf>>,
    /// Where the connection to the control plane is told, while there is one.
    pub channel: watch::Sender<Option<tonic::transport::Channel>>,
    stop: watch::Sender<bool>,
    crew: JoinHandle<()>,
}

/// Starts what plugins need of tasks; threads, files and engine are made when a view has plugins.
pub fn start(
    dir: &std::path::Path,
    sinks: Directory,
    plugged: Plugged,
    metrics: Metrics,
) -> Running {
    use crate::plugins::{around::Node, keeper::Keeper};
    let (channel, connected) = watch::channel(None);
    let emit = Emit::default();
    let around = {
        let (inventory, metrics, emit) = (plugged.inventory.clone(), metrics.clone(), emit.clone());
        Box::new(move |id: &_, plugin: &_| {
            let node = Node::new(id, plugin, inventory.clone(), metrics.clone(), emit.clone());
            Arc::new(node) as Arc<dyn palisade_plugin_host::Surroundings>
        })
    };
    let wanted = plugged.wanted();
    let (keeper, shelf) = Keeper::new(&dir.join("plugins"), around, wanted, connected.clone());
    tokio::spawn(keeper.run());
    let (records, receiver) = records();
    tokio::spawn(crate::audit::flows::send(receiver, connected));
    let (stop, stopped) = watch::channel(false);
    let crew = Crew {
        plugged,
        shelf: shelf.clone(),
        emit,
        metrics,
        sinks,
        records,
    };
    Running {
        shelf,
        channel,
        stop,
        crew: tokio::spawn(crew.run(stopped)),
    }
}

impl Running {
    /// Ends the threads: the ruleset no longer asks, and what waits is answered.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.crew.await;
    }
}
