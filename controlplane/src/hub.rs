//! Where compiled views meet streams: the latest view of each node, and what is known of each node.
//!
//! Owns: one entry per node, which stream serves it (the newest), and the news that something changed. Refuses to own:
//! compiling and the protocol. Every channel is latest-value: a slow reader misses states, never memory.

mod stream;
mod takeovers;

use crate::session::{Compiled, Memory};
use palisade_policy::{
    table::ItemTable,
    view::{Epoch, Position},
};
use palisade_proto::v1;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
    time::SystemTime,
};
use stream::Attached;
pub use stream::{Opened, Replaced, Stream};
use takeovers::Takeovers;
pub use takeovers::{DUPLICATE_FOR, Daemon};
use tokio::sync::watch;

/// All nodes.
pub struct Hub {
    epoch: Epoch,
    nodes: RwLock<BTreeMap<Arc<str>, Arc<Node>>>,
    streams: AtomicU64,
    compiled: watch::Sender<u64>,
    news: watch::Sender<()>,
    closing: watch::Sender<bool>,
}

/// One node.
struct Node {
    name: Arc<str>,
    view: watch::Sender<Option<Compiled>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    last_seen: u64,
    stream: Option<Attached>,
    /// Streams that were opened and have not ended, attached or not.
    open: usize,
    takeovers: Takeovers,
}

/// What is known of a node at one moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// It has a stream.
    pub connected: bool,
    /// The view that it acknowledged last, as far as this process knows.
    pub acknowledged: Option<(Position, ItemTable)>,
    /// What its kernel enforces, as it said last.
    pub enforced: Option<Position>,
    /// What it reported last of itself.
    pub report: Option<v1::NodeReport>,
}

/// Totals over all nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// With a view or a stream.
    pub known: usize,
    /// With a stream.
    pub connected: usize,
    /// Enforcing what is desired.
    pub converged: usize,
    /// Running on something other than what is desired: they refused it, or their machine failed.
    pub degraded: usize,
    /// Endpoints that are up, as nodes last reported.
    pub endpoints_up: usize,
    /// Those with an interface that is down.
    pub endpoints_down: usize,
    /// Those that govern nothing.
    pub endpoints_error: usize,
}

// === impl Hub ===

