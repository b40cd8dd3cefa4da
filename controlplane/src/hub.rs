//! Where compiled views meet streams: the latest view of each node, and what is known of each node.
//!
//! Owns: one entry per node, which stream serves it (the newest), and the news that something changed. Refuses to own:
//! compiling and the protocol. Every channel is latest-value: a slow reader misses states, never memory.

use crate::session::{Compiled, Memory};
use palisade_policy::{
    table::ItemTable,
    view::{Epoch, Position},
};
use palisade_proto::v1;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{oneshot, watch};

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
}

struct Attached {
    number: u64,
    replace: oneshot::Sender<()>,
}

/// A stream's hold on its node. Dropping it says that the node is gone.
pub struct Stream {
    hub: Arc<Hub>,
    node: Arc<Node>,
    number: u64,
}

/// What a new stream starts with.
pub struct Opened {
    /// The hold.
    pub stream: Stream,
    /// The node's views; the present one counts as unseen.
    pub view: watch::Receiver<Option<Compiled>>,
    /// Fires when a newer stream of the same node takes over.
    pub replaced: oneshot::Receiver<()>,
    /// What is known of the node.
    pub memory: Memory,
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
    /// Having refused something.
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
        if node.state().stream.is_none() {
            nodes.remove(name);
        } else {
            // The stream keeps its receiver, and the node what it has.
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

    /// A node has connected; an older stream of it is told to end.
    pub fn open(self: &Arc<Self>, name: &str) -> Opened {
        let node = self.node(name);
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        let (replace, replaced) = oneshot::channel();
        let (memory, older) = {
            let mut state = node.state();
            let older = state.stream.replace(Attached { number, replace });
            (state.memory.clone(), older)
        };
        if let Some(older) = older {
            // It may have ended by itself just now.
            let _ = older.replace.send(());
        }
        let mut view = node.view.subscribe();
        view.mark_changed();
        self.news.send_replace(());
        Opened {
            view,
            replaced,
            memory,
            stream: Stream {
                hub: Arc::clone(self),
                node,
                number,
            },
        }
    }

    /// All nodes, by name.
    pub fn statuses(&self) -> Vec<v1::NodeStatus> {
        let compiled = self.compiled();
        let nodes = self.all();
        nodes
            .iter()
            .map(|node| node.status(self.epoch, compiled))
            .collect()
    }

    /// Counts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for node in self.all() {
            let desired = node.view.borrow().as_ref().map(|view| view.table.digest());
            let state = node.state();
            let enforced = state.memory.enforced.map(|position| position.digest);
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

    /// What a node last reported of itself.
    pub fn report(&self, name: &str) -> Option<v1::NodeReport> {
        self.find(name)?.state().memory.report.clone()
    }

    /// Whether the node is known at all.
    pub fn knows(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

// === impl Node ===

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, epoch: Epoch, compiled: u64) -> v1::NodeStatus {
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
        v1::NodeStatus {
            name: self.name.to_string(),
            connected: state.stream.is_some(),
            compiled: if view.is_some() { compiled } else { 0 },
            desired: desired.as_ref().map(Into::into),
            enforced: enforced.as_ref().map(Into::into),
            conditions: memory.conditions(view.as_ref().map(|view| &view.table)),
            report: memory.report.clone(),
            agent_version: memory.agent_version.clone(),
            last_seen: state.last_seen,
            apply_micros: memory.apply_micros,
        }
    }
}

// === impl Stream ===

impl Stream {
    /// The node was heard of, at this many seconds since 1970.
    pub fn heard(&self, now: u64) {
        let mut state = self.node.state();
        if self.is_current(&state) {
            state.last_seen = now;
        }
    }

    /// Keeps what the stream learnt of its node, unless a newer stream has taken over.
    pub fn remember(&self, memory: &Memory) {
        let mut state = self.node.state();
        if self.is_current(&state) {
            state.memory = memory.clone();
            drop(state);
            self.hub.news.send_replace(());
        }
    }

    fn is_current(&self, state: &State) -> bool {
        state
            .stream
            .as_ref()
            .is_some_and(|s| s.number == self.number)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.node.state();
        if self.is_current(&state) {
            state.stream = None;
            state.memory.lagging = false;
            drop(state);
            self.hub.news.send_replace(());
        }
    }
}
