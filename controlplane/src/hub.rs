//! Where compiled views meet streams: the latest view of each node, and what is known of each node.
//!
//! Owns: one entry per node, which stream serves it (the newest), and the news that something changed. Refuses to own:
//! compiling and the protocol. Every channel is latest-value: a slow reader misses states, never memory.

mod freeze;
mod stream;
mod takeovers;

use crate::{
    session::{Compiled, Memory},
    unreadable::Rows,
};
use freeze::Freeze;
use palisade_policy::{
    table::ItemTable,
    view::{Epoch, Position},
};
use palisade_proto::v1;
use std::{
    collections::{BTreeMap, BTreeSet},
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
    freeze: RwLock<Freeze>,
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

/// What a compilation came to.
#[derive(Default)]
pub struct Round {
    /// The revision that views are good for now: those of all nodes that are not frozen.
    pub revision: u64,
    /// Views that changed; `None` of a node that is gone.
    pub views: Vec<(Arc<str>, Option<ItemTable>)>,
    /// Nodes whose views wait. None of them is among `views`, but as one that is gone.
    pub frozen: BTreeSet<Arc<str>>,
    /// The rows that cannot be read, which are why.
    pub unreadable: Arc<Rows>,
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
    /// Kept at what they have, as rows cannot be read.
    pub frozen: usize,
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
            freeze: RwLock::default(),
            news: watch::Sender::new(()),
            closing: watch::Sender::new(false),
        })
    }

    /// Life of the store.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The revision that all views are good for, but those of frozen nodes. It stands still while all nodes are frozen.
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

    /// Takes the views that a compilation changed. A node without view keeps what it enforces, and so does a frozen one.
    pub fn publish(&self, round: Round) {
        let Round {
            revision,
            views,
            frozen,
            unreadable,
        } = round;
        let is_whole = {
            let mut freeze = self.frozen_mut();
            freeze.begin(unreadable, &frozen, self.compiled());
            freeze.is_whole()
        };
        // They are listed, so that everybody sees that they wait.
        for name in &frozen {
            drop(self.node(name));
        }
        for (name, table) in views {
            let view = table.map(|table| Compiled { table, revision });
            match view {
                Some(view) => drop(self.node(&name).view.send_replace(Some(view))),
                None => self.forget_view(&name),
            }
        }
        if !is_whole {
            self.compiled.send_replace(revision);
        }
        // Last: a node is free once its view is here.
        let freed = self.frozen_mut().end(&frozen);
        for name in freed {
            self.forget_without_view(&name);
        }
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

    /// Names of all nodes.
    pub fn names(&self) -> Vec<String> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.keys().map(|name| name.to_string()).collect()
    }

    /// All nodes, by name.
    pub fn statuses(&self) -> Vec<v1::NodeStatus> {
        let now = now();
        let nodes = self.all();
        nodes.iter().map(|node| node.status(self, now)).collect()
    }

    /// Counts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for node in self.all() {
            let is_frozen = self.frozen().concerns(&node.name);
            let desired = node.view.borrow().as_ref().map(|view| view.table.digest());
            let state = node.state();
            let enforced = state.memory.enforced;
            let enforced = enforced.filter(|position| position.epoch == self.epoch);
            let enforced = enforced.map(|position| position.digest);
            totals.known += 1;
            totals.connected += usize::from(state.stream.is_some());
            let is_converged = desired.is_some() && desired == enforced && !is_frozen;
            totals.converged += usize::from(is_converged);
            totals.frozen += usize::from(is_frozen);
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

    /// The view a node should have now; of a frozen one, the last that was compiled before.
    pub fn desired(&self, name: &str) -> Option<(Position, ItemTable)> {
        let node = self.find(name)?;
        let view = node.view.borrow().clone()?;
        let position = Position {
            epoch: self.epoch,
            revision: self.good_for(name, &view),
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

    fn status(&self, hub: &Hub, now: u64) -> v1::NodeStatus {
        let (is_frozen, frozen) = {
            let freeze = hub.frozen();
            (freeze.concerns(&self.name), freeze.condition(&self.name))
        };
        let view = self.view.borrow().clone();
        let compiled = view.as_ref().map(|view| hub.good_for(&self.name, view));
        let state = self.state();
        let memory = &state.memory;
        // What a frozen node should enforce, nobody knows.
        let known = view.as_ref().filter(|_| !is_frozen);
        let desired = known.map(|view| Position {
            epoch: hub.epoch,
            revision: hub.good_for(&self.name, view),
            digest: view.table.digest(),
        });
        // Equal digests count as enforced at the newer revision.
        let enforced = match (memory.enforced, desired) {
            (Some(e), Some(d)) if e.digest == d.digest && e.epoch == d.epoch => Some(d),
            (enforced, _) => enforced,
        };
        let mut conditions = memory.conditions(view.as_ref().map(|view| &view.table));
        conditions.extend(state.takeovers.condition(now));
        conditions.extend(frozen);
        v1::NodeStatus {
            name: self.name.to_string(),
            connected: state.stream.is_some(),
            compiled: compiled.unwrap_or(0),
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