impl Hub {
    /// Without nodes, before the first compilation.
    pub fn new(epoch: Epoch) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            nodes: RwLock::default(),
            streams: AtomicU64::new(0),
            compiled: watch::Sender::new(0),
            news: watch::Sender::new(()),
            closing: watch::Sender::new(false),
        })
    }

    /// Life of the store.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The revision that all views are good for.
    pub fn compiled(&self) -> u64 {
        *self.compiled.borrow()
    }

    /// Follows [`Hub::compiled`].
    pub fn watch_compiled(&self) -> watch::Receiver<u64> {
        self.compiled.subscribe()
    }

    /// Fires whenever something of any node may have changed.
    pub fn watch_news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Ends all streams.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Resolves when streams are to end.
    pub async fn closed(&self) {
        // The sender lives in the hub.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Takes the views that a compilation changed. A node without view keeps what it enforces.
    pub fn publish(
        &self,
        revision: u64,
        views: impl IntoIterator<Item = (Arc<str>, Option<ItemTable>)>,
    ) {
        for (name, table) in views {
            let view = table.map(|table| Compiled { table, revision });
            match view {
                Some(view) => drop(self.node(&name).view.send_replace(Some(view))),
                None => self.forget_view(&name),
            }
        }
        self.compiled.send_replace(revision);
        self.news.send_replace(());
    }

    fn forget_view(&self, name: &str) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(node) = nodes.get(name) else { return };
        if node.state().open == 0 {
            nodes.remove(name);
        } else {
            // A stream keeps its receiver, and the node what it has.
            node.view.send_if_modified(|view| {
                *view = None;
                false
            });
        }
    }

    fn node(&self, name: &str) -> Arc<Node> {
        if let Some(node) = self.find(name) {
            return node;
        }
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = name.into();
        let node = nodes.entry(Arc::clone(&name)).or_insert_with(|| {
            Arc::new(Node {
                name,
                view: watch::Sender::new(None),
                state: Mutex::default(),
            })
        });
        Arc::clone(node)
    }

    fn find(&self, name: &str) -> Option<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(name).map(Arc::clone)
    }

    fn all(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.values().map(Arc::clone).collect()
    }

    /// All nodes, by name.
    pub fn statuses(&self) -> Vec<v1::NodeStatus> {
        let compiled = self.compiled();
        let now = now();
        let nodes = self.all();
        nodes
            .iter()
            .map(|node| node.status(self.epoch, compiled, now))
            .collect()
    }

    /// Counts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for node in self.all() {
            let desired = node.view.borrow().as_ref().map(|view| view.table.digest());
            let state = node.state();
            let enforced = state.memory.enforced;
            let enforced = enforced.filter(|position| position.epoch == self.epoch);
            let enforced = enforced.map(|position| position.digest);
            totals.known += 1;
            totals.connected += usize::from(state.stream.is_some());
            totals.converged += usize::from(desired.is_some() && desired == enforced);
            totals.degraded += usize::from(state.memory.is_degraded());
            let reported = state.memory.report.iter().flat_map(|r| &r.endpoints);
            for endpoint in reported {
                match endpoint.state() {
                    v1::EndpointState::Up => totals.endpoints_up += 1,
                    v1::EndpointState::Down => totals.endpoints_down += 1,
                    v1::EndpointState::Error => totals.endpoints_error += 1,
                    // Of a newer node.
                    v1::EndpointState::Unspecified => {}
                }
            }
        }
        totals
    }

    /// The view a node should have now.
    pub fn desired(&self, name: &str) -> Option<(Position, ItemTable)> {
        let node = self.find(name)?;
        let view = node.view.borrow().clone()?;
        let position = Position {
            epoch: self.epoch,
            revision: self.compiled().max(view.revision),
            digest: view.table.digest(),
        };
        Some((position, view.table))
    }

    /// The view a node last acknowledged, as far as this process knows.
    pub fn acknowledged(&self, name: &str) -> Option<(Position, ItemTable)> {
        self.find(name)?.state().memory.acknowledged.clone()
    }

    /// What is known of a node; `None`: there is no such node.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        let node = self.find(name)?;
        let state = node.state();
        Some(Standing {
            connected: state.stream.is_some(),
            acknowledged: state.memory.acknowledged.clone(),
            enforced: state.memory.enforced,
            report: state.memory.report.clone(),
        })
    }
}

// === impl Node ===

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, epoch: Epoch, compiled: u64, now: u64) -> v1::NodeStatus {
        let view = self.view.borrow().clone();
        let state = self.state();
        let memory = &state.memory;
        let desired = view.as_ref().map(|view| Position {
            epoch,
            revision: compiled.max(view.revision),
            digest: view.table.digest(),
        });
        // Equal digests count as enforced at the newer revision.
        let enforced = match (memory.enforced, desired) {
            (Some(e), Some(d)) if e.digest == d.digest && e.epoch == d.epoch => Some(d),
            (enforced, _) => enforced,
        };
        let mut conditions = memory.conditions(view.as_ref().map(|view| &view.table));
        conditions.extend(state.takeovers.condition(now));
        v1::NodeStatus {
            name: self.name.to_string(),
            connected: state.stream.is_some(),
            compiled: if view.is_some() { compiled } else { 0 },
            desired: desired.as_ref().map(Into::into),
            enforced: enforced.as_ref().map(Into::into),
            conditions,
            report: memory.report.clone(),
            agent_version: memory.agent_version.clone(),
            last_seen: state.last_seen,
            apply_micros: memory.apply_micros,
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
