//! What follows from the view enforced, for those who look at it from other threads: published as the kernel changes.
//!
//! A view without plugins publishes nothing, and costs nothing.

use super::{gate::Gate, inventory, wanted::Wanted};
use crate::wake::Wake;
use palisade_netfilter::Writer;
use palisade_policy::{packet::Environment, resolve::Resolution, view::View};
use palisade_ruleset::plugins::Asking;
use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};
use tokio::sync::watch;

/// A view that was enforced, as those who watch are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Its revision.
    pub revision: u64,
    /// How many items changed.
    pub items: usize,
}

/// Cheap to clone; clones are one.
#[derive(Clone)]
pub struct EnforcedFeed {
    /// What the ruleset in force asks.
    pub gate: Gate,
    /// Numbers and names.
    pub inventory: inventory::Shared,
    /// Wakes the thread that answers packets.
    pub wake: Wake,
    /// What writes elements beside the enforcer's plans; absent on a model of the kernel.
    pub writer: Option<Writer>,
    wanted: watch::Sender<Arc<Wanted>>,
    asked: watch::Sender<bool>,
    watcher: Arc<OnceLock<Watcher>>,
}

type Watcher = Box<dyn Fn(Applied) + Send + Sync>;

impl EnforcedFeed {
    /// Nothing so far.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(writer: Option<Writer>) -> io::Result<Self> {
        Ok(Self {
            gate: Gate::default(),
            inventory: inventory::Shared::default(),
            wake: Wake::new()?,
            writer,
            wanted: watch::channel(Arc::default()).0,
            asked: watch::channel(false).0,
            watcher: Arc::default(),
        })
    }

    /// Plugins that the view wants.
    pub fn wanted(&self) -> watch::Receiver<Arc<Wanted>> {
        self.wanted.subscribe()
    }

    /// Whether rules ask any.
    pub fn asked(&self) -> watch::Receiver<bool> {
        self.asked.subscribe()
    }

    /// Is called with every view enforced while the view has plugins; on the enforcing thread, so it never waits. The first
    /// watcher stays.
    pub fn watch(&self, watcher: impl Fn(Applied) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// Tells the watcher.
    pub(super) fn tell(&self, applied: Applied) {
        if self.in_use()
            && let Some(watcher) = self.watcher.get()
        {
            watcher(applied);
        }
    }

    /// Whether the view held has plugins.
    fn in_use(&self) -> bool {
        !self.wanted.borrow().plugins.is_empty()
    }

    /// Commits a ruleset, with what it asks.
    ///
    /// # Errors
    /// Those of the commit.
    pub(super) fn commit<E>(
        &self,
        asking: Asking,
        commit: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let asks = !asking.is_empty();
        let done = self.gate.commit(Arc::new(asking), commit);
        if done.is_ok() {
            self.asked
                .send_if_modified(|asked| std::mem::replace(asked, asks) != asks);
            if asks {
                self.wake.wake();
            }
        }
        done
    }

    /// A view is enforced.
    pub(super) fn publish(&self, view: &View, resolution: Resolution, environment: &Environment) {
        let wanted = Wanted::of(view);
        if wanted.plugins.is_empty() && !self.in_use() {
            return;
        }
        let interfaces = environment.interfaces.keys().cloned().collect();
        self.inventory.replace(view, resolution, interfaces);
        self.wanted.send_if_modified(|known| {
            let changed = **known != wanted;
            if changed {
                *known = Arc::new(wanted);
            }
            changed
        });
    }
}

impl fmt::Debug for EnforcedFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnforcedFeed").finish_non_exhaustive()
    }
}
